// SPDX-License-Identifier: GPL-2.0-only
/* Tests of everything that is read from text. TAP. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "launcher.h"
#include "number.h"

static int tests, failures;

static void ok(bool good, const char *what, const char *text)
{
	failures += !good;
	printf("%sok %d - %s: %s\n", good ? "" : "not ", ++tests, what, text);
}

static void test_numbers(void)
{
	static const struct {
		const char *text;
		__u64 bytes;
	} good[] = {
		{ "0", 0 }, { "4096", 4096 }, { "010", 10 }, { "0x1000", 4096 },
		{ "16M", 16 << 20 }, { "4k", 4096 }, { "0x10G", 1ULL << 34 },
		{ "18446744073709551615", ~0ULL },
	};
	static const char * const bad[] = {
		"", " 1", "-1", "+1", "1 ", "M", "1MB", "1T", "0x", "0x-1", "1.5G",
		"18446744073709551616", "18014398509481984K",
	};
	static const struct {
		const char *text;
		__u64 pages;
	} budgets[] = {
		{ "64M", 16384 }, { "4096", 1 }, { "512p", 512 }, { "1pages", 1 },
		{ "0", 0 }, { "0p", 0 }, { "4097", 0 }, { "12pp", 0 }, { "p", 0 },
	};
	__u64 value;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ok(number_parse_size(good[i].text, &value) &&
		   value == good[i].bytes, "size", good[i].text);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok(!number_parse_size(bad[i], &value), "no size", bad[i]);
	for (size_t i = 0; i < ARRAY_SIZE(budgets); i++)
		ok(number_parse_budget(budgets[i].text, &value) ?
		   value == budgets[i].pages : !budgets[i].pages,
		   "budget", budgets[i].text);
}

static void test_addresses(void)
{
	static const char * const hosts[][2] = {
		{ "0000:00:11.0", "0000:00:11.0" }, { "3:1f.7", "0000:03:1f.7" },
		{ "10000:e1:00.0", "10000:e1:00.0" }, { "fF:0.1", "0000:ff:00.1" },
	};
	static const char * const guests[] = {
		"0000:00:05.0", "0000:00:1c.0/00.0", "0001:80:1f.7/00.0/1e.3",
		"0000:00:01.0/00.0/00.0/00.0/00.0/00.0/00.0/00.0",
	};
	static const char * const bad[] = {
		"", "11.0", "00:11", "00:11.", "00:20.0", "00:11.8", "100:11.0",
		"0000:00:11.0 ", " 00:11.0", "0000:00:11.0/", "0x0:11.0",
		"000000000:00:11.0", "0000:00:11.00", "00:11.0/20.0", "00:11.0//1.0",
		"0000:00:01.0/0.0/0.0/0.0/0.0/0.0/0.0/0.0/0.0",
	};
	static const struct {
		const char *text;
		int devfn;
	} slots[] = {
		{ "5", 5 << 3 }, { "10.1", 0x10 << 3 | 1 }, { "0x1f", 0x1f << 3 },
		{ "0x2.7", 2 << 3 | 7 }, { "", -1 }, { "-1", -1 }, { "20", -1 },
		{ "1.8", -1 }, { "1.", -1 }, { "5 ", -1 },
	};
	char text[ADDRESS_GUEST_LEN];
	struct pviommu_host_device host;
	struct pviommu_endpoint guest;
	__u8 devfn;

	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		ok(address_parse_host(hosts[i][0], &host) &&
		   !strcmp(address_format_host(text, &host), hosts[i][1]),
		   "host", hosts[i][0]);
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++)
		ok(address_parse_guest(guests[i], &guest) &&
		   !strcmp(address_format_guest(text, &guest), guests[i]),
		   "guest", guests[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok(!address_parse_host(bad[i], &host) &&
		   !address_parse_guest(bad[i], &guest), "no address", bad[i]);
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++)
		ok(address_parse_slot(slots[i].text, &devfn) ?
		   devfn == slots[i].devfn : slots[i].devfn < 0,
		   "slot", slots[i].text);
}

static void test_vmm_args(void)
{
	static const struct {
		const char *device;
		int ret;
		const char *guest;
	} cases[] = {
		{ "vfio-pci,host=11:00.0,addr=5", 0, "0000:00:05.0" },
		{ "vfio-pci,addr=0x5.1,id=x,host=0000:11:00.0,bus=pcie.0", 0, "0000:00:05.1" },
		{ "driver=vfio-pci,host=11:00.0,addr=5,bus=pci.0", 0, "0000:00:05.0" },
		{ "vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:11:00.0,addr=6", 0, "0000:00:06.0" },
		{ "vfio-pci,id=a,,host=b,host=11:00.0,addr=5", 0, "0000:00:05.0" },
		{ "vfio-pci,host=11:00.0", EXIT_USAGE, NULL },
		{ "vfio-pci,host=11:00.0,addr=0,bus=rp0", EXIT_USAGE, NULL },
		{ "vfio-pci,host=11:00.0,addr=-1", EXIT_USAGE, NULL },
		{ "vfio-pci,host=banana,addr=1", EXIT_USAGE, NULL },
		{ "vfio-pci,addr=1", EXIT_USAGE, NULL },
		{ "vfio-pci,host=11:00.0,addr=5,iommufd=i0", 0, "0000:00:05.0" },
		{ "vfio-pci,fd=25,addr=5,iommufd=i0", EXIT_USAGE, NULL },
		{ "vfio-pci,host=11:00.0,addr=5,fd=25,iommufd=i0", 0, "0000:00:05.0" },
		{ "{\"driver\":\"vfio-pci\",\"host\":\"11:00.0\"}", EXIT_USAGE, NULL },
		{ "e1000e,addr=5", EXIT_USAGE, NULL },
	};
	char text[ADDRESS_GUEST_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *argv[4] = { "qemu", "-device", (char *)cases[i].device, NULL };
		struct config config = { 0 };
		int ret = vmm_args_scan(argv, &config);

		ok(ret == cases[i].ret &&
		   (ret || (config.nr_devices == 1 &&
			    !strcmp(address_format_guest(text, &config.devices[0].guest),
				    cases[i].guest))),
		   "-device", cases[i].device);
	}
}

static void test_environment(void)
{
	static const char * const bad[][2] = {
		{ ENV_PROTOCOL, "0x1" }, { ENV_PROTOCOL, "" }, { ENV_BASE, "16M" },
		{ ENV_LENGTH, "-1" }, { ENV_BUDGET, "" },
		{ ENV_DEVICES, "0000:00:11.0" },
		{ ENV_DEVICES, "0000:00:11.0=0000:00:05.0" },
		{ ENV_DEVICES, "0000:00:11.0=0000:00:05.0@" },
		{ ENV_DEVICES, "0000:00:11.0=0000:00:05.0@32" },
		{ ENV_DEVICES, "0000:00:11.0=0000:00:05.0@0," },
		{ ENV_DEVICES, "00:11.0=00:05.0@0,00:11.0=00:06.0@0" },
		{ ENV_FALLBACK, "2" }, { ENV_FALLBACK, "pin" },
		{ ENV_GUARD, "7" }, { ENV_GUARD, "-7:1" }, { ENV_GUARD, "7:1:" },
		{ ENV_DEVICES, "" },
	};
	struct config config = {
		.base = 1 << 24, .length = 1 << 28, .budget = 77, .fallback_pin = true,
		.nr_devices = CONFIG_MAX_DEVICES,
		.guard_fd = 7, .guard_inode = 0xdeadbeef01,
	};
	struct config back;

	for (int i = 0; i < CONFIG_MAX_DEVICES; i++) {
		config.devices[i].host.segment = 0xfffffff0 + i;
		config.devices[i].guest.depth = 8;
		memset(config.devices[i].guest.path, 0xf8 + i % 8, 8);
		config.devices[i].guest.root_bus = i;
		config.devices[i].aperture = CONFIG_MAX_DEVICES - 1 - i;
	}
	ok(config_export(&config) && !config_import(&back) &&
	   !memcmp(&config, &back, sizeof(back)), "environment", "there and back");

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		config_export(&config);
		setenv(bad[i][0], bad[i][1], 1);
		ok(config_import(&back), bad[i][0], bad[i][1]);
		unsetenv(bad[i][0]);
		ok(config_import(&back), bad[i][0], "missing");
	}
	config_clear_environment();
	ok(!getenv(ENV_BASE) && !getenv("LD_PRELOAD"), "environment", "cleared");
}

int main(void)
{
	/* Messages of the parsers go where they do not disturb the TAP. */
	dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);

	printf("TAP version 13\n");
	test_numbers();
	test_addresses();
	test_vmm_args();
	test_environment();
	printf("1..%d\n", tests);
	return failures > 0;
}
