# SPDX-License-Identifier: GPL-2.0-only
"""Plugs devices into a running VM and pulls them out, over its VMM's QMP socket.

  plug.py SOCKET add DRIVER KEY=VALUE...
  plug.py SOCKET del ID SECONDS

Pulling out is over when the guest has let the device go and the VMM has closed it.
"""

import json
import socket
import sys


class Monitor:
    def __init__(self, path, seconds):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        self._socket.connect(path)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._events = []
        self._next()
        self.command("qmp_capabilities")

    def _next(self):
        line = self._lines.readline()
        if not line:
            sys.exit("the VMM is gone")
        return json.loads(line)

    def command(self, name, **arguments):
        request = {"execute": name, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            reply = self._next()
            if "error" in reply:
                sys.exit(reply["error"]["desc"])
            if "return" in reply:
                return
            self._events.append(reply)

    def wait_for(self, event, device):
        while True:
            for seen in self._events:
                if seen.get("event") == event and seen["data"].get("device") == device:
                    return
            self._events = [self._next()]


def main():
    match sys.argv[1:]:
        case [path, "add", driver, *options]:
            arguments = dict(option.split("=", 1) for option in options)
            Monitor(path, 60).command("device_add", driver=driver, **arguments)
        case [path, "del", device, seconds]:
            monitor = Monitor(path, float(seconds))
            monitor.command("device_del", id=device)
            monitor.wait_for("DEVICE_DELETED", device)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
