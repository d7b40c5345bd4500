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


def splats(path):
    """Lines of the log at @path that no healthy kernel prints."""
    if not path.exists():
        return []
    lines = path.read_text(errors="replace").splitlines()
    return [line.strip() for line in lines if SPLAT.search(line) and not HARMLESS.search(line)]


def tail(path, count=30):
    if not path.exists():
        return []
    return path.read_text(errors="replace").splitlines()[-count:]
