# SPDX-License-Identifier: GPL-2.0-only
"""The directory of one run: frozen copies of all it works on, and its logs."""

import fcntl
import hashlib
import os
import pathlib
import shutil

from . import common

DATA_MIB = 64
SCRATCH_MIB = 64

# Build products; what is missing is left out, jobs that need it will say so.
MODULES = ["kvm/kvm-pviommu.ko", "drivers/iommu/pv/pviommu.ko"]
TOOLS = ["tools/pviommu/pviommu", "tools/pviommu/libpviommu-preload.so"]
SELFTESTS = "tools/testing/selftests/pviommu"


# Held until the process ends.
_locks = []


def _lock(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_suffix(".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise common.RigError(f"another run is at work in {path}") from error
    _locks.append(file)


def create(name):
    """An empty run directory; the previous one of that name is gone."""
    path = common.OUT / "rig" / name
    _lock(path)
    shutil.rmtree(path, ignore_errors=True)
    (path / "share" / "log").mkdir(parents=True)
    common.need_disk(path, 1024, "a run")
    return path


def _copy(source, folder):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, folder / source.name)


def freeze(run_dir, job, modules=None, extra=()):
    """Copies scripts and build products into the share, which becomes /run/rig."""
    share = run_dir / "share"
    shutil.copytree(common.RIG / "l1", share / "l1")
    shutil.copy2(job, share / "job")
    for name in MODULES:
        source = common.TREE / name
        if modules and (pathlib.Path(modules) / source.name).exists():
            source = pathlib.Path(modules) / source.name
        if source.exists():
            _copy(source, share / "bin")
    _copy(common.RIG / "riglib" / "peer.py", share / "bin")
    for name in TOOLS:
        if (common.TREE / name).exists():
            _copy(common.TREE / name, share / "bin")
    for source in (common.TREE / SELFTESTS / "test_modules").glob("*.ko"):
        _copy(source, share / "bin")
    for binary in selftests():
        _copy(binary, share / "selftests")
    for source in extra:
        _copy(pathlib.Path(source), share / "extra")
    return share


def selftests():
    """The kselftest binaries that have been built."""
    folder = common.TREE / SELFTESTS
    return sorted(path for path in folder.glob("*") if path.is_file()
                  and os.access(path, os.X_OK)
                  and path.with_suffix(".c").exists() and not path.suffix)


def make_disks(run_dir, count):
    """Images of passthrough disks: the same random data, then room to write.

    The share gets the MD5 of the data, for jobs that check what a guest read.
    """
    paths = [run_dir / f"disk{number}.img" for number in range(count)]
    digest = hashlib.md5()
    files = [path.open("wb") for path in paths]
    for _ in range(DATA_MIB):
        block = os.urandom(1 << 20)
        digest.update(block)
        for file in files:
            file.write(block)
    for file in files:
        file.truncate((DATA_MIB + SCRATCH_MIB) << 20)
        file.close()
    (run_dir / "share" / "disk.md5").write_text(digest.hexdigest() + "\n")
    return paths


def discard_bulk(run_dir):
    """After a success: what is large and can be made again."""
    for path in [*run_dir.glob("*.img"), *run_dir.rglob("*.cpio")]:
        path.unlink(missing_ok=True)
