// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <kselftest.h>

#include "aperture.h"

const char *test_env(const char *name)
{
	const char *value = getenv(name);

	if (!value) {
		fprintf(stderr, "%s is not set: a device bound to vfio-pci\n",
			name);
		exit(KSFT_SKIP);
	}
	return value;
}

const char *edu_bdf(void)
{
	return test_env("PVIOMMU_TEST_EDU");
}

/* Another device that is bound to vfio-pci, in a group of its own. */
const char *other_bdf(void)
{
	return test_env("PVIOMMU_TEST_OTHER");
}

struct pviommu_host_device host_device(const char *bdf)
{
	unsigned int segment, bus, device, function;

	if (sscanf(bdf, "%x:%x:%x.%x", &segment, &bus, &device, &function) != 4) {
		fprintf(stderr, "not a PCI address: %s\n", bdf);
		exit(1);
	}
	return (struct pviommu_host_device){
		.segment = segment,
		.bus = bus,
		.devfn = device << 3 | function,
	};
}

bool direct_tables(void)
{
	return getenv("PVIOMMU_TEST_DIRECT");
}

long pinned_with(unsigned int leaves)
{
	return direct_tables() ? leaves : 0;
}

void choose_tables(void)
{
	unsetenv("PVIOMMU_TEST_DIRECT");
}

/* How many leaves an aperture has that are pinned. */
static long pinned_leaves(const char *path)
{
	char line[128], name[64];
	long value, leaves = 0, direct = 0;
	FILE *file = fopen(path, "r");

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %ld", name, &value) != 2)
			continue;
		if (!strcmp(name, "shadow_leaves"))
			leaves = value;
		else if (!strcmp(name, "direct"))
			direct = value;
	}
	if (file)
		fclose(file);
	return direct ? leaves : 0;
}

/* The same of all apertures there are. */
static long all_pinned_leaves(void)
{
	long leaves = 0;
	glob_t found;
	size_t i;

	if (glob("/sys/kernel/debug/pviommu/vm-*/aperture-*", 0, NULL, &found))
		return 0;
	for (i = 0; i < found.gl_pathc; i++)
		leaves += pinned_leaves(found.gl_pathv[i]);
	globfree(&found);
	return leaves;
}

long all_pins_now(void)
{
	char line[128], name[64];
	long value, pins = 0;
	FILE *file;
	int fd;

	fd = open("/proc/sys/vm/stat_refresh", O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1) {
		perror("stat_refresh");
		exit(1);
	}
	close(fd);

	file = fopen("/proc/vmstat", "r");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %ld", name, &value) != 2)
			continue;
		if (!strcmp(name, "nr_foll_pin_acquired"))
			pins += value;
		else if (!strcmp(name, "nr_foll_pin_released"))
			pins -= value;
	}
	if (file)
		fclose(file);
	return pins;
}

/* Waits for whoever has an aperture's lock, or that of its group. */
long pins_now(void)
{
	long pins = all_pins_now();

	return direct_tables() ? pins - all_pinned_leaves() : pins;
}

/* VmLck of this process. */
long locked_kib(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	long kib = -1;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "VmLck: %ld", &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kib;
}

/* Returns 0 or -1 with errno; ctx_close_all() cleans up in both cases. */
int ctx_open(struct ctx *ctx, bool with_edu)
{
	*ctx = (struct ctx){
		.fd = -1,
		.vm = VM_NONE,
		.edu = VFIO_DEV_NONE,
	};
	ctx->pins = pins_now();
	if (with_edu) {
		ctx->edu_host = host_device(edu_bdf());
		if (vfio_dev_open(&ctx->edu, edu_bdf()))
			return -1;
	}
	ctx->fd = open("/dev/pviommu", O_RDWR | O_CLOEXEC);
	if (ctx->fd < 0)
		return -1;
	return vm_create(&ctx->vm);
}

void ctx_close_all(struct ctx *ctx)
{
	if (ctx->fd >= 0)
		close(ctx->fd);
	ctx->fd = -1;
	vfio_dev_close(&ctx->edu);
	vm_destroy(&ctx->vm);
}

int __bind(int fd, int vm_fd)
{
	struct pviommu_bind_vm cmd = { .size = sizeof(cmd), .vm_fd = vm_fd };

	return ioctl(fd, PVIOMMU_BIND_VM, &cmd);
}

