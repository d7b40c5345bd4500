// SPDX-License-Identifier: GPL-2.0-only
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "fake_vm.h"

struct fake_slot_layout {
	unsigned int npages;
	u32 flags;
	short id;
	bool unbacked;
	bool reversed;
	bool write_protected;
};

static const struct fake_slot_layout layouts[FAKE_NR_SLOTS] = {
	[FAKE_RAM] = { .npages = FAKE_FRAMES },
	[FAKE_REVERSED] = { .npages = FAKE_FRAMES, .reversed = true },
	[FAKE_READ_ONLY] = { .flags = KVM_MEM_READONLY },
	[FAKE_CHANGING] = { .flags = KVM_MEMSLOT_INVALID },
	[FAKE_PRIVATE] = { .flags = KVM_MEM_GUEST_MEMFD },
	[FAKE_INTERNAL] = { .id = KVM_USER_MEM_SLOTS },
	[FAKE_UNBACKED] = { .unbacked = true },
	[FAKE_WRITE_PROTECTED] = { .write_protected = true },
};

static int map_frames(struct fake_vm *vm, const struct fake_slot_layout *layout,
		      unsigned long start, unsigned int npages)
{
	struct vm_area_struct *vma;
	unsigned int i;
	int ret = 0;

	mmap_write_lock(vm->mm);
	vma = find_vma(vm->mm, start);
	if (!vma || vma->vm_start > start)
		ret = -EFAULT;
	for (i = 0; i < npages && !ret; i++) {
		unsigned int frame = layout->reversed ? npages - 1 - i : i;

		ret = vm_insert_page(vma, start + i * PAGE_SIZE,
				     vm->frames + frame);
	}
	mmap_write_unlock(vm->mm);
	return ret;
}

static int add_slot(struct fake_vm *vm, struct kunit *test, enum fake_slot nr)
{
	const struct fake_slot_layout *layout = &layouts[nr];
	struct kvm_memslots *slots = &vm->kvm->__memslots[0][0];
	struct rb_node **link = &slots->gfn_tree.rb_node, *parent = NULL;
	struct kvm_memory_slot *slot = &vm->slots[nr];
	unsigned int npages = layout->npages ?: FAKE_SMALL;
	unsigned long prot = PROT_READ | PROT_WRITE;
	unsigned long at;
	int ret;

	if (layout->unbacked)
		prot = PROT_NONE;
	else if (layout->write_protected)
		prot = PROT_READ;
	at = kunit_vm_mmap(test, NULL, 0, npages * PAGE_SIZE, prot,
			   MAP_SHARED | MAP_ANONYMOUS, 0);
	if (!at || IS_ERR_VALUE(at))
		return -ENOMEM;
	/* The first slot brings the address space. */
	vm->mm = current->mm;
	ret = layout->unbacked ? 0 : map_frames(vm, layout, at, npages);
	if (ret)
		return ret;

	*slot = (struct kvm_memory_slot){
		.base_gfn = FAKE_GFN(nr),
		.npages = npages,
		.userspace_addr = at,
		.flags = layout->flags,
		.id = layout->id ?: nr,
	};
	/* In ascending order: each is the rightmost so far. */
	while (*link) {
		parent = *link;
		link = &parent->rb_right;
	}
	rb_link_node(&slot->gfn_node[0], parent, link);
	rb_insert_color(&slot->gfn_node[0], &slots->gfn_tree);
	return 0;
}

static int init_kvm(struct fake_vm *vm)
{
	struct kvm *kvm = kvzalloc(sizeof(*kvm), GFP_KERNEL);
	unsigned int i;

	if (!kvm)
		return -ENOMEM;
	if (init_srcu_struct(&kvm->srcu)) {
		kvfree(kvm);
		return -ENOMEM;
	}
	rwlock_init(&kvm->mmu_lock);
	INIT_LIST_HEAD(&kvm->arch.tdp_mmu_roots);
	mutex_init(&kvm->slots_lock);
	/* With users, so that KVM checks who looks at its memslots. */
	refcount_set(&kvm->users_count, 1);
	kvm->__memslots[0][0].generation = 1;
	/* That of SMM is empty. */
	for (i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++)
		rcu_assign_pointer(kvm->memslots[i], &kvm->__memslots[i][0]);
	vm->kvm = kvm;
	return 0;
}

