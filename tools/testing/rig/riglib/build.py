# SPDX-License-Identifier: GPL-2.0-only
"""Builds what is tested."""

import os
import subprocess

from . import common


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
