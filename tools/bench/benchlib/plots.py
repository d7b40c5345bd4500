# SPDX-License-Identifier: GPL-2.0-only
"""Plots of out/bench.json by gnuplot, each as SVG and PNG."""

import textwrap

from riglib import gnuplot

from . import modes as m

# One colour for a mode in all plots, told apart by those who see fewer colours, too.
COLOURS = {
    "plain": "#000000",
    "remap-strict": "#0072b2",
    "remap-lazy": "#56b4e9",
    "bounce": "#009e73",
    "hybrid": "#8fd175",
    "direct": "#b2182b",
    "direct-tight": "#ef8a62",
    "virtio-iommu": "#d55e00",
    "virtio-strict": "#cc79a7",
    "intel-iommu": "#e69f00",
    "swiotlb": "#999999",
}

PAGE_MIB = 4096 / (1 << 20)

COSTS = {
    "exits": ("exits per operation", "exits"),
    "instructions": ("instructions, to plain VFIO", "instruction_ratio"),
    "time": ("time, to plain VFIO (emulated)", "time_ratio"),
}


def _pinned(iommu, modes):
    """Pinned memory over the time since the VMM was started, a line for each mode."""
    shown = [mode.name for mode in m.MODES if modes.get(mode.name, {}).get("timeline")]
    blocks = [gnuplot.block(f"d{number}", [f"{ms / 1000:.2f} {max(pages * PAGE_MIB, 0.01):.3f}"
                                    for ms, pages in modes[name]["timeline"]])
              for number, name in enumerate(shown)]
    lines = [f"$d{number} with steps lw 2 lc rgb '{COLOURS[name]}' title '{name}'"
             for number, name in enumerate(shown)]
    return "".join(blocks) + textwrap.dedent(f"""\
        set title "pinned memory of a guest of 512 MiB, {iommu}: boot, disk, network"
        set xlabel "seconds since the VMM was started (emulated)"
        set ylabel "MiB pinned"
        set logscale y
        set yrange [0.03:1500]
        set key outside right
        set grid ytics
        """) + "plot " + ", ".join(lines) + "\n"


def _costs(iommu, modes, title, field):
    """One group of bars for each row, a bar for each mode."""
    shown = [mode.name for mode in m.MODES if mode.name in modes]
    rows = [row for row in modes[m.PLAIN]["rows"]
            if any(modes[mode]["rows"][row].get(field) is not None for mode in shown)]
    lines = [" ".join([f'"{row}"', *(_value(modes[mode]["rows"][row].get(field))
                                     for mode in shown)]) for row in rows]
    bars = [f"$rows using {column}:xtic(1) lc rgb '{COLOURS[mode]}' title '{mode}'"
            for column, mode in enumerate(shown, 2)]
    return gnuplot.block("rows", lines) + textwrap.dedent(f"""\
        set title "{title}, {iommu}"
        set style data histogram
        set style histogram clustered gap 1
        set style fill solid 0.9 border -1
        set boxwidth 1
        set xtics rotate by -35 nomirror
        set ylabel "{title}"
        set yrange [0:*]
        set key outside right
        set grid ytics
        """) + "plot " + ", ".join(bars) + "\n"


def _value(value):
    return "NaN" if value is None else f"{value:.4f}"


def draw(results, folder):
    """Draws what @results has figures for; returns the paths, without .svg and .png."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for iommu, found in results["hosts"].items():
        modes = found["modes"]
        if not modes:
            continue
        if any(mode.get("timeline") for mode in modes.values()):
            drawn[folder / f"pinned-{iommu}"] = _pinned(iommu, modes)
        for name, (title, field) in COSTS.items():
            if any(row.get(field) is not None for mode in modes.values()
                   for row in mode["rows"].values()):
                drawn[folder / f"{name}-{iommu}"] = _costs(iommu, modes, title, field)
    for path, script in drawn.items():
        gnuplot.draw(script, path)
    return list(drawn)
