# SPDX-License-Identifier: GPL-2.0-only
"""Boots one host per IOMMU, side by side, each with the same job."""

import concurrent.futures
import os

from . import common, guest, host, rundir, turns

IOMMUS = ("amd-vi", "vt-d")


def _prepare(name, iommu, kernel, job, append, shared, tree, guests, options):
    run_dir = rundir.create(f"{name}-{iommu}")
    share = rundir.freeze(run_dir, kernel, job, tree=tree)
    for other, built in guests:
        guest.install_other(other, share, built)
    if not guests or kernel.own_modules is not None:
        guest.install(kernel, share)
    disks = rundir.make_disks(run_dir, len(host.NVME_SLOTS))
    if kernel.own_modules is not None:
        guest.make_root(share, disks[0])
    return host.Spec(iommu=iommu, kernel=kernel, run_dir=run_dir, share=share, disks=disks,
                     append=append, net=True, turn=shared, **options)


def boot(name, kernel, job, append, on_result=None, tree=common.TREE, guests=(), **options):
    """{iommu: (Spec, Outcome)}; on_result(iommu, line) is called as results come.

    A kernel of our own finds its root file system on the first disk. When the emulator crashes
    a guest, its host is booted once more.
    @tree: whose build products
    @guests: (kernel, tree built for it) instead of the host's kernel and @tree; besides it if
        it is one of our own
    @options: of host.Spec
    """
    shared = turns.Turns()

    def prepare(name, iommu):
        return _prepare(name, iommu, kernel, job, append, shared, tree, guests, options)

    specs = {iommu: prepare(name, iommu) for iommu in IOMMUS}

    def one(iommu):
        def told(line):
            if on_result:
                on_result(iommu, line)
        common.progress(f"{iommu}: booting the host")
        outcome = host.boot(specs[iommu], told)
        if outcome.failures and host.lost_a_guest(specs[iommu]):
            common.progress(f"{iommu}: the emulator has crashed a guest; all again "
                            f"(see {specs[iommu].run_dir})")
            specs[iommu] = prepare(f"{name}-again", iommu)
            outcome = host.boot(specs[iommu], told)
        return outcome

    at_once = min(len(IOMMUS), os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        outcomes = dict(zip(IOMMUS, pool.map(one, IOMMUS)))
    return {iommu: (specs[iommu], outcomes[iommu]) for iommu in IOMMUS}
