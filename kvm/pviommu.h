/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kvm-pviommu: the host module's objects, and what its files call of each other.
 *
 *   main.c		/dev/pviommu and its ioctls
 *   vm.c		one VM's pviommu: from a vCPU to its apertures
 *   hypercall.c	what a guest can ask, and the answers
 *   aperture.c		an aperture: window, budget, life
 *   table.c		guest memory, and the guest's table in it; table.h
 *   sync.c		the table is compared with the shadow, and the hardware follows
 *   remove.c		what must not be mapped any more: cleared, flushed, unpinned
 *   reclaim.c		what guests do not use goes when the host needs memory
 *   moved.c		guest memory that the VMM discards goes
 *   dirty.c		KVM's log of what devices have written
 *   stripe.c		an aperture's locks
 *   shadow.c		what is mapped, as memory
 *   domain.c		an aperture's IOMMU domain
 *   device.c		devices: taken from VFIO, and left blocked
 *   group.c		IOMMU groups: which may join, and their move
 *   fault.c		DMA that the IOMMU refused
 *   watch.c		tells of guests that seem to lack the driver
 *   memlock.c		RLIMIT_MEMLOCK
 *   debugfs.c		statistics for people
 *
 * One open file is one struct pviommu_vm. It owns apertures, which own devices,
 * a domain and a shadow. Nothing outlives the file.
 *
 * Locks, outermost first:
 *
 *   device_lock()	of a PCI device (taken by the driver core around unbind)
 *   pviommu_vm::lock	its apertures' devices and endpoints; ioctls
 *   pviommu_aperture::lock	reclaim; with all stripes, the aperture as a whole
 *   pviommu_stripe::lock	leaves of the table, their shadow and what is pinned for them;
 *				in ascending order
 *   pviommu_domain::lock	unmap until flush, shared; groups that move, exclusively
 *   pviommu_memlock::lock	what is charged to the VMM
 *   mmap_lock		of the VMM, inside pin and account
 *   device_list_lock	all attached devices; a leaf
 *   vm_hash_lock	all bound VMs; a leaf
 *   fault_lock		who is told of faults, and what of; a leaf, taken in interrupts
 *
 * The IOMMU core's group->mutex is inside pviommu_domain::lock. kvm->srcu is held
 * by vCPUs outside of all of them; others take it inside pviommu_stripe::lock, and
 * nobody waits for its readers under a lock of ours. Pages are pinned under
 * pviommu_stripe::lock and a VMM can stall that for ever (userfaultfd), so
 * nothing that serves another VM may wait for it.
 */
#ifndef KVM_PVIOMMU_H
#define KVM_PVIOMMU_H

#include <linux/completion.h>
#include <linux/iommu.h>
#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/percpu-rwsem.h>
#include <linux/ratelimit.h>
#include <linux/refcount.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/pviommu.h>
#include <linux/pviommu_abi.h>

#include "compat.h"

/* The ABI's page is 4 KiB, and so is the host's: x86 has no other. */
static_assert(PAGE_SIZE == 4096);

#define PVIOMMU_MAX_APERTURES	64U
#define PVIOMMU_MAX_WINDOW	(SZ_1T)
#define PVIOMMU_MAX_HOLES	32U

/* Bounds the time and the buffers of one SYNC or SYNC_LIST. */
#define PVIOMMU_SYNC_MAX_PAGES	512U
#define PVIOMMU_SYNC_MAX_RANGES	256U

/*
 * The same for one that only removes, which needs no buffers: 256 ranges of 128 KiB, which
 * is what a guest's flush queue holds.
 */
#define PVIOMMU_UNMAP_MAX_PAGES	8192U

/* Less than 2 MiB, of which VT-d would make a large leaf: see domain.c. */
#define PVIOMMU_DOMAIN_MAX_PAGES	256U

/* A range of so many pages is removed without a batch. */
#define PVIOMMU_FEW_PAGES	64U

/* As many vCPUs can sync an aperture at a time. A power of two. */
#define PVIOMMU_STRIPES		16U

struct pviommu_aperture;
struct pviommu_shadow_leaf;
struct pviommu_sync_batch;

/**
 * struct pviommu_ram - guest RAM that one memslot brings
 * @generation: of the memslots in which it was found: in others it is nothing
 * @first: its first frame
 * @npages: pages
 * @hva: of @first, in the VMM
 * @writable: the guest may write to it
 */
