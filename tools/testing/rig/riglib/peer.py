# SPDX-License-Identifier: GPL-2.0-only
"""The other end of the guests' network connections: a TCP server.

A client's first line says what it wants:
  get LENGTH   that many random bytes, then their MD5
  put LENGTH   the MD5 of that many bytes, which follow
  echo COUNT   each of as many messages of 64 bytes, as soon as it is there
An MD5 is 32 digits and a newline. Run as a program it serves until it is ended,
and writes the number of its port to the file that it is given.
"""

import hashlib
import os
import pathlib
import socket
import socketserver
import sys
import threading

BLOCK = 1 << 20
MESSAGE = 64


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            match self.rfile.readline().split():
                case [b"get", length]:
                    self._serve(int(length))
                case [b"put", length]:
                    self._accept(int(length))
                case [b"echo", count]:
                    self._echo(int(count))
        except OSError:
            # A guest that resets its device hangs up in the middle.
            pass

    def _answer(self, verb, digest):
        self.server.note(f"{verb} {digest.hexdigest()}")
        self.wfile.write(digest.hexdigest().encode() + b"\n")

    def _serve(self, length):
        digest = hashlib.md5()
        while length:
            block = os.urandom(min(length, BLOCK))
            digest.update(block)
            self.wfile.write(block)
            length -= len(block)
        self._answer("sent", digest)

    def _accept(self, length):
        digest = hashlib.md5()
        while length:
            block = self.rfile.read(min(length, BLOCK))
            if not block:
                return
            digest.update(block)
            length -= len(block)
        self._answer("received", digest)

    def _echo(self, count):
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            message = self.rfile.read(MESSAGE)
            if len(message) < MESSAGE:
                return
            self.wfile.write(message)


class Peer(socketserver.ThreadingTCPServer):
    """Serves at a port of its own choice while it is used as a context."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, log):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_address[1]
        self._log = log
        self._lock = threading.Lock()

    def note(self, line):
        """Keeps what went through completely, for whoever compares."""
        with self._lock, self._log.open("a", encoding="ascii") as log:
            log.write(line + "\n")

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def main():
    port_file = pathlib.Path(sys.argv[1])
    server = Peer(port_file.with_suffix(".log"))
    port_file.write_text(f"{server.port}\n", encoding="ascii")
    server.serve_forever()


if __name__ == "__main__":
    main()
