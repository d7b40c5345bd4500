# SPDX-License-Identifier: GPL-2.0-only
"""A whole comparison: which parts there are, in which order they run, what comes of them.

Writes out/bench.json:

{"schema": 1, "commit", "kernel", "rounds",
 "failures": [...],
 "hosts": {iommu: {"modes": {mode: {
     "groups", "boot", "rows", "pinned", "verified", "wrong", "lost", "timeline"}},
   "statements": [{"statement", "true", "wrong": [what contradicts it], "figures"}, ...]}}}

"micro" of a host is {what: instructions of one call}: see micro.py; "attach" is what it takes to
start a VMM: see attach.py.

figures.py says what is what; a timeline is [[ms since the start of the VMM, pages pinned], ...]
while the guest boots, loads its drivers, rests, and moves data that is checked.
"""

import concurrent.futures
import dataclasses
import json
import subprocess

from riglib import build, cache, common, host, kernel

from . import attach, figures, micro, modes as m, parts, plots, rows as r, statements, tables

# Guests at work, single hypercalls, and VMMs that start.
GUESTS = "guests"
MICRO = "micro"
ATTACH = "attach"
KINDS = [GUESTS, MICRO, ATTACH]

IOMMUS = [name for name in host.IOMMU_DEVICES if name != "none"]

FOLDER = common.OUT / "bench" / "parts"
RESULT = common.OUT / "bench.json"
PLOTS = common.OUT / "bench"

# What decides what comes out.
DECISIVE = ("Kbuild", "Makefile", "arch/", "drivers/", "include/", "kvm/", "tools/bench/",
            "tools/pviommu/", "tools/testing/rig/")


@dataclasses.dataclass(frozen=True)
class Size:
    """@scale: of a row's operations
    @counts: rounds in which exits are counted
    @rounds: against the clock, and of instructions
    @turns: does one host stand still while the other is measured against the clock?
    @grouped: is each group of rows a part of its own?
    """
    scale: float
    counts: int
    rounds: int
    turns: bool
    grouped: bool


# Under half an hour, on two processors
QUICK = Size(0.5, 1, 4, turns=False, grouped=False)
FULL = Size(1, 1, 5, turns=True, grouped=True)


def add_options(parser):
    parser.add_argument("--full", action="store_true",
                        help="for published figures: more rounds and operations; a part that "
                             "is through is not run again")
    parser.add_argument("--iommu", nargs="+", choices=IOMMUS, default=["vt-d", "amd-vi"])
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=KINDS,
                        help="guests at work, single hypercalls, or VMMs that start")
    parser.add_argument("--modes", nargs="+", choices=[mode.name for mode in m.MODES],
                        default=[mode.name for mode in m.MODES], help="besides plain")
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in r.ROWS],
                        help="default: those that matter; with --full, all")
    parser.add_argument("--rounds", type=int, help="against the clock")
    parser.add_argument("--counts", type=int, help="rounds in which exits are counted")
    parser.add_argument("--scale", type=float, default=1,
                        help="of the number of operations")


def _parts(args, size):
    rows = tuple(row for row in r.ROWS if (row.name in args.rows if args.rows else
                                           args.full or not row.full))
    groups = dict.fromkeys(row.group if size.grouped else "" for row in rows)
    for group in groups if GUESTS in args.kind else ():
        chosen = tuple(row for row in rows if not group or row.group == group)
        scale = size.scale * args.scale
        for iommu in args.iommu:
            yield parts.Part(
                iommu=iommu, rows_of=group, modes=m.choose(args.modes), rows=chosen,
                ops={row.name: max(1, round(row.ops * scale)) for row in chosen},
                counts=args.counts or size.counts, rounds=args.rounds or size.rounds,
                turns=size.turns)


def _sources():
    return [common.TREE / name for name in build.sources() if name.startswith(DECISIVE)]


def _key(part, chosen, sources):
    return cache.key(part.options(), chosen.release, *sources)


def _path(part, full):
    return FOLDER / f"{part.name}{'-full' if full else ''}.json"


def _stored(path, key):
    """What an earlier run has measured from the very same, or None."""
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return stored["measured"] if stored["key"] == key else None


