// SPDX-License-Identifier: GPL-2.0-only
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "fixture.h"
#include "shadow.h"

#define PERM	(IOMMU_READ | IOMMU_WRITE)

/* The fake IOMMU keeps permissions where an entry has its own. */
static_assert(IOMMU_READ == PVIOMMU_ENTRY_READ);
static_assert(IOMMU_WRITE == PVIOMMU_ENTRY_WRITE);

static int create_aperture(struct fixture *fix, u64 npages, u64 budget)
{
	int ret;

	fix->ap = pviommu_aperture_create(&fix->vm, WINDOW_BASE,
					  npages << PAGE_SHIFT, budget);
	if (IS_ERR(fix->ap)) {
		ret = PTR_ERR(fix->ap);
		fix->ap = NULL;
		return ret;
	}
	ret = fake_iommu_init(&fix->iommu, fix->test, &fix->fake, WINDOW_BASE,
			      npages);
	if (!ret)
		ret = pviommu_domain_adopt(&fix->ap->domain,
					   &fix->iommu.domain);
	return ret;
}

/**
 * fixture_create() - an aperture, enabled, whose table is empty
 * @test: the test, whose exit() is fixture_exit()
 * @npages: pages in the window
 * @budget: most pages that may be pinned; 0 for all
 *
 * Return: the fixture; the test ends if there is none.
 */
struct fixture *fixture_create(struct kunit *test, u64 npages, u64 budget)
{
	struct fixture *fix = kunit_kzalloc(test, sizeof(*fix), GFP_KERNEL);
	unsigned int i, leaves;
	__le64 *directory;

	KUNIT_ASSERT_NOT_NULL(test, fix);
	fix->test = test;
	test->priv = fix;
	mutex_init(&fix->vm.lock);

	KUNIT_ASSERT_EQ(test, fake_vm_init(&fix->fake, test), 0);
	fix->vm.kvm = fix->fake.kvm;
	fix->vm.mm = fix->fake.mm;
	pviommu_memlock_init(&fix->vm.memlock, fix->fake.mm);
	KUNIT_ASSERT_EQ(test, create_aperture(fix, npages, budget), 0);

	directory = fake_vm_frame(&fix->fake, FRAME_DIRECTORY);
	leaves = min_t(u64, npages / PVIOMMU_ENTRIES_PER_LEAF,
		       FRAME_LIST - FRAME_LEAVES);
	for (i = 0; i < leaves; i++)
		directory[i] = cpu_to_le64(FRAME(FRAME_LEAVES + i, 0));
	KUNIT_ASSERT_EQ(test, fixture_enable(fix, FRAME(FRAME_DIRECTORY, 0)), 0);
	return fix;
}

/**
 * fixture_init() - the init() of most suites
 * @test: the test; its priv becomes the fixture
 *
 * Return: 0; the test ends otherwise.
 */
int fixture_init(struct kunit *test)
{
	fixture_create(test, WINDOW_PAGES, 0);
	return 0;
}

/**
 * fixture_exit() - what follows any test, wherever it ended
 * @test: the test
 *
 * As when the VMM dies. Nothing may be pinned after that, or be accounted for.
 */
void fixture_exit(struct kunit *test)
{
	struct fixture *fix = test->priv;
	struct pviommu_aperture *ap;

	if (!fix)
		return;

	ap = fix->ap;
	if (ap) {
		pviommu_aperture_lock(ap);
		pviommu_aperture_drop_all(ap);
		pviommu_group_last_left(ap);
		pviommu_remove_abandoned(ap);
		KUNIT_EXPECT_EQ(test, pinned(ap), 0);
		KUNIT_EXPECT_EQ(test, total(ap, nr_leaves), 0);
		pviommu_aperture_unlock(ap);
		KUNIT_EXPECT_TRUE(test, fix->iommu.freed);
		pviommu_aperture_destroy(ap);
		pviommu_memlock_trim(&fix->vm.memlock);
		KUNIT_EXPECT_EQ(test, fix->vm.memlock.charged, 0);
	}
	fake_iommu_exit(&fix->iommu);
	fake_vm_exit(&fix->fake, test);
	mutex_destroy(&fix->vm.lock);
}

