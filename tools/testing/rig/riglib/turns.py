# SPDX-License-Identifier: GPL-2.0-only
"""Lets one of several emulated hosts measure while the others stand still."""

import threading


class Turns:
    """Emulators that share this machine. A host asks for its turn with the result
    line "turn ask", finds the file "turn" in its share when it has it, and gives
    it back with "turn done". Those that stand still do not notice: their clocks
    stand still too.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._flags = {}
        self._asking = []

    def join(self, monitor, flag):
        """@flag: path of the host's file that says it has its turn"""
        with self._lock:
            self._flags[monitor] = flag

    def leave(self, monitor):
        with self._lock:
            if monitor in self._asking:
                self._end(monitor)
            del self._flags[monitor]

    def stands_still(self, monitor):
        """Is it stopped because another has its turn?"""
        with self._lock:
            return bool(self._asking) and self._asking[0] is not monitor

    def told(self, monitor, line):
        """A result line of the host that @monitor belongs to."""
        with self._lock:
            if line == "turn ask":
                self._asking.append(monitor)
                if len(self._asking) == 1:
                    self._start()
            elif line == "turn done" and monitor in self._asking:
                self._end(monitor)

    def _start(self):
        for other in self._flags:
            if other is not self._asking[0]:
                other.command("stop")
        self._flags[self._asking[0]].touch()

    def _end(self, monitor):
        had_turn = self._asking[0] is monitor
        self._asking.remove(monitor)
        self._flags[monitor].unlink(missing_ok=True)
        if not had_turn:
            return
        for other in self._flags:
            if other is not monitor:
                other.command("cont")
        if self._asking:
            self._start()