struct pviommu_ram {
	u64 generation;
	gfn_t first;
	u64 npages;
	unsigned long hva;
	bool writable;
};

/**
 * struct pviommu_memlock - pages charged to a process's RLIMIT_MEMLOCK
 * @lock: guards @charged
 * @mm: the process
 * @charged: pages charged; read without @lock for statistics
 * @spare: of them, those that are not pinned; without @lock
 */
struct pviommu_memlock {
	struct mutex lock;	/* see above */
	struct mm_struct *mm;
	unsigned long charged;
	atomic_long_t spare;
};

/* Of struct pviommu_vm::suspects; a power of two. */
#define PVIOMMU_SUSPECTS	4096

/**
 * struct pviommu_vm - one open /dev/pviommu
 * @mm: of the process that opened it; held with mmgrab(), so compared and
 *	accounted to, never used to reach memory
 * @vm_file: the VM, or NULL until it is bound; keeps @kvm
 * @kvm: the VM
 * @hash: in vm.c's table of bound VMs
 * @users: hypercalls and notifiers at work, and one for the open file
 * @idle: completed when @users drops to zero
 * @lock: guards what ioctls change: @vm_file, and the apertures' devices
 * @nr_apertures: read without the lock: an aperture is complete before it counts
 * @apertures: by id
 * @memlock: accounting of what is pinned, of all apertures
 * @dirty_lost: pages that could not be entered in the dirty log
 * @reclaim: takes back idle pages
 * @reclaim_wanted: how many
 * @notifier: tells what becomes of the VM's memory
 * @notified: it is registered
 * @moves: times that it has told; see pviommu_generation()
 * @suspects: frames of which it has, by hash
 * @look_again: those of them that were not seen; only @moved uses it
 * @unseen: how often each was not; only @moved uses it
 * @moved: looks at them
 * @closing: and is to end
 * @unbind: detaches devices that VFIO's driver is leaving
 * @debugfs: its directory
 */
struct pviommu_vm {
	struct mm_struct *mm;
	struct file *vm_file;
	struct kvm *kvm;
	struct hlist_node hash;
	refcount_t users;
	struct completion idle;

	struct mutex lock;	/* see above */
	unsigned int nr_apertures;
	struct pviommu_aperture *apertures[PVIOMMU_MAX_APERTURES];
	struct pviommu_memlock memlock;
	atomic64_t dirty_lost;
	struct work_struct reclaim;
	atomic_long_t reclaim_wanted;
	struct mmu_notifier notifier;
	bool notified;
	atomic64_t moves;
	DECLARE_BITMAP(suspects, PVIOMMU_SUSPECTS);
	DECLARE_BITMAP(look_again, PVIOMMU_SUSPECTS);
	u8 unseen[PVIOMMU_SUSPECTS];
	struct work_struct moved;
	bool closing;
	struct work_struct unbind;
	struct dentry *debugfs;
};

/**
 * struct pviommu_domain - an IOMMU domain of our own
 * @lock: see domain.c
 * @iommu: the domain; NULL while no device is attached
 * @groups: those that were attached to @iommu; struct domain_group
 * @nr_groups: of them
 * @nr_taken: of them, those that somebody else has moved
 * @kvm: told when @iommu cannot enforce cache coherency
 * @noncoherent: it was told
 * @base: first IOVA of the window, bytes
 * @npages: pages of the window
 * @grown: the last IOVA that page tables have the levels for
 * @tables: bit n is set if the IOMMU driver may keep a table of small pages for the
 *	n-th 2 MiB of the window. NULL if no 2 MiB leaf can be in it.
 */
struct pviommu_domain {
	struct percpu_rw_semaphore lock;	/* see above */
	struct iommu_domain *iommu;
	struct list_head groups;
	unsigned int nr_groups;
	atomic_t nr_taken;
	struct kvm *kvm;
	bool noncoherent;
	u64 base;
	u64 npages;
	u64 grown;
	unsigned long *tables;
};

/**
 * struct pviommu_faults - DMA faults of an aperture's devices; under fault_lock
 * @count: all there have been
 * @iova: where the last one went, bytes
 * @first: number of the oldest event that is kept
 * @next: number of the next one
 * @events: event number n is at n % PVIOMMU_MAX_EVENTS
 * @log: limits what is logged
 */