/**
 * fixture_enable() - as a vCPU would
 * @fix: the fixture
 * @directory: GPA
 *
 * Return: as pviommu_aperture_enable().
 */
s64 fixture_enable(struct fixture *fix, u64 directory)
{
	int idx = srcu_read_lock(&fix->fake.kvm->srcu);
	s64 ret = pviommu_aperture_enable(fix->ap, directory, 0);

	srcu_read_unlock(&fix->fake.kvm->srcu, idx);
	return ret;
}

/**
 * fixture_enable_direct() - have the aperture follow the same table, with use counts
 * @fix: the fixture
 */
void fixture_enable_direct(struct fixture *fix)
{
	int idx = srcu_read_lock(&fix->fake.kvm->srcu);

	KUNIT_ASSERT_EQ(fix->test,
			pviommu_aperture_enable(fix->ap, FRAME(FRAME_DIRECTORY, 0),
						PVIOMMU_ENABLE_DIRECT), 0);
	srcu_read_unlock(&fix->fake.kvm->srcu, idx);
}

/**
 * fixture_entry() - read an entry of the guest's table
 * @fix: the fixture
 * @index: window page
 *
 * Return: the entry.
 */
u64 fixture_entry(struct fixture *fix, u64 index)
{
	u64 leaf = index / PVIOMMU_ENTRIES_PER_LEAF;
	__le64 *table = fake_vm_frame(&fix->fake, FRAME_LEAVES + leaf);

	return le64_to_cpu(table[index % PVIOMMU_ENTRIES_PER_LEAF]);
}

/**
 * fixture_set() - write an entry into the guest's table
 * @fix: the fixture
 * @index: window page
 * @entry: the entry
 */
void fixture_set(struct fixture *fix, u64 index, u64 entry)
{
	u64 leaf = index / PVIOMMU_ENTRIES_PER_LEAF;
	__le64 *table = fake_vm_frame(&fix->fake, FRAME_LEAVES + leaf);

	table[index % PVIOMMU_ENTRIES_PER_LEAF] = cpu_to_le64(entry);
}

/**
 * fixture_fill() - have the guest's table name frames, in order
 * @fix: the fixture
 * @index: first window page
 * @frame: first frame
 * @n: number of both
 * @perm: permissions
 */
void fixture_fill(struct fixture *fix, u64 index, unsigned int frame,
		  unsigned int n, u64 perm)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		fixture_set(fix, index + i, FRAME(frame + i, perm));
}

/**
 * fixture_clear() - take entries out of the guest's table
 * @fix: the fixture
 * @index: first window page
 * @n: number of pages
 */
void fixture_clear(struct fixture *fix, u64 index, unsigned int n)
{
	while (n--)
		fixture_set(fix, index++, 0);
}

/**
 * fixture_sync_unchecked() - as a vCPU would
 * @fix: the fixture
 * @first: first window page
 * @count: window pages
 * @flags: PVIOMMU_SYNC_*
 *
 * For where fixture_check() would find fault, or takes too long.
 *
 * Return: as pviommu_sync().
 */
s64 fixture_sync_unchecked(struct fixture *fix, u64 first, u64 count, u64 flags)
{
	int idx = srcu_read_lock(&fix->fake.kvm->srcu);
	s64 ret = pviommu_sync(fix->ap, first, count, flags);

	srcu_read_unlock(&fix->fake.kvm->srcu, idx);
	return ret;
}

/**
 * fixture_sync() - as a vCPU would
 * @fix: the fixture, checked afterwards
 * @first: first window page
 * @count: window pages
 * @flags: PVIOMMU_SYNC_*
 *
 * Return: as pviommu_sync().
 */
s64 fixture_sync(struct fixture *fix, u64 first, u64 count, u64 flags)
{
	s64 ret = fixture_sync_unchecked(fix, first, count, flags);

	fixture_check(fix);
	return ret;
}

/**
 * fixture_sync_list_unchecked() - as a vCPU would
 * @fix: the fixture
 * @ranges: ranges
 * @nr: number of ranges
 * @flags: PVIOMMU_SYNC_*
 *
 * For where fixture_check() would find fault.
 *
 * Return: as pviommu_sync_list().
 */
