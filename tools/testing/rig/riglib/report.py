# SPDX-License-Identifier: GPL-2.0-only
"""Turns one host's results into the object of out/demo.json, and into checks."""

import dataclasses

from . import guests as g, host

GUEST_RAM_KIB = 512 << 10

# What a guest with its NVMe driver loaded, but nothing going on, may have locked.
IDLE_LIMIT_KIB = 512

PVIOMMU_MODES = ("lazy", "strict")


def _largest(values):
    values = list(values)
    return None if not values or None in values else max(values)


def _per_operation(guests):
    return {
        mode: {
            f"{counter}_per_{size}_read": g.per_operation(guests[mode], f"time{size}",
                                                          counter)
            for size in ("4k", "128k")
            for counter in ("hypercalls", "mapped", "map_calls", "flushes")
        } for mode in PVIOMMU_MODES
    }


def summary(spec, outcome):
    reported = g.parse(outcome.results)
    guests = {mode: reported.get(mode, g.Guest()) for mode in g.MODES}
    behind = [guests[mode] for mode in PVIOMMU_MODES]
    digest = g.data_md5(spec.disks[0])
    log = host.peer_log(spec)
    moved = log.read_text().splitlines() if log.exists() else []
    leaked = outcome.values("leaked")
    return {
        "iommu": spec.iommu,
        "guest_ram_kib": GUEST_RAM_KIB,
        "plain_locked_kib": guests["plain"].peak_kib(),
        "pviommu_locked_kib_idle": _largest(guest.locked_kib("idle") for guest in behind),
        "pviommu_locked_kib_peak": _largest(guest.peak_kib() for guest in behind),
        "nvme_md5_ok": all(guest.md5 == digest for guest in guests.values()),
        "nvme_write_ok": all(guest.written is not None
                             and g.write_arrived(spec.disks, *guest.written)
                             for guest in guests.values()),
        "nic_md5_ok": all(guest.nic_right(moved) for guest in guests.values()),
        "outside_dma_blocked": all(guest.edu_blocked() for guest in behind),
        "pins_leaked": int(leaked[-1][0]) if leaked else None,
        "hypercalls": guests["lazy"].hypercalls(),
        "time_ratio_4k_lazy": g.median_ratio(guests, "lazy", "ns4k"),
        "time_ratio_4k_strict": g.median_ratio(guests, "strict", "ns4k"),
        "time_ratio_128k_lazy": g.median_ratio(guests, "lazy", "ns128k"),
        "time_ratio_128k_strict": g.median_ratio(guests, "strict", "ns128k"),
        "failures": outcome.failures,
        "raw": {
            "image_md5": digest,
            "per_operation": _per_operation(guests),
            "guests": {name: dataclasses.asdict(guest) for name, guest in guests.items()},
        },
    }


def checks(summary_):
    """(name, passed, details) of everything that decides."""
    guests = summary_["raw"]["guests"]
    for mode in g.MODES:
        yield f"guest {mode}", guests[mode]["passed"], []
    for field in ("nvme_md5_ok", "nvme_write_ok", "nic_md5_ok", "outside_dma_blocked"):
        yield field, summary_[field], []
    edu = guests["plain"]["edu"]
    yield ("outside DMA works under plain VFIO",
           edu.get("outside_write_blocked") == 0 and edu.get("outside_read_blocked") == 0,
           [str(edu)])
    leaked = summary_["pins_leaked"]
    yield "no pins leaked", leaked == 0, [f"pins_leaked: {leaked}"]
    idle = summary_["pviommu_locked_kib_idle"]
    yield (f"locked when idle at most {IDLE_LIMIT_KIB} KiB",
           idle is not None and idle <= IDLE_LIMIT_KIB, [f"locked: {idle} KiB"])
    yield ("the host's verdict", not summary_["failures"], summary_["failures"])
