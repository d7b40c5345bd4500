# SPDX-License-Identifier: GPL-2.0-only
"""fio for a guest that has nothing but busybox.

Debian's is linked to the libraries of many storage systems, 80 MB of them. This is its
source, built static and without those.
"""

import os
import re
import subprocess

from riglib import cache, common, debs

# Raise when what is built changes.
RECIPE = "2"

WITHOUT = ["gfapi", "http", "lex", "libnfs", "native", "numa", "pmem", "rados", "rbd", "rdma",
           "shm"]

CLOCK = "#define ARCH_HAVE_CPU_CLOCK"


def _run(command, what, folder):
    done = subprocess.run(command, check=False, text=True, cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode:
        raise common.RigError(f"{what} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def _unpack(root):
    if not debs.Apt(sources=True).source("fio", root):
        raise common.RigError("apt has no source of fio")
    archives = [path for path in root.glob("fio_*.orig.tar.*")
                if re.search(r"\.tar\.(gz|xz|bz2)$", path.name)]
    if len(archives) != 1:
        raise common.RigError(f"the source of fio is not one archive: {archives}")
    source = root / "source"
    source.mkdir()
    _run(["tar", "-xf", archives[0], "-C", source, "--strip-components=1"],
         "unpacking fio", root)
    return source


def _fill(root):
    common.progress("fetching and building fio")
    source = _unpack(root)
    # To get to know its own clock it runs in circles for so and so long: instructions that
    # have nothing to do with I/O. Without, it asks the kernel.
    header = source / "arch" / "arch-x86_64.h"
    text = header.read_text()
    if CLOCK not in text:
        raise common.RigError("fio has another clock")
    header.write_text(text.replace(CLOCK, ""))
    _run(["./configure", "--build-static", *(f"--disable-{name}" for name in WITHOUT)],
         "configuring fio", source)
    _run(["make", f"-j{os.cpu_count()}", "fio"], "building fio", source)
    _run(["strip", "-o", root / "fio", source / "fio"], "strip", root)
    if "libaio" not in _run([root / "fio", "--enghelp"], "fio", root):
        raise common.RigError("fio was built without libaio")
    for path in [*root.glob("fio_*")]:
        path.unlink()
    _run(["rm", "-rf", source], "rm", root)


def program():
    """The path of a static fio, from the cache."""
    name = cache.key(RECIPE, " ".join(WITHOUT))
    return cache.get(f"fio/{name}", _fill, 512, "fio") / "fio"
