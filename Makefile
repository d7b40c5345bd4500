# SPDX-License-Identifier: GPL-2.0-only
#
# make			modules and tools, against the headers in KDIR
# make selftests	the kselftests
# make demo		show it work, under emulation
# make demo-overcommit	show three guests on a host with memory for fewer, under emulation
# make test		run all tests, under emulation
# make test-direct	run them in mode direct, as far as they can be, on a debug kernel
# make model		have every interleaving of mode direct's protocol checked
# make soak		look for data races, under emulation
# make counts		put what the last make test has counted into the README
# make mutants		see whether the tests catch bugs; MUTANTS="NAME..." for a few
# make bench		compare with other ways to give a guest a device, under emulation
# make figures		put what the last make bench has measured into Documentation/
# make bench-full	the same, for figures to publish; goes on where it was interrupted
# make lint		check the sources
# make install		modules, module options, tools and headers

KDIR ?= /lib/modules/$(shell uname -r)/build
prefix ?= /usr/local

RIG := tools/testing/rig/rig
KBUILD = $(MAKE) -C $(KDIR) M=$(CURDIR) CONFIG_KVM_PVIOMMU=m CONFIG_PVIOMMU=m

all: modules tools

check-kernel:
	@scripts/check-kernel $(KDIR)

modules: check-kernel
	$(KBUILD) modules

tools:
	$(MAKE) -C tools/pviommu

selftests:
	$(MAKE) -C tools/testing/selftests/pviommu

demo:
	$(RIG) demo

demo-overcommit:
	$(RIG) overcommit

test:
	$(RIG) test

test-direct:
	$(RIG) direct

model:
	scripts/setup model
	tests/model/check

soak:
	$(RIG) soak

counts:
	$(RIG) counts

mutants:
	$(RIG) mutants $(MUTANTS)

bench:
	tools/bench/bench $(BENCH)

figures:
	tools/bench/bench --document

bench-full:
	tools/bench/bench --full $(BENCH)

lint:
	scripts/lint

install: check-kernel
	$(KBUILD) INSTALL_MOD_PATH=$(DESTDIR) modules_install
	install -D -m 644 drivers/iommu/pv/pviommu-modprobe.conf \
		$(DESTDIR)/lib/modprobe.d/pviommu.conf
	install -D -m 644 -t $(DESTDIR)$(prefix)/include/linux \
		include/uapi/linux/pviommu.h include/uapi/linux/pviommu_abi.h
	$(MAKE) -C tools/pviommu install prefix=$(prefix) DESTDIR=$(DESTDIR)

# Kbuild's own clean wants a kernel; what it would remove is known without one.
clean:
	$(MAKE) -C tools/pviommu clean
	$(RM) tools/testing/selftests/pviommu/*_test tools/bench/micro/micro
	find . -path ./out -prune -o \( -name '*.o' -o -name '*.ko' \
		-o -name '*.mod' -o -name '*.mod.c' -o -name '.*.cmd' \
		-o -name '*.symvers' -o -name '*.order' \
		-o -name '.module-common.c' \) -exec rm -f {} +

.PHONY: all check-kernel modules tools selftests demo demo-overcommit test test-direct model \
	mutants soak counts bench bench-full figures lint install clean
