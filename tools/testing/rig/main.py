#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Boots host and guest kernels under emulation. L0 is this machine, L1 the
emulated host, L2 the guest."""

import argparse
import signal
import sys

from riglib import boot, common, counts, demo, host, kernel, linux, mutants, overcommit, soak, suite


def cmd_kernel(args):
    print(kernel.prepare(series=args.series).kdir)


def cmd_source(_):
    print(linux.source())


def arguments():
    parser = argparse.ArgumentParser(prog="rig", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser(
        "kernel", help="fetch the stock kernel; print where its headers are (KDIR)")
    command.add_argument("--series", choices=kernel.IMAGES, default="6.12")
    command.set_defaults(run=cmd_kernel)

    command = commands.add_parser(
        "source", help="fetch a kernel's source; print where it is")
    command.set_defaults(run=cmd_source)

    command = commands.add_parser(
        "boot", help="boot a host and run a shell script in it",
        description="Boots a host and runs SCRIPT in it with l1/lib.sh loaded. Its output "
                    "goes to standard output. Build products of the tree are in "
                    "/run/rig/bin, extra files in /run/rig/extra.")
    command.add_argument("--iommu", choices=host.IOMMU_DEVICES, default="amd-vi")
    command.add_argument("--kernel", default="stock",
                         choices=["stock", boot.STOCK_6_1, *linux.VARIANTS],
                         help="of host and guest: Debian's 6.12 or 6.1, or one of our own")
    command.add_argument("--script", help="default: read from standard input")
    command.add_argument("--modules", help="directory of modules to use instead of the tree's")
    command.add_argument("--extra", action="append", default=[], help="another file for the host")
    command.add_argument("--snoop-control", action="store_true",
                         help="vt-d: the IOMMU can enforce cache coherency")
    command.add_argument("--net", action="store_true", help="network devices to pass through")
    command.add_argument("--cpus", type=int, default=1)
    command.add_argument("--memory", type=int, default=2560, help="MiB of the host")
    command.add_argument("--append", default="", help="more for the host's kernel command line")
    command.add_argument("--icount", action="store_true",
                         help="a nanosecond of the host is an instruction; slow, one CPU")
    command.add_argument("--silence", type=float, default=host.HOST_SILENCE,
                         help="seconds without a sign of life that end the run")
    command.add_argument("--name", default="boot", help="name of the run directory in out/rig")
    command.set_defaults(run=boot.command)

    command = commands.add_parser("demo", help="the demonstration; writes out/demo.json")
    command.set_defaults(run=demo.command)

    command = commands.add_parser("overcommit", help="guests with more memory than their host; "
                                                     "writes out/overcommit.json")
    command.set_defaults(run=overcommit.command)

    command = commands.add_parser("test", help="all tests, as TAP")
    command.set_defaults(run=suite.command)

    command = commands.add_parser("direct", help="what of the tests can be done in mode direct, in "
                                                 "that mode, on the debug kernel, as TAP")
    command.set_defaults(run=suite.command_direct)

    command = commands.add_parser("soak", help="kselftests under KCSAN, with two processors")
    command.add_argument("--rounds", type=int, default=3)
    command.set_defaults(run=soak.command)

    command = commands.add_parser("counts", help="what the last test run has counted, into "
                                                 "the README")
    command.set_defaults(run=counts.command)
    command = commands.add_parser(
        "mutants", help="see whether plausible bugs are caught, as TAP",
        description="Applies each patch of tests/mutants to a copy of the tree and runs the "
                    "suite that it names, which has to fail.")
    command.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    command.set_defaults(run=mutants.command)
    return parser.parse_args()


def main():
    # Whoever waits for an emulator ends it then, keeps the logs and reports.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: common.STOP.set())
    args = arguments()
    try:
        return args.run(args)
    except common.RigError as error:
        print(f"rig: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
