# SPDX-License-Identifier: GPL-2.0-only
"""Which lines of our code have run, from the counters of booted kernels."""

import collections
import json
import pathlib
import shutil
import subprocess
import tempfile

from . import common

# Folders in the kernel tree, with what they are called in ours.
FOLDERS = {"virt/kvm/pviommu": "kvm", "drivers/iommu/pv": "drivers/iommu/pv"}


def _gcov(notes, counters, work):
    """What gcov says about one object, or None."""
    shutil.copy2(notes, work / notes.name)
    shutil.copy2(counters, work / counters.name)
    done = subprocess.run(["gcov", "--json-format", "--stdout", counters.name], cwd=work,
                          check=False, text=True, capture_output=True)
    if done.returncode or not done.stdout.strip():
        raise common.RigError(f"gcov cannot read {counters}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def _folder(name):
    """(ours, file) if @name is a source file of ours, and not of the tests."""
    path = pathlib.PurePath(name)
    for folder, ours in FOLDERS.items():
        if str(path.parent).endswith(folder) and path.suffix == ".c":
            return ours, path.name
    return None


def lines(kernel, logs):
    """{(folder, file): {line: times}} of all counters in directories @logs."""
    counts = collections.defaultdict(collections.Counter)
    for log in logs:
        root = log / "gcov" / str(kernel.kdir).lstrip("/")
        for counters in sorted(root.rglob("*.gcda")):
            notes = (kernel.root / "gcno" / counters.relative_to(root)).with_suffix(".gcno")
            if not notes.exists():
                continue
            with tempfile.TemporaryDirectory() as work:
                found = _gcov(notes, counters, pathlib.Path(work))
            for file in found["files"]:
                key = _folder(file["file"])
                if key:
                    for line in file["lines"]:
                        counts[key][line["line_number"]] += line["count"]
    return counts


def percent(counted):
    """Of the lines in a list of {line: times}, how many per cent have run."""
    times = [count for file in counted for count in file.values()]
    return round(100 * sum(count > 0 for count in times) / len(times), 1) if times else 0.0


def by_folder(counts):
    """{folder: per cent}"""
    return {ours: percent([file for (folder, _), file in counts.items() if folder == ours])
            for ours in FOLDERS.values()}


def report(counts):
    """Lines of text: per cent of each file, and which lines have not run."""
    for (folder, name), file in sorted(counts.items()):
        missed = sorted(line for line, count in file.items() if not count)
        yield f"{percent([file]):5.1f} %  {folder}/{name}" + (
            f"  not: {' '.join(map(str, missed))}" if missed else "")
