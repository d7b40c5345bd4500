# SPDX-License-Identifier: GPL-2.0-only
"""What jobs report with l1/checks.sh: "check 0|1 NAME", and at the end "checks done"."""


def checks(results):
    """(name, passed) of every check."""
    for line in results:
        if line.startswith("check "):
            _, verdict, name = line.split(" ", 2)
            yield name, verdict == "0"
    # A job that ended early must not pass for having found nothing wrong.
    yield "all features were checked", "checks done" in results