s64 fixture_sync_list_unchecked(struct fixture *fix,
				const struct pviommu_range *ranges,
				unsigned int nr, u64 flags)
{
	int idx;
	s64 ret;

	memcpy(fake_vm_frame(&fix->fake, FRAME_LIST), ranges,
	       nr * sizeof(*ranges));
	idx = srcu_read_lock(&fix->fake.kvm->srcu);
	ret = pviommu_sync_list(fix->ap, FRAME(FRAME_LIST, 0), nr, flags);
	srcu_read_unlock(&fix->fake.kvm->srcu, idx);
	return ret;
}

/**
 * fixture_sync_list() - as a vCPU would
 * @fix: the fixture, checked afterwards
 * @ranges: ranges
 * @nr: number of ranges
 * @flags: PVIOMMU_SYNC_*
 *
 * Return: as pviommu_sync_list().
 */
s64 fixture_sync_list(struct fixture *fix, const struct pviommu_range *ranges,
		      unsigned int nr, u64 flags)
{
	s64 ret = fixture_sync_list_unchecked(fix, ranges, nr, flags);

	fixture_check(fix);
	return ret;
}

/**
 * fixture_in_use() - what the accounting takes for pinned
 * @fix: the fixture
 *
 * Return: pages that are charged, but for those charged in advance.
 */
unsigned long fixture_in_use(struct fixture *fix)
{
	struct pviommu_memlock *ml = &fix->vm.memlock;

	return ml->charged - atomic_long_read(&ml->spare);
}

/**
 * fixture_mapped() - what devices find at a window page
 * @fix: the fixture
 * @index: window page
 *
 * Return: the entry for it, in RAM; 0 if nothing is mapped.
 */
u64 fixture_mapped(struct fixture *fix, u64 index)
{
	phys_addr_t phys = fix->iommu.ptes[index].phys;

	if (!phys)
		return 0;
	return FRAME(PHYS_PFN(phys) - page_to_pfn(fix->fake.frames),
		     phys & PERM);
}

/* Shadow, IOMMU and pins of one window page. */
static bool check_page(struct fixture *fix, u64 index)
{
	const struct fake_pte *pte = &fix->iommu.ptes[index];
	struct page *page;
	bool large;
	u64 entry;

	page = pviommu_shadow_peek(fix->ap, index, &entry, &large);
	if (entry & ~(RW | LARGE | PVIOMMU_ENTRY_GFN)) {
		KUNIT_FAIL(fix->test, "page %llu: the shadow has %#llx", index,
			   entry);
		return false;
	}
	if (pte->stale) {
		KUNIT_FAIL(fix->test, "page %llu is not flushed", index);
		return false;
	}
	if (!page != !pte->phys ||
	    (page && pte->phys != page_to_phys(page) + (entry & PERM))) {
		KUNIT_FAIL(fix->test,
			   "page %llu: the shadow says %#llx, the IOMMU %pa",
			   index, page ? entry : 0, &pte->phys);
		return false;
	}
	if (large != !!pte->order && !fix->iommu.small_only) {
		KUNIT_FAIL(fix->test, "page %llu: the shadow says %s, the IOMMU %s",
			   index, large ? "large" : "small",
			   pte->order ? "large" : "small");
		return false;
	}
	if (large && !(index % PVIOMMU_ENTRIES_PER_LEAF))
		fix->large++;
	if (page)
		fix->pins[page_to_pfn(page) - page_to_pfn(fix->fake.frames)]++;
	return true;
}

/* The guest's leaves, which are pinned if they hold use counts. Returns their number. */
static u64 check_tables(struct fixture *fix)
{
	struct pviommu_shadow_leaf *leaf;
	unsigned long at;
	u64 tables = 0;

	xa_for_each(&fix->ap->shadow, at, leaf) {
		KUNIT_EXPECT_EQ(fix->test, !!leaf->page, fix->ap->direct);
		if (!leaf->page)
			continue;
		fix->pins[page_to_pfn(leaf->page) -
			  page_to_pfn(fix->fake.frames)]++;
		tables++;
	}
	return tables;
}

/**
 * fixture_check() - do shadow, IOMMU, pins and accounting agree?
 * @fix: the fixture
 */
