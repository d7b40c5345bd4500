# SPDX-License-Identifier: GPL-2.0-only
"""Tables that an emulated host's kernel uses in place of its firmware's."""

import struct

from . import cpio

HEADER = struct.Struct("<4sIBB6s8sIII")

# After the header: address width, flags, reserved bytes.
DMAR_FIXED = struct.Struct("<BB10x")
DRHD = 0
RMRR = 1
SCOPE_ENDPOINT = 1

# What QEMU's memory map has as reserved, as the kernel demands of an RMRR.
RESERVED_PAGE = 0xfeffc000


def _structures(table):
    """(type, bytes) of each structure of a DMAR table."""
    at = HEADER.size + DMAR_FIXED.size
    while at < len(table):
        kind, length = struct.unpack_from("<HH", table, at)
        yield kind, table[at:at + length]
        at += length


def _rmrr(devfn):
    scope = struct.pack("<BBHBBBB", SCOPE_ENDPOINT, 8, 0, 0, 0, devfn >> 3, devfn & 7)
    fields = struct.pack("<HHQQ", 0, 0, RESERVED_PAGE, RESERVED_PAGE + 0xfff)
    return struct.pack("<HH", RMRR, 4 + len(fields) + len(scope)) + fields + scope


def with_rmrr(table, devfn):
    """The DMAR table @table, with memory reserved for a device on the root bus."""
    signature, _, revision, _, oem, oem_table, oem_revision, *creator = \
        HEADER.unpack_from(table)
    parts = [table[HEADER.size:HEADER.size + DMAR_FIXED.size]]
    parts += [data for kind, data in _structures(table) if kind == DRHD]
    parts.append(_rmrr(devfn))
    parts += [data for kind, data in _structures(table) if kind != DRHD]
    body = b"".join(parts)

    def header(checksum):
        # A later revision is what makes the kernel prefer it.
        return HEADER.pack(signature, HEADER.size + len(body), revision, checksum, oem,
                           oem_table, oem_revision + 1, *creator)

    return header(-sum(header(0) + body) & 0xff) + body


def initramfs(name, table):
    """What has to precede the initramfs."""
    archive = cpio.Archive()
    archive.file(f"kernel/firmware/acpi/{name}.aml", table)
    return archive.bytes()
