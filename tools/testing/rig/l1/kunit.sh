# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: on the debug kernel, without an IOMMU, the KUnit suites.

leaks_begin
modprobe kvm-amd
modprobe pviommu-test
modprobe kvm-pviommu-test
cat /sys/kernel/debug/kunit/*pviommu*/results >"$LOG/kunit.tap"
rmmod kvm_pviommu_test pviommu_test kvm_pviommu || fail "a module does not unload"
leaks_end
save_coverage
result "checks done"
