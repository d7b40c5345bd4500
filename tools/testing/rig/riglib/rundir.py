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


def _modules(kernel, tree, instead):
    """Ours for @kernel; those in the directory @instead replace @tree's."""
    if kernel.own_modules is not None:
        return kernel.own_modules
    sources = [tree / name for name in MODULES]
    if instead:
        others = [pathlib.Path(instead) / source.name for source in sources]
        sources = [other if other.exists() else source
                   for source, other in zip(sources, others)]
    return [source for source in sources if source.exists()]


def freeze(run_dir, kernel, job, modules=None, extra=(), tree=common.TREE):
    """Copies scripts and build products into the share, which becomes /run/rig.

    @tree: whose build products
    """
    share = run_dir / "share"
    shutil.copytree(common.RIG / "l1", share / "l1")
    shutil.copy2(job, share / "job")
    for source in _modules(kernel, tree, modules):
        _copy(source, share / "bin")
    for name in ("peer.py", "plug.py"):
        _copy(common.RIG / "riglib" / name, share / "bin")
    for name in TOOLS:
        if (tree / name).exists():
            _copy(tree / name, share / "bin")
    for source in (tree / SELFTESTS / "test_modules").glob("*.ko"):
        _copy(source, share / "selftests" / "test_modules")
    for binary in selftests(tree):
        _copy(binary, share / "selftests")
    for source in extra:
        _copy(pathlib.Path(source), share / "extra")
    return share


def selftests(tree=common.TREE):
    """The kselftest binaries that have been built."""
    folder = tree / SELFTESTS
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
