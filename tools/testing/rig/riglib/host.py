# SPDX-License-Identifier: GPL-2.0-only
"""The emulated host: QEMU's command line, its life and its verdict."""

import dataclasses
import pathlib
import subprocess
import sys
import time

from . import common, console, initramfs, kernel as kernels, peer, qmp, turns

IOMMU_DEVICES = {
    "none": None,
    "amd-vi": "amd-iommu,intremap=on",
    "vt-d": "intel-iommu,intremap=on",
}

# Where the host finds its passthrough devices, enough for three guests. lib.sh
# is told.
EDU_SLOTS = ("10", "14", "18")
NVME_SLOTS = ("11", "15", "19")
NET_SLOTS = ("12", "16", "1a")

# And for as many guests more as there are, see Spec.sets. The last of them are those of edu
# devices, for which there is no room then.
MORE_NVME_SLOTS = ("08", "09", "0a", "0b", "0c", "07", "10", "14", "18")
MORE_NET_SLOTS = ("0d", "0e", "0f", "1b", "1d", "1e", "13", "17", "1c")
SETS_BESIDE_EDU = 9

# An edu device that addresses 28 bits, as QEMU's default is.
NARROW_EDU_SLOT = "1c"

# Edu devices that are not alone in their IOMMU groups: the functions of one slot,
# which lack ACS, and what is behind a conventional bridge, whose requester id all of
# it bears. The emulated AMD-Vi knows a requester on the root bus only, and the bus
# below such a bridge has no ids of its own.
TWIN_EDU_SLOT = "13"
BRIDGE_SLOT = "17"
BRIDGED_EDU_SLOTS = ("01", "02")

# Seconds without a sign of life after which a level gives up. The guest's is
# the shortest, so that the innermost speaks first.
GUEST_SILENCE = 60
HOST_SILENCE = 120

# Seconds of silence after which to look whether the emulator is at fault.
LOOK_EVERY = 10

QEMU = "qemu-system-x86_64"


@dataclasses.dataclass
class Spec:
    """What to boot. @share appears in the host as /run/rig."""
    iommu: str
    kernel: kernels.Kernel
    run_dir: pathlib.Path
    share: pathlib.Path
    disks: list
    snoop_control: bool = False
    net: bool = False
    # How many guests find a disk and, with net, a network device of their own
    sets: int = len(NVME_SLOTS)
    # The clock counts instructions, and stands still while nothing runs.
    icount: bool = False
    memory_mib: int = 2560
    # Of a disk for the host itself
    swap_mib: int = 0
    cpus: int = 1
    append: str = ""
    # More of the emulator's arguments
    devices: tuple = ()
    # An archive that precedes the initramfs
    early: bytes = b""
    silence: float = HOST_SILENCE
    guest_silence: float = GUEST_SILENCE
    echo: bool = False
    turn: turns.Turns = dataclasses.field(default_factory=turns.Turns)

    @property
    def nvme_slots(self):
        return (*NVME_SLOTS, *MORE_NVME_SLOTS)[:self.sets]

    @property
    def net_slots(self):
        return (*NET_SLOTS, *MORE_NET_SLOTS)[:self.sets]


@dataclasses.dataclass
class Outcome:
    results: list = dataclasses.field(default_factory=list)
    failures: list = dataclasses.field(default_factory=list)

    def values(self, name):
        """What follows @name on the result lines that begin with it."""
        lines = (line.split() for line in self.results)
        return [words[1:] for words in lines if words and words[0] == name]


def _slots(slots):
    return ",".join(f"0000:00:{slot}.0" for slot in slots)


def _kernel_command_line(spec, port):
    raised = int(common.seconds(600))
    return " ".join([
        "console=ttyS0 rdinit=/init panic=-1 oops=panic panic_on_warn=1",
        "iommu=nopt intel_iommu=on",
        # A stolen processor fakes stalls, lockups and a dead timer.
        "rcupdate.rcu_cpu_stall_timeout=300 watchdog_thresh=60 no_timer_check",
        # KVM that is built in has the frequency of the first guess, which the kernel
        # corrects later. Where that is more than 250 millionths faster, KVM leaves
        # its guests without an offset of the TSC: their timers come too late, by as
        # long as the host is up.
        "kvm.tsc_tolerance_ppm=500000",
        f"sysctl.kernel.hung_task_timeout_secs={raised}",
        f"rig.guest_silence={int(common.seconds(spec.guest_silence))}",
        f"rig.iommu={spec.iommu}",
        f"rig.edu={_slots(EDU_SLOTS)}",
        f"rig.narrow_edu={_slots([NARROW_EDU_SLOT])}",
        f"rig.twin_edu=0000:00:{TWIN_EDU_SLOT}.0,0000:00:{TWIN_EDU_SLOT}.1",
        "rig.bridged_edu=" + ",".join(f"0000:01:{slot}.0" for slot in BRIDGED_EDU_SLOTS),
        f"rig.nvme={_slots(spec.nvme_slots)}",
        f"rig.net={_slots(spec.net_slots)} rig.peer={port}" if spec.net else "",
        spec.append,
    ])


