# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: the same guest and the same work in one mode after another, which the file
# "modes" lists, each with a disk and a network device of its own; the work is in the
# file "rows". See benchlib/modes.py and benchlib/rows.py.
#
# The guests are started one after another and stay. Then they work in turns, first to
# be counted, rig.counts times, then against the clock, rig.rounds times: unless
# rig.turns=no, while nothing else runs on this machine.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

TRACING=/sys/kernel/tracing
EXITS=$TRACING/events/kvm/kvm_userspace_exit/trigger
TRIGGER=hist:keys=common_pid

# The memory device in which instructions are counted.
COUNT=/sys/bus/pci/devices/0000:00:1f.7/resource2

# Behind what fio writes to.
WRITE_OFFSET=$((112 * MIB))
WRITE_LENGTH=$((8 * MIB))
NET_LENGTH=$((4 * MIB))

SAMPLE_SECONDS=0.25

# How many guests the emulator may cost, and after how many seconds of silence one is lost.
MOST_LOST=8
SILENCE=$(option silence)

# Longer than a mapping stays that is not needed any more.
REST_SECONDS=1

# How long a guest in mode direct has to map nothing while it does all rows, to be as it is when it
# has done them for long; and after how long it is measured as it is.
QUIET_MS=60000
MOST_WARMING_MS=480000

# now_ms: milliseconds since the host was started, in $now_ms. Forks nothing.
now_ms() {
	read -r now_ms _ </proc/uptime
	now_ms=${now_ms%.*}${now_ms#*.}0
}

# Exits to user space count by thread.
trace_begin() {
	echo "$TRIGGER" >$EXITS || fail "no histogram of exits to user space"
}

trace_end() {
	echo "!$TRIGGER" >$EXITS
}

# instructions: how many this machine has executed, in $instructions.
instructions() {
	instructions=$("$BIN"/instructions $COUNT) || fail "no count of instructions"
}

# counters: what KVM, the scheduler and the host module have counted for the guest,
# as "NAME VALUE" on one line. cpu_ns is the time that all threads of the VMM ran,
# vCPUs included.
counters() {
	apertures=$(find "$DEBUGFS"/vm-"$guest_pid"-* -name 'aperture-*' 2>/dev/null)
	(
		cd /sys/kernel/debug/kvm/"$guest_pid"-*/ || exit
		# A list of words.
		# shellcheck disable=SC2086
		awk -v tids="$(echo /proc/"$guest_pid"/task/*)" '
			BEGIN { for (n = split(tids, list, " "); n; n--) {
					sub(".*/", "", list[n]); mine[list[n]] = 1 } }
			FILENAME ~ /schedstat$/ { cpu += $1; next }
			FILENAME ~ /hist$/ {
				if ($1 == "{" && mine[$3 + 0]) users += $NF
				next
			}
			FILENAME ~ /aperture-/ { sum["pv_" $1] += $2; next }
			{ sum[FILENAME] = $1 }
			END {
				sum["cpu_ns"] = cpu; sum["user_exits"] = users
				for (name in sum) printf "%s %.0f ", name, sum[name]
			}' \
			exits hypercalls mmio_exits io_exits halt_exits irq_exits insn_emulation \
			/proc/"$guest_pid"/task/*/schedstat \
			$TRACING/events/kvm/kvm_userspace_exit/hist \
			$apertures
	)
}

# sample WORD...: the counters now. The guest stands still.
sample() {
	result "sample $guest $* $(counters)"
}

# at_mark: the guest stands still, just before the work of a row or just after it, and
# goes on when it is told. Its counters are sampled if $sampled says so; what that takes is
# not among the instructions.
at_mark() {
	if [ -z "$began" ]; then
		[ -z "$sampled" ] || sample "$sampled" begin
		instructions
		began=$instructions
	else
		instructions
		result "instructions $guest $((instructions - began))"
		[ -z "$sampled" ] || sample "$sampled" end
	fi
}

# locked POINT: pages pinned since it was started and what is accounted to it.
locked() {
	result "locked $guest $1 $(($(pins) - pins_before)) $(locked_kib "$guest_pid")"
}

# watch_pins FILE: appends "MS PAGES KIB" until it is told to end. As little as can be is
# forked, so that the guest is not kept from its work.
watch_pins() {
	while :; do
		echo 1 >/proc/sys/vm/stat_refresh
		pages=$((-pins_before))
		while read -r name value; do
			case $name in
			nr_foll_pin_acquired) pages=$((pages + value)) ;;
			nr_foll_pin_released) pages=$((pages - value)) ;;
			esac
		done </proc/vmstat
		kib=0
		while read -r name value _; do
			case $name in
			VmLck: | VmPin:) kib=$((kib + value)) ;;
			esac
		done <"/proc/$guest_pid/status"
		now_ms
		echo "$((now_ms - began_ms)) $pages $kib"
		sleep $SAMPLE_SECONDS
	done >"$1" 2>/dev/null
}

