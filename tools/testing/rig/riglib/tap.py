# SPDX-License-Identifier: GPL-2.0-only
"""TAP: reads the kselftests', writes the whole run's."""

import re

TEST_LINE = re.compile(r"^(ok|not ok)\s+\d+\s*(?:-\s*)?(.*?)(?:\s*#\s*(SKIP|TODO)\b\s*(.*))?$")
PLAN = re.compile(r"^1\.\.(\d+)")


def parse(text):
    """(tests, plan): tests as (name, "ok" | "not ok" | "skip", reason)."""
    tests, plan = [], None
    for line in text.splitlines():
        found = PLAN.match(line)
        if found:
            plan = int(found[1])
        found = TEST_LINE.match(line)
        if found:
            state = "skip" if found[3] == "SKIP" else found[1]
            tests.append((found[2], state, found[4] or ""))
    return tests, plan


class Run:
    """Prints results as they are added. A skip that is not allowed is a failure."""

    def __init__(self, allowed_skips):
        self.allowed = allowed_skips
        # What finish() says again: the lines of each test that has failed
        self._failures = []
        # By part of the run, in order: [passed, failed, skipped]
        self.parts = {}
        self.part("the run")
        print("TAP version 13", flush=True)

    def part(self, name):
        """What is added from here on belongs to it."""
        self._now = self.parts.setdefault(name, [0, 0, 0])

    def _total(self, index):
        return sum(part[index] for part in self.parts.values())

    @property
    def passed(self):
        return self._total(0)

    @property
    def failed(self):
        return self._total(1)

    @property
    def skipped(self):
        return self._total(2)

    def _next(self):
        return self.passed + self.failed + self.skipped + 1

    def add(self, name, passed, details=()):
        """@details: what to say when it failed"""
        lines = [f"{'ok' if passed else 'not ok'} {self._next()} {name}"]
        self._now[0 if passed else 1] += 1
        if not passed:
            lines += [f"# {line}" for line in details]
            self._failures.append(lines)
        print("\n".join(lines), flush=True)

    def skip(self, name, reason):
        if name not in self.allowed:
            self.add(name, False, [f"skipped ({reason}), but is not in the list of skips"])
            return
        print(f"ok {self._next()} {name} # SKIP {self.allowed[name]}", flush=True)
        self._now[2] += 1

    def finish(self):
        """The failures once more: they are lost among thousands of lines."""
        print(f"1..{self._next() - 1}")
        for line in (line for lines in self._failures for line in lines):
            print(f"# {line.removeprefix('# ')}")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return 1 if self.failed or not self.passed else 0