/**
 * fake_vm_init() - make a VM
 * @vm: zeroed
 * @test: the test, in its own thread
 *
 * Return: 0 or an errno; fake_vm_exit() is called in any case.
 */
int fake_vm_init(struct fake_vm *vm, struct kunit *test)
{
	enum fake_slot slot;
	int ret;

	ret = init_kvm(vm);
	if (ret)
		return ret;
	vm->frames = alloc_pages(GFP_KERNEL | __GFP_ZERO |
				 __GFP_RETRY_MAYFAIL, FAKE_ORDER);
	if (!vm->frames)
		return -ENOMEM;
	split_page(vm->frames, FAKE_ORDER);

	for (slot = 0; slot < FAKE_NR_SLOTS; slot++) {
		if (slot > FAKE_REVERSED && slot < FAKE_READ_ONLY)
			continue;
		ret = add_slot(vm, test, slot);
		if (vm->mm && !slot)
			mmgrab(vm->mm);
		if (ret)
			return ret;
	}
	vm->kvm->mm = vm->mm;
	return 0;
}

/**
 * fake_vm_replace() - have another page behind a frame, as a VMM can
 * @vm: the VM
 * @test: the test, in its own thread
 * @frame: a frame of FAKE_RAM
 * @by: whose page is there from now on
 */
void fake_vm_replace(struct fake_vm *vm, struct kunit *test, unsigned int frame,
		     unsigned int by)
{
	unsigned long at = vm->slots[FAKE_RAM].userspace_addr +
			   frame * PAGE_SIZE;
	struct vm_area_struct *vma;

	KUNIT_ASSERT_EQ(test, at,
			vm_mmap(NULL, at, PAGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, 0));
	mmap_write_lock(vm->mm);
	vma = find_vma(vm->mm, at);
	KUNIT_EXPECT_EQ(test, 0, vm_insert_page(vma, at, vm->frames + by));
	mmap_write_unlock(vm->mm);
}

/**
 * fake_vm_exit() - free a VM, of which nothing may be pinned any more
 * @vm: the VM
 * @test: the test, in any thread
 */
void fake_vm_exit(struct fake_vm *vm, struct kunit *test)
{
	unsigned int i, pinned = 0;

	for (i = 0; vm->frames && i < FAKE_FRAMES; i++)
		pinned += fake_vm_pins(vm, i);
	KUNIT_EXPECT_EQ_MSG(test, pinned, 0, "pages are left pinned");
	for (i = 0; vm->frames && i < FAKE_FRAMES; i++)
		put_page(vm->frames + i);

	if (vm->mm) {
		KUNIT_EXPECT_EQ(test, vm->mm->locked_vm, 0);
		mmdrop(vm->mm);
	}
	if (vm->kvm) {
		cleanup_srcu_struct(&vm->kvm->srcu);
		kvfree(vm->kvm);
	}
}

/**
 * fake_vm_new_generation() - what every change of memslots does
 * @vm: the VM
 */
void fake_vm_new_generation(struct fake_vm *vm)
{
	struct kvm_memslots *slots = &vm->kvm->__memslots[0][0];

	slots->generation++;
	atomic_long_set(&slots->last_used_slot, 0);
}

/**
 * fake_vm_remove_slot() - remove a memslot
 * @vm: the VM
 * @slot: which
 */
void fake_vm_remove_slot(struct fake_vm *vm, enum fake_slot slot)
{
	rb_erase(&vm->slots[slot].gfn_node[0],
		 &vm->kvm->__memslots[0][0].gfn_tree);
	fake_vm_new_generation(vm);
}

/**
 * fake_vm_pins() - how often a frame is pinned
 * @vm: the VM
 * @frame: which
 *
 * Return: the number of pins. Other references are few.
 */
unsigned int fake_vm_pins(const struct fake_vm *vm, unsigned int frame)
{
	return page_ref_count(vm->frames + frame) / GUP_PIN_COUNTING_BIAS;
}

/**
 * fake_vm_frame() - a frame, as memory
 * @vm: the VM
 * @frame: which
 *
 * Return: where the kernel has it.
 */
void *fake_vm_frame(const struct fake_vm *vm, unsigned int frame)
{
	return page_address(vm->frames + frame);
}
