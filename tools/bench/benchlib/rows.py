# SPDX-License-Identifier: GPL-2.0-only
"""What the guests are given to do: the rows of the tables."""

import dataclasses

MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Row:
    """@step: the guest's step and its arguments, before the amount
    @unit: what one operation is
    @ops: how many operations a measurement has at least
    @amount: how much of the step makes one operation
    @full: only measured if it is asked for
    """
    name: str
    step: str
    unit: str
    ops: int
    amount: int = 1
    full: bool = False

    def line(self, ops):
        """The least that the step can do, which is subtracted, and that with @ops more."""
        return f"{self.name}|{self.step}|{self.amount}|{(ops + 1) * self.amount}\n"


def _disk():
    for size, ops in (("4k", 1000), ("128k", 200)):
        for what in ("read", "write"):
            for depth in (1, 32):
                yield Row(f"nvme-{size}-{what}-qd{depth}",
                          f"fio rand{what} {size} {depth}", "I/O", ops)


ROWS = (
    *_disk(),
    # Between the two sizes above: from where on is it better to remap than to copy?
    *(Row(f"nvme-{size}-read-qd1", f"fio randread {size} 1", "I/O", 400, full=True)
      for size in ("8k", "16k", "32k", "64k", "256k")),
    Row("net-receive", "net_time receive", "MiB", 8, MIB),
    Row("net-send", "net_time send", "MiB", 8, MIB),
    Row("net-rr64", "net_time echo", "round trip", 400),
)


def table(rows, ops):
    """The file that l1/bench.sh reads."""
    return "".join(row.line(ops[row.name]) for row in rows)
