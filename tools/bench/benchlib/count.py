# SPDX-License-Identifier: GPL-2.0-only
"""Counts the instructions of an emulated host, for the host itself to look at."""

import shutil
import subprocess

from riglib import cache, common

SOURCES = common.TREE / "tools" / "bench" / "count"

# A memory device; it takes no less.
SIZE = 1 << 20
SLOT = "1f.7"


def _build(root):
    for command in (["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter",
                     "-o", root / "count.so", SOURCES / "plugin.c"],
                    ["gcc", "-static", "-O2", "-Wall", "-o", root / "instructions",
                     SOURCES / "read.c"]):
        done = subprocess.run(command, check=False, text=True, capture_output=True)
        if done.returncode:
            raise common.RigError(f"{command[-1].name} does not build:\n{done.stderr}")


def prepare(run_dir, share):
    """The emulator's arguments; the share gets the program that prints the count."""
    name = cache.key(*(SOURCES / name for name in ("plugin.c", "plugin.h", "read.c")))
    root = cache.get(f"count/{name}", _build, 16, "the instruction counter")
    shutil.copy2(root / "instructions", share / "bin")
    file = run_dir / "instructions"
    with file.open("wb") as made:
        made.truncate(SIZE)
    return ["-plugin", f"{root / 'count.so'},count={file}",
            "-object", f"memory-backend-file,id=count,share=on,mem-path={file},size={SIZE}",
            "-device", f"ivshmem-plain,memdev=count,addr={SLOT}"]
