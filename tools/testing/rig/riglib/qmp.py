# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's monitor, over a socket pair."""

import json
import re
import socket
import threading

from . import common

# What to ask of an emulator that has hung.
STATE = ("info status", "info registers", "info pic", "info lapic")

RFLAGS_IF = 1 << 9


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

    def _human(self, line):
        return self.command("human-monitor-command", **{"command-line": line}) or "no answer"

    def state(self):
        """What the processor and its interrupt controllers are at."""
        return "\n".join(self._human(line) for line in STATE)

    def lost_interrupt(self):
        """Does the processor sleep over an interrupt that it should take?

        TCG, leaving a nested guest, may forget that one was raised at that moment.
        """
        registers, lapic = self._human("info registers"), self._human("info lapic")
        flags = re.search(r"RFL=([0-9a-f]+)", registers)
        enabled = flags and int(flags[1], 16) & RFLAGS_IF
        return bool(enabled) and "HLT=1" in registers \
            and re.search(r"^IRR\s+\d", lapic, re.MULTILINE) is not None

    def press_key(self):
        """Raises an interrupt that means nothing, and brings up others that wait."""
        self.command("send-key", keys=[{"type": "qcode", "data": "shift"}])
