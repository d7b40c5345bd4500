# SPDX-License-Identifier: GPL-2.0-only
"""The demonstration: one guest, with and without pviommu, on both IOMMUs."""

import json

from . import build, common, host, kernel, pair, report, rundir

ROUNDS = 3

STEPS = {
    "booted": "booted",
    "pviommu": "pviommu driver loaded",
    "idle": "NVMe driver loaded, idle",
    "md5": "read 64 MiB",
    "write": "wrote 8 MiB",
    "net": "network up",
    "transfer": "moved data over the network, both ways",
    "net_off": "network driver unloaded",
    "edu": "edu tried DMA inside and outside",
    "time4k": "measured 4 KiB reads",
    "time128k": "measured 128 KiB reads",
}

ROWS = [
    ("guest RAM", "guest_ram_kib", "KiB"),
    ("locked, plain VFIO", "plain_locked_kib", "KiB"),
    ("locked, pviommu, idle", "pviommu_locked_kib_idle", "KiB"),
    ("locked, pviommu, peak", "pviommu_locked_kib_peak", "KiB"),
    ("disk reads back right", "nvme_md5_ok", ""),
    ("disk writes arrive", "nvme_write_ok", ""),
    ("network moves data right", "nic_md5_ok", ""),
    ("DMA outside blocked", "outside_dma_blocked", ""),
    ("pages left pinned", "pins_leaked", ""),
    ("hypercalls, lazy", "hypercalls", ""),
    ("hypercalls, 4 KiB read, lazy", ("lazy", "hypercalls_per_4k_read"), ""),
    ("hypercalls, 4 KiB read, strict", ("strict", "hypercalls_per_4k_read"), ""),
    ("time, 4 KiB reads, lazy", "time_ratio_4k_lazy", "x plain"),
    ("time, 4 KiB reads, strict", "time_ratio_4k_strict", "x plain"),
    ("time, 128 KiB reads, lazy", "time_ratio_128k_lazy", "x plain"),
    ("time, 128 KiB reads, strict", "time_ratio_128k_strict", "x plain"),
]


def progress(iommu, line):
    match line.split():
        case ["guest", name, "pause", step]:
            common.progress(f"{iommu}: {name}: {STEPS.get(step, step)}")
        case ["failure", *words]:
            common.progress(f"{iommu}: FAILED: {' '.join(words)}")


def _cell(summary, field, unit):
    if isinstance(field, tuple):
        value = summary["raw"]["per_operation"][field[0]][field[1]]
    else:
        value = summary[field]
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value} {unit}".strip()


def _print_table(summaries):
    print()
    print(f"{'':32}" + "".join(f"{summary['iommu']:>18}" for summary in summaries))
    for label, field, unit in ROWS:
        cells = "".join(f"{_cell(summary, field, unit):>18}" for summary in summaries)
        print(f"{label:32}{cells}")
    print("\nTimes are emulated (TCG): they say nothing about real TLB, cache or IOTLB cost.")


def command(_):
    chosen = kernel.prepare()
    build.run(chosen)
    booted = pair.boot("demo", chosen, common.RIG / "l1" / "guests.sh",
                       f"rig.rounds={ROUNDS}", progress)

    summaries, failed = [], False
    for spec, outcome in booted.values():
        summaries.append(report.summary(spec, outcome))
    common.OUT.mkdir(exist_ok=True)
    (common.OUT / "demo.json").write_text(json.dumps(summaries, indent=2) + "\n")
    _print_table(summaries)

    for summary, (spec, _) in zip(summaries, booted.values()):
        lost = [(name, details) for name, passed, details in report.checks(summary)
                if not passed]
        for name, details in lost:
            print(f"FAILED on {summary['iommu']}: {name} {' '.join(details)}")
        if lost:
            failed = True
            print(f"everything is kept in {spec.run_dir}")
        else:
            rundir.discard_bulk(spec.run_dir)
    print(f"details: {common.OUT / 'demo.json'}")
    return 1 if failed else 0