int __create_aperture(int fd, __u64 base, __u64 length, __u64 budget, __u32 *id)
{
	struct pviommu_create_aperture cmd = {
		.size = sizeof(cmd),
		.base = base,
		.length = length,
		.budget = budget,
	};
	int ret = ioctl(fd, PVIOMMU_CREATE_APERTURE, &cmd);

	if (!ret && id)
		*id = cmd.out_aperture_id;
	return ret;
}

int __attach(int fd, __u32 aperture, int vfio_fd, struct pviommu_host_device host,
	     __u8 devfn)
{
	struct pviommu_attach cmd = {
		.size = sizeof(cmd),
		.aperture_id = aperture,
		.vfio_fd = vfio_fd,
		.host = host,
		.guest = { .depth = 1, .path = { devfn } },
	};

	return ioctl(fd, PVIOMMU_ATTACH, &cmd);
}

int __detach(int fd, __u32 aperture, struct pviommu_host_device host)
{
	struct pviommu_detach cmd = {
		.size = sizeof(cmd),
		.aperture_id = aperture,
		.host = host,
	};

	return ioctl(fd, PVIOMMU_DETACH, &cmd);
}

int __reset(int fd, __u32 aperture)
{
	struct pviommu_reset cmd = {
		.size = sizeof(cmd),
		.aperture_id = aperture,
	};

	return ioctl(fd, PVIOMMU_RESET, &cmd);
}

int __stats(int fd, __u32 aperture, struct pviommu_aperture_stats *stats)
{
	struct pviommu_stats cmd = {
		.size = sizeof(cmd),
		.aperture_id = aperture,
		.stats_len = sizeof(*stats),
		.stats_uptr = (__u64)stats,
	};

	return ioctl(fd, PVIOMMU_STATS, &cmd);
}

struct pviommu_aperture_stats stats_now(struct ctx *ctx)
{
	struct pviommu_aperture_stats stats;

	if (__stats(ctx->fd, 0, &stats)) {
		perror("PVIOMMU_STATS");
		exit(1);
	}
	return stats;
}

__u64 pinned(struct ctx *ctx)
{
	return stats_now(ctx).pinned;
}

/* What ENABLE has in rdx are flags. */
static __u64 with_tables(__u32 op, __u64 rdx)
{
	return op == PVIOMMU_OP_ENABLE && direct_tables() ?
	       rdx | PVIOMMU_ENABLE_DIRECT : rdx;
}

__s64 vcpu_hc(struct vcpu *vcpu, __u32 op, __u64 rcx, __u64 rdx, __u64 rsi)
{
	const struct vm_args args = {
		KVM_HC_PVIOMMU, op, rcx, with_tables(op, rdx), rsi
	};

	return vcpu_hypercall(vcpu, &args);
}

__s64 vcpu_sync_all(struct vcpu *vcpu, __u64 first, __u64 count, __u64 flags)
{
	__s64 n;

	while (count) {
		n = vcpu_hc(vcpu, PVIOMMU_OP_SYNC, first, count, flags);
		if (n == PVIOMMU_RC_RETRY)
			continue;
		if (n < 0)
			return n;
		first += n;
		count -= n;
	}
	return 0;
}

__s64 hc_sync_all(struct ctx *ctx, __u64 first, __u64 count)
{
	return vcpu_sync_all(&ctx->vm.vcpu, first, count, 0);
}

__s64 hc_on(struct ctx *ctx, __u32 aperture, __u32 op, __u64 rcx, __u64 rdx,
	    __u64 rsi)
{
	return vm_hypercall(&ctx->vm, KVM_HC_PVIOMMU,
			    (__u64)aperture << PVIOMMU_APERTURE_SHIFT | op, rcx,
			    with_tables(op, rdx), rsi);
}

__s64 hc(struct ctx *ctx, __u32 op, __u64 rcx, __u64 rdx, __u64 rsi)
{
	return hc_on(ctx, 0, op, rcx, rdx, rsi);
}

__s64 hc_sync_flags(struct ctx *ctx, __u64 first, __u64 count, __u64 flags)
{
	return hc(ctx, PVIOMMU_OP_SYNC, first, count, flags);
}

__s64 hc_sync(struct ctx *ctx, __u64 first, __u64 count)
{
	return hc_sync_flags(ctx, first, count, 0);
}

__s64 hc_sync_list(struct ctx *ctx, __u64 nr, __u64 flags)
{
	return hc(ctx, PVIOMMU_OP_SYNC_LIST, GPA_BUFFER, nr, flags);
}

