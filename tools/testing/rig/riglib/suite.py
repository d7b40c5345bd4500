# SPDX-License-Identifier: GPL-2.0-only
"""All tests: the tools, KUnit, then what needs an emulated host, on the stock kernel
and on the debug kernel."""

import concurrent.futures
import re
import subprocess

from . import (build, common, counts, coverage, demo, features, grafted, kernel, linux, pair, refusals,
               report, rundir, second, tap, units, vmm)

ROUNDS = 1

# What our own tests have to reach of kvm/ and drivers/iommu/pv/, in per cent of lines.
COVERAGE = 85

# The debug kernel is slow and large.
DEBUG_SILENCE = 600
DEBUG_GUEST_SILENCE = 420
DEBUG_MEMORY_MIB = 3584

RUNNER_LINE = re.compile(r"^(ok|not ok) \d+ selftests: pviommu: (\w+)(.*)$", re.M)


def _allowed_skips():
    lines = (common.RIG / "skips").read_text().splitlines()
    pairs = (line.split(None, 1) for line in lines if line.strip() and line[0] != "#")
    return {pair_[0]: pair_[1] for pair_ in pairs}


def _add_cases(run, spec, name, prefix):
    """The results of one kselftest binary."""
    log = spec.share / "log" / f"selftest-{name}.tap"
    text = log.read_text(errors="replace") if log.exists() else ""
    tests, plan = tap.parse(text)
    comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    for test, state, reason in tests:
        full = f"{prefix}: {test}"
        if state == "skip":
            run.skip(full, reason)
        else:
            run.add(full, state == "ok", [line for line in comments if ": " in line])
    run.add(f"{prefix}: all of its tests ran", plan is not None and plan == len(tests),
            [f"planned {plan}, ran {len(tests)}"])


def _add_selftest(run, spec, outcome, name, prefix):
    _add_cases(run, spec, name, prefix)
    verdicts = [words for words in outcome.values("selftest") if words[0] == name]
    if not verdicts:
        run.add(f"{prefix}: verdict", False, ["none was given"])
        return
    status, leaked = verdicts[-1][1:]
    run.add(f"{prefix}: exit code", status in ("0", "4"), [f"it was {status}"])
    run.add(f"{prefix}: no pins leaked", leaked == "0", [f"{leaked} pages"])


