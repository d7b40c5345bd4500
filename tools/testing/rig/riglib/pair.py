# SPDX-License-Identifier: GPL-2.0-only
"""Boots one host per IOMMU, side by side, each with the same job."""

import concurrent.futures
import os

from . import common, guest, host, rundir, turns

IOMMUS = ("amd-vi", "vt-d")


def _prepare(name, iommu, kernel, job, append, snoop_control, shared):
    run_dir = rundir.create(f"{name}-{iommu}")
    share = rundir.freeze(run_dir, job)
    guest.install(kernel, share)
    return host.Spec(iommu=iommu, kernel=kernel, run_dir=run_dir, share=share,
                     disks=rundir.make_disks(run_dir, len(host.NVME_SLOTS)), append=append,
                     snoop_control=snoop_control, net=True, turn=shared)


def boot(name, kernel, job, append, on_result=None, snoop_control=False):
    """{iommu: (Spec, Outcome)}; on_result(iommu, line) is called as results come."""
    shared = turns.Turns()
    specs = {iommu: _prepare(name, iommu, kernel, job, append, snoop_control, shared)
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
