# SPDX-License-Identifier: GPL-2.0-only
"""Checks scripts/graft, and that a kernel tree offers and builds what was put in."""

import hashlib
import pathlib
import shutil
import subprocess
import tempfile

from . import common, linux

SYMBOLS = ["KVM_PVIOMMU", "KVM_PVIOMMU_KUNIT_TEST", "KVM_PVIOMMU_GCOV",
           "PVIOMMU", "PVIOMMU_KUNIT_TEST", "PVIOMMU_GCOV"]

# What the graft changes of a kernel tree, and what it looks at.
CHANGED = ["arch/x86/kvm/Kconfig", "virt/Makefile", "drivers/iommu/Kconfig",
           "drivers/iommu/Makefile", "tools/testing/selftests/Makefile",
           "Documentation/virt/index.rst"]
LOOKED_AT = ["Makefile"]

# Both ours; y of the guest's and of both is in the other builds.
CHOICES = ["m", "n"]


def _state(tree):
    """{path: (digest, time of change)} of all files in @tree."""
    return {str(path.relative_to(tree)): (hashlib.sha256(path.read_bytes()).hexdigest(),
                                          path.stat().st_mtime_ns)
            for path in sorted(tree.rglob("*")) if path.is_file()}


def _graft(tree, *options):
    return subprocess.run([common.TREE / "scripts" / "graft", *options, tree], check=False,
                          text=True, capture_output=True).returncode == 0


def _in_and_out(run, source):
    with tempfile.TemporaryDirectory() as scratch:
        tree = pathlib.Path(scratch)
        run.add("graft: refuses what is no kernel tree", not _graft(tree))
        for name in CHANGED + LOOKED_AT:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, tree / name)
        _graft(tree, "--remove")
        before = _state(tree)
        run.add("graft: goes in", _graft(tree))
        inside = _state(tree)
        run.add("graft: changes all that it should", all(
            inside[name][0] != before[name][0] for name in CHANGED))
        run.add("graft: again changes nothing", _graft(tree) and _state(tree) == inside)
        stale = tree / "virt/kvm/pviommu/sync.c"
        stale.write_text("old\n")
        run.add("graft: brings up to date", _graft(tree) and
                _state(tree)["virt/kvm/pviommu/sync.c"][0] ==
                inside["virt/kvm/pviommu/sync.c"][0])
        run.add("graft: comes out without a trace", _graft(tree, "--remove") and
                {name: state[0] for name, state in _state(tree).items()} ==
                {name: state[0] for name, state in before.items()})


def _offered(run, tree, debug):
    """What menuconfig would show: symbols that a configuration may still set."""
    lines = (debug.kdir / ".config").read_text().splitlines()
    without = [line for line in lines if "PVIOMMU" not in line]
    parents = ["CONFIG_KVM_PVIOMMU=m", "CONFIG_PVIOMMU=y"]
    shown = ""
    for settings in (without, without + parents):
        with tempfile.NamedTemporaryFile("w", suffix=".config") as config:
            config.write("\n".join(settings) + "\n")
            config.flush()
            shown += linux.make(tree, "debug", f"KCONFIG_CONFIG={config.name}",
                                "helpnewconfig", what="helpnewconfig")
    for symbol in SYMBOLS:
        # The help text is between the name and the details.
        _, _, text = shown.partition(f"CONFIG_{symbol}:\n")
        words = text.partition("Symbol: ")[0].split()
        run.add(f"graft: {symbol} is offered, with help", len(words) > 10)


def _built(run, tree):
    build = tree.build("choice")
    for choice in CHOICES:
        linux.configure(tree, build.name, [linux.CONFIGS / "base.config"],
                        [f"CONFIG_KVM_PVIOMMU={choice}", f"CONFIG_PVIOMMU={choice}"])
        objects = [build / "virt/kvm/pviommu/kvm-pviommu.o", build / "drivers/iommu/pv/pviommu.o"]
        for path in objects:
            path.unlink(missing_ok=True)
        linux.make(tree, build.name, "virt/", "drivers/iommu/", what=f"ours set to {choice}")
        run.add(f"graft: builds, set to {choice}",
                all(path.exists() == (choice == "m") for path in objects))


def add(run, debug):
    with linux.grafted() as tree:
        _in_and_out(run, tree.source)
        _offered(run, tree, debug)
        _built(run, tree)