def _add_tools(run):
    """What tests the command and its library against a made-up host."""
    common.progress("testing the tools")
    run.part("tools, against a made-up host")
    done = subprocess.run(["make", "-s", "-C", common.TREE / "tools" / "pviommu", "check"],
                          check=False, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    tests, _ = tap.parse(done.stdout)
    for name, state, _ in tests:
        run.add(f"tools: {name}", state == "ok")
    run.add("tools: the tests ran", done.returncode == 0 and bool(tests),
            done.stdout.splitlines()[-5:])


def _add_model(run):
    """What spin finds out about the protocol of mode direct."""
    common.progress("checking the model of mode direct")
    run.part("model of mode direct, every interleaving")
    done = subprocess.run(["make", "-s", "-C", common.TREE, "model"], check=False, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    tests, plan = tap.parse(done.stdout)
    for name, state, _ in tests:
        run.add(f"model: {name}", state == "ok")
    run.add("model: all of it was checked", done.returncode == 0 and plan == len(tests),
            done.stdout.splitlines()[-5:])


def _boot_stock(chosen):
    return pair.boot("test", chosen, common.RIG / "l1" / "tests.sh",
                     f"rig.rounds={ROUNDS} rig.turns=no", _progress, snoop_control=True)


def _add_stock(run, chosen, booted):
    """kselftests and guests on the stock kernel."""
    names = [path.name for path in rundir.selftests() if path.name not in linux.DEBUG_ONLY]

    run.part("hosts that refuse")
    table = booted["vt-d"][0].share / "log" / "dmar"
    refusals.add(run, chosen, table.read_bytes() if table.exists() else None)

    run.add("kselftests are built", bool(names))
    for spec, outcome in booted.values():
        failed_before = run.failed
        run.part(f"kselftests, stock kernel, {spec.iommu}")
        for name in names:
            _add_selftest(run, spec, outcome, name, f"{spec.iommu} {name}")
        run.part(f"guests, stock kernel, {spec.iommu}")
        summary = report.summary(spec, outcome)
        for name, passed, details in report.checks(summary):
            run.add(f"{spec.iommu} {name}", passed, details)
        for name, passed in features.checks(outcome.results):
            run.add(f"{spec.iommu} {name}", passed)
        _keep(run, spec, failed_before)


def _keep(run, spec, failed_before):
    if run.failed > failed_before:
        print(f"# everything is kept in {spec.run_dir}")
    else:
        rundir.discard_bulk(spec.run_dir)


def _add_runner(run, spec, prefix):
    """What the kernel's own runner said of each binary."""
    log = spec.share / "log" / "runner"
    said = RUNNER_LINE.findall(log.read_text(errors="replace") if log.exists() else "")
    verdicts = {name: (verdict, detail) for verdict, name, detail in said}
    for name in linux.selftests(spec.kernel):
        verdict, detail = verdicts.get(name, ("", "it did not run"))
        run.add(f"{prefix} {name}: run_tests", verdict == "ok", [detail])
        _add_cases(run, spec, name, f"{prefix} {name}")


def _boot_debug(debug, chosen, name, append):
    """@name: of the job, too"""
    return pair.boot(name, debug, common.RIG / "l1" / f"{name}.sh", append,
                     lambda iommu, line: _progress(f"{name} {iommu}", line),
                     guests=[(chosen, common.TREE)], memory_mib=DEBUG_MEMORY_MIB,
                     silence=DEBUG_SILENCE, guest_silence=DEBUG_GUEST_SILENCE)


def _add_debug(run, booted):
    """kselftests and a guest on the debug kernel. Returns directories with logs."""
    for spec, outcome in booted.values():
        failed_before = run.failed
        prefix = f"debug {spec.iommu}"
        run.part(f"kselftests, debug kernel, {spec.iommu}")
        _add_runner(run, spec, prefix)
        run.part(f"guest, debug kernel, {spec.iommu}")
        for name, passed in features.checks(outcome.results):
            run.add(f"{prefix} {name}", passed)
        run.add(f"{prefix} nothing was wrong on any console", not outcome.failures,
                outcome.failures)
        _keep(run, spec, failed_before)
    return [spec.share / "log" for spec, _ in booted.values()]


def _add_coverage(run, debug, logs):
    """Returns {folder: per cent}."""
    run.part("coverage by KUnit and kselftests")
    found = coverage.lines(debug, logs)
    (common.OUT / "coverage.txt").write_text("\n".join(coverage.report(found)) + "\n")
    reached = coverage.by_folder(found)
    for folder, percent in reached.items():
        run.add(f"coverage of {folder} is {COVERAGE} % or more", percent >= COVERAGE,
                [f"it is {percent} %, see out/coverage.txt"])
    return reached


def _run_all(run):
    chosen = kernel.prepare()
    build.run(chosen)
    harness = linux.source() / "tools" / "testing" / "selftests"
    build.run(chosen, "selftests", f"KSELFTEST={harness}")
    _add_tools(run)
    _add_model(run)
    run.part("KUnit, by kunit.py")
    units.add(run)
    debug = linux.build_kernel("debug")
    run.part("graft into a kernel tree")
    grafted.add(run, debug)
    # Beside the others, which spend much of their time waiting.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        kunit = pool.submit(units.boot_debug, debug)
        _add_stock(run, chosen, _boot_stock(chosen))
        second.add(run, second.boot(chosen, harness, _progress), _add_selftest)
    run.part("KUnit, debug kernel")
    logs = [units.add_debug(run, *kunit.result())]
    program = vmm.prepare(newest_cached=True)
    logs += _add_debug(run, _boot_debug(debug, chosen, "debug",
                                        f"rig.tree={debug.kdir.parent} rig.vmm={program}"))
    return _add_coverage(run, debug, logs)


def command_direct(_):
    """What of the tests can be done in mode direct, in it, on the debug kernel."""
    run = tap.Run(_allowed_skips())
    try:
        chosen = kernel.prepare()
        build.run(chosen)
        debug = linux.build_kernel("debug")
        _add_debug(run, _boot_debug(debug, chosen, "all_direct", "rig.direct=yes"))
    except common.RigError as error:
        run.add("the run", False, str(error).splitlines())
    return run.finish()


def command(_):
    run = tap.Run(_allowed_skips())
    reached = {}
    try:
        reached = _run_all(run)
    except common.RigError as error:
        run.part("the run")
        run.add("the run", False, str(error).splitlines())
    common.OUT.mkdir(exist_ok=True)
    counts.write(run, reached)
    return run.finish()


def _progress(iommu, line):
    match line.split():
        case ["selftest-begin", *name]:
            common.progress(f"{iommu}: kselftest {' '.join(name)}")
        case _:
            demo.progress(iommu, line)
