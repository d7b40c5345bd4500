# SPDX-License-Identifier: GPL-2.0-only
"""What a whole test run has counted: out/test.json, and a table of it in the README."""

import json
import re

from . import common

RESULT = common.OUT / "test.json"
README = common.TREE / "README.md"
MARKED = re.compile(r"(<!-- counts: .*? -->\n).*?(<!-- end of counts -->)", re.S)


def write(run, coverage):
    """@coverage: {folder: per cent}"""
    RESULT.write_text(json.dumps({
        "seconds": round(common.elapsed()),
        "parts": {name: dict(zip(("passed", "failed", "skipped"), part))
                  for name, part in run.parts.items() if any(part)},
        "coverage": coverage,
    }, indent=1) + "\n")


def table(result):
    width = max(map(len, result["parts"]))
    yield "```"
    yield f"{'':{width}}  passed  failed  skipped"
    rows = [*result["parts"].items(),
            ("all", {state: sum(part[state] for part in result["parts"].values())
                     for state in ("passed", "failed", "skipped")})]
    for name, part in rows:
        yield f"{name:{width}}  {part['passed']:6}  {part['failed']:6}  {part['skipped']:7}"
    yield ""
    for folder, percent in result["coverage"].items():
        yield f"lines of {folder} that ran: {percent} %"
    yield "```"


def command(_):
    """Puts the last run's table in its place in the README."""
    if not RESULT.exists():
        raise common.RigError("there is no out/test.json yet: make test")
    lines = "\n".join(table(json.loads(RESULT.read_text())))
    text, places = MARKED.subn(lambda found: found[1] + lines + "\n" + found[2],
                               README.read_text())
    if places != 1:
        raise common.RigError("the README has no place for the counts")
    README.write_text(text)
