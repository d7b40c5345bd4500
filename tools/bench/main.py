#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Compares pviommu with other ways to give a guest a device."""

import argparse
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "testing" / "rig"))

# pylint: disable=wrong-import-position
from riglib import common  # noqa: E402
from benchlib import document, run  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--document", action="store_true",
                        help="run nothing: put the figures of the last run into the "
                             "documentation")
    run.add_options(parser)
    return parser.parse_args()


def main():
    # Whoever waits for an emulator ends it then, keeps the logs and reports.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: common.STOP.set())
    args = arguments()
    try:
        return document.write() if args.document else run.command(args)
    except common.RigError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
