# SPDX-License-Identifier: GPL-2.0-only
"""What the job l1/bench.sh reports, as one object for each part:

{"iommu", "failures": [why the part counts for nothing, ...],
 "modes": {name: {
     "boot": {"ms", counters from the start of the VMM to the first block of the disk},
     "locked": {point: [pages pinned, KiB accounted]},
     "timeline": [[ms since the start of the VMM, pages pinned, KiB accounted], ...],
     "groups": {device of the guest: type of its IOMMU group},
     "wrong": [what the guest got wrong, ...],
     "rows": {row: {
         "counts": [{counter: its rise for the row's operations}, ...],
         "ns": [for one operation, in each round against the clock],
         "instructions": [of the whole machine for one operation, in each such round],
         "guest_cpu_ns": [the same of the guest's processor]}}}}}

What it takes to start a row's program is in no count: it runs twice, and the least that it
can do is subtracted.
"""

import dataclasses

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
    "cpu_ns": "cpu_ns",
    "instructions": "instructions",
}


@dataclasses.dataclass
class Heard:
    """What the result lines say about one guest."""
    boot_ms: int | None = None
    # By what was sampled: ("boot",) or (row, round, "start" | "least" | "all")
    samples: dict = dataclasses.field(default_factory=dict)
    locked: dict = dataclasses.field(default_factory=dict)
    # By row and round: [nanoseconds, busy nanoseconds]
    times: dict = dataclasses.field(default_factory=dict)
    # By row and round
    instructions: dict = dataclasses.field(default_factory=dict)
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
        case ["fio" | "net_time", _, ns, busy] if guest.timed:
            guest.times[guest.row] = [int(ns), int(busy)]
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
        case ["instructions", _, count]:
            guest.instructions[guest.row] = int(count)
        case ["row", _, row, what, number]:
            guest.row, guest.timed = (row, int(number)), what == "time"
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


def rise(start, least, everything):
    """How far each counter rose for the operations, without the start of the program."""
    return {name: everything[name] - least[name] - (least[name] - start[name])
            for name in everything}


def _counts(guest, row):
    found = []
    numbers = sorted(key[1] for key in guest.samples if key[0] == row and key[2] == "start")
    for number in numbers:
        points = [guest.samples.get((row, number, point))
                  for point in ("start", "least", "all")]
        if all(points):
            found.append(rise(*points))
    return found


def _least(guest, row):
    """Instructions of the least that the row's program can do, or None."""
    found = [guest.samples[row, number, "least"]["instructions"] - sample["instructions"]
             for (name, number, point), sample in
             ((key, sample) for key, sample in guest.samples.items() if len(key) == 3)
             if name == row and point == "start" and (row, number, "least") in guest.samples]
    return min(found, default=None)


def _row(guest, row, ops):
    """Time is taken of one operation more: that of the least that the program can do."""
    times = [times for (name, _), times in sorted(guest.times.items()) if name == row]
    least = _least(guest, row)
    return {
        "ops": ops,
        "counts": _counts(guest, row),
        "ns": [ns // (ops + 1) for ns, _ in times],
        "instructions": [] if least is None else
        [(count - least) / ops
         for (name, _), count in sorted(guest.instructions.items()) if name == row],
        "guest_cpu_ns": [busy // (ops + 1) for _, busy in times],
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
            "rows": {row.name: _row(guest, row.name, part.ops[row.name])
                     for row in part.rows},
        }
    leaked = outcome.values("leaked")
    if leaked != [["0"]]:
        failures.append(f"pages left pinned: {leaked}")
    return {"iommu": part.iommu, "failures": failures, "modes": found}
