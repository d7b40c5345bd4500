# SPDX-License-Identifier: GPL-2.0-only
"""Boots one host per IOMMU, side by side, each with the same job."""

import concurrent.futures
import os

from . import common, guest, host, rundir, turns

IOMMUS = ("amd-vi", "vt-d")


def _prepare(name, iommu, kernel, job, append, shared, tree, guests, options):
    run_dir = rundir.create(f"{name}-{iommu}")
    share = rundir.freeze(run_dir, kernel, job, tree=tree)
    if guests:
        for other, built in guests:
            guest.install_other(other, share, built)
    else:
        guest.install(kernel, share)
    disks = rundir.make_disks(run_dir, len(host.NVME_SLOTS))
    if kernel.own_modules is not None:
        guest.make_root(share, disks[0])
    return host.Spec(iommu=iommu, kernel=kernel, run_dir=run_dir, share=share, disks=disks,
                     append=append, net=True, turn=shared, **options)


def boot(name, kernel, job, append, on_result=None, tree=common.TREE, guests=(), **options):
    """{iommu: (Spec, Outcome)}; on_result(iommu, line) is called as results come.

    A kernel of our own finds its root file system on the first disk.
    @tree: whose build products
    @guests: (kernel, tree built for it) instead of the host's kernel and @tree
    @options: of host.Spec
    """
    shared = turns.Turns()
    specs = {iommu: _prepare(name, iommu, kernel, job, append, shared, tree, guests, options)
             for iommu in IOMMUS}

    def one(iommu):
        def told(line):
            if on_result:
                on_result(iommu, line)
        common.progress(f"{iommu}: booting the host")
        return host.boot(specs[iommu], told)

    at_once = min(len(IOMMUS), os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        outcomes = dict(zip(IOMMUS, pool.map(one, IOMMUS)))
    return {iommu: (specs[iommu], outcomes[iommu]) for iommu in IOMMUS}
