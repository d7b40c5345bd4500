# SPDX-License-Identifier: GPL-2.0-only
"""The demonstration of overcommitted memory: guests with passthrough devices that have more
memory than their host. Writes out/overcommit.json and a plot for each IOMMU."""

import itertools
import json
import subprocess
import textwrap

from . import build, common, features, gnuplot, host, kernel, pair, rundir

HOST_MIB = 2048
SWAP_MIB = 4096

# Of each guest's 1024
WORK_MIB = 900
ROUNDS = 1

# A host that swaps takes its time.
GUEST_SILENCE = 300
SILENCE = 360

STEPS = {
    "booted": "booted",
    "pviommu": "pviommu driver loaded",
    "net": "network up",
    "touch": "used 200 MiB for DMA",
    "overcommit": "through with its work",
}


def _progress(iommu, line):
    match line.split():
        case ["guest", name, "pause", step] if step in STEPS:
            common.progress(f"{iommu}: {name}: {STEPS[step]}")
        case ["guest", name, "working", number] if int(number) % 20 == 0:
            common.progress(f"{iommu}: {name}: disk written and read {number} times")
        case ["plain", name, state]:
            common.progress(f"{iommu}: plain VFIO: {name}: {state}")
        case ["failure", *words]:
            common.progress(f"{iommu}: FAILED: {' '.join(words)}")


def _timeline(spec):
    """[[seconds, MiB free, MiB swapped, MiB pinned, MiB taken back], ...] from the first guest on"""
    path = spec.share / "log" / "memory"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    rows = [[float(word) for word in words] for words in lines if len(words) == 5]
    return [[round(seconds - rows[0][0], 2), round(free / 1024, 1), round(swapped / 1024, 1),
             round(pinned / 256, 1), round(taken / 256, 1)]
            for seconds, free, swapped, pinned, taken in rows]


def _taken_within(timeline, idle_mib):
    """Seconds from the last look at which nothing had been taken back to the first at which nine
    tenths of @idle_mib had, or None."""
    if idle_mib is None:
        return None
    before = itertools.takewhile(lambda row: not row[4], timeline)
    since = max((row[0] for row in before), default=None)
    until = min((row[0] for row in timeline if row[4] >= 0.9 * idle_mib), default=None)
    return None if None in (since, until) else round(until - since, 2)


def _number(outcome, name, index=0):
    values = outcome.values(name)
    return int(values[-1][index]) if values else None


def _summary(spec, outcome):
    timeline = _timeline(spec)
    idle = _number(outcome, "touched")
    return {
        "iommu": spec.iommu,
        "plain_started": sum(state == "up" for _, state in outcome.values("plain")),
        "pinned_idle_pages": idle,
        "pinned_peak_pages": _number(outcome, "peak"),
        "swapped_out_kib": _number(outcome, "swapped"),
        "swapped_in_kib": _number(outcome, "swapped", 1),
        "reclaims": _number(outcome, "reclaimed"),
        "reclaimed_pages": _number(outcome, "reclaimed", 1),
        "checks": dict(features.checks(outcome.results)),
        "failures": outcome.failures,
        "taken_within_seconds": _taken_within(timeline, None if idle is None else idle / 256),
        "timeline": timeline,
    }


ROWS = (
    ("guests under plain VFIO, of 3", "plain_started", 1, ""),
    ("pinned and idle before", "pinned_idle_pages", 256, "MiB"),
    ("nine tenths taken back within", "taken_within_seconds", 1, "s"),
    ("pinned, sum of peaks", "pinned_peak_pages", 256, "MiB"),
    ("taken back, times", "reclaims", 1, ""),
    ("taken back", "reclaimed_pages", 256, "MiB"),
    ("swapped out", "swapped_out_kib", 1024, "MiB"),
    ("swapped in", "swapped_in_kib", 1024, "MiB"),
)


def _cell(value, unit, name):
    if value is None:
        return "-"
    return f"{value / unit:.0f} {name}" if unit > 1 or isinstance(value, int) else f"{value} {name}"


def _print(summaries):
    print()
    print(f"{'':32}" + "".join(f"{summary['iommu']:>18}" for summary in summaries))
    for label, field, unit, name in ROWS:
        cells = (summary[field] for summary in summaries)
        print(f"{label:32}" + "".join(f"{_cell(cell, unit, name):>18}"
                                      for cell in cells))
    for name in dict.fromkeys(name for summary in summaries for name in summary["checks"]):
        cells = (summary["checks"].get(name) for summary in summaries)
        print(f"{name:72}" + "".join(f"{'yes' if cell else 'NO':>6}" for cell in cells))


def _plot(summary, folder):
    columns = (("free", 2, "#999999"), ("swapped out", 3, "#0072b2"), ("pinned", 4, "#d55e00"),
               ("taken back by the host", 5, "#009e73"))
    lines = [f"$memory using 1:{column} with lines lw 2 lc rgb '{colour}' title '{name}'"
             for name, column, colour in columns]
    path = folder / f"overcommit-{summary['iommu']}"
    gnuplot.draw(gnuplot.block("memory", [" ".join(map(str, row)) for row in summary["timeline"]])
                 + textwrap.dedent(f"""\
        set title "three guests of 1 GiB on a host of 2 GiB, {summary['iommu']}"
        set xlabel "seconds (emulated)"
        set ylabel "MiB"
        set key outside right
        set grid ytics
        """) + "plot " + ", ".join(lines) + "\n", path)
    return path


def command(_):
    subprocess.run([common.TREE / "scripts" / "setup", "plot"], check=True)
    chosen = kernel.prepare()
    build.run(chosen)
    booted = pair.boot("overcommit", chosen, common.RIG / "l1" / "overcommit.sh",
                       f"rig.work_mib={WORK_MIB} rig.rounds={ROUNDS}", _progress,
                       memory_mib=HOST_MIB, swap_mib=SWAP_MIB, silence=SILENCE,
                       guest_silence=GUEST_SILENCE)
    summaries = [_summary(spec, outcome) for spec, outcome in booted.values()]
    common.OUT.mkdir(exist_ok=True)
    (common.OUT / "overcommit.json").write_text(json.dumps(summaries, indent=1) + "\n")
    _print(summaries)
    wrong = False
    for summary, (spec, _) in zip(summaries, booted.values()):
        if summary["timeline"]:
            print(f"plot: {_plot(summary, common.OUT)}.svg, .png")
        for failure in summary["failures"]:
            print(f"FAILED on {summary['iommu']}: {failure}")
        if summary["failures"] or not all(summary["checks"].values()):
            wrong = True
            print(f"everything is kept in {spec.run_dir}")
        else:
            rundir.discard_bulk(spec.run_dir)
    print(f"details: {common.OUT / 'overcommit.json'}")
    return 1 if wrong else 0
