# SPDX-License-Identifier: GPL-2.0-only
"""What is claimed of the figures. A time never decides."""

from . import attach, modes as m

# Like with like: what unmaps in batches, and what unmaps at once. The lazy mode is the default,
# and has to be better than all.
PAIRS = (("remap-lazy", "virtio-iommu"), ("remap-lazy", "intel-iommu"),
         ("remap-strict", "virtio-strict"), ("remap-strict", "intel-iommu"))
# Not the sum of exits: each mapping takes one, and each unmapping at once, whoever gets them,
# and lazy modes flush by time.
JUDGED = {"user_exits": "exits to user space", "instructions": "instructions"}

# Mode direct, once a guest has used its memory for DMA. Nothing is said of rows in which the
# standard error is larger: more rounds and operations make it smaller.
MOST_INSTRUCTIONS = 1.03
MOST_ERROR = 0.015
MOST_SYNCS = 0.001


def _statement(text, wrong, figures):
    return {"statement": text, "true": not wrong, "wrong": wrong, "figures": figures}


def fewer(modes, mode, peer, name):
    """Does @mode need fewer of @name than @peer, in every row in which both were counted?"""
    figures = {}
    for row, values in modes[mode]["rows"].items():
        pair = [values.get(name), modes[peer]["rows"][row].get(name)]
        if None not in pair:
            figures[row] = pair
    wrong = [row for row, (ours, theirs) in figures.items() if ours >= theirs]
    return _statement(f"{mode} needs fewer {JUDGED[name]} than {peer} in every row",
                      wrong, figures)


def no_hypercalls(modes, mode):
    """Its driver asks for DMA that was refused every few seconds, in any mode: not counted."""
    figures = {row: values.get("syncs") for row, values in modes[mode]["rows"].items()}
    wrong = [row for row, value in figures.items() if value != 0]
    return _statement(f"{mode} makes no hypercalls for its I/O once it has started", wrong,
                      figures)


def few_flushes(modes, mode):
    """The limit per second is the kernel's own: it flushes every 10 ms, if there is anything."""
    figures = {row: [values.get("flushes"), values.get("flushes_allowed")]
               for row, values in modes[mode]["rows"].items()}
    figures = {row: pair for row, pair in figures.items() if None not in pair}
    wrong = [row for row, (flushes, allowed) in figures.items() if flushes > allowed]
    return _statement(f"{mode} flushes at most once for 250 mappings, or 100 times a second",
                      wrong, figures)


def as_plain(modes, mode):
    """Is no row beyond the limit by more than twice its standard error?"""
    figures = {row: [values["equal_ratio"], values["equal_error"]]
               for row, values in modes[mode]["rows"].items()
               if values.get("equal_error") is not None and values["equal_error"] <= MOST_ERROR}
    return _statement(f"{mode}: no row is beyond {MOST_INSTRUCTIONS} times plain's instructions by "
                      f"two standard errors ({len(figures)} of {len(modes[mode]['rows'])} rows are "
                      f"measured to {MOST_ERROR})",
                      [row for row, (ratio, error) in figures.items()
                       if ratio - 2 * error > MOST_INSTRUCTIONS], figures)


def no_exits(modes, mode):
    figures = {row: values["mean_syncs"] for row, values in modes[mode]["rows"].items()
               if values.get("mean_syncs") is not None}
    return _statement(f"{mode}: at most {MOST_SYNCS} hypercalls for one operation in every row",
                      [row for row, value in figures.items() if value > MOST_SYNCS], figures)


def within_budget(modes, mode, budget):
    """It is the host that enforces it; that the guest had to make room shows that it matters."""
    peak = modes[mode]["pinned_peak"]
    row = modes[mode]["rows"].get("nvme-cached-read", {})
    unmapped = row.get("unmapped")
    wrong = [] if peak is not None and peak <= budget else ["pinned_peak"]
    if unmapped is not None and unmapped * row["ops"] < budget:
        wrong.append("unmapped")
    return _statement(f"{mode} has never more than {budget} pages pinned, with eight times as many "
                      "in use", wrong, {"pinned_peak": peak, "unmapped": unmapped})


def verified(modes):
    figures = {mode: values["wrong"] for mode, values in modes.items()}
    return _statement("all data was right in every mode",
                      [mode for mode, wrong in figures.items() if wrong], figures)


def judge_attach(modes):
    """To start a guest behind pviommu takes no longer if it has more memory, and pins nothing."""
    growths = {mode: attach.growth(sizes) for mode, sizes in modes.items() if mode != m.PLAIN}
    pages = {mode: max(size["pages"] for size in sizes.values()) for mode, sizes in modes.items()
             if mode != m.PLAIN}
    return [_statement(f"to start a VMM takes at most {attach.MOST_GROWTH} times the instructions if "
                       "its guest has 12 times the memory",
                       [mode for mode, value in growths.items() if value > attach.MOST_GROWTH],
                       growths),
            _statement("a VMM that has started has nothing pinned",
                       [mode for mode, value in pages.items() if value], pages)]


def judge_micro(calls, limits):
    """@limits: {figure: the most that it may be}"""
    return [_statement(f"{name}: at most {limit}", [name] if calls[name] > limit else [],
                       {name: calls[name]}) for name, limit in limits.items()]


def judge(modes):
    """The statements about one host, as far as it has the modes that they are about."""
    found = [fewer(modes, mode, peer, name)
             for mode, peer in PAIRS for name in JUDGED
             if mode in modes and peer in modes]
    if "bounce" in modes:
        found.append(no_hypercalls(modes, "bounce"))
    if "remap-lazy" in modes:
        found.append(few_flushes(modes, "remap-lazy"))
    if "direct" in modes:
        found += [as_plain(modes, "direct"), no_exits(modes, "direct")]
    found += [within_budget(modes, mode.name, mode.budget) for mode in m.MODES
              if mode.budget and mode.name in modes]
    if all("wrong" in values for values in modes.values()):
        found.append(verified(modes))
    # Nothing is said of what was not measured.
    return [statement for statement in found if statement["figures"]]
