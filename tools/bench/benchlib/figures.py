# SPDX-License-Identifier: GPL-2.0-only
"""Makes the figures that are compared out of what the parts have measured.

For each row and mode, of one operation (see rows.py for what that is):

ops                  how many were counted
exits, user_exits    of the VM, and those of them that KVM left to the VMM
own_exits            what the guest asks host or VMM for: hypercalls, and accesses to emulated
                     registers. The others come of interrupts and of waiting, and how many
                     there are depends on who is faster
hypercalls           those that KVM saw, whoever answered them
mmio_exits, io_exits, halt_exits, irq_exits    kinds of exits
syncs, flushes, mapped, map_calls, unmapped, unmap_calls    of the host module, if it is used
mean_syncs           mean of the rounds, where the others are medians
flushes_allowed      one for 250 mappings or 100 a second, whichever is more, and one for the
                     measurement
instructions         of the whole emulated machine meanwhile, in which nothing else works: the
                     guest's, KVM's, the host module's and the VMM's own. The fewest of the
                     rounds: the ticks of the clocks come on top of them, and the more of those
                     the slower the machine is just then
instruction_ratio    to plain's. Neither is given unless two rounds agree
instruction_spread   (second fewest - fewest) / fewest
equal_ratio          instructions to plain's, if both had taken as long: clocks tick by time, in the
                     host and in the guest, so the more a round takes the more instructions it has,
                     and all rounds together tell how many. Of three rounds or more
equal_error          standard error of that
cpu_ns               what the threads of the VMM ran for
ns                   time, in each round
time_ratio           median of what each round took to the same round of plain; _min, _max
guest_cpu_ns         for which the guest's processor was not idle; median
"""

import math
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
    """How far the two smallest are apart, in parts of the smaller; None if that says nothing."""
    least = sorted(values)[:2]
    return (least[1] - least[0]) / least[0] if len(least) == 2 and least[0] > 0 else None


def ratios(values, base):
    """What each round took to the same round of @base."""
    return [value / other for value, other in zip(values, base) if other]


def at_equal_time(row, base):
    """(instructions to @base's, standard error), both at the mean time of all rounds; None if there
    are too few: see equal_ratio above. Least squares, with one slope for both."""
    times, counts = ([data["ns"] for data in (row, base)],
                     [data["instructions"] for data in (row, base)])
    sizes = [len(values) for values in counts]
    if min(sizes) < 3 or [len(values) for values in times] != sizes:
        return None
    middle = [[statistics.fmean(values) for values in both] for both in (times, counts)]
    apart = [[value - mean for values, mean in zip(both, means) for value in values]
             for both, means in zip((times, counts), middle)]
    slope = statistics.linear_regression(*apart, proportional=True).slope if any(apart[0]) else 0
    time = statistics.fmean(times[0] + times[1])
    levels = [count - slope * (at - time) for at, count in zip(*middle)]
    rest = sum((count - slope * at) ** 2 for at, count in zip(*apart)) / (sum(sizes) - 3)
    error = math.sqrt(rest * sum(1 / size for size in sizes))
    return levels[0] / levels[1], error / levels[1]


def each(counts, name, ops):
    """Of one operation, median over the rounds that were counted; None if it was not."""
    found = median([count[name] for count in counts if name in count])
    return None if found is None else found / ops


def _counts(row):
    found = {name: _rounded(each(row["counts"], name, row["ops"])) for name in COUNTED}
    found["hypercalls"] = _rounded(each(row["counts"], "kvm_hypercalls", row["ops"]))
    own = [found[name] for name in ("hypercalls", "mmio_exits", "io_exits")]
    found["own_exits"] = None if None in own else _rounded(sum(own))
    found["cpu_ns"] = _rounded(each(row["counts"], "cpu_ns", row["ops"]), 0)
    syncs = [count["syncs"] for count in row["counts"] if "syncs" in count]
    found["mean_syncs"] = _rounded(statistics.fmean(syncs) / row["ops"], 5) if syncs else None
    found["flushes_allowed"] = _flushes_allowed(row, found)
    return {"ops": row["ops"], **found}


def _flushes_allowed(row, found):
    """A sync that flushes nothing has mapped something."""
    if None in (found["syncs"], found["flushes"]) or not row["counted_ns"]:
        return None
    seconds = median(row["counted_ns"]) / 1e9
    return _rounded(max((found["syncs"] - found["flushes"]) / 250, 100 * seconds)
                    + 1 / row["ops"])


# How far two rounds may be apart to agree.
AGREED = 0.25


def _instructions(row):
    apart = spread(row["instructions"])
    return min(row["instructions"]) if apart is not None and apart <= AGREED else None


def _row(row, plain):
    times = ratios(row["ns"], plain["ns"])
    instructions, of_plain = _instructions(row), _instructions(plain)
    equal = at_equal_time(row, plain) or (None, None)
    return _counts(row) | {
        "instructions": _rounded(instructions, 0),
        "instruction_ratio": _rounded(instructions / of_plain) if instructions and of_plain
        else None,
        "instruction_spread": _rounded(spread(row["instructions"])),
        "equal_ratio": _rounded(equal[0], 4),
        "equal_error": _rounded(equal[1], 4),
        "ns": row["ns"],
        "time_ratio": _rounded(median(times)),
        "time_ratio_min": _rounded(min(times, default=None)),
        "time_ratio_max": _rounded(max(times, default=None)),
        "guest_cpu_ns": _rounded(median(row["guest_cpu_ns"]), 0),
    }


def _boot(boot):
    """From the start of the VMM until the guest has the first block of its disk."""
    found = {name: boot.get(name) for name in ("exits", "user_exits", "syncs", "instructions")}
    return found | {"hypercalls": boot.get("kvm_hypercalls"), "ms": boot["ms"]}


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


def together(parts):
    """{iommu: the parts of it as one}. What is not of a row is the first part's."""
    found = {}
    for part in parts:
        whole = found.setdefault(part["iommu"], part)
        for mode, measured in part["modes"].items() if whole is not part else ():
            whole["modes"][mode]["rows"] |= measured["rows"]
            whole["modes"][mode]["wrong"] += measured["wrong"]
    return found


def host(part):
    """The figures of one emulated host, from results.measured()."""
    plain = part["modes"][m.PLAIN]["rows"]
    return {"modes": {mode: {
        "groups": measured["groups"],
        "boot": _boot(measured["boot"]),
        "rows": {name: _row(row, plain[name]) for name, row in measured["rows"].items()},
        "pinned": _pinned(measured),
        "verified": not measured["wrong"],
        "wrong": measured["wrong"],
        "pinned_peak": measured["pinned_peak"],
        "lost": measured["lost"],
        "timeline": [point[:2] for point in measured["timeline"]],
    } for mode, measured in part["modes"].items()}}
