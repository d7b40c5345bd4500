# SPDX-License-Identifier: GPL-2.0-only
"""Mutants: plausible bugs, one at a time, each to be caught by the suite that it names.

tests/mutants/README.md says what a patch looks like. Suites run without a mutant
first; who catches a mutant then has a reason.
"""

import concurrent.futures
import contextlib
import dataclasses
import filecmp
import fnmatch
import pathlib
import queue
import re
import shutil
import subprocess

from . import build, common, console, guest, host, kernel, linux, rundir, tap

PATCHES = common.TREE / "tests" / "mutants"
AT_ONCE = 2

# What a patch can name: the IOMMU, and whether it can enforce cache coherency.
DEBUG = "debug"
IOMMUS = {
    "amd-vi": ("amd-vi", True),
    DEBUG: ("amd-vi", True),
    "vt-d": ("vt-d", True),
    "vt-d-no-snoop-control": ("vt-d", False),
    "amd-vi-6.1": ("amd-vi", True),
}
# Where host and guest have another kernel than usual.
SERIES = {"amd-vi-6.1": "6.1"}
ANY = "amd-vi"

# A host in which a mutant runs hangs more often than others.
SILENCE = 90
ATTEMPTS = 3
DEBUG_SILENCE = 600
DEBUG_MEMORY_MIB = 3584

KUNIT_TIME = r"^(?:\[ *\d+\.\d+\] )?"
KUNIT_SUITE = re.compile(KUNIT_TIME + r" {4}# Subtest: (\S+)")
KUNIT_LINE = re.compile(KUNIT_TIME + r" {4}(ok|not ok) \d+ (\S+)(?: # (SKIP)\b.*)?")


@dataclasses.dataclass(frozen=True)
class Suite:
    """@kind: "kselftest", "guest", "kunit" or "tools"; @host: of IOMMUS, for the first two"""
    kind: str
    host: str
    words: tuple

    @property
    def worker(self):
        return next((name for name in ("kunit", DEBUG) if name in (self.kind, self.host)), "")

    @property
    def caught_by(self):
        return self.words[0] if self.kind == "kselftest" else self.kind

    def __str__(self):
        return " ".join(filter(None, (self.kind, self.host, *self.words)))


@dataclasses.dataclass(frozen=True)
class Mutant:
    name: str
    patch: pathlib.Path
    suite: Suite


@dataclasses.dataclass
class Verdict:
    """@findings: what the suite found wrong; @error: why they cannot be believed"""
    findings: list = dataclasses.field(default_factory=list)
    error: str = ""


def _read(path):
    header = path.read_text().partition("\n--- ")[0]
    lines = re.findall(r"^Suite: (.+)$", header, re.MULTILINE)
    if len(lines) != 1:
        raise common.RigError(f"{path.name}: {len(lines)} lines \"Suite: ...\", not one")
    match [ANY if word == "any" else word for word in lines[0].split()]:
        case ["kselftest", binary, iommu, *words] if iommu in IOMMUS:
            suite = Suite("kselftest", iommu, (binary, *words))
        case ["guest", iommu, *words] if iommu in IOMMUS:
            suite = Suite("guest", iommu, tuple(words))
        case ["kunit", *words] if words:
            suite = Suite("kunit", "", tuple(words))
        case ["tools"]:
            suite = Suite("tools", "", ())
        case _:
            raise common.RigError(f"{path.name}: no such suite: {lines[0]}")
    return Mutant(path.stem, path, suite)


def _chosen(names):
    known = {path.stem: path for path in sorted(PATCHES.glob("*.patch"))}
    unknown = set(names) - set(known)
    if unknown:
        raise common.RigError(f"no such mutant: {', '.join(sorted(unknown))}")
    return [_read(path) for name, path in known.items() if not names or name in names]


class Debug(linux.Own):
    """The debug kernel, with the host module of a tree instead of its own."""
    own_modules = None

    def only_host(self, path):
        """For make in @path. The guest's driver is built in, and cannot be built twice."""
        return [f"KBUILD=make -C {self.kdir} M={path} CONFIG_KVM_PVIOMMU=m CONFIG_PVIOMMU="]