struct pviommu_faults {
	u64 count;
	u64 iova;
	u64 first;
	u64 next;
	struct pviommu_event events[PVIOMMU_MAX_EVENTS];
	struct ratelimit_state log;
};

/**
 * struct pviommu_fault_source - a device whose faults are an aperture's
 * @list: in fault.c's list
 * @dev: the device
 * @ap: its aperture
 * @guest: where the guest finds it
 */
struct pviommu_fault_source {
	struct list_head list;
	struct device *dev;
	struct pviommu_aperture *ap;
	const struct pviommu_endpoint *guest;
};

/* What syncs, and others that change what is mapped, count: see struct pviommu_aperture_stats. */
struct pviommu_counters {
	u64 syncs;
	u64 sync_pages;
	u64 mapped;
	u64 map_calls;
	u64 unmapped;
	u64 unmap_calls;
	u64 flushes;
	u64 large;
	u64 large_mapped;
	u64 large_broken;
	u64 reclaimed;
	u64 moved;
};

/**
 * struct pviommu_stripe - every 16th leaf of an aperture
 * @lock: guards the rest, and the leaves
 * @last_leaf: of them, that was looked for last, or NULL
 * @table_ram: where a part of the table was found last
 * @data_ram: where a page to be mapped was found last
 * @table: scratch memory for a few entries
 * @nr_leaves: leaves
 * @spare_leaves: those in which nothing is mapped
 * @nr_spare_leaves: of them
 * @counters: of all stripes together they tell of the aperture: of what was done for
 *	several, one of them has it all; read without @lock
 */
struct pviommu_stripe {
	struct mutex lock;	/* see above */
	struct pviommu_shadow_leaf *last_leaf;
	struct pviommu_ram table_ram;
	struct pviommu_ram data_ram;
	__le64 table[PVIOMMU_FEW_PAGES];
	unsigned long nr_leaves;
	struct list_head spare_leaves;
	unsigned long nr_spare_leaves;
	struct pviommu_counters counters;
} ____cacheline_aligned_in_smp;

/* For lockdep: what is around several stripes that are locked. */
struct pviommu_several {
	struct lockdep_map dep_map;
};

/**
 * struct pviommu_batches - scratch memory of an aperture's syncs, while they do not use it
 * @first: one that is not in use, or NULL; without @lock
 * @lock: guards @spare and @nr; a leaf
 * @spare: others that are not in use
 * @nr: all there are, with those in use
 * @wait: for one, without memory for more
 */
struct pviommu_batches {
	struct pviommu_sync_batch *first;
	spinlock_t lock;	/* see above */
	struct pviommu_sync_batch *spare;
	unsigned int nr;
	wait_queue_head_t wait;
};

/**
 * struct pviommu_aperture - what a set of devices can reach
 * @vm: owner
 * @id: index in pviommu_vm::apertures
 * @base: first IOVA of the window, bytes
 * @npages: pages in the window
 * @budget: most pages that may be pinned
 * @devices: attached devices; pviommu_vm::lock
 * @watch: looks for a guest without the driver; see watch.c
 * @told: it has been found; only @watch uses it
 * @lock: with all of @stripes guards what is below, down to @stats, to change it; to read
 *	it, any of these locks will do
 * @domain: what the hardware follows
 * @nr_holes: elements in @holes
 * @holes: reserved window pages: nothing is ever mapped there
 * @enabled: follows the table at @directory
 * @direct: and it holds use counts
 * @touched: has been enabled or disabled by the guest: no device is left to VFIO
 *	from now on
 * @nr_unconfined: devices whose group is not in @domain; pviommu_vm::lock, too
 * @directory: GPA of the guest's directory
 * @reclaim_from: index in @shadow where reclaim goes on; @lock alone
 * @stats: what PVIOMMU_STATS reports, but for what is counted elsewhere
 * @shadow: struct pviommu_shadow_leaf by window page / 512; each is under its stripe's lock
 * @stripes: by index in @shadow
 * @several: see stripe.c
 * @leaves_lock: a leaf whose page is known stays while it is held; for who may not take
 *	a stripe's
 * @pinned: pages that are pinned, or are about to be; without a lock
 * @pinned_peak: the most there have been; without a lock
 * @batches: for syncs
 * @hypercalls: that named the aperture; without the lock
 * @refused: answered with a PVIOMMU_RC_* code; without the lock
 * @faults: DMA that the IOMMU refused; fault_lock
 */
