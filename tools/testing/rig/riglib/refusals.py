# SPDX-License-Identifier: GPL-2.0-only
"""Hosts on which devices must not be given to guests, each in a short boot."""

from . import acpi, common, features, guest, host, pair, rundir

EDU_DEVFN = int(host.EDU_SLOTS[0], 16) << 3


def _intremap(kernel):
    booted = pair.boot("intremap", kernel, common.RIG / "l1" / "intremap.sh", "intremap=off")
    return list(booted.values())


def _rmrr(kernel, table):
    """@table: of a VT-d host"""
    run_dir = rundir.create("rmrr-vt-d")
    share = rundir.freeze(run_dir, kernel, common.RIG / "l1" / "rmrr.sh")
    guest.install(kernel, share)
    spec = host.Spec(
        iommu="vt-d", kernel=kernel, run_dir=run_dir, share=share,
        disks=rundir.make_disks(run_dir, len(host.NVME_SLOTS)),
        early=acpi.initramfs("dmar", acpi.with_rmrr(table, EDU_DEVFN)))
    common.progress("vt-d: booting a host with an RMRR")
    return spec, host.boot(spec)


def add(run, kernel, table):
    """Boots them, and adds what they have found to @run.

    @table: the DMAR table of a VT-d host, or None if it could not be had
    """
    booted = _intremap(kernel)
    if table:
        booted.append(_rmrr(kernel, table))
    else:
        run.add("vt-d: the host's DMAR table", False)
    for spec, outcome in booted:
        failed_before = run.failed
        for name, passed in features.checks(outcome.results):
            run.add(f"{spec.iommu} {name}", passed)
        run.add(f"{spec.run_dir.name}: the host's verdict", not outcome.failures,
                outcome.failures)
        if run.failed > failed_before:
            print(f"# everything is kept in {spec.run_dir}")
        else:
            rundir.discard_bulk(spec.run_dir)
