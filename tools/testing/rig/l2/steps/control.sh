# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Steps of the guest: several things at a time, and the ways in which a kernel
# ends. Functions come from init.

# step_background STEP [ARGUMENT...]: a step that the next ones do not wait for.
step_background() {
	background=$1
	shift
	"step_$background" "$@" &
	background=$!
}

# Is it still at it?
step_busy() {
	if kill -0 "$background"; then
		say "busy 1"
	else
		say "busy 0"
	fi
}

step_join() {
	wait "$background"
}

step_release() {
	say "release $(uname -r)"
}

step_reboot() {
	reboot -f
}

# The same kernel again, from /kexec.
step_kexec() {
	must /rig/kexec /kexec/vmlinuz /kexec/initrd "$(cat /proc/cmdline)"
}

step_panic() {
	echo c >/proc/sysrq-trigger
}

# What the debug kernel has seen: objects that nothing refers to, misuse of the DMA
# API. Anything is on the console, too.
step_watched() {
	must mount -t debugfs debug /sys/kernel/debug
	sleep 6
	echo scan >/sys/kernel/debug/kmemleak
	echo scan >/sys/kernel/debug/kmemleak
	say "leaks $(grep -c '^unreferenced' /sys/kernel/debug/kmemleak)"
	say "dma $(cat /sys/kernel/debug/dma-api/error_count)"
}