struct pviommu_aperture {
	struct pviommu_vm *vm;
	u32 id;
	u64 base;
	u64 npages;
	u64 budget;

	struct list_head devices;
	struct delayed_work watch;
	bool told;

	struct mutex lock;	/* see above */
	struct pviommu_domain domain;
	unsigned int nr_holes;
	struct pviommu_hole holes[PVIOMMU_MAX_HOLES];
	bool enabled;
	bool direct;
	bool touched;
	unsigned int nr_unconfined;
	gpa_t directory;
	unsigned long reclaim_from;
	struct pviommu_aperture_stats stats;

	struct xarray shadow;
	struct pviommu_stripe stripes[PVIOMMU_STRIPES];
	struct pviommu_several several;
	spinlock_t leaves_lock;	/* see above */
	atomic_long_t pinned;
	atomic_long_t pinned_peak;
	struct pviommu_batches batches;

	atomic64_t hypercalls;
	atomic64_t refused;
	struct pviommu_faults faults;
};

static inline u64 pviommu_iova(const struct pviommu_aperture *ap, u64 index)
{
	return ap->base + (index << PAGE_SHIFT);
}

/* Is a window page reserved? */
static inline bool pviommu_is_hole(const struct pviommu_aperture *ap, u64 index)
{
	u64 iova = pviommu_iova(ap, index);
	unsigned int i;

	for (i = 0; i < ap->nr_holes; i++) {
		if (iova >= ap->holes[i].base &&
		    iova - ap->holes[i].base < ap->holes[i].length)
			return true;
	}
	return false;
}

/* gfn_to_memslot() where it counts: KVM keeps the one that was found last. */
static inline struct kvm_memory_slot *pviommu_memslot(struct kvm *kvm, gfn_t gfn)
{
	return __gfn_to_memslot(kvm_memslots(kvm), gfn);
}

/* vm.c */
struct pviommu_vm *pviommu_vm_open(void);
void pviommu_vm_close(struct pviommu_vm *vm);
int pviommu_vm_bind(struct pviommu_vm *vm, int vm_fd);
struct pviommu_vm *pviommu_vm_get_by_kvm(struct kvm *kvm);
bool pviommu_vm_tryget(struct pviommu_vm *vm);
void pviommu_vms_for_each(void (*function)(struct pviommu_vm *vm, void *data),
			  void *data);

/**
 * pviommu_vm_put() - undo pviommu_vm_tryget() or pviommu_vm_get_by_kvm()
 * @vm: not to be touched afterwards
 */
static inline void pviommu_vm_put(struct pviommu_vm *vm)
{
	if (refcount_dec_and_test(&vm->users))
		complete(&vm->idle);
}

/**
 * pviommu_vm_aperture() - find an aperture
 * @vm: kept by the caller; its apertures live as long
 * @id: aperture id, from anywhere
 *
 * Return: the aperture or NULL.
 */
static inline struct pviommu_aperture *
pviommu_vm_aperture(struct pviommu_vm *vm, u32 id)
{
	/* Pairs with the release in ioctl_create_aperture(). */
	if (id >= smp_load_acquire(&vm->nr_apertures))
		return NULL;
	return vm->apertures[array_index_nospec(id, PVIOMMU_MAX_APERTURES)];
}

/* hypercall.c */
s64 pviommu_hypercall(struct kvm_vcpu *vcpu, u64 op, const u64 args[3]);

/* aperture.c */
struct pviommu_aperture *pviommu_aperture_create(struct pviommu_vm *vm,
						 u64 base, u64 length,
						 u64 budget);
void pviommu_aperture_destroy(struct pviommu_aperture *ap);
s64 pviommu_aperture_enable(struct pviommu_aperture *ap, u64 directory,
			    u64 flags);
s64 pviommu_aperture_disable(struct pviommu_aperture *ap);
void pviommu_aperture_reset(struct pviommu_aperture *ap);
void pviommu_aperture_drop_all(struct pviommu_aperture *ap);
void pviommu_aperture_stats(struct pviommu_aperture *ap,
			    struct pviommu_aperture_stats *stats);

/* batch.c */
int pviommu_batches_init(struct pviommu_batches *batches);
void pviommu_batches_exit(struct pviommu_batches *batches);

