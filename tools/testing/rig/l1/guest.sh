# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Functions for jobs in the emulated host: guests. Loaded by lib.sh.
#
# There may be several; the functions are about the one that was started or
# selected last, $guest, with the VMM $guest_pid.
#
# A guest's directory /run/guest/NAME holds the process id of its VMM ("pid"),
# the pipes of its control channel, all that it has said on it ("said"), the process
# that writes that down ("listener") and how many lines of it have been dealt with
# ("heard").

# Where a guest finds its devices. Jobs use these.
# shellcheck disable=SC2034
GUEST_NVME=05.0
# shellcheck disable=SC2034
GUEST_EDU=06.0
# shellcheck disable=SC2034
GUEST_OWN_EDU=07.0
# shellcheck disable=SC2034
GUEST_NET=08.0
# shellcheck disable=SC2034
GUEST_OWN_NET=09.0
# shellcheck disable=SC2034
GUEST_NARROW_EDU=0a.0

# The guest's address behind it, and the server that L0 runs for it.
NET_ADDRESS=10.0.2.15/24
NET_PEER="10.0.2.2 $(option peer)"

KERNEL_IMAGE=$(echo /run/kernel/boot/vmlinuz-*)
GUEST_KERNEL=

# guest_start NAME CMDLINE QEMU-ARGUMENT...
#
# GUEST_WRAP: what to put before the VMM's command line, as "pviommu run ... --"
# GUEST_KERNEL: another kernel than the host's; needs an initramfs of its own
# GUEST_INITRD: another initramfs
# GUEST_PROGRAM: another VMM
# GUEST_ROOT: the disk that is the root file system; then there is no initramfs
#
# A guest that panics starts again: see guest_until.
#
# -xsave: the sizes that emulated XSAVE reports make the guest's kernel warn.
guest_start() {
	guest=$1
	state=/run/guest/$guest
	cmdline="console=ttyS0 rdinit=/init loglevel=5 edd=off panic=-1 oops=panic panic_on_warn=1"
	cmdline="$cmdline rcupdate.rcu_cpu_stall_timeout=300 watchdog_thresh=60 $2"
	shift 2
	if [ -n "$GUEST_ROOT" ]; then
		cmdline="$cmdline root=$GUEST_ROOT rw rootwait init=/init"
	else
		set -- -initrd "${GUEST_INITRD:-/run/rig/guest.cpio}" "$@"
	fi
	rm -rf "$state"
	mkdir -p "$state"
	mkfifo "$state/control.in" "$state/control.out"
	echo 0 >"$state/heard"
	: >"$state/said"
	cat "$state/control.out" >"$state/said" &
	echo $! >"$state/listener"
	# GUEST_WRAP is a list of words.
	# shellcheck disable=SC2086
	$GUEST_WRAP "${GUEST_PROGRAM:-qemu-system-x86_64}" \
		-M q35,kernel-irqchip=split -accel kvm -cpu host,-xsave \
		-smp "${GUEST_CPUS:-1}" -m "${GUEST_MEMORY:-512}" -bios qboot.rom \
		-nodefaults -display none \
		-chardev "file,id=console,path=$LOG/guest-$guest.console" \
		-serial chardev:console \
		-chardev "pipe,id=control,path=$state/control" -serial chardev:control \
		-kernel "${GUEST_KERNEL:-$KERNEL_IMAGE}" \
		-append "$cmdline" "$@" \
		</dev/null >"$LOG/guest-$guest.qemu" 2>&1 7>&- &
	guest_pid=$!
	echo $guest_pid >"$state/pid"
	echo "guest $guest: process $guest_pid"
}

# guest_select NAME
guest_select() {
	guest=$1
	state=/run/guest/$guest
	guest_pid=$(cat "$state/pid")
}

guest_alive() {
	kill -0 "$guest_pid" 2>/dev/null
}

guest_gone() {
	! guest_alive
}

guest_failed() {
	tail -n 5 "$LOG/guest-$guest.qemu"
	kill -KILL "$guest_pid" 2>/dev/null
	wait "$guest_pid"
	fail "guest $guest: $*"
}

# Its next complete line in $line; false if there is none.
guest_listen() {
	heard=$(cat "$state/heard")
	[ "$(wc -l <"$state/said")" -gt "$heard" ] || return
	heard=$((heard + 1))
	echo $heard >"$state/heard"
	line=$(sed -n "${heard}p" "$state/said")
}

# guest_until WORD...: passes the guest's lines on as results, "guest NAME
# WORD...", until it says this one. They are in $LOG/said too. Time out on silence,
# of the console too.
#
# A guest may panic while it boots, and is expected to come up all the same: for it
# may be the emulator's fault. Whether it was decides who reads the console at the
# end.
#
# GUEST_WATCH: a command to run a few times a second meanwhile
guest_until() {
	size=''
	dead=false
	wait_begins
	while :; do
		if guest_listen; then
			wait_begins
			result "guest $guest $line"
			echo "guest $guest $line" >>"$LOG/said"
			[ "$line" != "$*" ] || return 0
			case $line in
			verdict* | "pause booted") guest_failed "$line, but not: $*" ;;
			esac
			continue
		fi
		! $dead || guest_failed "ended before: $*"
		[ "$(grep -c "Kernel panic" "$LOG/guest-$guest.console" 2>/dev/null)" != 4 ] ||
			guest_failed "panics again and again"
		sleep 0.2
		# Its last words may still be on their way.
		guest_alive || dead=true
		[ -z "$GUEST_WATCH" ] || $GUEST_WATCH
		now=$(stat -c %s "$LOG/guest-$guest.console" 2>/dev/null)
		[ "$now" = "$size" ] || wait_begins
		size=$now
		is_in_time || guest_failed "silent, no: $*"
	done
}

# guest_tell STEP [ARGUMENT...]: has a guest that has paused take a step.
guest_tell() {
	echo "$*" 1<>"$state/control.in"
}

# guest_step STEP [ARGUMENT...]: and waits until it has.
guest_step() {
	guest_tell "$@"
	guest_until pause "$1"
}

# guest_net: brings up the network device that is passed through.
guest_net() {
	guest_step net "$GUEST_NET" "$NET_ADDRESS"
}

# guest_transfer BYTES: moves data over it, both ways.
guest_transfer() {
	# Two words.
	# shellcheck disable=SC2086
	guest_step transfer "$1" nic $NET_PEER
}

# Has the guest give its own verdict, then waits for the end of its VMM.
guest_end() {
	guest_tell end
	guest_until verdict 0
	wait_until guest_gone || guest_failed "does not power off"
	wait "$guest_pid" || guest_failed "the VMM ended with $?"
}