# limit SECONDS: after as many the guest is lost: the emulator can make a guest wait for
# good, as it can make it panic; see console.py. Ends it, and says so to hear.
limit() {
	(
		sleep "$1"
		kill -KILL "$guest_pid"
		echo lost 1<>"$state/control.out"
	) </dev/null >/dev/null 2>&1 7>&- &
	limit=$!
}

# hear WORD...: passes the guest's lines on until it says this one; false if it is lost.
# As guest_until, but it does not look again and again, so that nothing but the guest
# runs meanwhile.
hear() {
	while read -r line; do
		case $line in
		lost) return 1 ;;
		"$*") break ;;
		verdict*) guest_failed "$line, but not: $*" ;;
		"pause booted") return 1 ;;
		mark*) at_mark && guest_tell ;;
		esac
		result "guest $guest $line"
	done <>"$state/control.out"
	kill $limit
}

# work STEP [ARGUMENT...]: as guest_step; false if the guest is lost.
work() {
	limit "$SILENCE"
	guest_tell "$@"
	hear "pause $1"
}

# do_row: the row in $step.
do_row() {
	began=
	peer=
	case $step in
	net_time*) peer=$NET_PEER ;;
	esac
	# Lists of words.
	# shellcheck disable=SC2086
	work $step "$amount" $peer
}

# What no mode may do wrong.
verify() {
	work md5 "$DATA_LENGTH" &&
		work write "$WRITE_OFFSET" "$WRITE_LENGTH" "$number" || return
	result "write $guest $((number - 1)) $WRITE_OFFSET $WRITE_LENGTH $number"
	# Two words more.
	# shellcheck disable=SC2086
	work fio_verify && work transfer $NET_LENGTH nic $NET_PEER || return
	sleep $REST_SECONDS
}

# Is the mode in effect? Python judges; see results.py.
in_effect() {
	work group "0000:00:$GUEST_NVME" && work group "0000:00:$GUEST_NET" || return
	case $driver in
	*mode=*) work driver_mode || return ;;
	esac
	work swiotlb
}

# boot: starts the guest of the mode in $name. False if it has panicked on the way: for
# what was counted then is of two guests.
boot() {
	result "begin $name"
	pins_before=$(pins)
	instructions
	began_instructions=$instructions
	now_ms
	began_ms=$now_ms
	# The guest has one bus, and else looks for 255 more, which is most of what its VMM has
	# to do while it boots.
	# shellcheck disable=SC2086
	guest_start "$name" "pci=lastbus=0 $cmdline" $arguments \
		-device "vfio-pci,host=$nvme,addr=$GUEST_NVME" \
		-device "vfio-pci,host=$net,addr=$GUEST_NET,rombar=0"
	kill "$(cat "$state/listener")"
	watch_pins "$LOG/timeline-$guest" </dev/null 7>&- &
	watcher=$!
	limit $((SILENCE * 4))
	hear "pause booted" && ! grep -q "Kernel panic" "$LOG/guest-$guest.console"
}

watch_end() {
	[ -n "$watcher" ] || return 0
	kill "$watcher"
	wait "$watcher"
	watcher=
}

# start: the guest of the mode in $name, until it is ready to work; false if it is lost.
start() {
	boot || return
	# A list of words.
	# shellcheck disable=SC2086
	[ -z "$driver" ] || work $driver || return
	work first_read || return
	now_ms
	result "boot $guest $((now_ms - began_ms))"
	instructions
	sample boot instructions $((instructions - began_instructions))
	sleep $REST_SECONDS
	locked idle
	work net "$GUEST_NET" "$NET_ADDRESS" || return
	sleep $REST_SECONDS
	locked net_idle
	verify || return
	# As if it had been used for long: DMA to all of its memory.
	work fill_memory "$DATA_LENGTH" || return
	in_effect || return
	watch_end
}