/* sync.c */
s64 pviommu_sync(struct pviommu_aperture *ap, u64 first, u64 count, u64 flags);
s64 pviommu_sync_list(struct pviommu_aperture *ap, u64 gpa, u64 nr, u64 flags);

/* remove.c; the rest is in remove.h */
bool pviommu_remove_all(struct pviommu_aperture *ap, unsigned long max);
void pviommu_remove_abandoned(struct pviommu_aperture *ap);

/* reclaim.c */
u64 pviommu_reclaim(struct pviommu_aperture *ap, u64 max);
u64 pviommu_reclaim_vm(struct pviommu_vm *vm, u64 max);
void pviommu_reclaim_init(struct pviommu_vm *vm);
void pviommu_reclaim_stop(struct pviommu_vm *vm);
int pviommu_reclaim_start(void);
void pviommu_reclaim_end(void);

bool pviommu_claim(const struct pviommu_shadow_leaf *leaf, unsigned int i);
bool pviommu_queue_work(struct work_struct *work);

/* moved.c */
void pviommu_moved_before(struct pviommu_vm *vm, gfn_t gfn, u64 n);
void pviommu_moved_after(struct pviommu_vm *vm, gfn_t gfn, u64 n);
bool pviommu_moved_check(struct pviommu_vm *vm);
int pviommu_moved_start(struct pviommu_vm *vm);
void pviommu_moved_stop(struct pviommu_vm *vm);

/**
 * pviommu_generation() - which state of the VM's memory something was found out about
 * @vm: the pviommu; kvm->srcu is held
 *
 * Return: a number that grows with every change of memslots, and of what is behind them.
 */
static inline u64 pviommu_generation(const struct pviommu_vm *vm)
{
	return kvm_memslots(vm->kvm)->generation + atomic64_read(&vm->moves);
}

/* dirty.c */
unsigned int pviommu_dirty_mark(struct kvm *kvm, gfn_t gfn, u64 n);
int pviommu_dirty_mark_mapped(struct pviommu_aperture *ap, u64 *pages);

/* stripe.c; the rest is in stripe.h */
void pviommu_aperture_lock(struct pviommu_aperture *ap);
bool pviommu_aperture_trylock(struct pviommu_aperture *ap);
void pviommu_aperture_unlock(struct pviommu_aperture *ap);
void pviommu_aperture_assert_locked(const struct pviommu_aperture *ap);

/* shadow.c; the rest is in shadow.h */
void pviommu_shadow_forget(struct pviommu_aperture *ap);

/* domain.c */
int pviommu_domain_init(struct pviommu_domain *domain, struct kvm *kvm,
			u64 base, u64 npages);
void pviommu_domain_exit(struct pviommu_domain *domain);
int pviommu_domain_create(struct pviommu_domain *domain, struct device *dev);
void pviommu_domain_free(struct pviommu_domain *domain);
bool pviommu_domain_covers(const struct pviommu_domain *domain, u64 base,
			   u64 npages);
int pviommu_domain_attach(struct pviommu_domain *domain,
			  struct iommu_group *group, struct device *dev,
			  u64 base, u64 npages);
void pviommu_domain_detach(struct pviommu_domain *domain,
			   struct iommu_group *group);
unsigned int pviommu_domain_taken(struct pviommu_domain *domain, bool *all);
int pviommu_domain_check_direct(struct iommu_group *group);
int pviommu_domain_holes(struct iommu_group *group, u64 base, u64 npages,
			 struct pviommu_hole *holes);
int pviommu_domain_map(struct pviommu_domain *domain, u64 iova,
		       struct page **pages, unsigned int npages,
		       struct scatterlist *sg, bool write, bool read, bool *stuck);
bool pviommu_domain_takes_large(const struct pviommu_domain *domain);
int pviommu_domain_map_large(struct pviommu_domain *domain, u64 iova,
			     struct page *page, bool write, bool read,
			     bool *stuck);
void pviommu_domain_unmap_begin(struct pviommu_domain *domain,
				struct iommu_iotlb_gather *gather);
bool pviommu_domain_unmap(struct pviommu_domain *domain, u64 iova, size_t size,
			  struct iommu_iotlb_gather *gather);
void pviommu_domain_flush(struct pviommu_domain *domain, u64 iova, size_t size,
			  struct iommu_iotlb_gather *gather);

