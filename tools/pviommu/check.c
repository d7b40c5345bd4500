// SPDX-License-Identifier: GPL-2.0-only
/* pviommu check: the checks that `pviommu run' makes of the host, all of them. */
#include <argp.h>
#include <stdio.h>

#include "address.h"
#include "launcher.h"

static const char doc[] =
	"Say whether this host, and the given devices, are ready for `pviommu run'.\n"
	"\vHOST is a PCI address, [ssss:]bb:dd.f.\n"
	"\n"
	"Exit status: 0 ready, 2 wrong arguments, 3 not ready.";

/*
 * @hosts: their addresses, NULL-terminated
 */
struct request {
	char **hosts;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct pviommu_host_device device;
	struct request *request = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		request->hosts = state->argv + state->argc;
		return 0;
	case ARGP_KEY_ARG:
		if (!address_parse_host(arg, &device))
			argp_error(state, "%s is not a host device [ssss:]bb:dd.f",
				   arg);
		if (!state->arg_num)
			request->hosts = state->argv + state->next - 1;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static bool check_device(const struct pviommu_host_device *device)
{
	char name[ADDRESS_HOST_LEN], group[32];

	if (!host_check_device(device) ||
	    !host_group(device, group, sizeof(group)))
		return false;

	printf("%s: ready, IOMMU group %s\n", address_format_host(name, device),
	       group);
	return true;
}

/**
 * check_command() - pviommu check
 * @argc: number of arguments
 * @argv: "pviommu check" and the arguments
 *
 * Return: the exit code.
 */
int check_command(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse,
		.args_doc = "[HOST...]",
		.doc = doc,
	};
	struct pviommu_host_device device;
	struct request request;
	bool ready;

	argp_parse(&argp, argc, argv, 0, NULL, &request);

	ready = host_check_module(0);
	if (ready)
		printf("%s: ready\n", PVIOMMU_DEV);
	for (char **host = request.hosts; *host; host++) {
		if (!address_parse_host(*host, &device) || !check_device(&device))
			ready = false;
	}
	return ready ? 0 : EXIT_HOST;
}
