# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-only
#
# Job: on the debug kernel, whatever can be done in mode direct: the kselftests by the kernel's
# own runner, with direct tables, then guests with a light kernel. Needs rig.direct.
#
# Variables come from lib.sh.
# shellcheck disable=SC2034,SC2154

leaks_begin
load_pviommu
bind_vfio "$NVME" "$OTHER_NVME" "$EDU" "$NET"
many_devices
export PVIOMMU_TEST_DIRECT=1
selftests_by installed_runner

# The first disk has the root file system of the guests that there are not here.
NVME=$OTHER_NVME
GUEST_KERNEL=/run/rig/guest-6.12/vmlinuz
GUEST_INITRD=/run/rig/guest-6.12/guest.cpio
for part in features direct network lifecycle many driverless; do
	# shellcheck disable=SC1090
	. "/run/rig/l1/$part.sh"
done

rmmod kvm_pviommu || fail "kvm-pviommu.ko does not unload"
leaks_end
result "checks done"
