# SPDX-License-Identifier: GPL-2.0-only
"""What the job l1/bench.sh reports, as one object for each part:

{"iommu", "failures": [why the part counts for nothing, ...],
 "modes": {name: {
     "boot": {"ms", counters from the start of the VMM to the first block of the disk},
     "locked": {point: [pages pinned, KiB accounted]},
     "timeline": [[ms since the start of the VMM, pages pinned, KiB accounted], ...],
     "groups": {device of the guest: type of its IOMMU group},
     "wrong": [what the guest got wrong, ...],
     "pinned_peak": pages, the most that were ever pinned in its aperture,
     "lost": how often the emulator has lost the guest, which was started again then,
     "rows": {row: {
         "counts": [{counter: its rise for the row's operations}, ...],
         "counted_ns": [for one operation, in each of these rounds],
         "ns": [for one operation, in each round against the clock],
         "instructions": [of the whole machine for one operation, in each such round],
         "guest_cpu_ns": [for which the guest's processor was not idle, the same]}}}}}

What it takes to start a row's program is in no count: the guest says when its work begins
and ends. What saying so takes is measured too, with the least that the program can do, and
subtracted.
"""

import dataclasses
import statistics

from riglib import guests as g, host

# As the job names them. pv_: from the host module
COUNTERS = {
    "exits": "exits",
    "user_exits": "user_exits",
    "kvm_hypercalls": "hypercalls",
    "mmio_exits": "mmio_exits",
    "io_exits": "io_exits",
    "halt_exits": "halt_exits",
    "irq_exits": "irq_exits",
    "hypercalls": "pv_hypercalls",
    "syncs": "pv_syncs",
    "mapped": "pv_mapped",
    "unmapped": "pv_unmapped",
    "map_calls": "pv_map_calls",
    "unmap_calls": "pv_unmap_calls",
    "flushes": "pv_flushes",
    "pinned_peak": "pv_pinned_peak",
    "cpu_ns": "cpu_ns",
    "instructions": "instructions",
}


@dataclasses.dataclass
class Heard:
    """What the result lines say about one guest."""
    boot_ms: int | None = None
    # By what was sampled: ("boot",) or (row, round, "begin" | "end")
    samples: dict = dataclasses.field(default_factory=dict)
    locked: dict = dataclasses.field(default_factory=dict)
    # By row and round that was counted
    counted_ns: dict = dataclasses.field(default_factory=dict)
    # By row and round against the clock
    ns: dict = dataclasses.field(default_factory=dict)
    busy_ns: dict = dataclasses.field(default_factory=dict)
    instructions: dict = dataclasses.field(default_factory=dict)
    # Seconds for which the guest had been busy when its work began
    began: float | None = None
    # The rest that the guest said, line by line
    said: list = dataclasses.field(default_factory=list)
    written: list | None = None
    # What it is at: the row, the round, and whether the clock counts
    row: tuple | None = None
    timed: bool = False

    def words(self, name):
        return [words[1:] for words in self.said if words[0] == name]


def _guest_line(guest, words):
    match words:
        case ["mark", uptime, idle]:
            busy = float(uptime) - float(idle)
            if guest.began is None:
                guest.began = busy
            elif guest.timed:
                guest.busy_ns[guest.row] = round((busy - guest.began) * 1e9)
        case ["fio" | "net_time", _, ns]:
            (guest.ns if guest.timed else guest.counted_ns)[guest.row] = int(ns)
        case ["pause", *_]:
            pass
        case [_, *_]:
            guest.said.append(words)


def _host_line(guest, words):
    match words:
        case ["boot", _, ms]:
            guest.boot_ms = int(ms)
        case ["sample", _, "boot", *pairs]:
            guest.samples["boot",] = _counted(pairs)
        case ["sample", _, row, number, point, *pairs]:
            guest.samples[row, int(number), point] = _counted(pairs)
        case ["locked", _, point, pages, kib]:
            guest.locked[point] = [int(pages), int(kib)]
        case ["instructions", _, count] if guest.timed:
            guest.instructions[guest.row] = int(count)
        case ["row", _, row, what, number]:
            # What is measured of one that only warms up counts for no row.
            guest.row = (row if what != "warm" else "", int(number))
            guest.timed = what == "time"
            guest.began = None
        case ["write", _, *numbers]:
            guest.written = [int(number) for number in numbers]


def _counted(pairs):
    found = dict(zip(pairs[::2], map(int, pairs[1::2])))
    return {name: found[key] for name, key in COUNTERS.items() if key in found}


def parse(lines):
    """{mode: Heard} from the host's result lines."""
    guests = {}
    for line in lines:
        match line.split():
            case ["begin", name]:
                # Started again, it says again what is not of a row.
                guests.setdefault(name, Heard()).said = []
            case ["guest", name, *words] if name in guests:
                _guest_line(guests[name], words)
            case [_, name, *_] as words if name in guests:
                _host_line(guests[name], words)
    return guests


