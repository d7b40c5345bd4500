// SPDX-License-Identifier: GPL-2.0-only
/*
 * pviommu run: becomes a VMM with the preload library in it, or says why not.
 *
 * What can be known to be wrong is found out before the VMM starts, since a VMM
 * that gets halfway would tell it in its own, less helpful words.
 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "address.h"
#include "launcher.h"
#include "number.h"

/*
 * Below 4 GiB, for devices that address 32 bits; clear of the PCI windows of
 * common machines; and mostly in reach of devices that address 28 bits.
 */
#define DEFAULT_BASE	(16ULL << 20)
#define DEFAULT_LENGTH	(256ULL << 20)

/* I/O addresses are the guest's physical ones: all but the first page, which nobody uses. */
#define DIRECT_BASE	PVIOMMU_PAGE_SIZE
#define DIRECT_LENGTH	((64ULL << 30) - DIRECT_BASE)
#define DIRECT_BUDGET	(256ULL << 20)

enum {
	KEY_BASE = 256,
	KEY_SIZE,
	KEY_BUDGET,
	KEY_DEVICE,
	KEY_DIRECT,
	KEY_FALLBACK,
	KEY_NO_THP,
	KEY_SEPARATE,
};

static const struct argp_option options[] = {
	{ "base", KEY_BASE, "IOVA", 0,
	  "First I/O address of the window (default 16M)", 0 },
	{ "size", KEY_SIZE, "BYTES", 0,
	  "Length of the window (default 256M)", 0 },
	{ "budget", KEY_BUDGET, "BYTES|PAGESp", 0,
	  "Most memory that may be pinned at once (default: all of the window)", 0 },
	{ "device", KEY_DEVICE, "HOST=GUEST[@N]", 0,
	  "Which device of the guest a device of the host is; may be repeated", 0 },
	{ "direct", KEY_DIRECT, NULL, 0,
	  "For guests in mode direct: --base 4K, up to 64G, and --budget 256M", 0 },
	{ "no-thp", KEY_NO_THP, NULL, 0,
	  "No transparent huge pages in the VMM", 0 },
	{ "separate", KEY_SEPARATE, NULL, 0,
	  "An aperture for each IOMMU group, instead of one for all devices", 0 },
	{ "fallback", KEY_FALLBACK, "pin", 0,
	  "Plain VFIO, with all memory pinned, until the guest's driver comes", 0 },
	{ 0 }
};

static const char doc[] =
	"Start VMM, unmodified, with its passthrough devices behind a pviommu.\n"
	"\vIOVA and BYTES may end in K, M or G; a budget in pages ends in p.\n"
	"\n"
	"HOST is [ssss:]bb:dd.f. GUEST is a path, [ssss:]bb:dd.f[/dd.f...]: the\n"
	"bridges from the root bus on, then the device. A device without --device is\n"
	"looked for in the VMM's own arguments: `-device vfio-pci,host=X,addr=Y' on\n"
	"the root bus is guest device 0000:00:Y. With any other bus, or without\n"
	"addr=, pass --device. One that is named may as well be plugged in later.\n"
	"\n"
	"All devices share one aperture, number 0, unless --separate is given, or @N\n"
	"says which one a device is in. Devices in different apertures cannot reach\n"
	"each other's buffers. Every aperture has a window and a budget of its own, of\n"
	"the same size. What the host's IOMMU cannot tell apart, an IOMMU group, is in\n"
	"one aperture.\n"
	"\n"
	"A guest in mode direct needs a window that covers all of its RAM, in which it\n"
	"pins what it uses, up to the budget. --direct is that; --base, --size and\n"
	"--budget still change it.\n"
	"\n"
	"The host cannot reclaim a huge page of which a part is pinned. --no-thp has it\n"
	"give the VMM none, for guests that pin a few pages everywhere, as in mode\n"
	"direct.\n"
	"\n"
	"Without the pviommu driver a guest cannot use the devices, and neither can\n"
	"firmware. With --fallback=pin both can, as under plain VFIO: the devices reach\n"
	"all of the guest's memory, all of it is pinned and RLIMIT_MEMLOCK has to\n"
	"allow that. When the driver enables the aperture the devices are confined to\n"
	"it, for as long as the VMM runs, and what was pinned is released.";

/*
 * @direct: --direct
 * @no_thp: --no-thp
 * @separate: --separate
 * @numbered: a --device has an @N
 * @vmm: the VMM and its arguments, NULL-terminated
 */
struct request {
	struct config config;
	bool direct;
	bool no_thp;
	bool separate;
	bool numbered;
	char **vmm;
};

