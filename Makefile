# SPDX-License-Identifier: GPL-2.0-only
#
# make			modules, against the headers in KDIR

KDIR ?= /lib/modules/$(shell uname -r)/build

KBUILD = $(MAKE) -C $(KDIR) M=$(CURDIR) CONFIG_KVM_PVIOMMU=m CONFIG_PVIOMMU=m

all: modules

check-kernel:
	@scripts/check-kernel $(KDIR)

modules: check-kernel
	$(KBUILD) modules

.PHONY: all check-kernel modules
