# SPDX-License-Identifier: GPL-2.0-only
"""The initramfs of the host and of the guest."""

import lzma
import pathlib

from . import cache, common, cpio

BUSYBOX = pathlib.Path("/bin/busybox")

# The emulated host needs no more than its root, which is this machine's. virtio_pci
# is built into Debian's 6.12.
HOST_MODULES = ["virtio_pci", "9p", "9pnet_virtio"]
GUEST_MODULES = ["nvme-core", "nvme", "e1000e", "vfio-pci", "vfio_iommu_type1"]


def _add_modules(archive, kernel, names):
    """Each module, and in NAME.order what to insert before it and itself."""
    for name in names:
        order = []
        for path in kernel.modules(name):
            data = path.read_bytes()
            if path.suffix == ".xz":
                data = lzma.decompress(data)
            order.append(path.name.removesuffix(".xz"))
            archive.file(f"modules/{order[-1]}", data)
        archive.file(f"modules/{name}.order", "\n".join(order).encode() + b"\n")


def _base(init):
    archive = cpio.Archive()
    for name in ("dev", "proc", "sys", "root", "tmp"):
        archive.directory(name)
    archive.console()
    archive.file("bin/busybox", BUSYBOX.read_bytes(), 0o755)
    archive.symlink("bin/sh", "busybox")
    archive.file("init", init.read_bytes(), 0o755)
    return archive


def host(kernel):
    """The host's initramfs, from the cache."""
    init = common.RIG / "l1" / "init"
    name = cache.key("host", kernel.root.name, " ".join(HOST_MODULES), BUSYBOX, init,
                     pathlib.Path(__file__), pathlib.Path(cpio.__file__))

    def fill(root):
        archive = _base(init)
        _add_modules(archive, kernel, HOST_MODULES)
        (root / "host.cpio").write_bytes(archive.bytes())

    return cache.get(f"initramfs/{name}", fill, 64, "an initramfs") / "host.cpio"


def guest(kernel, path, extra, modules=()):
    """Writes the guest's initramfs to @path.

    @extra: files for its /rig
    @modules: names of modules besides the usual ones
    """
    archive = _base(common.RIG / "l2" / "init")
    _add_modules(archive, kernel, [*GUEST_MODULES, *modules])
    for file in sorted((common.RIG / "l2" / "steps").iterdir()):
        archive.file(f"steps/{file.name}", file.read_bytes())
    for file in extra:
        archive.file(f"rig/{file.name}", file.read_bytes(), 0o755)
    path.write_bytes(archive.bytes())
