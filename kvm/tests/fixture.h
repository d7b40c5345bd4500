/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An aperture between a fake VM and a fake IOMMU. All in between is the real code,
 * down to the IOMMU core.
 */
#ifndef KVM_PVIOMMU_FIXTURE_H
#define KVM_PVIOMMU_FIXTURE_H

#include <kunit/test.h>
#include <kunit/visibility.h>

#include "fake_iommu.h"
#include "fake_vm.h"
#include "pviommu.h"

#define R	PVIOMMU_ENTRY_READ
#define W	PVIOMMU_ENTRY_WRITE
#define RW	(R | W)
#define LARGE	PVIOMMU_ENTRY_LARGE

/* An entry for a page of a slot, with the given permissions. */
#define ENTRY(_slot, _page, _perm) \
	(FAKE_GPA(_slot) + ((u64)(_page) << PAGE_SHIFT) + (_perm))
/* ... for a frame. */
#define FRAME(_frame, _perm)	ENTRY(FAKE_RAM, _frame, _perm)

/* What is in which frame, for all but special tests. */
#define FRAME_DIRECTORY	0U
#define FRAME_LEAVES	1U	/* and what follows */
#define FRAME_LIST	14U
#define FRAME_BUFFER	15U
#define FRAME_DATA	16U	/* and what follows */

#define WINDOW_BASE	(SZ_4G)
#define WINDOW_PAGES	2048U

/**
 * struct fixture - an aperture that can be synced
 * @test: the test
 * @fake: the guest and its memory
 * @iommu: what the aperture's domain is
 * @vm: the VM's pviommu
 * @ap: the aperture
 * @pins: scratch memory, by frame
 * @large: scratch memory: large leaves that were seen
 */
struct fixture {
	struct kunit *test;
	struct fake_vm fake;
	struct fake_iommu iommu;
	struct pviommu_vm vm;
	struct pviommu_aperture *ap;
	u16 pins[FAKE_FRAMES];
	unsigned int large;
};

struct fixture *fixture_create(struct kunit *test, u64 npages, u64 budget);
int fixture_init(struct kunit *test);
void fixture_exit(struct kunit *test);

s64 fixture_enable(struct fixture *fix, u64 directory);
void fixture_enable_direct(struct fixture *fix);
u64 fixture_entry(struct fixture *fix, u64 index);
void fixture_set(struct fixture *fix, u64 index, u64 entry);
void fixture_fill(struct fixture *fix, u64 index, unsigned int frame,
		  unsigned int n, u64 perm);
void fixture_clear(struct fixture *fix, u64 index, unsigned int n);

s64 fixture_sync_unchecked(struct fixture *fix, u64 first, u64 count,
			   u64 flags);
s64 fixture_sync(struct fixture *fix, u64 first, u64 count, u64 flags);
s64 fixture_sync_list_unchecked(struct fixture *fix,
				const struct pviommu_range *ranges,
				unsigned int nr, u64 flags);
s64 fixture_sync_list(struct fixture *fix, const struct pviommu_range *ranges,
		      unsigned int nr, u64 flags);
/* fixture_sync_list() of the ranges that follow. */
#define fixture_sync_ranges(_fix, _flags, ...) ({			\
	const struct pviommu_range _ranges[] = { __VA_ARGS__ };	\
									\
	fixture_sync_list(_fix, _ranges, ARRAY_SIZE(_ranges), _flags);	\
})

/* A field of all stripes of an aperture. */
#define total(_ap, _field) ({						\
	u64 _total = 0;							\
	unsigned int _i;						\
									\
	for (_i = 0; _i < PVIOMMU_STRIPES; _i++)			\
		_total += (_ap)->stripes[_i]._field;			\
	_total;								\
})
#define counted(_ap, _field)	total(_ap, counters._field)

static inline u64 pinned(const struct pviommu_aperture *ap)
{
	return atomic_long_read(&ap->pinned);
}

unsigned long fixture_in_use(struct fixture *fix);
u64 fixture_mapped(struct fixture *fix, u64 index);
void fixture_check(struct fixture *fix);
void fixture_check_follows(struct fixture *fix, u64 first, unsigned int n);
void fixture_forget_calls(struct fixture *fix);
const char *fixture_calls(struct fixture *fix);
unsigned long *fixture_log_dirty(struct fixture *fix);

#endif /* KVM_PVIOMMU_FIXTURE_H */
