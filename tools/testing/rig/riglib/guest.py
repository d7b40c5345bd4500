# SPDX-License-Identifier: GPL-2.0-only
"""What the guest is made of: its programs, its modules, its initramfs."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from . import cache, common, initramfs

SOURCES = common.RIG / "l2"

ROOT_MIB = 96
ROOT_DATA_MIB = 16

PROGRAMS = ["diskio", "kexec", "memory", "netio", "no_tso", "vfio_edu"]


def _build(command, what):
    done = subprocess.run(command, check=False, text=True, capture_output=True)
    if done.returncode:
        raise common.RigError(f"{what} does not build:\n{done.stdout}{done.stderr}")


def _programs(kernel):
    """Our own test programs, built for @kernel; from the cache when unchanged."""
    sources = [SOURCES / name for name in ("edu_dma.c", "Kbuild", "number.h")]
    sources += [SOURCES / f"{name}.c" for name in PROGRAMS]
    name = cache.key("guest", kernel.root.name, *sources)

    def fill(root):
        for source in sources:
            shutil.copy2(source, root)
        _build(["make", "-C", kernel.kdir, f"M={root}", "modules"], "edu_dma.ko")
        for program in PROGRAMS:
            _build(["gcc", "-static", "-O2", "-Wall", "-o", root / program,
                    root / f"{program}.c"], program)

    root = cache.get(f"guest/{name}", fill, 64, "the guest's programs")
    return [root / "edu_dma.ko", *(root / program for program in PROGRAMS)]


def install(kernel, share, programs=(), modules=()):
    """Writes the guest's initramfs into the share, with the frozen pviommu.ko if there.

    @programs: paths of other files for its /rig
    @modules: names of other modules of the kernel
    """
    _install(kernel, share, pathlib.Path(share) / "bin" / "pviommu.ko", programs, modules)


def install_other(kernel, share, tree):
    """A guest with a kernel of its own, in the share's guest-SERIES.

    @tree: built for that kernel
    """
    folder = pathlib.Path(share) / f"guest-{kernel.series}"
    folder.mkdir()
    shutil.copy2(kernel.image, folder / "vmlinuz")
    _install(kernel, folder, tree / "drivers" / "iommu" / "pv" / "pviommu.ko")


def _install(kernel, folder, driver, programs=(), modules=()):
    extra = [*_programs(kernel), *programs]
    if driver.exists():
        extra.append(driver)
    initramfs.guest(kernel, pathlib.Path(folder) / "guest.cpio", extra, modules)


def make_root(share, path):
    """Makes @path an image of a root file system: the guest's initramfs and /data.

    The share gets the MD5 of /data.
    """
    with tempfile.TemporaryDirectory() as root, \
            open(pathlib.Path(share) / "guest.cpio", "rb") as archive:
        subprocess.run([initramfs.BUSYBOX, "cpio", "-idm"], check=True, cwd=root,
                       stdin=archive, capture_output=True)
        data = os.urandom(ROOT_DATA_MIB << 20)
        (pathlib.Path(root) / "data").write_bytes(data)
        path.unlink(missing_ok=True)
        _build(["mke2fs", "-q", "-t", "ext4", "-d", root, path, f"{ROOT_MIB}M"],
               "the root file system")
    (pathlib.Path(share) / "root.md5").write_text(hashlib.md5(data).hexdigest() + "\n")
