# SPDX-License-Identifier: GPL-2.0-only
"""The ways in which a guest gets its devices, all of them, in one place."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Mode:
    """@behind: is the VMM started by "pviommu run"?
    @cmdline: of the guest's kernel
    @options: of "pviommu run"
    @driver: the step that the guest takes before it loads the drivers of its devices
    @arguments: the VMM's, before those for its devices
    @group: type of the devices' IOMMU groups in the guest; None: it does not tell the modes
        apart
    @bounces: does DMA in the guest go through memory that is set aside for it?
    @budget: pages of it that may be pinned, if rows have to show that it is kept to
    @settles: does what it maps stay, so that in the end nothing is mapped any more?
    """
    name: str
    behind: bool = False
    options: str = ""
    cmdline: str = ""
    driver: str = ""
    arguments: str = ""
    group: str | None = "none"
    bounces: bool = False
    budget: int | None = None
    settles: bool = False

    @property
    def driver_mode(self):
        """What the option "mode" of pviommu.ko must read, or None."""
        _, found, value = self.driver.partition("mode=")
        return value.split()[0] if found else None


PLAIN = "plain"

# An eighth of the pages that the row "nvme-cached-read" touches.
TIGHT_PAGES = 1792

# Guests wait for each other, for longer than an idle page stays.
DIRECT = "pviommu mode=direct idle_seconds=0"

# Lazy is the kernel's default, for virtio-iommu as for pviommu. The driver of
# intel-iommu makes it strict, whatever the command line says, in caching mode.
# The VMM's interrupt remapping is off, as no other mode has any.
MODES = (
    Mode(PLAIN),
    Mode("remap-strict", behind=True, cmdline="iommu.strict=1", driver="pviommu", group="DMA"),
    Mode("remap-lazy", behind=True, cmdline="iommu.strict=0", driver="pviommu",
         group="DMA-FQ"),
    Mode("bounce", behind=True, cmdline="iommu.strict=0", driver="pviommu mode=bounce",
         group=None),
    Mode("hybrid", behind=True, cmdline="iommu.strict=0", driver="pviommu mode=hybrid",
         group=None),
    Mode("direct", behind=True, options="--direct --budget 512M", driver=DIRECT, group=None,
         settles=True),
    Mode("direct-tight", behind=True, options=f"--direct --budget {TIGHT_PAGES}p",
         driver=DIRECT, group=None, budget=TIGHT_PAGES),
    Mode("virtio-iommu", cmdline="iommu.strict=0", driver="load virtio-iommu",
         arguments="-device virtio-iommu-pci,addr=03.0", group="DMA-FQ"),
    Mode("virtio-strict", cmdline="iommu.strict=1", driver="load virtio-iommu",
         arguments="-device virtio-iommu-pci,addr=03.0", group="DMA"),
    Mode("intel-iommu", cmdline="intel_iommu=on iommu.strict=0",
         arguments="-device intel-iommu,caching-mode=on,intremap=off", group="DMA"),
    Mode("swiotlb", cmdline="swiotlb=force", bounces=True),
)

# Modules that the guest needs besides those of its devices.
GUEST_MODULES = ["virtio-iommu"]


def table(modes):
    """The file that l1/bench.sh reads."""
    return "".join(
        "|".join([mode.name, "yes" if mode.behind else "no", mode.options, mode.cmdline,
                  mode.driver, mode.arguments, "yes" if mode.settles else "no"]) + "\n"
        for mode in modes)


def choose(names):
    """The modes of these names; plain, which the others are compared with, is always there."""
    return tuple(mode for mode in MODES if mode.name == PLAIN or mode.name in names)
