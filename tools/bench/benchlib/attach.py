# SPDX-License-Identifier: GPL-2.0-only
"""What it takes to start a VMM with a device, by how much memory its guest has.

{mode: {MiB: {"instructions", "ms", "pages"}}}: of the emulated host, from the VMM's start until
it could run the guest; the least of the rounds. Pages that are pinned then.
"""

from riglib import common, guest, host, rundir

from . import count

JOB = common.TREE / "tools" / "bench" / "l1" / "attach.sh"

SIZES_MIB = (256, 1024, 2048, 3072)
HOST_MIB = 4608
MODES = ("plain", "pviommu", "direct")

# How much more the largest guest may take than the smallest.
MOST_GROWTH = 1.1


def measure(iommu, kernel):
    """(figures, [why they count for nothing, ...])"""
    run_dir = rundir.create(f"bench-{iommu}-attach")
    share = rundir.freeze(run_dir, kernel, JOB)
    guest.install(kernel, share)
    common.progress(f"{iommu}-attach: booting the host")
    outcome = host.boot(host.Spec(
        iommu=iommu, kernel=kernel, run_dir=run_dir, share=share, memory_mib=HOST_MIB,
        disks=rundir.make_disks(run_dir, len(host.NVME_SLOTS)),
        devices=tuple(count.prepare(run_dir, share)),
        append="rig.mib=" + ",".join(map(str, SIZES_MIB))))
    if outcome.failures:
        return {}, [f"{iommu}-attach: {failure}" for failure in outcome.failures]
    rundir.discard_bulk(run_dir)
    return _figures(outcome.values("attach")), []


def _figures(lines):
    found = {}
    for mode, mib, *numbers in lines:
        if mode not in MODES:
            continue
        rounds = found.setdefault(mode, {}).setdefault(mib, [])
        rounds.append([int(number) for number in numbers])
    return {mode: {mib: {"instructions": min(numbers[0] for numbers in rounds),
                         "ms": min(numbers[1] for numbers in rounds),
                         "pages": max(numbers[2] for numbers in rounds)}
                   for mib, rounds in sizes.items()}
            for mode, sizes in found.items()}


def growth(sizes):
    """Instructions of the largest guest to those of the smallest."""
    smallest, largest = (sizes[str(mib)]["instructions"] for mib in (SIZES_MIB[0], SIZES_MIB[-1]))
    return round(largest / smallest, 3)
