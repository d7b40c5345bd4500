# SPDX-License-Identifier: GPL-2.0-only
"""What the guests are given to do: the rows of the tables."""

import dataclasses

MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Row:
    """@step: the guest's step and its arguments, before the amount
    @unit: what one operation is
    @ops: how many operations a measurement has at least
    @least: the row with the least that the same program can do, which is subtracted
    @extra: operations of that
    @amount: how much of the step makes one operation
    @full: only measured if it is asked for
    @group: rows that are measured together where not all of them are
    """
    name: str
    step: str
    unit: str
    ops: int
    least: str
    extra: int = 1
    amount: int = 1
    full: bool = False
    group: str = ""

    def line(self, ops):
        return f"{self.name}|{self.step}|{(ops + self.extra) * self.amount}\n"


def _disk():
    for size, ops in (("4k", 1000), ("128k", 600)):
        for what in ("read", "write"):
            for depth in (1, 32):
                yield Row(f"nvme-{size}-{what}-qd{depth}",
                          f"fio rand{what} {size} {depth}", "I/O", ops, "fio",
                          group=size)


ROWS = (
    *_disk(),
    # Between the two sizes above: from where on is it better to remap than to copy?
    *(Row(f"nvme-{size}-read-qd1", f"fio randread {size} 1", "I/O", 200, "fio", full=True,
          group="sizes")
      for size in ("8k", "16k", "32k", "64k", "256k")),
    # By way of the page cache, which is emptied before: a page of memory for each of the disk's.
    Row("nvme-cached-read", "fio_cached 128k", "I/O", 896, "fio", 0, group="cached"),
    Row("net-receive", "net_time receive", "MiB", 8, "net", 0, MIB, group="net"),
    Row("net-send", "net_time send", "MiB", 8, "net", 0, MIB, group="net"),
    Row("net-rr64", "net_time echo", "round trip", 400, "net", group="net"),
)

# The least that each program can do.
LEAST = {"fio": "fio randread 4k 1", "net": "net_time echo"}


def table(rows, ops):
    """The file that l1/bench.sh reads."""
    least = "".join(f"{name}|{step}|1\n" for name, step in LEAST.items()
                    if any(row.least == name for row in rows))
    return least + "".join(row.line(ops[row.name]) for row in rows)
