# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's monitor, over a socket pair."""

import json
import socket
import threading

from . import common

# What to ask of an emulator that has hung.
STATE = ("info status", "info registers", "info pic", "info lapic")


class Monitor:
    def __init__(self):
        self._ours, self._theirs = socket.socketpair()
        self._ours.settimeout(common.seconds(10))
        self._lines = self._ours.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()
        self._greeted = False

    def arguments(self):
        """QEMU's; the descriptor in file_descriptors() is to be passed on."""
        descriptor = self._theirs.fileno()
        return ["-chardev", f"socket,id=monitor,fd={descriptor}",
                "-mon", "chardev=monitor,mode=control"]

    def file_descriptors(self):
        return [self._theirs.fileno()]

    def started(self):
        """QEMU has its end now: when it dies, so does the connection."""
        self._theirs.close()

    def close(self):
        self._lines.close()
        self._ours.close()

    def _exchange(self, command, **arguments):
        request = {"execute": command, "arguments": arguments}
        self._ours.sendall(json.dumps(request).encode() + b"\n")
        for line in self._lines:
            reply = json.loads(line)
            if "return" in reply or "error" in reply:
                return reply.get("return")
        return None

    def command(self, command, **arguments):
        """The reply, or None when QEMU is gone or does not answer."""
        with self._lock:
            try:
                if not self._greeted:
                    self._exchange("qmp_capabilities")
                    self._greeted = True
                return self._exchange(command, **arguments)
            except (OSError, ValueError):
                return None

    def state(self):
        """What the processor and its interrupt controllers are at."""
        replies = (self.command("human-monitor-command", **{"command-line": line})
                   for line in STATE)
        return "\n".join(reply or "no answer" for reply in replies)
