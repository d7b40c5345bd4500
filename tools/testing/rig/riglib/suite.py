# SPDX-License-Identifier: GPL-2.0-only
"""All tests that need an emulated host: kselftests, then the guests."""

import subprocess

from . import build, common, demo, features, kernel, pair, refusals, report, rundir, tap

ROUNDS = 1


def _allowed_skips():
    lines = (common.RIG / "skips").read_text().splitlines()
    pairs = (line.split(None, 1) for line in lines if line.strip() and line[0] != "#")
    return {pair_[0]: pair_[1] for pair_ in pairs}


def _add_selftest(run, spec, outcome, name):
    """The results of one kselftest binary."""
    log = spec.share / "log" / f"selftest-{name}.tap"
    text = log.read_text(errors="replace") if log.exists() else ""
    tests, plan = tap.parse(text)
    prefix = f"{spec.iommu} {name}"
    comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    for test, state, reason in tests:
        full = f"{prefix}: {test}"
        if state == "skip":
            run.skip(full, reason)
        else:
            run.add(full, state == "ok", [line for line in comments if ": " in line])

    verdicts = [words for words in outcome.values("selftest") if words[0] == name]
    if not verdicts:
        run.add(f"{prefix}: verdict", False, ["none was given"])
        return
    status, leaked = verdicts[-1][1:]
    run.add(f"{prefix}: all of its tests ran", plan is not None and plan == len(tests),
            [f"planned {plan}, ran {len(tests)}"])
    run.add(f"{prefix}: exit code", status in ("0", "4"), [f"it was {status}"])
    run.add(f"{prefix}: no pins leaked", leaked == "0", [f"{leaked} pages"])


def _add_tools(run):
    """What tests the command and its library against a made-up host."""
    common.progress("testing the tools")
    done = subprocess.run(["make", "-s", "-C", common.TREE / "tools" / "pviommu", "check"],
                          check=False, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    tests, _ = tap.parse(done.stdout)
    for name, state, _ in tests:
        run.add(f"tools: {name}", state == "ok")
    run.add("tools: the tests ran", done.returncode == 0 and bool(tests),
            done.stdout.splitlines()[-5:])


def _run_all(run):
    chosen = kernel.prepare()
    build.run(chosen)
    harness = kernel.source(chosen) / "tools" / "testing" / "selftests"
    build.run(chosen, "selftests", f"KSELFTEST={harness}")
    _add_tools(run)
    names = [path.name for path in rundir.selftests()]
    booted = pair.boot("test", chosen, common.RIG / "l1" / "tests.sh",
                       f"rig.rounds={ROUNDS}", _progress,
                       snoop_control=True)

    table = booted["vt-d"][0].share / "log" / "dmar"
    refusals.add(run, chosen, table.read_bytes() if table.exists() else None)

    run.add("kselftests are built", bool(names))
    for spec, outcome in booted.values():
        failed_before = run.failed
        for name in names:
            _add_selftest(run, spec, outcome, name)
        summary = report.summary(spec, outcome)
        for name, passed, details in report.checks(summary):
            run.add(f"{spec.iommu} {name}", passed, details)
        for name, passed in features.checks(outcome.results):
            run.add(f"{spec.iommu} {name}", passed)
        if run.failed > failed_before:
            print(f"# everything is kept in {spec.run_dir}")
        else:
            rundir.discard_bulk(spec.run_dir)


def command(_):
    run = tap.Run(_allowed_skips())
    try:
        _run_all(run)
    except common.RigError as error:
        run.add("the run", False, str(error).splitlines())
    return run.finish()


def _progress(iommu, line):
    match line.split():
        case ["selftest-begin", name]:
            common.progress(f"{iommu}: kselftest {name}")
        case _:
            demo.progress(iommu, line)
