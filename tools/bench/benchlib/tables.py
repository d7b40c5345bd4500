# SPDX-License-Identifier: GPL-2.0-only
"""The figures as tables for people."""

from . import rows as r

LABEL = 22
CELL = 14

TITLES = {
    "exits": "exits per operation",
    "own_exits": "hypercalls and accesses to emulated registers per operation",
    "user_exits": "exits to user space per operation",
    "hypercalls": "hypercalls per operation",
    "instructions": "thousands of instructions per operation",
    "instruction_ratio": "instructions, to plain VFIO",
    "equal_ratio": "instructions, to plain VFIO, if that took as long: with standard error",
    "time_ratio": "time, to plain VFIO: median (smallest - largest) of the rounds",
}

PINNED = {
    "pinned, idle": "idle_pages",
    "pinned, network up": "net_idle_pages",
    "pinned, peak at work": "work_peak_pages",
    "pinned, peak": "peak_pages",
    "locked KiB, idle": "locked_idle_kib",
    "locked KiB, peak": "locked_peak_kib",
}


def number(value):
    """With as many digits as say something."""
    if value is None:
        return "-"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 0.0005 else "0"


def _cell(values, name):
    if name == "instructions" and values.get(name) is not None:
        return number(values[name] / 1000)
    if name == "time_ratio" and values.get(name) is not None:
        return "{} ({}-{})".format(*(number(values[key]) for key in
                                     (name, "time_ratio_min", "time_ratio_max")))
    if name == "equal_ratio" and values.get(name) is not None:
        return f"{values[name]:.3f} +- {values['equal_error']:.3f}"
    return number(values.get(name))


def _lines(title, labels, modes, cell, width):
    yield f"{title:{LABEL}}"
    yield " " * LABEL + "".join(f"{mode:>{width}}" for mode in modes)
    for label in labels:
        yield f"{label:{LABEL}}" + "".join(f"{cell(mode, label):>{width}}" for mode in modes)
    yield ""


def host(iommu, modes):
    """Lines about one host."""
    yield f"== {iommu}, one operation is one " \
          + ", ".join(sorted({row.unit for row in r.ROWS}))
    names = list(next(iter(modes.values()))["rows"])
    for name, title in TITLES.items():
        width = CELL + 5 if name in ("time_ratio", "equal_ratio") else CELL
        yield from _lines(title, names, modes,
                          lambda mode, row, name=name: _cell(modes[mode]["rows"][row], name),
                          width)
    yield from _lines("boot to the first block", ["ms", "exits", "user_exits", "hypercalls",
                                                  "instructions"], modes,
                      lambda mode, name: _cell(modes[mode]["boot"], name), CELL)
    if all("pinned" in values for values in modes.values()):
        yield from _lines("pages", PINNED, modes,
                          lambda mode, label: number(modes[mode]["pinned"][PINNED[label]]), CELL)


def micro(iommu, calls):
    """Lines about single hypercalls."""
    yield f"== {iommu}, instructions of one call"
    for name, value in calls.items():
        yield f"{name:{LABEL + CELL}}{number(value):>{CELL}}"
    yield ""


def attach(iommu, modes):
    """Lines about VMMs that start."""
    sizes = list(next(iter(modes.values())))
    yield f"== {iommu}, to start a VMM whose guest has so many MiB"
    for title, name, scale in (("millions of instructions", "instructions", 1e6),
                               ("ms (emulated)", "ms", 1), ("pages pinned", "pages", 1)):
        yield from _lines(title, sizes, modes,
                          lambda mode, mib, name=name, scale=scale:
                          number(modes[mode][mib][name] / scale), CELL)


def statements(found):
    for iommu, judged in found:
        for statement in judged:
            verdict = "yes" if statement["true"] else "NO"
            yield f"{iommu}: {statement['statement']}: {verdict}"
            for name in statement["wrong"]:
                yield f"    {name}: {statement['figures'][name]}"
