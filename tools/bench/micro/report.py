#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tables from what micro has printed: a column for each file that is named.

The ratios compare a sync with the sum of its parts: an empty hypercall, a bare pin and
a bare iommu_map(), each of one page.
"""

import pathlib
import sys

# Layouts that the bare costs are measured with: scattered memory is made of the same
# small pages.
BARE = {"contiguous": "contiguous", "side-by-side": "side-by-side",
        "scattered": "side-by-side"}
MOST = 256


def rows(lines):
    """Name to (median, least, most)."""
    found = {}
    for line in lines:
        words = line.split()
        if words[:1] == ["micro"]:
            found[" ".join(words[1:-3])] = tuple(float(word) for word in words[-3:])
    return found


def ratios(found):
    """Yields (name, value)."""
    for layout, bare in BARE.items():
        pin, mapped = (found[f"bare {what} 1 {bare}"][0] for what in ("pin", "map"))
        one, most = (found[f"sync map {n} {layout}"][0] for n in (1, MOST))
        for hook in ("unhooked", "hooked"):
            empty = found[f"hypercall {hook}"][0]
            yield f"one page / parts, {hook}, {layout}", one / (empty + pin + mapped)
        further = (most - one) / (MOST - 1)
        yield f"a further page / parts, {layout}", further / (pin + mapped)


def table(columns):
    """Lines of all that the first column has."""
    for name in columns[0]:
        cells = [column.get(name) for column in columns]
        yield f"{name:42}" + "".join(
            f"{cell[0]:12.1f} {f'({cell[1]:.0f}-{cell[2]:.0f})':20}" if cell else " " * 33
            for cell in cells)
    for name, *values in zip(*([name for name, _ in ratios(columns[0])],
                               *([value for _, value in ratios(column)]
                                 for column in columns))):
        yield f"{name:42}" + "".join(f"{value:12.3f} {'':20}" for value in values)


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: report.py FILE...")
    for line in table([rows(pathlib.Path(path).read_text().splitlines()) for path in sys.argv[1:]]):
        print(line.rstrip())


if __name__ == "__main__":
    main()