def _rises(guest, row):
    """How far each counter rose in each round that was counted."""
    found = []
    for key, begin in sorted((key, sample) for key, sample in guest.samples.items()
                             if key[0] == row and key[-1] == "begin"):
        end = guest.samples.get((*key[:-1], "end"))
        if end:
            found.append({name: end[name] - begin[name] for name in end if name in begin})
    return found


def _counts(guest, row):
    least = _rises(guest, row.least)
    usual = {name: statistics.median(counts[name] for counts in least)
             for name in (least[0] if least else ())}
    return [{name: counts[name] - usual[name] for name in counts if name in usual}
            for counts in _rises(guest, row.name)]


def _of_row(measured, row):
    """What was measured of a row of that name, in the order of the rounds."""
    return [value for (name, _), value in sorted(measured.items()) if name == row]


def _beyond_least(measured, row, ops, usual):
    """Of one operation in each round, without the least that the program can do; @usual is a
    function that finds that among the rounds."""
    least = _of_row(measured, row.least)
    return [(value - usual(least)) / ops for value in _of_row(measured, row.name) if least]


def _row(guest, row, ops):
    return {
        "ops": ops,
        "counts": _counts(guest, row),
        # The program's own clock, which measures nothing else.
        "counted_ns": [ns // (ops + row.extra) for ns in _of_row(guest.counted_ns, row.name)],
        "ns": [ns // (ops + row.extra) for ns in _of_row(guest.ns, row.name)],
        "instructions": _beyond_least(guest.instructions, row, ops, min),
        "guest_cpu_ns": _beyond_least(guest.busy_ns, row, ops, statistics.median),
    }


def not_in_effect(mode, guest):
    """What says that the guest is not in this mode after all."""
    types = {words[0]: words[1] for words in guest.words("group")}
    if len(types) != 2:
        yield "tells nothing of its IOMMU groups"
    for device, kind in types.items():
        if mode.group is not None and kind != mode.group:
            yield f"{device} is in a group of type {kind}, not {mode.group}"
    used = [int(words[0]) for words in guest.words("swiotlb") if words]
    if mode.bounces and not any(used):
        yield "swiotlb was not used"
    if mode.driver_mode and guest.words("driver_mode") != [[mode.driver_mode]]:
        yield f"the driver's mode is not {mode.driver_mode}"
    synced = guest.samples.get(("boot",), {}).get("syncs", 0)
    if bool(synced) != mode.behind:
        yield f"pviommu has synchronized {synced} times"


def _wrong_data(guest, digest, disks, moved):
    if guest.words("md5") != [[digest]]:
        yield "did not read what is on the disk"
    if guest.written is None or not g.write_arrived(disks, *guest.written):
        yield "what it wrote is not on the disk"
    if guest.words("fio_verify") != [["0"]]:
        yield "fio did not read what it wrote"
    nic = {words[0]: words[1:] for words in guest.words("nic")}
    if not g.Guest(nic=nic).nic_right(moved):
        yield "did not move data right over the network"


def _timeline(spec, name):
    path = spec.share / "log" / f"timeline-{name}"
    if not path.exists():
        return []
    lines = (line.split() for line in path.read_text().splitlines())
    return [[int(word) for word in words] for words in lines if len(words) == 3]


def measured(part, spec, outcome):
    heard = parse(outcome.results)
    log = host.peer_log(spec)
    moved = log.read_text().splitlines() if log.exists() else []
    digest = g.data_md5(spec.disks[0])
    found, failures = {}, list(outcome.failures)
    for mode in part.modes:
        guest = heard.get(mode.name, Heard())
        failures += [f"{mode.name}: {what}" for what in not_in_effect(mode, guest)]
        found[mode.name] = {
            "boot": {"ms": guest.boot_ms, **guest.samples.get(("boot",), {})},
            "locked": guest.locked,
            "timeline": _timeline(spec, mode.name),
            "groups": {words[0]: words[1] for words in guest.words("group")},
            "wrong": list(_wrong_data(guest, digest, spec.disks, moved)),
            "pinned_peak": max((sample["pinned_peak"] for sample in guest.samples.values()
                                if "pinned_peak" in sample), default=None),
            "lost": outcome.values("lost").count([mode.name]),
            "rows": {row.name: _row(guest, row, part.ops[row.name]) for row in part.rows},
        }
    leaked = outcome.values("leaked")
    if leaked != [["0"]]:
        failures.append(f"pages left pinned: {leaked}")
    return {"iommu": part.iommu, "failures": failures, "modes": found}
