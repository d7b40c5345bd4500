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
        self.passed = self.failed = self.skipped = 0
        print("TAP version 13", flush=True)

    def add(self, name, passed, details=()):
        """@details: what to say when it failed"""
        number = self.passed + self.failed + self.skipped + 1
        if passed:
            self.passed += 1
        else:
            self.failed += 1
        print(f"{'ok' if passed else 'not ok'} {number} {name}", flush=True)
        if not passed:
            for line in details:
                print(f"# {line}", flush=True)

    def skip(self, name, reason):
        if name not in self.allowed:
            self.add(name, False, [f"skipped ({reason}), but is not in the list of skips"])
            return
        self.skipped += 1
        number = self.passed + self.failed + self.skipped
        print(f"ok {number} {name} # SKIP {self.allowed[name]}", flush=True)

    def finish(self):
        print(f"1..{self.passed + self.failed + self.skipped}")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return 1 if self.failed or not self.passed else 0
