# SPDX-License-Identifier: GPL-2.0-only
"""What the job l1/guests.sh reports: one record per guest, and the checks on it."""

import array
import dataclasses
import hashlib
import statistics
import sys

from . import rundir

MODES = ("plain", "lazy", "strict")

PAGE_KIB = 4
READS_4K = 2000
READS_128K = 200

# diskio.c fills with these words; see fill_block() there.
FILL_FACTOR = 0x9E3779B97F4A7C15
WORD_MASK = (1 << 64) - 1


@dataclasses.dataclass
class Guest:
    passed: bool = False
    md5: str = ""
    ns4k: list = dataclasses.field(default_factory=list)
    ns128k: list = dataclasses.field(default_factory=list)
    edu: dict = dataclasses.field(default_factory=dict)
    # By direction, "got" or "put": MD5 that the guest counted, and its peer
    nic: dict = dataclasses.field(default_factory=dict)
    # By point of the guest's life, the largest seen: [VmLck+VmPin KiB, pages pinned]
    locked: dict = dataclasses.field(default_factory=dict)
    # [point, counters] in the order of time; points may repeat
    stats: list = dataclasses.field(default_factory=list)
    # Number of the disk, offset, length, seed
    written: list | None = None

    def locked_kib(self, point):
        """The larger of what is accounted and what is pinned, or None."""
        if point not in self.locked:
            return None
        accounted, pages = self.locked[point]
        return max(accounted, pages * PAGE_KIB)

    def peak_kib(self):
        points = [self.locked_kib(point) for point in self.locked]
        points += [stats["pinned_peak"] * PAGE_KIB for _, stats in self.stats
                   if "pinned_peak" in stats]
        return max(points, default=None)

    def hypercalls(self):
        """All that it took to use the disk and edu."""
        return max((stats.get("hypercalls", 0) for point, stats in self.stats
                    if point == "edu"), default=0)

    def edu_blocked(self):
        """Transfers worked inside, and the same ones changed nothing outside."""
        wanted = ["inside_write", "inside_read", "unmapped_write_blocked",
                  "unmapped_read_blocked", "outside_write_blocked", "outside_read_blocked"]
        return all(self.edu.get(name) == 1 for name in wanted) \
            and self.edu.get("gpa_in_window") == 0

    def nic_right(self, moved):
        """@moved: lines of the peer's log"""
        return all(
            len(digests) == 2 and digests[0] == digests[1]
            and f"{verb} {digests[0]}" in moved
            for verb, digests in (("sent", self.nic.get("got", ())),
                                  ("received", self.nic.get("put", ()))))


def _guest_line(guest, words):
    match words:
        case ["md5", digest]:
            guest.md5 = digest
        case ["ns4k", ns]:
            guest.ns4k.append(int(ns))
        case ["ns128k", ns]:
            guest.ns128k.append(int(ns))
        case ["nic", direction, *digests]:
            guest.nic[direction] = digests
        case ["edu", name, value]:
            guest.edu[name] = int(value)
        case ["verdict", "0"]:
            guest.passed = True


def _host_line(guest, words):
    match words:
        case ["locked", _, point, kib, pages]:
            before = guest.locked.get(point, (0, 0))
            guest.locked[point] = (max(before[0], int(kib)), max(before[1], int(pages)))
        case ["stats", _, point, *pairs]:
            guest.stats.append([point, dict(zip(pairs[::2], map(int, pairs[1::2])))])
        case ["write", _, *numbers]:
            guest.written = [int(number) for number in numbers]


def parse(results):
    """The guests, by mode, from the host's result lines."""
    guests = {}
    for line in results:
        words = line.split()
        match words:
            case ["begin", name]:
                guests[name] = Guest()
            case ["guest", name, *rest] if name in guests:
                _guest_line(guests[name], rest)
            case [_, name, *_] if name in guests:
                _host_line(guests[name], words)
    return guests


def data_md5(disk):
    digest = hashlib.md5()
    with disk.open("rb") as file:
        for _ in range(rundir.DATA_MIB):
            digest.update(file.read(1 << 20))
    return digest.hexdigest()


def write_arrived(disks, number, offset, length, seed):
    """Is in the image what diskio wrote there?"""
    words = array.array("Q", (((index + seed) * FILL_FACTOR) & WORD_MASK
                              for index in range(length // 8)))
    if sys.byteorder != "little":
        words.byteswap()
    with disks[number].open("rb") as file:
        file.seek(offset)
        return file.read(length) == words.tobytes()


def median_ratio(guests, mode, field):
    """Median time under @mode to that under plain VFIO, or None."""
    times = [getattr(guests[name], field) for name in (mode, "plain")]
    if not all(times):
        return None
    return round(statistics.median(times[0]) / statistics.median(times[1]), 3)


def per_operation(guest, point, counter):
    """How often @counter rose per read of the first measurement @point, or None.

    The guest stands still whenever a sample is taken.
    """
    count = {"time4k": READS_4K, "time128k": READS_128K}[point]
    for (_, before), (name, after) in zip(guest.stats, guest.stats[1:]):
        if name == point:
            return round((after[counter] - before[counter]) / count, 3)
    return None
