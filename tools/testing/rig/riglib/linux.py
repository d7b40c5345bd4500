# SPDX-License-Identifier: GPL-2.0-only
"""Kernels of our own: Debian's source with the project grafted in, and built.

The source and what make leaves behind stay in the cache, so that only what has
changed is built again. What is booted is a copy, keyed by what went in.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import shutil
import subprocess

from . import cache, common, debs, kernel

# Raise when what is built changes in another way than by its configuration.
RECIPE = "1"

# scripts/graft lists in it what it has put in.
MANIFEST = ".pviommu-graft"

PACKAGE = "linux-source-6.12"
CONFIGS = common.RIG / "configs"

# Whose coverage is counted.
COUNTED = ["virt/kvm/pviommu", "arch/x86/kvm", "drivers/iommu/pv"]

VARIANTS = ("debug", "kcsan")

# kselftests that can do nothing on a stock kernel.
DEBUG_ONLY = ["fail_nth_test", "iommufd_test"]

# Copies that are kept, of each variant.
KEPT = 2

KUNIT_ALL = "*pviommu*"
KUNIT_SECONDS = 300
KUNIT_CONFIGS = ["virt/kvm/pviommu", "drivers/iommu/pv"]


@dataclasses.dataclass(frozen=True)
class Own(kernel.Kernel):
    """Has selftests/, as the kernel's own "make install" leaves them, too."""

    @property
    def kdir(self):
        return pathlib.Path(self.manifest["build"])

    @property
    def own_modules(self):
        return [self.root / self.manifest["host_module"]]


@dataclasses.dataclass(frozen=True)
class Tree:
    """A source tree and its build directories."""
    root: pathlib.Path

    @property
    def source(self):
        return self.root / "source"

    def build(self, variant):
        return self.root / variant


def _newest(apt):
    return next(iter(apt.versions([PACKAGE])), None)


def _fetch(apt, version):
    def fill(root):
        common.progress(f"fetching {PACKAGE} ({version})")
        if not apt.download([f"{PACKAGE}={version}"], root):
            raise common.RigError(f"cannot fetch {PACKAGE}")
        debs.unpack(root, root)
        (root / "source").mkdir()
        _run(["tar", "-xf", root / f"usr/src/{PACKAGE}.tar.xz", "-C", root / "source",
              "--strip-components=1"], "unpacking the source")
        shutil.rmtree(root / "usr")

    return cache.make(f"trees/{cache.key(RECIPE, PACKAGE, version)}", fill, 16384,
                      "a kernel's source and its builds")


def _run(command, what, **options):
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options)
    if done.returncode:
        raise common.RigError(f"{what} failed:\n" + done.stdout[-8000:])
    return done.stdout


@functools.cache
def _prepared(newest_cached=False):
    """The tree; the caller holds cache.lock()."""
    cached = sorted(common.cache().glob("trees/*/source"), key=os.path.getmtime)
    if newest_cached and cached:
        return Tree(cached[-1].parent)
    for private in (False, True):
        apt = debs.Apt(private)
        version = _newest(apt)
        if not version:
            continue
        try:
            return Tree(_fetch(apt, version))
        except common.RigError as error:
            common.progress(str(error))
    if cached:
        common.progress("using the cached source")
        return Tree(cached[-1].parent)
    raise common.RigError(f"apt offers no {PACKAGE}; Debian 12's security suite, "
                          "bookworm-security, carries it")


def source(newest_cached=True):
    """The source of a kernel, whatever is grafted into it just now."""
    with cache.lock():
        return _prepared(newest_cached).source


def _graft(tree, project=common.TREE):
    """Returns all that was put in, as paths."""
    _run([project / "scripts" / "graft", tree.source], "scripts/graft")
    names = (tree.source / MANIFEST).read_text().split()
    return [tree.source / name for name in names]


def _fragments(variant):
    return [CONFIGS / f"{name}.config" for name in ("base", variant)]


def make(tree, variant, *arguments, what):
    """make in the build directory of @variant. Returns its output."""
    environment = dict(os.environ, KBUILD_BUILD_USER="pviommu", KBUILD_BUILD_HOST="rig")
    environment.pop("KDIR", None)
    return _run(["make", "-C", tree.source, f"O={tree.build(variant)}",
                 f"-j{os.cpu_count()}", *arguments], what, env=environment)


