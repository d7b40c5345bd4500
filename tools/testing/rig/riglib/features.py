# SPDX-License-Identifier: GPL-2.0-only
"""What the job l1/features.sh reports: "check 0|1 NAME", and "checks done"."""


def checks(results):
    """(name, passed) of every check."""
    for line in results:
        if line.startswith("check "):
            _, verdict, name = line.split(" ", 2)
            yield name, verdict == "0"
    # A job that ended early must not pass for having found nothing wrong.
    yield "all features were checked", "checks done" in results