static void parse_bytes(struct argp_state *state, const char *option,
			const char *text, __u64 *bytes)
{
	if (!number_parse_size(text, bytes) || !*bytes ||
	    *bytes % PVIOMMU_PAGE_SIZE)
		argp_error(state, "--%s %s: not a multiple of 4096 above 0",
			   option, text);
}

static void parse_device(struct argp_state *state, const char *text,
			 struct request *request)
{
	struct config_device device;
	char *pieces = strdup(text);
	const char *error;
	bool numbered;

	if (!pieces)
		argp_failure(state, EXIT_HOST, errno, "--device");
	error = config_parse_device(pieces, &device, &numbered);
	free(pieces);
	if (!error)
		error = config_add_device(&request->config, &device);
	if (error)
		argp_error(state, "--device %s: %s", text, error);
	request->numbered |= numbered;
}

static void set_defaults(struct config *config, bool direct)
{
	if (!config->base)
		config->base = direct ? DIRECT_BASE : DEFAULT_BASE;
	if (!config->length)
		config->length = direct ? DIRECT_LENGTH : DEFAULT_LENGTH;
	if (!config->budget && direct)
		config->budget = (config->length < DIRECT_BUDGET ?
				  config->length : DIRECT_BUDGET) /
				 PVIOMMU_PAGE_SIZE;
}

static void check_window(struct argp_state *state, struct config *config)
{
	__u64 pages = config->length / PVIOMMU_PAGE_SIZE;

	if (config->base + config->length < config->base)
		argp_error(state, "the window does not fit: --base plus --size reaches 2^64");
	if (!config->budget)
		config->budget = pages;
	if (config->budget > pages)
		argp_error(state, "--budget is %llu pages, more than the window's %llu",
			   config->budget, pages);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct request *request = state->input;
	struct config *config = &request->config;

	switch (key) {
	case KEY_BASE:
		parse_bytes(state, "base", arg, &config->base);
		return 0;
	case KEY_SIZE:
		parse_bytes(state, "size", arg, &config->length);
		return 0;
	case KEY_BUDGET:
		if (!number_parse_budget(arg, &config->budget))
			argp_error(state, "--budget %s: neither bytes, as 64M, nor pages, as 512p",
				   arg);
		return 0;
	case KEY_DEVICE:
		parse_device(state, arg, request);
		return 0;
	case KEY_FALLBACK:
		if (strcmp(arg, "pin"))
			argp_error(state, "--fallback %s: the only one is pin",
				   arg);
		config->fallback_pin = true;
		return 0;
	case KEY_DIRECT:
		request->direct = true;
		return 0;
	case KEY_NO_THP:
		request->no_thp = true;
		return 0;
	case KEY_SEPARATE:
		request->separate = true;
		return 0;
	case ARGP_KEY_ARG:
		request->vmm = state->argv + state->next - 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which VMM?");
		return 0;
	case ARGP_KEY_SUCCESS:
		set_defaults(config, request->direct);
		check_window(state, config);
		if (request->separate && request->numbered)
			argp_error(state,
				   "--separate and @N: both say which aperture a device is in");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static bool host_is_ready(const struct config *config)
{
	if (!host_check_module(config->length))
		return false;

	for (unsigned int i = 0; i < config->nr_devices; i++) {
		if (!host_check_device(&config->devices[i].host))
			return false;
	}
	return true;
}

/**
 * run_command() - pviommu run
 * @argc: number of arguments
 * @argv: "pviommu run" and the arguments
 *
 * Return: an exit code, and only when the VMM was not started.
 */
int run_command(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "[--] VMM [ARGUMENT...]",
		.doc = doc,
	};
	struct request request = {};
	char library[4096];
	char *path;
	int ret;

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &request);

	ret = vmm_args_scan(request.vmm, &request.config);
	if (ret)
		return ret;
	if (!apertures_check_numbers(&request.config))
		return EXIT_USAGE;

	ret = vmm_find(request.vmm[0], &path);
	if (ret)
		return ret;
	ret = vmm_check(path);
	if (ret)
		return ret;

	if (!preload_find(library, sizeof(library)) ||
	    !host_is_ready(&request.config) ||
	    !apertures_assign(&request.config, request.separate) ||
	    !guard_start(&request.config))
		return EXIT_HOST;

	if (!preload_export(library) || !config_export(&request.config)) {
		pr_err("out of memory");
		return EXIT_HOST;
	}

	if (request.no_thp && prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)) {
		pr_err("--no-thp: %s", strerror(errno));
		return EXIT_HOST;
	}

	execv(path, request.vmm);
	pr_err("cannot execute %s: %s", path, strerror(errno));
	return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXEC;
}