def configure(tree, variant, fragments, more=()):
    """allnoconfig, @fragments and the lines @more, all of which have to come true."""
    build = tree.build(variant)
    build.mkdir(exist_ok=True)
    last = build / "pviommu.config"
    last.write_text("\n".join(more) + "\n")
    wanted = [*fragments, last]
    stamp = build / "pviommu-config"
    now = cache.key(*wanted, tree.source / MANIFEST)
    if stamp.exists() and stamp.read_text() == now:
        return
    _run(["scripts/kconfig/merge_config.sh", "-n", "-O", build, *wanted],
         "merge_config.sh", cwd=tree.source)
    config = (build / ".config").read_text().splitlines()
    settings = [line for path in wanted for line in path.read_text().splitlines()
                if line.startswith("CONFIG_")]
    # A later one may override an earlier one.
    settings = {line.split("=")[0]: line for line in settings}
    lost = [line for line in settings.values()
            if line not in config and not (line.endswith("=n") and
                                           not any(other.startswith(line[:-1])
                                                   for other in config))]
    if lost:
        raise common.RigError(f"the {variant} kernel cannot have " + ", ".join(lost))
    stamp.write_text(now)


def _install_selftests(tree, variant, root):
    make(tree, variant, "headers", what="make headers")
    _run(["make", "-C", tree.source / "tools/testing/selftests", f"O={tree.build(variant)}",
          f"KDIR={tree.build(variant)}", "TARGETS=pviommu", f"INSTALL_PATH={root}/selftests",
          f"-j{os.cpu_count()}", "install"], "installing the kselftests")


def _copy_notes(tree, variant, root):
    """What gcov has to know of the objects."""
    build = tree.build(variant)
    for folder in COUNTED:
        for note in (build / folder).rglob("*.gcno"):
            target = root / "gcno" / note.relative_to(build)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(note, target)


def _fill(tree, variant, root):
    configure(tree, variant, _fragments(variant))
    common.progress(f"building the {variant} kernel")
    make(tree, variant, "bzImage", "modules", what=f"the {variant} kernel")
    build = tree.build(variant)
    release = (build / "include/config/kernel.release").read_text().strip()
    (root / "boot").mkdir()
    shutil.copy2(build / "arch/x86/boot/bzImage", root / "boot" / f"vmlinuz-{release}")
    make(tree, variant, f"INSTALL_MOD_PATH={root}", "modules_install", what="modules_install")
    for link in ("build", "source"):
        (root / "lib/modules" / release / link).unlink(missing_ok=True)
    _install_selftests(tree, variant, root)
    _copy_notes(tree, variant, root)
    (root / "manifest.json").write_text(json.dumps({
        "release": release, "build": str(build),
        "host_module": f"lib/modules/{release}/kernel/virt/kvm/pviommu/kvm-pviommu.ko"}))


def _prune(variant):
    found = sorted((common.cache() / "own").glob(f"{variant}-*"), key=os.path.getmtime)
    for path in found[:-KEPT]:
        shutil.rmtree(path)


def _setup():
    _run([common.TREE / "scripts" / "setup", "kernel"], "scripts/setup")


def build_kernel(variant):
    """The kernel that configs/@variant.config describes."""
    _setup()
    with cache.lock():
        tree = _prepared()
        grafted = _graft(tree)
        name = cache.key(RECIPE, tree.root.name, *_fragments(variant),
                         *map(str, grafted), *grafted)
        root = cache.make(f"own/{variant}-{name}", lambda root: _fill(tree, variant, root),
                          2048, f"the {variant} kernel")
        os.utime(root)
        _prune(variant)
        return Own(root)


@contextlib.contextmanager
def grafted():
    """The tree, with our sources in it, and nobody else at work there."""
    _setup()
    with cache.lock():
        tree = _prepared()
        _graft(tree)
        yield tree


def kunit(project=common.TREE, glob=KUNIT_ALL):
    """Builds @project's KUnit suites and runs the tests @glob.

    Returns (what kunit.py makes of it as JSON, the console, what it has printed); the first
    two are empty if nothing was run.
    """
    _setup()
    with cache.lock():
        tree = _prepared()
        try:
            _graft(tree, project)
            return _kunit(tree, glob)
        finally:
            if project != common.TREE:
                _graft(tree)


def _kunit(tree, glob):
    results, log = tree.root / "kunit.json", tree.build("kunit") / "test.log"
    for path in (results, log):
        path.unlink(missing_ok=True)
    command = ["tools/testing/kunit/kunit.py", "run", "--arch=x86_64",
               f"--build_dir={tree.build('kunit')}", f"--jobs={os.cpu_count()}",
               f"--json={results}", f"--timeout={int(common.seconds(KUNIT_SECONDS))}"]
    command += [f"--kunitconfig={path}" for path in KUNIT_CONFIGS]
    done = subprocess.run([*command, glob], check=False, text=True, cwd=tree.source,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    text = results.read_text() if results.exists() else ""
    console = log.read_text(errors="replace") if log.exists() else ""
    return (json.loads(text) if text.strip() else {}), console, done.stdout


def selftests(own):
    """Names of the installed kselftests."""
    listed = (own.root / "selftests" / "kselftest-list.txt").read_text().split()
    return [name.removeprefix("pviommu:") for name in listed]
