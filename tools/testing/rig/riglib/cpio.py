# SPDX-License-Identifier: GPL-2.0-only
"""Writes initramfs archives (cpio, newc format)."""

import stat


class Archive:
    def __init__(self):
        self._members = {}

    def directory(self, name):
        self._add(name, stat.S_IFDIR | 0o755, b"")

    def file(self, name, data, mode=0o644):
        self._add(name, stat.S_IFREG | mode, data)

    def symlink(self, name, target):
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def console(self):
        """/dev/console: the kernel opens it for init before anything is mounted."""
        self._add("dev/console", stat.S_IFCHR | 0o600, b"", device=(5, 1))

    def _add(self, name, mode, data, device=(0, 0)):
        parent = name.rpartition("/")[0]
        if parent and parent not in self._members:
            self.directory(parent)
        self._members[name] = (mode, data, device)

    @staticmethod
    def _member(inode, name, mode, data, device):
        name = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        return header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4)

    def bytes(self):
        parts = []
        for inode, (name, member) in enumerate(self._members.items(), 1):
            parts.append(self._member(inode, name, *member))
        parts.append(self._member(0, "TRAILER!!!", 0, b"", (0, 0)))
        return b"".join(parts)
