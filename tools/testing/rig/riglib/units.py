# SPDX-License-Identifier: GPL-2.0-only
"""The KUnit suites: by the kernel's kunit.py, and as modules of the debug kernel."""

import re

from . import common, features, guest, host, linux, rundir

# A line of KTAP, at whatever depth; "# Subtest: " opens a level.
RESULT = re.compile(r"^( *)(ok|not ok) \d+ (.*?)(?: # SKIP ?(.*))?$")
SUBTEST = re.compile(r"^( *)# Subtest: (.*)$")


def leaves(text):
    """(name, state, reason) of every test in KTAP that has no tests of its own."""
    lines = [re.sub(r"^\[[ .0-9]+\] ", "", line) for line in text.splitlines()]
    inside, found = [], []
    for line in lines:
        opened = SUBTEST.match(line)
        if opened:
            inside.append([len(opened[1]), opened[2]])
            continue
        result = RESULT.match(line)
        if not result:
            continue
        depth = len(result[1])
        if inside and inside[-1][0] > depth:
            inside.pop()
            continue
        name = ".".join([group for _, group in inside] + [result[3].removeprefix("- ")])
        found.append((name, "skip" if result[4] is not None else result[2], result[4] or ""))
    return found


def _add(run, prefix, tests):
    for name, state, reason in tests:
        if state == "skip":
            run.skip(f"{prefix}: {name}", reason)
        else:
            run.add(f"{prefix}: {name}", state == "ok")


def _json_leaves(group, path=()):
    path = (*path, group["name"]) if group.get("name") else path
    for case in group.get("test_cases", []):
        yield ".".join([*path, case["name"]]), case["status"]
    for inner in group.get("sub_groups", []):
        yield from _json_leaves(inner, path)


def add(run):
    common.progress("kunit.py")
    results, _, output = linux.kunit()
    found = dict(_json_leaves(results))
    states = {"PASS": "ok", "SKIP": "skip"}
    _add(run, "kunit", [(name, states.get(status, "not ok"), "")
                        for name, status in found.items()])
    run.add("kunit.py: the tests ran", bool(found), output.splitlines()[-20:])


def boot_debug(debug):
    """Returns (host.Spec, host.Outcome)."""
    run_dir = rundir.create("kunit")
    share = rundir.freeze(run_dir, debug, common.RIG / "l1" / "kunit.sh")
    guest.install(debug, share)
    spec = host.Spec(iommu="none", kernel=debug, run_dir=run_dir, share=share, disks=[],
                     append="kunit.enable=1")
    common.progress("booting the debug kernel for its KUnit suites")
    return spec, host.boot(spec)


def add_debug(run, spec, outcome):
    """Adds what boot_debug() has found. Returns the directory of its logs."""
    log = spec.share / "log" / "kunit.tap"
    tests = leaves(log.read_text(errors="replace") if log.exists() else "")
    _add(run, "kunit, debug", tests)
    run.add("kunit, debug: the tests ran", bool(tests))
    for name, passed in features.checks(outcome.results):
        run.add(f"kunit, debug: {name}", passed)
    run.add("kunit, debug: nothing was wrong on the console", not outcome.failures,
            outcome.failures)
    return spec.share / "log"