class Tree:
    """A copy of the tree, to be mutated; built at one place, so that make has only
    what has changed to do."""

    def __init__(self, path, sources, chosen):
        self.path, self.kernel = path, chosen
        self._variables = chosen.only_host(path) if isinstance(chosen, Debug) else []
        self._pristine, self._sources = path.with_suffix(".pristine"), sources
        for root in (self.path, self._pristine):
            shutil.rmtree(root, ignore_errors=True)
            for name in sources:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(common.TREE / name, root / name)

    def kernel_on(self, host_name):
        if host_name not in SERIES:
            return self.kernel
        return kernel.prepare(newest_cached=True, series=SERIES[host_name])

    def build(self, *targets, host_name=ANY):
        build.run(self.kernel_on(host_name), *self._variables, *targets, tree=self.path)

    @contextlib.contextmanager
    def mutated(self, patch):
        try:
            done = subprocess.run(
                ["patch", "-d", self.path, "-p1", "-F0", "-N", "-s",
                 "--no-backup-if-mismatch", "-i", patch],
                check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                raise common.RigError(f"does not apply:\n{done.stdout}")
            yield
        finally:
            self._restore()

    def _restore(self):
        """Restored files are new to make."""
        for name in self._sources:
            if not filecmp.cmp(self._pristine / name, self.path / name, shallow=False):
                shutil.copyfile(self._pristine / name, self.path / name)


def _boot(tree, name, suites):
    """Runs @suites one after another in one host. A list of Verdicts.

    Emulators fail, too, under load and early: what has not begun is tried again.
    """
    verdicts = dict(zip(suites, _boot_once(tree, name, suites)))
    for attempt in range(1, ATTEMPTS):
        again = [suite for suite, verdict in verdicts.items() if verdict.error]
        if not again or common.STOP.is_set():
            break
        common.progress(f"{name}: again, for {verdicts[again[0]].error}")
        verdicts.update(zip(again, _boot_once(tree, f"{name}-{attempt}", again)))
    return list(verdicts.values())


def _boot_once(tree, name, suites):
    run_dir = rundir.create(name)
    job = run_dir / "job"
    lines = [" ".join([f"run_{suite.kind}", str(number), *suite.words])
             for number, suite in enumerate(suites)]
    job.write_text("\n".join([". /run/rig/l1/mutant.sh", *lines, ""]))
    chosen = tree.kernel_on(suites[0].host)
    share = rundir.freeze(run_dir, chosen, job, tree=tree.path)
    if any(suite.kind == "guest" for suite in suites):
        guest.install(chosen, share)
    iommu, snoop_control = IOMMUS[suites[0].host]
    limits = {"silence": SILENCE}
    if suites[0].host == DEBUG:
        limits = {"silence": DEBUG_SILENCE, "memory_mib": DEBUG_MEMORY_MIB}
    spec = host.Spec(iommu=iommu, kernel=chosen, run_dir=run_dir, share=share,
                     disks=rundir.make_disks(run_dir, 1), snoop_control=snoop_control,
                     **limits)
    outcome = host.boot(spec)
    rundir.discard_bulk(run_dir)
    verdicts = [_host_verdict(spec, outcome, number, suite)
                for number, suite in enumerate(suites)]
    for verdict in verdicts:
        if verdict.error:
            verdict.error += f" (see {run_dir})"
    return verdicts


def _host_verdict(spec, outcome, number, suite):
    words = [line.split(" ", 2) for line in outcome.results]
    begin = ["suite-begin", str(number)]
    if begin not in words:
        return Verdict(error="; ".join(["the suite did not begin", *outcome.failures]))
    if any(failure.startswith(host.QEMU) for failure in outcome.failures):
        return Verdict(error="; ".join(outcome.failures))
    ends = [line.split()[2:] for line in outcome.results
            if line.split()[:2] == ["suite-end", str(number)]]
    found = _selftest_findings(spec, number, ends) if suite.kind == "kselftest" \
        else _guest_findings(outcome.results[words.index(begin):], ends)
    # A splat says more than a job that has not come to its end.
    return Verdict([*found, *outcome.failures])


def _selftest_findings(spec, number, ends):
    log = spec.share / "log" / f"suite-{number}.tap"
    tests, plan = tap.parse(log.read_text(errors="replace") if log.exists() else "")
    found = [test for test, state, _ in tests if state == "not ok"]
    for status, leaked in ends:
        if not any(state == "ok" for _, state, _ in tests) and not found:
            found.append("no test was run")
        if plan != len(tests):
            found.append(f"{len(tests)} of {plan} tests ran")
        if status != "0" and not found:
            found.append(f"exit code {status}")
        if leaked != "0":
            found.append(f"{leaked} pages stay pinned")
    return found


def _guest_findings(results, ends):
    found = []
    for line in results:
        if line.startswith("suite-begin ") and line != results[0]:
            break
        if line.startswith(("check 1 ", "failure ")):
            found.append(line.split(" ", 2)[2])
    if not ends and not found:
        found.append("the guest did not come to its end")
    return found


def _kunit(tree, glob):
    """The console of a kernel with @tree in it that runs the tests @glob."""
    _, log, output = linux.kunit(tree.path, glob)
    if not log:
        raise common.RigError(f"kunit.py has run nothing:\n{output}")
    kept = tree.path.with_suffix(".kunit.log")
    kept.write_text(log)
    return kept


def _kunit_tests(text):
    """("SUITE.TEST", "ok" | "not ok" | "skip") of every test on a console."""
    suite = ""
    for line in text.splitlines():
        found = KUNIT_SUITE.match(line)
        if found:
            suite = found[1]
        found = KUNIT_LINE.match(line)
        if found:
            yield f"{suite}.{found[2]}", "skip" if found[3] else found[1]


def _kunit_verdict(log, glob):
    """@log: console of a kernel that has run the tests @glob, and maybe others"""
    if "." not in glob:
        glob += ".*"
    tests = [(name, state) for name, state in _kunit_tests(log.read_text(errors="replace"))
             if fnmatch.fnmatchcase(name, glob)]
    found = [name for name, state in tests if state == "not ok"]
    if not found and not any(state == "ok" for _, state in tests):
        found.append("no test came to its end")
    return Verdict([*found, *console.splats(log)])


def _tools(tree):
    """What tests the command and its library against a made-up host."""
    folder = tree.path / "tools" / "pviommu"
    for target in ("all", "check"):
        done = subprocess.run(["make", "-s", "-C", folder, target], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if target == "all" and done.returncode:
            raise common.RigError(f"does not build:\n{done.stdout}")
    tests, _ = tap.parse(done.stdout)
    found = [test for test, state, _ in tests if state == "not ok"]
    if not found and (done.returncode or not tests):
        found.append("the tests did not come to their end")
    return Verdict(found)


def _unmutated(tree, suites):
    """{suite: Verdict}; @suites: of one kind, for one host"""
    if suites[0].kind == "kunit":
        log = _kunit(tree, linux.KUNIT_ALL)
        return {suite: _kunit_verdict(log, suite.words[0]) for suite in suites}
    if suites[0].kind == "tools":
        return {suite: _tools(tree) for suite in suites}
    tree.build(host_name=suites[0].host)
    name = f"mutants-none-{suites[0].kind}-{suites[0].host}"
    return dict(zip(suites, _boot(tree, name, suites)))


def _mutated(tree, mutant):
    with tree.mutated(mutant.patch):
        if mutant.suite.kind == "kunit":
            glob = mutant.suite.words[0]
            return _kunit_verdict(_kunit(tree, glob), glob)
        if mutant.suite.kind == "tools":
            return _tools(tree)
        tree.build(host_name=mutant.suite.host)
        return _boot(tree, f"mutant-{mutant.name}", [mutant.suite])[0]


class Pool:
    """Copies of the tree, and who works on them. KUnit has one kernel tree for all."""

    def __init__(self, chosen, debug):
        self._workers = {name: concurrent.futures.ThreadPoolExecutor(number)
                         for name, number in (("", AT_ONCE), ("kunit", 1), (DEBUG, 1))}
        trees, debug_trees = queue.Queue(), queue.Queue()
        self._trees = {"": trees, "kunit": trees, DEBUG: debug_trees}
        folder, sources = common.OUT / "mutants", build.sources()
        for number in range(AT_ONCE):
            trees.put(Tree(folder / f"tree-{number}", sources, chosen))
        if debug:
            debug_trees.put(Tree(folder / "tree-debug", sources, Debug(debug.root)))

    def close(self):
        for threads in self._workers.values():
            threads.shutdown(cancel_futures=True)

    def _call(self, trees, function, argument):
        if common.STOP.is_set():
            raise common.RigError("ended by a signal")
        tree = trees.get()
        try:
            return function(tree, argument)
        finally:
            trees.put(tree)

    def each(self, function, arguments, worker=lambda _: ""):
        """(argument, future of function(tree, argument)), as they come to their ends"""
        futures = {}
        for argument in arguments:
            name = worker(argument)
            futures[self._workers[name].submit(self._call, self._trees[name], function,
                                               argument)] = argument
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future


def _build_whole(tree, harness):
    tree.build()
    tree.build("selftests", f"KSELFTEST={harness}")


def _sound(run, pool, mutants):
    """The suites that pass without a mutant."""
    groups = {}
    for suite in dict.fromkeys(mutant.suite for mutant in mutants):
        groups.setdefault((suite.kind, suite.host), []).append(suite)
    common.progress(f"{sum(map(len, groups.values()))} suites without a mutant")
    sound = set()
    for suites, future in pool.each(_unmutated, groups.values(),
                                     lambda suites: suites[0].worker):
        for suite in suites:
            try:
                verdict = future.result()[suite]
                wrong = [verdict.error] if verdict.error else verdict.findings
            except (common.RigError, OSError) as error:
                wrong = [str(error)]
            if wrong:
                run.add(f"without a mutant: {suite}", False, wrong)
            else:
                sound.add(suite)
    return sound


def _add(run, mutant, verdict):
    if verdict.error:
        run.add(f"{mutant.name}: ERROR", False, verdict.error.splitlines())
    elif not verdict.findings:
        run.add(f"{mutant.name}: SURVIVED", False, [f"{mutant.suite} passes"])
    else:
        run.add(f"{mutant.name}: caught by {mutant.suite.caught_by}: {verdict.findings[0]}", True)


def _run_all(run, names):
    mutants = _chosen(names)
    chosen = kernel.prepare(newest_cached=True)
    harness = linux.source() / "tools" / "testing" / "selftests"
    workers = {mutant.suite.worker for mutant in mutants}
    pool = Pool(chosen, linux.build_kernel(DEBUG) if DEBUG in workers else None)
    try:
        for worker, trees in (("", AT_ONCE), (DEBUG, 1)):
            if worker in workers:
                for _, future in pool.each(_build_whole, [harness] * trees,
                                           lambda _, name=worker: name):
                    future.result()
        sound = _sound(run, pool, mutants)
        common.progress(f"{len(mutants)} mutants")
        for mutant in mutants:
            if mutant.suite not in sound:
                _add(run, mutant, Verdict(error="its suite fails without it"))
        believed = [mutant for mutant in mutants if mutant.suite in sound]
        for mutant, future in pool.each(_mutated, believed, lambda mutant: mutant.suite.worker):
            try:
                verdict = future.result()
            except (common.RigError, OSError) as error:
                verdict = Verdict(error=str(error))
            _add(run, mutant, verdict)
    finally:
        pool.close()


def command(args):
    run = tap.Run({})
    try:
        _run_all(run, args.names)
    except common.RigError as error:
        run.add("the run", False, str(error).splitlines())
    return run.finish()
