# SPDX-License-Identifier: GPL-2.0-only
"""Puts the figures of out/bench.json into Documentation/evaluation.rst."""

import json
import shutil

from riglib import common

from . import modes as m, tables

DOCUMENT = common.TREE / "Documentation" / "evaluation.rst"
# The plots that it shows, from beside bench.json's figures.
PLOTS = [common.OUT / "bench" / f"{name}.svg" for name in ("instructions-vt-d", "pinned-vt-d")]
BEGIN = ".. figures: written by \"make figures\"\n"
END = ".. end of figures\n"

SHORT = {"remap-strict": "strict", "remap-lazy": "lazy", "virtio-iommu": "virtio", "virtio-strict": "v.strict",
         "intel-iommu": "intel"}

LABEL = 20
CELL = 9

# Not the times: an emulator's are no figures to publish.
ROWS = {
    "own_exits": "Exits that the guest asks for, per operation: hypercalls, emulated registers",
    "user_exits": "Exits to user space per operation",
    "hypercalls": "Hypercalls per operation",
    "instructions": "Thousands of instructions per operation",
    "instruction_ratio": "Instructions, to plain VFIO",
}

IN_THOUSANDS = ("instructions",)

PINNED = {
    "pinned, disk idle": "idle_pages",
    "pinned, NIC up": "net_idle_pages",
    "pinned, peak": "work_peak_pages",
    "locked KiB, idle": "locked_idle_kib",
    "locked KiB, peak": "locked_peak_kib",
}

BOOT = {"exits": "exits", "to user space": "user_exits", "hypercalls": "hypercalls"}

# What single hypercalls cost: the rows that say most.
MICRO = ["hypercall hooked", "sync map 0", "bare pin 1 contiguous", "bare map 1 contiguous",
         *(f"{what} {pages} {layout}" for what in ("sync map", "sync unmap")
           for layout in ("contiguous", "side-by-side", "scattered") for pages in (1, 16, 256)),
         *(f"{what}, {layout}" for what in ("one page / parts, hooked", "a further page / parts")
           for layout in ("contiguous", "side-by-side", "scattered"))]


def _line(label, cells):
    return f"  {label:{LABEL}}" + "".join(f"{cell:>{CELL}}" for cell in cells)


def _table(title, modes, labels, cell):
    yield f"{title}::"
    yield ""
    yield _line("", [SHORT.get(mode, mode) for mode in modes])
    for label in labels:
        yield _line(label, [tables.number(cell(mode, label)) for mode in modes])
    yield ""


def _of_row(modes, field):
    def cell(mode, row):
        value = modes[mode]["rows"][row].get(field)
        return value / 1000 if field in IN_THOUSANDS and value is not None else value
    return cell


def _host(iommu, found):
    yield iommu
    yield "-" * len(iommu)
    yield ""
    modes = {mode.name: found["modes"][mode.name] for mode in m.MODES
             if mode.name in found["modes"]}
    if modes:
        yield from _modes(modes)
    if "micro" in found:
        yield from _micro(found["micro"])


def _modes(modes):
    rows = list(modes[m.PLAIN]["rows"])
    for field, title in ROWS.items():
        yield from _table(title, modes, rows, _of_row(modes, field))
    yield from _table("Boot to the first block of the disk", modes, BOOT,
                      lambda mode, name: modes[mode]["boot"].get(BOOT[name]))
    yield from _table("Memory: pages of 4 KiB, KiB", modes, PINNED,
                      lambda mode, name: modes[mode]["pinned"][PINNED[name]])


def _micro(micro):
    yield "Host path, instructions of one call::"
    yield ""
    for name in MICRO:
        yield f"  {name:42}{tables.number(micro[name]):>10}"
    yield ""


def lines(results):
    yield f"Of commit {results['commit']}, Linux {results['kernel']}, {results['rounds']} rounds."
    yield ""
    for iommu, found in results["hosts"].items():
        yield from _host(iommu, found)


def write(path=common.OUT / "bench.json"):
    """Replaces what is between the marks."""
    if not path.exists():
        raise common.RigError("there are no figures yet: make bench")
    text = DOCUMENT.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise common.RigError(f"{DOCUMENT.name} has no place for figures")
    figures = "\n".join(lines(json.loads(path.read_text())))
    for plot in PLOTS:
        shutil.copy2(plot, DOCUMENT.parent)
    DOCUMENT.write_text(f"{head}{begin}\n{figures}\n{end}{tail}")
