# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: on a kernel that looks for data races, with two processors, the kselftests
# that do several things at a time, rig.rounds times. Not hook_test: it has code
# patched, which the emulator cannot do with two processors.
#
# Variables come from lib.sh.
# shellcheck disable=SC2154

load_pviommu
bind_vfio "$NVME" "$EDU"
many_devices

# As long as there is a VM, KVM does not patch its static keys; see console.py.
qemu-system-x86_64 -accel kvm -S -nodefaults -display none >/dev/null 2>&1 &
idle=$!

export PVIOMMU_TEST_EDU="$EDU" PVIOMMU_TEST_OTHER="$NVME"
export PVIOMMU_TEST_MODULE="$BIN/kvm-pviommu.ko" PVIOMMU_TEST_DIVISOR=4
cd /run/kernel/selftests/pviommu || fail "no kselftests"
for round in $(seq "$(option rounds)"); do
	for test in race fault unbind order; do
		result "selftest-begin ${test}_test, round $round"
		"./${test}_test" >"$LOG/selftest-${test}_test-$round.tap" 2>&1
		check "$test, round $round" [ $? = 0 ]
	done
done
kill $idle
wait $idle
rmmod kvm_pviommu || fail "kvm-pviommu.ko does not unload"
result "checks done"
