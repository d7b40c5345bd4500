// SPDX-License-Identifier: GPL-2.0-only
/* The pviommu command: picks the subcommand. */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "launcher.h"
#include <linux/pviommu_abi.h>

#define STRING(x)	#x
#define NUMBER_STRING(x)	STRING(x)

static const struct command {
	const char *name;
	/* What its help and its errors call it. */
	char *title;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "run", "pviommu run", run_command },
	{ "check", "pviommu check", check_command },
};

struct selection {
	const struct command *command;
	int argc;
	char **argv;
};

const char *argp_program_version =
	"pviommu " PVIOMMU_VERSION " (guest ABI " NUMBER_STRING(PVIOMMU_ABI_VERSION) ")";

static const char doc[] =
	"Give KVM guests their PCI devices without pinning all of their memory.\n"
	"\n"
	"Commands:\n"
	"  run     start a VMM whose passthrough devices are behind a pviommu\n"
	"  check   say whether this host, and given devices, are ready for that\n"
	"\v`pviommu COMMAND --help' tells more of a command.\n"
	"\n"
	"Exit status:\n"
	"    2  wrong arguments\n"
	"    3  the host or a device is not ready; nothing was started\n"
	"    4  this VMM cannot be run under pviommu\n"
	"    5  the VMM was stopped: it could not be put behind the pviommu\n"
	"  126  the VMM cannot be executed\n"
	"  127  there is no such VMM\n"
	"otherwise the VMM's own.";

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct selection *selection = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
			if (!strcmp(arg, commands[i].name))
				selection->command = &commands[i];
		}
		if (!selection->command)
			argp_error(state, "no such command: %s", arg);
		/* The rest is the command's to parse. */
		selection->argv = state->argv + state->next - 1;
		selection->argc = state->argc - state->next + 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which command?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse,
		.args_doc = "COMMAND [ARGUMENT...]",
		.doc = doc,
	};
	struct selection selection = { 0 };

	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &selection);

	selection.argv[0] = selection.command->title;
	return selection.command->run(selection.argc, selection.argv);
}
