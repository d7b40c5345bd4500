/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Faults that the kernel injects: an operation is run again and again, and its
 * first, second, ... allocation or access to user memory fails.
 */
#ifndef PVIOMMU_SELFTEST_FAIL_NTH_H
#define PVIOMMU_SELFTEST_FAIL_NTH_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

/**
 * struct sweep - the runs of one operation
 * @persistent: all allocations after the one that failed fail, too: the kernel
 *	often has another way for when the first has failed
 * @step: from a run's @n to the next one's; 0 for 1
 * @n: what fails in this run, from 1 on; in a first run nothing does
 * @injected: runs in which something did
 * @refused: those that it made fail: for the test to count
 * @hit: something has failed in the run that has just ended
 */
struct sweep {
	bool persistent;
	unsigned int step;
	unsigned int n;
	unsigned int injected;
	unsigned int refused;
	bool hit;
	unsigned int left;	/* private */
	bool stepped_back;	/* private */
	bool begun;		/* private */
	int nth_fd;		/* private */
	int make_fd;		/* private */
};

/*
 * To be called once, before there are other processes; what it sets is put back when
 * the process ends.
 */
void fail_nth_setup(void);
/* What the kernel does not have for it, or NULL. */
const char *fail_nth_missing(void);

/* Is there another run to be made? By the thread that will make all of them. */
bool sweep_next(struct sweep *sweep);
/* Around the operation, and nothing else. The second keeps errno. */
void sweep_arm(struct sweep *sweep);
void sweep_disarm(struct sweep *sweep);
/* After the first run: try only the last @nr allocations and accesses that it made. */
void sweep_last(struct sweep *sweep, unsigned int nr);

bool one_of(__s64 value, const __s64 *list, size_t len);
#define ONE_OF(value, ...)						\
	one_of(value, (const __s64[]){ __VA_ARGS__ },			\
	       sizeof((const __s64[]){ __VA_ARGS__ }) / sizeof(__s64))

#endif /* PVIOMMU_SELFTEST_FAIL_NTH_H */