def _share(tag, path, readonly):
    options = "readonly=on,multidevs=remap" if readonly else "multidevs=remap"
    return ["-fsdev", f"local,id={tag},path={path},security_model=none,{options}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def _initramfs(spec):
    usual = initramfs.host(spec.kernel)
    if not spec.early:
        return usual
    path = spec.run_dir / "host.cpio"
    path.write_bytes(spec.early + usual.read_bytes())
    return path


def _edus():
    command = []
    for slot in EDU_SLOTS:
        command += ["-device", f"edu,addr={slot}.0,dma_mask=0xffffffff"]
    return command + ["-device", f"edu,addr={NARROW_EDU_SLOT}.0", *_shared_groups()]


def _shared_groups():
    edu = "edu,dma_mask=0xffffffff"
    command = ["-device", f"{edu},addr={TWIN_EDU_SLOT}.0,multifunction=on",
               "-device", f"{edu},addr={TWIN_EDU_SLOT}.1",
               "-device", f"i82801b11-bridge,id=conventional,addr={BRIDGE_SLOT}.0"]
    for slot in BRIDGED_EDU_SLOTS:
        command += ["-device", f"{edu},bus=conventional,addr={slot}.0"]
    return command


def _swap(spec):
    if not spec.swap_mib:
        return []
    path = spec.run_dir / "swap.img"
    with path.open("wb") as file:
        file.truncate(spec.swap_mib << 20)
    return ["-drive", f"file={path},if=none,id=swap,format=raw,cache=unsafe",
            "-device", "virtio-blk-pci,drive=swap"]


def _accelerator(spec):
    if spec.icount:
        return ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
    return ["-accel", "tcg,thread=multi"]


def _command(spec, port):
    iommu = IOMMU_DEVICES[spec.iommu]
    if spec.iommu == "vt-d" and spec.snoop_control:
        iommu += ",snoop-control=on"
    iommu = ["-device", iommu] if iommu else []
    log = spec.run_dir
    command = [
        # Not even a killed orchestrator leaves an emulator behind.
        "setpriv", "--pdeathsig", "KILL",
        QEMU, "-M", "q35,kernel-irqchip=split", *_accelerator(spec),
        "-cpu", "EPYC,+svm,+npt,-x2apic", "-smp", str(spec.cpus), "-m", str(spec.memory_mib),
        "-nodefaults", "-display", "none", "-no-reboot",
        "-chardev", f"file,id=console,path={log}/console.log", "-serial", "chardev:console",
        "-chardev", f"file,id=results,path={log}/results.log", "-serial", "chardev:results",
        *iommu,
        *_share("root", "/", True),
        *_share("kernel", spec.kernel.root, True),
        *_share("rig", spec.share, False),
        "-kernel", spec.kernel.image, "-initrd", _initramfs(spec),
        "-append", _kernel_command_line(spec, port),
    ]
    if spec.sets <= SETS_BESIDE_EDU:
        command += _edus()
    for slot, disk in zip(spec.nvme_slots, spec.disks):
        command += ["-drive", f"file={disk},if=none,id=disk{slot},format=raw",
                    "-device", f"nvme,drive=disk{slot},serial=rig{slot},addr={slot}.0"]
    for slot in spec.net_slots if spec.net else ():
        command += ["-netdev", f"user,id=net{slot}",
                    "-device", f"e1000e,netdev=net{slot},addr={slot}.0,romfile="]
    return command + _swap(spec) + list(spec.devices)


class _Echo:
    """Copies what is appended to a file to standard output."""

    def __init__(self, path):
        self.path, self.offset = path, 0

    def copy(self):
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        self.offset += len(data)
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


def _signs_of_life(spec):
    files = [*spec.run_dir.glob("*.log"), *(spec.share / "log").glob("*")]
    return sum(path.stat().st_size for path in files)


def _plug(monitor, line):
    """A job's result line "link SLOT on|off" plugs in the cable of a network device."""
    match line.split():
        case ["link", slot, state]:
            monitor.command("set_link", name=f"net{slot}", up=state == "on")


def _wake(monitor, spec):
    """Helps over the emulator's fault, and says so; see Monitor.lost_interrupt()."""
    if monitor.lost_interrupt():
        common.progress(f"{spec.iommu}: the emulator lost an interrupt; woken up")
        monitor.press_key()


def _watch(process, monitor, spec, on_result):
    """Waits for the emulator. Returns why it had to be ended, or None."""
    echo = _Echo(spec.share / "log" / "job.log") if spec.echo else None
    seen, since, told, looked = 0, time.monotonic(), 0, time.monotonic()
    while True:
        ended = process.poll() is not None
        if echo:
            echo.copy()
        lines = _result_lines(spec)
        for line in lines[told:]:
            spec.turn.told(monitor, line)
            _plug(monitor, line)
            if on_result:
                on_result(line)
        told = len(lines)
        if ended:
            return None
        if common.STOP.is_set():
            return "ended by a signal"
        size = _signs_of_life(spec)
        if size != seen or spec.turn.stands_still(monitor):
            seen, since = size, time.monotonic()
            looked = since
        elif time.monotonic() - looked > LOOK_EVERY:
            looked = time.monotonic()
            _wake(monitor, spec)
        elif time.monotonic() - since > common.seconds(spec.silence):
            (spec.run_dir / "hung").write_text(monitor.state())
            return f"the host was silent for {common.seconds(spec.silence):.0f} s"
        time.sleep(0.1)


def _result_lines(spec):
    """Complete lines of the result channel."""
    path = spec.run_dir / "results.log"
    if not path.exists():
        return []
    text = path.read_text(errors="replace")
    return text[:text.rfind("\n") + 1].splitlines()


def peer_log(spec):
    """What the peer of the guests' network tests has moved; see peer.py."""
    return spec.run_dir / "peer.log"


def _guest_consoles(spec):
    return sorted((spec.share / "log").glob("guest-*.console"))


def lost_a_guest(spec):
    """Did the emulator crash one of the host's guests?"""
    return any(console.emulator_crashed(log) for log in _guest_consoles(spec))


def _judge(spec, outcome):
    logs = [spec.run_dir / "console.log", *_guest_consoles(spec)]
    panics = [f"guest-{name}.console" for name, in outcome.values("expect-panic")]
    for log in logs:
        faults = console.emulator_faults(log)
        if faults:
            common.progress(f"{spec.iommu}: {log.name}: crashed {faults} times with flags that "
                            "no processor has: the emulator's fault; started again")
        lines = console.splats(log, panics.count(log.name))
        if lines:
            outcome.failures.append(f"{log.name}: {lines[0]}")
    verdicts = outcome.values("verdict")
    if not verdicts:
        outcome.failures.append("the host gave no verdict")
    elif verdicts[-1] != ["0"]:
        outcome.failures.append(f"the job in the host failed ({' '.join(verdicts[-1])})")


def boot(spec, on_result=None):
    """Boots the host and lets it run its job; on_result(line) sees results come."""
    monitor = qmp.Monitor()
    qemu_log = spec.run_dir / "qemu.log"
    outcome = Outcome()
    with qemu_log.open("wb") as log, peer.Peer(peer_log(spec)) as server:
        command = _command(spec, server.port) + monitor.arguments()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   pass_fds=monitor.file_descriptors())
        monitor.started()
        spec.turn.join(monitor, spec.share / "turn")
        try:
            reason = _watch(process, monitor, spec, on_result)
        finally:
            spec.turn.leave(monitor)
            if process.poll() is None:
                process.kill()
            process.wait()
            monitor.close()
    outcome.results = _result_lines(spec)
    if reason:
        outcome.failures.append(reason)
    elif process.returncode:
        outcome.failures.append(f"{QEMU} ended with {process.returncode}: "
                                + " ".join(console.tail(qemu_log, 3)))
    _judge(spec, outcome)
    return outcome
