# SPDX-License-Identifier: GPL-2.0-only
"""A QEMU that knows iommufd, which the machine's own is too old for: from backports,
unpacked in the cache and not installed. For guests alone."""

import json
import os
import pathlib
import shutil
import subprocess

from . import cache, common, debs

# Raise when what is made of the packages changes.
RECIPE = "1"

PACKAGE = "qemu-system-x86"
PROGRAM = "qemu-system-x86_64"

# Wherever the cache is, it is there in the emulated host, too.
START = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$here/usr/lib/x86_64-linux-gnu:$here/lib/x86_64-linux-gnu"
exec "$here/usr/bin/{program}" \\
	-L "$here/usr/share/qemu" -L "$here/usr/share/seabios" "$@"
"""

MADE = cache.key(RECIPE, START)


def _cached():
    """Directories in the cache, the newest last."""
    found = common.cache().glob(f"vmm/{MADE}-*/manifest.json")
    return [path.parent for path in sorted(found, key=os.path.getmtime)]


def _run(command, what):
    done = subprocess.run(command, check=False, text=True, capture_output=True)
    if done.returncode:
        raise common.RigError(f"{what} failed: {done.stderr.strip()}")
    return done.stdout


def _fill(apt, plan, root):
    common.progress("fetching " + ", ".join(f"{name} ({version})" for name, version in plan))
    if not apt.download([f"{name}={version}" for name, version in plan], root):
        raise common.RigError(f"cannot fetch {PACKAGE}")
    debs.unpack(root, root)
    for folder in ("usr/share/doc", "usr/share/man"):
        shutil.rmtree(root / folder, ignore_errors=True)
    start = root / "qemu"
    start.write_text(START.format(program=PROGRAM))
    start.chmod(0o755)
    version = _run([start, "--version"], PROGRAM).splitlines()[0]
    (root / "manifest.json").write_text(json.dumps({"version": version, "packages": plan}))


def _fetch():
    apt = debs.Apt(backports=True)
    plan = apt.plan(PACKAGE) if apt.backports else []
    if PACKAGE not in dict(plan):
        raise common.RigError(f"apt offers no newer {PACKAGE} in backports")
    name = cache.key(*(word for pair in plan for word in pair))
    return cache.make(f"vmm/{MADE}-{name}", lambda root: _fill(apt, plan, root), 1024, "a VMM")


def prepare(newest_cached=False):
    """The program to start; that of the cache when apt fails.

    @newest_cached: do not ask apt as long as there is any in the cache
    """
    with cache.lock():
        cached = _cached()
        if not (newest_cached and cached):
            try:
                return pathlib.Path(_fetch()) / "qemu"
            except common.RigError as error:
                if not cached:
                    raise
                common.progress(f"{error}; using the cached VMM")
        return cached[-1] / "qemu"
