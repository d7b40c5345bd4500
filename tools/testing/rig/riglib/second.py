# SPDX-License-Identifier: GPL-2.0-only
"""Debian's other kernel, 6.1, as host and as guest: all pairs with 6.12 but the one of
6.12 alone, which everything else is about."""

from . import build, common, features, guests, host, kernel, pair, rundir

SERIES = "6.1"

# What of the kselftests a host with 6.1 runs.
SELFTESTS = common.RIG / "l1" / "second.list"


def _selftests():
    lines = SELFTESTS.read_text().splitlines()
    return [line.split()[0] for line in lines if line and line[0] != "#"]


def _boot(chosen, tree, inside, on_result):
    """@inside: (kernel, tree) of each guest"""
    series = ",".join(other.series for other, _ in inside)
    selftests = "yes" if chosen.series == SERIES else "no"
    return pair.boot(f"second-{chosen.series}".replace(".", "-"), chosen,
                     common.RIG / "l1" / "second.sh",
                     f"rig.guests={series} rig.selftests={selftests}",
                     lambda iommu, line: on_result(f"{chosen.series} {iommu}", line),
                     tree=tree, guests=inside, snoop_control=True)


def _written(spec, outcome, series):
    """Has what the guest wrote come to its disk?"""
    written = [[int(word) for word in words[1:]] for words in outcome.values("write")
               if words[0] == series]
    return bool(written) and guests.write_arrived(spec.disks, *written[-1])


def _add_guests(run, spec, outcome, prefix, inside):
    for name, passed in features.checks(outcome.results):
        run.add(f"{prefix} {name}", passed)
    for other, _ in inside:
        run.add(f"{prefix} guest {other.series}: writes arrive",
                _written(spec, outcome, other.series))
    run.add(f"{prefix} the host's verdict", not outcome.failures, outcome.failures)


def boot(first, harness, on_result):
    """Boots them. Returns what add() wants.

    @first: the kernel that the tree is built for
    @harness: KSELFTEST of the kselftests
    """
    other = kernel.prepare(series=SERIES)
    tree = build.copy(other, harness)
    hosts = [(other, tree, [(other, tree), (first, common.TREE)]),
             (first, common.TREE, [(other, tree)])]
    return [(chosen, inside, _boot(chosen, its_tree, inside, on_result))
            for chosen, its_tree, inside in hosts]


def add(run, hosts, add_selftest):
    """Adds what was found to @run.

    @hosts: from boot()
    @add_selftest: (run, spec, outcome, binary, prefix)
    """
    for chosen, inside, booted in hosts:
        for spec, outcome in booted.values():
            failed_before = run.failed
            prefix = f"{chosen.series} {spec.iommu}"
            run.part(f"host {chosen.series}, {spec.iommu}")
            if chosen.series == SERIES:
                for name in _selftests():
                    add_selftest(run, spec, outcome, name, f"{prefix} {name}")
            _add_guests(run, spec, outcome, prefix, inside)
            if run.failed > failed_before:
                print(f"# everything is kept in {spec.run_dir}")
            else:
                rundir.discard_bulk(spec.run_dir)