/* group.c */
int pviommu_group_join(struct pviommu_aperture *ap, struct iommu_group *group,
		       struct device *dev, bool stay);
int pviommu_group_move(struct pviommu_aperture *ap, struct iommu_group *group,
		       struct device *dev);
void pviommu_group_last_left(struct pviommu_aperture *ap);

/* device.c */
int pviommu_device_attach(struct pviommu_vm *vm,
			  const struct pviommu_attach *cmd);
int pviommu_device_detach(struct pviommu_vm *vm,
			  const struct pviommu_detach *cmd);
void pviommu_device_detach_all(struct pviommu_aperture *ap);
int pviommu_device_confine(struct pviommu_aperture *ap);
bool pviommu_device_blame(struct pviommu_aperture *ap, unsigned int seconds);
s64 pviommu_device_aperture(struct pviommu_vm *vm,
			    const struct pviommu_endpoint *guest);
int pviommu_device_init(void);
void pviommu_device_exit(void);
void pviommu_device_init_vm(struct pviommu_vm *vm);
void pviommu_device_exit_vm(struct pviommu_vm *vm);

/* fault.c */
void pviommu_fault_init(struct pviommu_aperture *ap);
void pviommu_fault_add(struct pviommu_fault_source *source);
void pviommu_fault_remove(struct pviommu_fault_source *source);
void pviommu_fault_forget(struct pviommu_aperture *ap);
void pviommu_fault_stats(struct pviommu_aperture *ap,
			 struct pviommu_aperture_stats *stats);
unsigned int pviommu_fault_peek(struct pviommu_aperture *ap,
				struct pviommu_event *events, unsigned int max,
				u64 *first);
void pviommu_fault_consume(struct pviommu_aperture *ap, u64 first,
			   unsigned int nr);
int pviommu_fault_handler(struct iommu_domain *domain, struct device *dev,
			  unsigned long iova, int flags, void *unused);

/* watch.c */
void pviommu_watch_init(struct pviommu_aperture *ap);
void pviommu_watch_start(struct pviommu_aperture *ap);
void pviommu_watch_stop(struct pviommu_aperture *ap);

/* memlock.c */
void pviommu_memlock_init(struct pviommu_memlock *ml, struct mm_struct *mm);
int pviommu_memlock_charge_more(struct pviommu_memlock *ml,
				unsigned long npages);
void pviommu_memlock_uncharge(struct pviommu_memlock *ml, unsigned long npages);
void pviommu_memlock_trim(struct pviommu_memlock *ml);

/**
 * pviommu_memlock_charge() - account for pages about to be pinned
 * @ml: accounting
 * @npages: pages
 *
 * Context: the VMM's own thread: its limit and its capabilities count. Takes
 * the mmap lock now and then.
 * Return: 0, or -ENOMEM if RLIMIT_MEMLOCK does not allow it.
 */
static inline int pviommu_memlock_charge(struct pviommu_memlock *ml,
					 unsigned long npages)
{
	long spare = atomic_long_read(&ml->spare);

	while (spare >= (long)npages) {
		if (atomic_long_try_cmpxchg(&ml->spare, &spare, spare - npages))
			return 0;
	}
	return pviommu_memlock_charge_more(ml, npages);
}

/* debugfs.c */
void pviommu_debugfs_init(void);
void pviommu_debugfs_exit(void);
void pviommu_debugfs_add_vm(struct pviommu_vm *vm);
void pviommu_debugfs_remove_vm(struct pviommu_vm *vm);
void pviommu_debugfs_add_aperture(struct pviommu_aperture *ap);

/* Only for tests, which are in tests/. */
#if IS_ENABLED(CONFIG_KUNIT)
int pviommu_vm_publish(struct pviommu_vm *vm, struct kvm *kvm);
void pviommu_vm_withdraw(struct pviommu_vm *vm);
s32 pviommu_sync_gup_rc(long err);
struct pviommu_sync_batch *pviommu_sync_batch_alloc(void);
__le64 pviommu_entry_read(__le64 *at);
struct page *pviommu_shadow_peek(struct pviommu_aperture *ap, u64 index,
				 u64 *entry, bool *large);
int pviommu_domain_adopt(struct pviommu_domain *domain,
			 struct iommu_domain *iommu);
#endif

#endif /* KVM_PVIOMMU_H */
