# SPDX-License-Identifier: GPL-2.0-only
"""The parts of a comparison: an emulated host for each IOMMU, or for each group of rows."""

import concurrent.futures
import dataclasses
import pathlib

from riglib import common, guest, host, rundir, turns

from . import count, fio, modes as m, results, rows as r

JOB = common.TREE / "tools" / "bench" / "l1" / "bench.sh"

# Guests of 512 MiB, most of which have all of it pinned, and the host itself.
GUEST_MIB = 512
HOST_MIB = 1024

# Seconds without a word from a guest, until which it is lost.
SILENCE = 60

# Emulated hosts at a time: as many as fit into this machine.
AT_ONCE = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """@rows_of: what its rows have in common, or nothing
    @ops: {name of a row: operations in one measurement}
    @turns: does the other host stand still against the clock?
    """
    iommu: str
    rows_of: str
    modes: tuple
    rows: tuple
    ops: dict
    counts: int
    rounds: int
    turns: bool

    @property
    def name(self):
        return "-".join(filter(None, (self.iommu, self.rows_of)))

    def options(self):
        """All that decides what comes out, as text."""
        return repr((self.iommu, self.modes, self.rows, sorted(self.ops.items()),
                     self.counts, self.rounds, self.turns))


def _prepare(part, kernel, turn, again):
    run_dir = rundir.create(f"bench-{part.name}" + ("-again" if again else ""))
    share = rundir.freeze(run_dir, kernel, JOB)
    (share / "modes").write_text(m.table(part.modes))
    (share / "rows").write_text(r.table(part.rows, part.ops))
    guest.install(kernel, share, [fio.program()], m.GUEST_MODULES)
    return host.Spec(
        iommu=part.iommu, kernel=kernel, run_dir=run_dir, share=share,
        disks=rundir.make_disks(run_dir, len(part.modes)), net=True, sets=len(part.modes),
        memory_mib=HOST_MIB + len(part.modes) * GUEST_MIB, turn=turn,
        devices=tuple(count.prepare(run_dir, share)),
        append=f"rig.counts={part.counts} rig.rounds={part.rounds} "
               f"rig.turns={'yes' if part.turns else 'no'} "
               f"rig.silence={int(common.seconds(SILENCE))}")


def _tell(part, line):
    match line.split():
        case ["begin", name]:
            common.progress(f"{part.name}: starting guest {name}")
        case ["row", name, row, what, number] if name == m.PLAIN:
            common.progress(f"{part.name}: {what} {number}: {row}")
        case ["settling", name, number, mapped, given]:
            common.progress(f"{part.name}: pass {number} of {name}: {mapped} pages mapped for "
                            f"the device, {given} for the guest")
        case ["lost", name]:
            common.progress(f"{part.name}: the emulator has lost guest {name}; started again")
        case ["failure", *words]:
            common.progress(f"{part.name}: FAILED: {' '.join(words)}")


def _boot(part, kernel, turn):
    """Once more, when the emulator crashes a guest that has already begun to work."""
    for again in (False, True):
        spec = _prepare(part, kernel, turn, again)
        outcome = host.boot(spec, lambda line: _tell(part, line))
        if not outcome.failures or not host.lost_a_guest(spec) or again:
            break
        common.progress(f"{part.name}: the emulator has crashed a guest; all again")
    return spec, outcome


def run(parts, kernel, done):
    """Runs @parts, two side by side; done(part, measured) is called as each is through."""
    turn = turns.Turns()

    def one(part):
        common.progress(f"{part.name}: booting the host")
        spec, outcome = _boot(part, kernel, turn)
        measured = results.measured(part, spec, outcome)
        done(part, measured)
        if measured["failures"]:
            common.progress(f"{part.name}: FAILED: {'; '.join(measured['failures'])}; "
                            f"everything is kept in {spec.run_dir}")
        else:
            rundir.discard_bulk(pathlib.Path(spec.run_dir))

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, parts))
