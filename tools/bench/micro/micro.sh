# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: what single hypercalls cost the host, in instructions if the emulator counts them.
# Needs micro and pviommu_bare.ko as extra files. Variables come from lib.sh.
# shellcheck disable=SC2154

micro=/run/rig/extra/micro

# measure ARGUMENT...: what micro says goes to the result channel.
measure() {
	$micro "$@" >/tmp/micro || fail "micro $*"
	while read -r line; do
		result "$line"
		echo "$line"
	done </tmp/micro
}

load_kvm
measure empty unhooked
load_pviommu
measure empty hooked
bind_vfio "$EDU"
insmod /run/rig/extra/pviommu_bare.ko || fail "pviommu_bare.ko does not load"
export PVIOMMU_TEST_EDU="$EDU" PVIOMMU_MICRO_BARE="$OTHER_EDU"
measure sync