void fixture_check(struct fixture *fix)
{
	struct pviommu_aperture *ap = fix->ap;
	struct kunit *test = fix->test;
	u64 index, tables, pages = 0;
	unsigned int i;

	fake_iommu_check(&fix->iommu);
	memset(fix->pins, 0, sizeof(fix->pins));
	fix->large = 0;
	tables = check_tables(fix);
	for (index = 0; index < ap->npages; index++) {
		if (!check_page(fix, index))
			return;
	}
	for (i = 0; i < FAKE_FRAMES; i++) {
		pages += fix->pins[i];
		if (fix->pins[i] != fake_vm_pins(&fix->fake, i)) {
			KUNIT_FAIL(test, "frame %u: mapped %u times, pinned %u times",
				   i, fix->pins[i],
				   fake_vm_pins(&fix->fake, i));
			return;
		}
	}
	KUNIT_EXPECT_EQ(test, counted(ap, large), fix->large);
	pages -= tables;
	KUNIT_EXPECT_EQ(test, pinned(ap), pages);
	KUNIT_EXPECT_LE(test, pinned(ap), ap->budget);
	KUNIT_EXPECT_GE(test, atomic_long_read(&ap->pinned_peak), pinned(ap));
	KUNIT_EXPECT_EQ(test, counted(ap, mapped) - counted(ap, unmapped), pages);
	KUNIT_EXPECT_EQ(test, fixture_in_use(fix), pages + tables);
	KUNIT_EXPECT_EQ(test, fix->vm.memlock.charged, fix->fake.mm->locked_vm);
}

/**
 * fixture_check_follows() - is what is mapped exactly what the table says?
 * @fix: the fixture
 * @first: first window page
 * @n: number of pages, whose entries are all good, and name RAM
 */
void fixture_check_follows(struct fixture *fix, u64 first, unsigned int n)
{
	u64 index, wanted;
	__le64 *table;

	for (index = first; index < first + n; index++) {
		table = fake_vm_frame(&fix->fake, FRAME_LEAVES +
				      index / PVIOMMU_ENTRIES_PER_LEAF);
		wanted = le64_to_cpu(table[index % PVIOMMU_ENTRIES_PER_LEAF]);
		if (!(wanted & RW))
			wanted = 0;
		KUNIT_ASSERT_EQ_MSG(fix->test, fixture_mapped(fix, index),
				    wanted & ~PVIOMMU_ENTRY_LARGE, "page %llu",
				    index);
	}
}

/**
 * fixture_forget_calls() - what fixture_calls() tells begins here
 * @fix: the fixture
 */
void fixture_forget_calls(struct fixture *fix)
{
	fix->iommu.nr_calls = 0;
	fix->iommu.nr_flushes = 0;
}

/**
 * fixture_calls() - which calls the IOMMU driver has seen
 * @fix: the fixture
 *
 * Return: "u3+2 f3+2 m7+1": pages 3 and 4 were unmapped and flushed, and 7 mapped.
 */
const char *fixture_calls(struct fixture *fix)
{
	unsigned int i, nr = min(fix->iommu.nr_calls, FAKE_LOG);
	size_t size = nr * 24 + 1, len = 0;
	char *text = kunit_kzalloc(fix->test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(fix->test, text);
	for (i = 0; i < nr; i++) {
		const struct fake_call *call = &fix->iommu.calls[i];

		len += scnprintf(text + len, size - len, "%s%c%lu+%lu",
				 i ? " " : "", call->op, call->first,
				 call->npages);
	}
	return text;
}

/**
 * fixture_log_dirty() - have the guest's RAM logged when it becomes dirty
 * @fix: the fixture
 *
 * Return: the log, a bit for each frame.
 */
unsigned long *fixture_log_dirty(struct fixture *fix)
{
	struct kvm_memory_slot *slot = &fix->fake.slots[FAKE_RAM];

	slot->dirty_bitmap = kunit_kcalloc(fix->test,
					   BITS_TO_LONGS(slot->npages),
					   sizeof(long), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(fix->test, slot->dirty_bitmap);
	slot->flags |= KVM_MEM_LOG_DIRTY_PAGES;
	return slot->dirty_bitmap;
}

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_DESCRIPTION("KUnit tests of kvm-pviommu");
MODULE_LICENSE("GPL");