def _measure(args, wanted, chosen):
    """{part: what it has measured}"""
    sources = _sources()
    keys = {part: _key(part, chosen, sources) for part in wanted}
    found = {}
    for part in wanted if args.full else ():
        stored = _stored(_path(part, True), keys[part])
        if stored:
            common.progress(f"{part.name}: through already")
            found[part] = stored

    def done(part, measured):
        found[part] = measured
        if not measured["failures"]:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path = _path(part, args.full)
            whole = path.with_suffix(".new")
            whole.write_text(json.dumps({"key": keys[part], "measured": measured}))
            whole.rename(path)

    missing = [part for part in wanted if part not in found]
    if missing:
        parts.run(missing, chosen, done)
    return found


def _measure_each(measure, iommus, chosen):
    """{iommu: (figures, failures)}"""
    with concurrent.futures.ThreadPoolExecutor(len(iommus)) as pool:
        return dict(zip(iommus, pool.map(lambda iommu: measure(iommu, chosen), iommus)))


def _measure_micro(iommus, chosen):
    micro.prepare(chosen)
    return _measure_each(micro.measure, iommus, chosen)


def _commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", common.TREE, *arguments], check=False, text=True,
                              stdout=subprocess.PIPE).stdout.strip()
    return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")


def _hosts(found, calls, starts):
    """@found: of the parts, in their order; @calls: {iommu: what single hypercalls cost}; @starts:
    {iommu: what it takes to start a VMM}"""
    measured = figures.together(found)
    hosts = {}
    for iommu in dict.fromkeys([*measured, *calls, *starts]):
        of_host = figures.host(measured[iommu]) if iommu in measured else {"modes": {}}
        of_host["statements"] = statements.judge(of_host["modes"])
        if calls.get(iommu):
            of_host["micro"] = calls[iommu]
            of_host["statements"] += statements.judge_micro(calls[iommu], micro.LIMITS)
        if starts.get(iommu):
            of_host["attach"] = starts[iommu]
            of_host["statements"] += statements.judge_attach(starts[iommu])
        hosts[iommu] = of_host
    return hosts


def _print(hosts, failures):
    print()
    for iommu, of_host in hosts.items():
        if of_host["modes"]:
            print("\n".join(tables.host(iommu, of_host["modes"])))
        if "micro" in of_host:
            print("\n".join(tables.micro(iommu, of_host["micro"])))
        if "attach" in of_host:
            print("\n".join(tables.attach(iommu, of_host["attach"])))
    judged = [(iommu, of_host["statements"]) for iommu, of_host in hosts.items()]
    print("\n".join(tables.statements(judged)))
    for failure in failures:
        print(f"FAILED: {failure}")
    print("\nTimes are emulated (TCG): they say nothing about real TLB, cache or IOTLB cost.")
    print(f"details: {RESULT}")


def command(args):
    size = FULL if args.full else QUICK
    chosen = kernel.prepare(newest_cached=True)
    build.run(chosen)
    commit = _commit()
    wanted = list(_parts(args, size))
    found = _measure(args, wanted, chosen)

    failures = [f"{part.name}: {failure}" for part, measured in found.items()
                for failure in measured["failures"]]
    failures += [f"{part.name}: did not run" for part in wanted if part not in found]
    calls = _measure_micro(args.iommu, chosen) if MICRO in args.kind else {}
    starts = (_measure_each(attach.measure, args.iommu, chosen) if ATTACH in args.kind else {})
    failures += [failure for _, failed in [*calls.values(), *starts.values()]
                 for failure in failed]
    usable = [found[part] for part in wanted if part in found and not found[part]["failures"]]
    hosts = _hosts(usable, {iommu: found for iommu, (found, _) in calls.items()},
                   {iommu: found for iommu, (found, _) in starts.items()})
    results = {
        "schema": 1, "commit": commit, "kernel": chosen.release,
        "rounds": max((part.rounds for part in wanted), default=0),
        "failures": failures, "hosts": hosts,
    }
    RESULT.write_text(json.dumps(results) + "\n")
    _print(hosts, failures)
    for path in plots.draw(results, PLOTS):
        print(f"plot: {path}.svg, .png")
    wrong = any(not statement["true"] for of_host in hosts.values()
                for statement in of_host["statements"])
    return 1 if failures or wrong else 0
