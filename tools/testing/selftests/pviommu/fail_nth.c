// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest.h"

#include "fail_nth.h"

#define DEBUGFS	"/sys/kernel/debug/"

/* More than any operation has. */
#define NEVER	1000000000U
/* An operation with as many never ends. */
#define MANY	20000U
/*
 * Not every run makes the same allocations: a slab cache is refilled now and then. The
 * last ones are tried again, so as not to miss the very last.
 */
#define BACK	3U

/*
 * fail-nth looks at none of probability, times and task-filter: those are for what
 * follows. User memory is not in it, or a thread could not even say that it has
 * had enough.
 */
static const struct knob {
	const char *path;
	const char *value;
} knobs[] = {
	{ "failslab/ignore-gfp-wait", "N" },
	{ "failslab/verbose", "0" },
	{ "failslab/task-filter", "Y" },
	{ "failslab/times", "-1" },
	{ "failslab/probability", "100" },
	{ "fail_page_alloc/ignore-gfp-wait", "N" },
	{ "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ "fail_page_alloc/min-order", "0" },
	{ "fail_page_alloc/verbose", "0" },
	{ "fail_page_alloc/task-filter", "Y" },
	{ "fail_page_alloc/times", "-1" },
	{ "fail_page_alloc/probability", "100" },
	{ "fail_usercopy/verbose", "0" },
};

/* What the first nr_set knobs were. */
static char before[ARRAY_SIZE(knobs)][32];
static size_t nr_set;
static pid_t setter;

static void die(const char *what)
{
	perror(what);
	_exit(1);
}

static int knob_open(const struct knob *knob)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "%s", knob->path);
	return open(path, O_RDWR | O_CLOEXEC);
}

static bool knob_write(const struct knob *knob, const char *value)
{
	int fd = knob_open(knob);
	ssize_t len;

	if (fd < 0)
		return false;
	len = write(fd, value, strlen(value));
	close(fd);
	return len > 0;
}

static bool knob_set(const struct knob *knob, char *old, size_t size)
{
	int fd = knob_open(knob);
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, old, size - 1);
	close(fd);
	return len > 0 && knob_write(knob, knob->value);
}

/* Not by a child that exits. */
static void restore(void)
{
	if (getpid() != setter)
		return;
	while (nr_set) {
		nr_set--;
		knob_write(&knobs[nr_set], before[nr_set]);
	}
}

void fail_nth_setup(void)
{
	setter = getpid();
	while (nr_set < ARRAY_SIZE(knobs) &&
	       knob_set(&knobs[nr_set], before[nr_set], sizeof(before[0])))
		nr_set++;
	atexit(restore);
}

const char *fail_nth_missing(void)
{
	if (access("/proc/thread-self/fail-nth", W_OK))
		return "the kernel injects no faults: no CONFIG_FAULT_INJECTION";
	return nr_set < ARRAY_SIZE(knobs) ? knobs[nr_set].path : NULL;
}

static void put_number(int fd, unsigned int number)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", number);

	/* The write may be what fails; if so, nothing does any more. */
	if (pwrite(fd, text, len, 0) != len &&
	    (errno != EFAULT || pwrite(fd, text, len, 0) != len))
		die("fault injection");
}

/* How many are left until one fails. */
static unsigned int left(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) < 0) {
		/* The read itself was the one. */
		if (errno == EFAULT)
			return 1;
		die("fail-nth");
	}
	return strtoul(text, NULL, 10);
}

static void begin(struct sweep *sweep)
{
	sweep->nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	sweep->make_fd = open("/proc/thread-self/make-it-fail",
			      O_RDWR | O_CLOEXEC);
	if (sweep->nth_fd < 0 || sweep->make_fd < 0)
		die("fail-nth");
	sweep->begun = true;
}

bool sweep_next(struct sweep *sweep)
{
	if (!sweep->begun) {
		begin(sweep);
		return true;
	}
	if (!sweep->n || sweep->hit) {
		sweep->n += sweep->step ?: 1;
		if (sweep->n < MANY)
			return true;
		fprintf(stderr, "%u faults, and no end\n", MANY);
		_exit(1);
	}
	if (!sweep->stepped_back) {
		sweep->stepped_back = true;
		sweep->n = sweep->n > BACK ? sweep->n - BACK : 1;
		return true;
	}
	close(sweep->nth_fd);
	close(sweep->make_fd);
	sweep->begun = false;
	return false;
}

/*
 * The first run also has all that is used while faults are injected brought in: a
 * page fault of our own could be hit, or never succeed.
 */
void sweep_arm(struct sweep *sweep)
{
	if (sweep->persistent)
		put_number(sweep->make_fd, 1);
	put_number(sweep->nth_fd, sweep->n ?: NEVER);
}

void sweep_disarm(struct sweep *sweep)
{
	int error = errno;
	unsigned int nth = left(sweep->nth_fd);

	put_number(sweep->nth_fd, 0);
	if (sweep->persistent)
		put_number(sweep->make_fd, 0);
	sweep->hit = !nth;
	sweep->injected += sweep->hit;
	sweep->left = nth;
	errno = error;
}

void sweep_last(struct sweep *sweep, unsigned int nr)
{
	unsigned int points = NEVER - sweep->left;

	sweep->n = points > nr ? points - nr : 0;
	sweep->hit = true;
}

bool one_of(__s64 value, const __s64 *list, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (value == list[i])
			return true;
	}
	return false;
}
