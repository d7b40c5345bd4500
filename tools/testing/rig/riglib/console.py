# SPDX-License-Identifier: GPL-2.0-only
"""Finds a kernel's cries for help in a console log."""

import re

SPLAT = re.compile(
    r"BUG: |\bBUG at |WARNING: |\bOops\b|\bRIP: |Kernel panic|Unable to handle|"
    r"general protection fault|KASAN: |UBSAN: |KCSAN: |"
    r"kmemleak: \d+ new|possible recursive locking|possible circular locking|"
    r"suspicious RCU usage|detected stall|self-detected stall|rcu.*kthread starved|"
    r"soft lockup|hard LOCKUP|INFO: task .* blocked|refcount_t: |Bad page state|"
    r"scheduling while atomic|DMA-API: .*(error|warning)")

# Said at every boot, about the processor, by kernels without a fault.
HARMLESS = re.compile(r"(Spectre|MDS|TAA|MMIO|Retbleed|SRSO|Speculative|L1TF|RFDS|TSA).*WARNING: ")


# What a guest says that is told to panic, and the last line before it restarts.
INTENDED = "Kernel panic - not syncing: sysrq triggered crash"
RESTART = re.compile(r"Kernel Offset: |Rebooting ")


# QEMU 7.2 sometimes resumes a guest's guest with what an instruction has just computed
# in its flags; it crashes at once, and most often while it boots. No processor has
# a one in the bits above ID.
FLAGS = re.compile(r"EFLAGS: ([0-9a-f]{8})\b")
NO_FLAGS = 0xffc00000
PANIC = "Kernel panic - not syncing: "
MOST_FAULTS = 2

# Or with the user's GS in the kernel: it faults on its first access to per-CPU data after
# an entry, again in the handler of that fault, and so on to the end of the entry stack.
LOST_GS = "BUG: ENTRY_TRAMPOLINE stack guard page was hit"


def _without_intended(lines):
    """@lines without reports of intended panics."""
    inside = False
    for line in lines:
        inside = inside or line.endswith(INTENDED)
        if not inside:
            yield line
        inside = inside and not RESTART.search(line)


# A data race is between two pieces of code. KCSAN finds many in the rest of the
# kernel; ours are in a module of that name.
RACE = "BUG: KCSAN: "
RACE_END = "=" * 60
OURS = "pviommu"


def _without_others_races(lines):
    """@lines without KCSAN's reports in which our code has no part."""
    kept, report = [], []
    for line in lines:
        if not report and RACE not in line:
            kept.append(line)
            continue
        report.append(line)
        if RACE_END not in line:
            continue
        if any(OURS in other for other in report):
            kept += report
        report = []
    return kept + report


def _is_splat(line):
    return SPLAT.search(line) and not HARMLESS.search(line)


def _invented_flags(report):
    found = [int(match[1], 16) for match in map(FLAGS.search, report) if match]
    return any(flags & NO_FLAGS for flags in found)


def _without_invented(lines):
    """(lines without reports that are the emulator's fault, their number)"""
    kept, report, dropped = [], [], 0
    for line in lines:
        if not report and not _is_splat(line):
            kept.append(line)
            continue
        report.append(line)
        if PANIC not in line:
            continue
        if _invented_flags(report):
            dropped += 1
        else:
            kept += report
        report = []
    return kept + report, dropped


def emulator_faults(path):
    """How many crashes in the log at @path are the emulator's fault."""
    if not path.exists():
        return 0
    return _without_invented(path.read_text(errors="replace").splitlines())[1]


def emulator_crashed(path):
    """Whether the first crash in the log at @path is the emulator's fault."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    first = next((number for number, line in enumerate(lines) if _is_splat(line)), None)
    if first is None:
        return False
    return LOST_GS in lines[first] or _without_invented(lines[first:])[0][:1] != [lines[first]]


def splats(path, panics=0):
    """Lines of the log at @path that no healthy kernel prints.

    @panics: how often the kernel was told to panic; one that did not is a finding, too
    """
    if not path.exists():
        return []
    lines = _without_others_races(path.read_text(errors="replace").splitlines())
    without, dropped = _without_invented(lines)
    if dropped <= MOST_FAULTS:
        lines = without
    if sum(line.endswith(INTENDED) for line in lines) == panics:
        lines = list(_without_intended(lines)) if panics else lines
    elif panics:
        lines.append(f"BUG: not exactly {panics} intended panics")
    return [line.strip() for line in lines if _is_splat(line)]


def tail(path, count=30):
    if not path.exists():
        return []
    return path.read_text(errors="replace").splitlines()[-count:]