# lost: the guest is, and a few may be. Whose fault that was is decided by who reads its
# console.
lost() {
	watch_end
	result "lost $guest"
	kill -KILL "$guest_pid" 2>/dev/null
	wait "$guest_pid"
	losses=$((losses + 1))
	mv "$LOG/guest-$guest.console" "$LOG/guest-$guest-lost$losses.console"
	[ $losses -le $MOST_LOST ] || fail "too many guests were lost"
}

# bring_up NAME: the guest of that mode, until it is ready to work.
bring_up() {
	# Fields of a file, lists of words.
	# shellcheck disable=SC2034,SC2046,SC2086
	{
		number=$(grep -n "^$1|" /run/rig/modes | cut -d : -f 1)
		IFS='|' read -r name behind options cmdline driver arguments _ <<-EOF
			$(sed -n "${number}p" /run/rig/modes)
		EOF
		nvme=$(nth "$number" $NVMES) net=$(nth "$number" $NETS)
	}
	GUEST_WRAP=''
	[ "$behind" = no ] ||
		GUEST_WRAP="$BIN/pviommu run $options --device $nvme=00:$GUEST_NVME --device $net=00:$GUEST_NET --"
	while ! start; do
		lost
	done
}

# each_row GUESTS COMMAND [ARGUMENT...]: for each row and each of these guests, with the row in
# $row, $step and $amount. What was begun with a guest that is lost is done again.
each_row() {
	those=$1
	shift
	while IFS='|' read -r row step amount; do
		for guest in $those; do
			guest_select "$guest"
			while ! "$@" </dev/null; do
				lost
				bring_up "$guest" </dev/null
			done
		done
	done </run/rig/rows
}

# count_row ROUND
count_row() {
	result "row $guest $row count $1"
	sampled="$row $1"
	do_row
}

# warm_row: measures nothing. What comes after finds things as they are when such work has
# been done for long.
warm_row() {
	result "row $guest $row warm 0"
	sampled=
	do_row
}

# time_row ROUND
time_row() {
	result "row $guest $row time $1"
	sampled=
	do_row
}

# Pages that KVM has given to the guest: those of plain VFIO are all there from the beginning.
pages_given() {
	cat /sys/kernel/debug/kvm/"$guest_pid"-*/pf_fixed
}

# settle GUEST: mode direct maps pages as long as it finds some that it has not used yet.
settle() {
	now_ms
	began=$now_ms quiet_since=$now_ms pass=0
	while [ $((now_ms - quiet_since)) -lt $QUIET_MS ] &&
		[ $((now_ms - began)) -lt $MOST_WARMING_MS ]; do
		guest_select "$1"
		mapped=$(stat_of mapped) given=$(pages_given) pass=$((pass + 1))
		each_row "$1" warm_row
		guest_select "$1"
		result "settling $1 $pass $(($(stat_of mapped) - mapped)) $(($(pages_given) - given))"
		now_ms
		stat_is mapped "$mapped" || quiet_since=$now_ms
	done
}

losses=0
watcher=
load_pviommu
# Lists of words.
# shellcheck disable=SC2086
bind_vfio $NVMES $NETS
# A vCPU that polls before it halts uses time that no guest has asked for.
echo 0 >/sys/module/kvm/parameters/halt_poll_ns || fail "KVM polls"
mount -t tracefs tracefs $TRACING || fail "no tracefs"

echo 1 >${COUNT%/*}/enable || fail "no memory device"
pins_at_start=$(pins)
trace_begin
guests=$(cut -d '|' -f 1 /run/rig/modes)
for guest in $guests; do
	bring_up "$guest"
done

each_row "$guests" warm_row
settling=$(awk -F '|' '$7 == "yes" { print $1 }' /run/rig/modes)
for guest in $settling; do
	settle "$guest"
done
for round in $(seq "$(option counts)"); do
	each_row "$guests" count_row "$round"
done
trace_end

[ "$(option turns)" = no ] || turn_begin
for round in $(seq "$(option rounds)"); do
	each_row "$guests" time_row "$round"
done
[ "$(option turns)" = no ] || turn_end

for guest in $guests; do
	guest_select "$guest"
	# virtio-iommu, in 6.12, is off before the devices behind it are, and warns.
	if work no_drivers; then
		limit "$SILENCE"
		guest_tell end
		hear "verdict 0" || guest_failed "does not end"
		wait "$guest_pid" || guest_failed "the VMM ended with $?"
	else
		lost
	fi
done
result "leaked $(($(pins) - pins_at_start))"
rmmod kvm_pviommu || fail "kvm-pviommu.ko does not unload"
