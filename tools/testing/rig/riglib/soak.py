# SPDX-License-Identifier: GPL-2.0-only
"""What takes too long for every run: kselftests under KCSAN, with two processors."""

from . import common, console, features, guest, host, linux, pair, rundir, tap

SILENCE = 600

# Two processors and code that is patched: the emulator may lose a break point.
INT3 = "Oops: int3"
MOST_RETRIES = 2


def _boot(iommu, kernel, rounds, attempt):
    run_dir = rundir.create(f"soak-{iommu}-{attempt}")
    share = rundir.freeze(run_dir, kernel, common.RIG / "l1" / "soak.sh")
    guest.install(kernel, share)
    spec = host.Spec(
        iommu=iommu, kernel=kernel, run_dir=run_dir, share=share, cpus=2, silence=SILENCE,
        disks=rundir.make_disks(run_dir, len(host.NVME_SLOTS)),
        # A report of a race that is not ours must not end the run.
        append=f"rig.rounds={rounds} panic_on_warn=0")
    common.progress(f"{iommu}: booting the KCSAN kernel with two processors")
    return spec, host.boot(spec)


def _emulators_fault(spec):
    found = console.splats(spec.run_dir / "console.log")
    return bool(found) and INT3 in found[0]


def command(args):
    run = tap.Run({})
    try:
        kernel = linux.build_kernel("kcsan")
        for iommu in pair.IOMMUS:
            run.part(f"KCSAN, {iommu}")
            spec, outcome = _boot(iommu, kernel, args.rounds, 0)
            for attempt in range(MOST_RETRIES):
                if not _emulators_fault(spec):
                    break
                common.progress(f"{iommu}: {INT3}, the emulator's fault: again")
                print(f"# {iommu}: ran again after {INT3}")
                spec, outcome = _boot(iommu, kernel, args.rounds, attempt + 1)
            for name, passed in features.checks(outcome.results):
                run.add(f"{iommu} {name}", passed)
            run.add(f"{iommu} nothing was wrong on the console", not outcome.failures,
                    outcome.failures)
    except common.RigError as error:
        run.add("the run", False, str(error).splitlines())
    return run.finish()
