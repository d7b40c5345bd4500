# SPDX-License-Identifier: GPL-2.0-only
"""One host, one script: for looking around."""

import pathlib
import sys
import tempfile

from . import build, common, console, guest, host, kernel, linux, rundir

STOCK_6_1 = "stock-6.1"


def command(args):
    tree = common.TREE
    if args.kernel == "stock":
        chosen = kernel.prepare(newest_cached=True)
    elif args.kernel == STOCK_6_1:
        chosen = kernel.prepare(newest_cached=True, series="6.1")
        tree = build.copy(chosen, linux.source() / "tools" / "testing" / "selftests")
    else:
        chosen = linux.build_kernel(args.kernel)
    run_dir = rundir.create(args.name)
    with tempfile.NamedTemporaryFile("w") as typed:
        job = args.script
        if not job:
            typed.write(sys.stdin.read())
            typed.flush()
            job = typed.name
        share = rundir.freeze(run_dir, chosen, pathlib.Path(job), args.modules, args.extra,
                              tree)
    guest.install(chosen, share)
    disks = rundir.make_disks(run_dir, len(host.NVME_SLOTS))
    if chosen.own_modules is not None:
        guest.make_root(share, disks[0])
    spec = host.Spec(
        iommu=args.iommu, kernel=chosen, run_dir=run_dir, share=share,
        disks=disks,
        snoop_control=args.snoop_control, net=args.net, memory_mib=args.memory,
        cpus=args.cpus, append=args.append, icount=args.icount,
        silence=args.silence, echo=True)
    common.progress(f"booting a host with {args.iommu}, logs in {run_dir}")
    outcome = host.boot(spec)
    for line in outcome.results:
        print(line)
    for failure in outcome.failures:
        common.progress(f"FAILED: {failure}")
    if outcome.failures:
        for line in console.tail(run_dir / "console.log"):
            print("  |", line, file=sys.stderr)
        return 1
    common.progress("passed")
    return 0
