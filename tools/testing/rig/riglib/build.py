# SPDX-License-Identifier: GPL-2.0-only
"""Builds what is tested."""

import filecmp
import os
import shutil
import subprocess

from . import common


def sources():
    """What is ours in the tree, committed or not."""
    done = subprocess.run(
        ["git", "-C", common.TREE, "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"], check=True, text=True, stdout=subprocess.PIPE)
    return [name for name in sorted(set(done.stdout.split("\0")))
            if name and (common.TREE / name).is_file()]


def run(kernel, *targets, tree=common.TREE):
    """make in @tree, against the headers of @kernel; its output only on failure.

    @targets: may also be assignments of make variables
    """
    what = " ".join(["make", *targets])
    common.progress(f"building: {what}")
    done = subprocess.run(
        ["make", "-C", tree, f"-j{os.cpu_count()}", f"KDIR={kernel.kdir}", *targets],
        check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise common.RigError(f"{what} failed:\n{done.stdout}")


def copy(kernel, harness):
    """A copy of the tree, which holds one build at a time, built for another kernel.

    @harness: KSELFTEST of the kselftests
    """
    tree = common.OUT / "built" / kernel.release
    for name in sources():
        source, target = common.TREE / name, tree / name
        # What has not changed stays as old as it is, for make.
        if not target.exists() or not filecmp.cmp(source, target, shallow=False):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    run(kernel, tree=tree)
    run(kernel, "selftests", f"KSELFTEST={harness}", tree=tree)
    return tree
