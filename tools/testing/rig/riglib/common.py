# SPDX-License-Identifier: GPL-2.0-only
"""Where things are, how long they may take, and how the rig speaks."""

import os
import pathlib
import shutil
import sys
import threading
import time

RIG = pathlib.Path(__file__).resolve().parent.parent
TREE = RIG.parents[2]
OUT = TREE / "out"

STARTED = time.monotonic()

# Set by a signal that asks the run to end.
STOP = threading.Event()


class RigError(Exception):
    """Something that ends the run, with a message for a person."""


def scale():
    """The one variable that scales every time limit."""
    try:
        return float(os.environ.get("PVIOMMU_RIG_SCALE", "1"))
    except ValueError as error:
        raise RigError(f"PVIOMMU_RIG_SCALE: {error}") from error


def seconds(limit):
    return limit * scale()


def elapsed():
    return time.monotonic() - STARTED


def progress(message):
    print(f"[{elapsed():6.1f}] {message}", file=sys.stderr, flush=True)


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    path = pathlib.Path(base).absolute() / "pviommu"
    path.mkdir(parents=True, exist_ok=True)
    return path


def need_disk(path, mib, purpose):
    free = shutil.disk_usage(path).free >> 20
    if free < mib:
        raise RigError(f"{purpose} needs {mib} MiB in {path}, {free} MiB are free")
