# SPDX-License-Identifier: GPL-2.0-only
"""Makes the figures that are compared out of what the parts have measured.

For each row and mode, of one operation (see rows.py for what that is):

ops                  how many were counted
exits, user_exits    of the VM, and those of them that KVM left to the VMM
hypercalls           those that KVM saw, whoever answered them
mmio_exits, io_exits, halt_exits, irq_exits    kinds of exits
syncs, flushes, mapped, map_calls, unmapped, unmap_calls    of the host module, if it is used
instructions         of all threads of the VMM: the guest's, KVM's and the VMM's own, where the
                     clock counts instructions; median
instruction_ratio    the same to plain
instruction_spread   (largest - smallest) / median, of the rounds that were counted
cpu_ns               what these threads ran for, against the clock; null if not counted
ns                   time, in each round
time_ratio           median of what each round took to the same round of plain; _min, _max
guest_cpu_ns         for which the guest's processor was not idle, with what it took to
                     start; median
"""

import statistics

from . import modes as m

PAGE_KIB = 4

COUNTED = ("exits", "user_exits", "mmio_exits", "io_exits", "halt_exits", "irq_exits", "syncs",
           "mapped", "map_calls", "unmapped", "unmap_calls", "flushes")


def _rounded(value, digits=3):
    return None if value is None else round(value, digits)


def median(values):
    """None if there are none."""
    return statistics.median(values) if values else None


def spread(values):
    """How far apart they are, in parts of their median."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else None


def ratios(values, base):
    """What each round took to the same round of @base."""
    return [value / other for value, other in zip(values, base) if other]


def each(counts, name, ops):
    """Of one operation, median over the rounds that were counted; None if it was not."""
    found = median([count[name] for count in counts if name in count])
    return None if found is None else found / ops


def _time(row, plain):
    found = ratios(row["ns"], plain["ns"])
    return {
        "ns": row["ns"],
        "time_ratio": _rounded(median(found)),
        "time_ratio_min": _rounded(min(found, default=None)),
        "time_ratio_max": _rounded(max(found, default=None)),
        "guest_cpu_ns": median(row["guest_cpu_ns"]),
        "cpu_ns": _rounded(each(row["counts"], "cpu_ns", row["ops"]), 0),
    }


def _counts(row):
    """@row: of the part that counts, which need not be the one with the clock"""
    found = {name: _rounded(each(row["counts"], name, row["ops"])) for name in COUNTED}
    found["hypercalls"] = _rounded(each(row["counts"], "kvm_hypercalls", row["ops"]))
    return {"ops": row["ops"], **found}


def _instructions(row, plain):
    instructions = each(row["counts"], "cpu_ns", row["ops"])
    base = each(plain["counts"], "cpu_ns", plain["ops"])
    return {
        "instructions": _rounded(instructions, 0),
        "instruction_ratio": _rounded(instructions / base if base and instructions else None),
        "instruction_spread": _rounded(spread([count["cpu_ns"] for count in row["counts"]])),
    }


def _row(name, timed, counted, mode):
    found = {}
    if counted:
        rows = [counted["modes"][which]["rows"][name] for which in (mode, m.PLAIN)]
        found |= _counts(rows[0]) | _instructions(*rows)
    if timed:
        rows = [timed["modes"][which]["rows"][name] for which in (mode, m.PLAIN)]
        if not counted:
            found |= _counts(rows[0])
        found |= _time(*rows)
    return found


def _boot(timed, counted):
    """From the start of the VMM until the guest has the first block of its disk."""
    boot = (counted or timed)["boot"]
    found = {name: boot.get(name) for name in ("exits", "user_exits", "syncs")}
    found["hypercalls"] = boot.get("kvm_hypercalls")
    found["ms"] = timed["boot"]["ms"] if timed else None
    found["instructions"] = counted["boot"].get("cpu_ns") if counted else None
    return found


def _pinned(measured):
    idle = measured["locked"].get("idle", [None, None])
    net_idle = measured["locked"].get("net_idle", [None, None])
    # At the end of the timeline the network is up and at rest; its peak includes all.
    return {
        "idle_pages": idle[0],
        "locked_idle_kib": idle[1],
        "net_idle_pages": net_idle[0],
        "locked_net_idle_kib": net_idle[1],
        "peak_pages": max((pages for _, pages, _ in measured["timeline"]), default=None),
        "locked_peak_kib": max((kib for _, _, kib in measured["timeline"]), default=None),
        "work_peak_pages": work_peak(measured["timeline"], measured["boot"]["ms"]),
    }


def work_peak(timeline, since_ms):
    """The most pages after the first block of the disk had been read."""
    return max((pages for ms, pages, _ in timeline if since_ms is not None and ms > since_ms),
               default=None)


def host(timed, counted):
    """The figures of one emulated host.

    @timed, @counted: from results.measured(), of the part against the clock and of the part
        that counts; either may be None
    """
    either = timed or counted
    found = {}
    for mode, measured in either["modes"].items():
        of_mode = [part and part["modes"][mode] for part in (timed, counted)]
        found[mode] = {
            "groups": measured["groups"],
            "boot": _boot(*of_mode),
            "rows": {name: _row(name, timed, counted, mode) for name in measured["rows"]},
        }
        if timed:
            found[mode]["pinned"] = _pinned(timed["modes"][mode])
            found[mode]["verified"] = not timed["modes"][mode]["wrong"]
            found[mode]["wrong"] = timed["modes"][mode]["wrong"]
            found[mode]["timeline"] = [point[:2] for point in timed["modes"][mode]["timeline"]]
    return {"modes": found}
