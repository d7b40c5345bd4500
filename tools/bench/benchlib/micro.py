# SPDX-License-Identifier: GPL-2.0-only
"""What single hypercalls cost the host: runs the job of tools/bench/micro.

{name: instructions, the median of several rounds}; ratios are to the sum of an empty
hypercall, a bare pin and a bare iommu_map() of one page.
"""

import importlib.util

from riglib import build, common, guest, host, linux, rundir

FOLDER = common.TREE / "tools" / "bench" / "micro"
PRODUCTS = [FOLDER / "micro", FOLDER / "module" / "pviommu_bare.ko"]
SILENCE = 600

# The most of the sum that a page may cost, by what the memory behind it is like. Pages
# that lie apart are pinned and mapped one by one, which is most of the sum by itself.
LIMITS = {"one page / parts, hooked, contiguous": 1.15,
          "a further page / parts, contiguous": 0.3}


def _report():
    spec = importlib.util.spec_from_file_location("report", FOLDER / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prepare(kernel):
    harness = linux.source() / "tools" / "testing" / "selftests"
    build.run(kernel, f"KSELFTEST={harness}", tree=FOLDER)
    build.run(kernel, "module", tree=FOLDER)


def measure(iommu, kernel):
    """({name: instructions}, [why it counts for nothing, ...])"""
    run_dir = rundir.create(f"bench-{iommu}-micro")
    share = rundir.freeze(run_dir, kernel, FOLDER / "micro.sh", extra=PRODUCTS)
    guest.install(kernel, share)
    common.progress(f"{iommu}-micro: booting the host")
    outcome = host.boot(host.Spec(
        iommu=iommu, kernel=kernel, run_dir=run_dir, share=share, icount=True, silence=SILENCE,
        disks=rundir.make_disks(run_dir, len(host.NVME_SLOTS))))
    if outcome.failures:
        return {}, [f"{iommu}-micro: {failure}" for failure in outcome.failures]
    report = _report()
    rows = report.rows(outcome.results)
    rundir.discard_bulk(run_dir)
    found = {name: median for name, (median, _, _) in rows.items()}
    found |= report.ratios(rows)
    return {name: round(value, 3) for name, value in found.items()}, []