__s64 hc_endpoint(struct ctx *ctx, __u32 segment, __u8 bus, __u8 depth,
		  __u64 path)
{
	return hc(ctx, PVIOMMU_OP_ENDPOINT,
		  segment | (__u64)bus << PVIOMMU_PATH_ROOT_BUS_SHIFT |
		  (__u64)depth << PVIOMMU_PATH_DEPTH_SHIFT, path, 0);
}

void table_init(struct ctx *ctx)
{
	__u64 *directory = (__u64 *)(ctx->vm.mem + GPA_DIRECTORY);
	unsigned int i;

	for (i = 0; i < WINDOW_PAGES / PVIOMMU_ENTRIES_PER_LEAF; i++) {
		directory[i] = GPA_LEAVES + i * VM_PAGE_SIZE;
		memset(ctx->vm.mem + directory[i], 0, VM_PAGE_SIZE);
	}
}

void table_set(struct ctx *ctx, __u64 index, __u64 entry)
{
	__u64 *entries = (__u64 *)(ctx->vm.mem + GPA_LEAVES);

	/* What is in use stays whatever the host may need. */
	if (direct_tables() && entry & RW && !(entry & PVIOMMU_ENTRY_GUEST))
		entry |= PVIOMMU_ENTRY_USE;
	/* A vCPU in another thread may be reading it. */
	__atomic_store_n(&entries[index], entry, __ATOMIC_RELEASE);
}

void table_fill(struct ctx *ctx, __u64 first, __u64 count)
{
	__u64 i;

	for (i = first; i < first + count; i++)
		table_set(ctx, i, guest_page_entry(i, RW));
}

void table_clear(struct ctx *ctx, __u64 first, __u64 count)
{
	__u64 i;

	for (i = first; i < first + count; i++)
		table_set(ctx, i, 0);
}

__u64 page_iova(__u64 index)
{
	return WINDOW_BASE + index * VM_PAGE_SIZE;
}

__u8 *guest_page(struct ctx *ctx, unsigned int n)
{
	return ctx->vm.mem + GPA_DATA + n * VM_PAGE_SIZE;
}

__u64 guest_page_entry(unsigned int n, __u64 perm)
{
	return (GPA_DATA + n * VM_PAGE_SIZE) | perm;
}

int setup_attached(struct ctx *ctx, __u64 budget)
{
	return __bind(ctx->fd, ctx->vm.vm_fd) ?:
	       __create_aperture(ctx->fd, WINDOW_BASE,
				 WINDOW_PAGES * VM_PAGE_SIZE, budget, NULL) ?:
	       __attach(ctx->fd, 0, ctx->edu.device_fd, ctx->edu_host,
			GUEST_DEVFN);
}

int setup_enabled(struct ctx *ctx, __u64 budget)
{
	if (setup_attached(ctx, budget))
		return -1;
	table_init(ctx);
	return hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0);
}

/* Never twice the same: the device's buffer outlives the process. */
static void fresh_pattern(__u8 *mem)
{
	if (getrandom(mem, VM_PAGE_SIZE, 0) != VM_PAGE_SIZE) {
		perror("getrandom");
		exit(1);
	}
}

/* What is in the device's buffer is not known, but it is not what @mem gets. */
bool device_writes(struct ctx *ctx, __u64 iova, __u8 *mem)
{
	__u8 before[VM_PAGE_SIZE];

	fresh_pattern(mem);
	memcpy(before, mem, sizeof(before));
	if (!edu_write_memory(&ctx->edu, iova, EDU_DMA_MAX)) {
		fprintf(stderr, "edu does not finish\n");
		exit(1);
	}
	return memcmp(before, mem, sizeof(before));
}

bool device_copies(struct ctx *ctx, __u64 iova, __u8 *mem, __u64 via,
		   __u8 *via_mem)
{
	fresh_pattern(mem);
	memset(via_mem, 0, VM_PAGE_SIZE);
	if (!edu_read_memory(&ctx->edu, iova, EDU_DMA_MAX) ||
	    !edu_write_memory(&ctx->edu, via, EDU_DMA_MAX)) {
		fprintf(stderr, "edu does not finish\n");
		exit(1);
	}
	return !memcmp(mem, via_mem, EDU_DMA_MAX);
}

bool device_reads(struct ctx *ctx, __u64 iova, __u8 *mem, __u64 via,
		  __u8 *via_mem)
{
	return device_copies(ctx, iova, mem, page_iova(via), via_mem);
}
