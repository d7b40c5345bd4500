// SPDX-License-Identifier: GPL-2.0-only
/*
 * What single hypercalls cost the host.
 *
 * A VM without an operating system makes one hypercall after another, as many as
 * there are window pages to be synced; the table is written before, from outside. One
 * KVM_RUN is timed, and divided by the number of hypercalls in it. Where a
 * nanosecond is an instruction, the results are instructions.
 *
 *	micro empty NAME	a hypercall that KVM answers itself
 *	micro sync		syncs, and what the module pviommu_bare does
 *
 * Writes lines "micro NAME MEDIAN MIN MAX", of one hypercall or of one round.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm_para.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "aperture.h"

#define REPEATS		3

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

/* Of memory: what a row syncs, unless it has enough calls before. */
#define PAGES		8192UL
#define MEM_SIZE	(PAGES * VM_PAGE_SIZE)
#define HUGE_SIZE	(2UL << 20)
/* Of one row at most; also where nothing is synced. */
#define MAX_CALLS	2048UL

/* Twice as many, for single pages with a hole behind each. */
#define MICRO_BASE	(1024UL << 20)
#define MICRO_PAGES	(2 * PAGES)

#define GPA_LOOP	0x9000UL
#define GPA_LISTS	GPA_DATA
#define GPA_HUGE	(256UL << 20)
#define GPA_SMALL	(512UL << 20)

#define BARE		"/sys/module/pviommu_bare/parameters/"

static const unsigned int sizes[] = { 1, 16, 256 };

/* Odd factors: neighbours in one order are none in the other, nor in the third. */
#define TOUCH_FACTOR	2749UL
#define ENTRY_FACTOR	1237UL

/**
 * struct layout - where the memory of neighbours in the window is
 * @name: of the rows
 * @gpa: of the memory
 * @factor: window page i is memory page i * factor
 * @mem: the memory
 */
struct layout {
	const char *name;
	__u64 gpa;
	__u64 factor;
	__u8 *mem;
};

static struct layout layouts[] = {
	{ "contiguous", GPA_HUGE, 1, NULL },		/* for the host, too */
	{ "side-by-side", GPA_SMALL, 1, NULL },		/* only for the VMM */
	{ "scattered", GPA_SMALL, ENTRY_FACTOR, NULL },
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static __u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* What was measured, in the order of its first value. */
static struct row {
	char name[64];
	unsigned int nr;
	double values[REPEATS];
} rows[512];
static unsigned int nr_rows;

/* The first round fills caches, and makes tables. */
static bool warm;

static void measured(double value, const char *format, ...)
{
	struct row *row;
	va_list args;
	char name[64];

	if (!warm)
		return;
	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	for (row = rows; row < rows + nr_rows; row++) {
		if (!strcmp(row->name, name))
			break;
	}
	if (row == rows + nr_rows) {
		nr_rows++;
		snprintf(row->name, sizeof(row->name), "%s", name);
	}
	row->values[row->nr++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_rows(void)
{
	struct row *row;

	for (row = rows; row < rows + nr_rows; row++) {
		qsort(row->values, row->nr, sizeof(row->values[0]), compare);
		printf("micro %s %.1f %.1f %.1f\n", row->name,
		       row->values[row->nr / 2], row->values[0],
		       row->values[row->nr - 1]);
	}
}

/*
 * The guest: r10 hypercalls, of number r8; after each rcx grows by r9. The sum of
 * the answers is in r11.
 */
static void loop_init(struct vm *vm)
{
	static const __u8 load[] = { 0x4c, 0x89, 0xc0 };	/* mov r8, rax */
	static const __u8 rest[] = {
		0x49, 0x01, 0xc3,	/* add rax, r11 */
		0x4c, 0x01, 0xc9,	/* add r9, rcx */
		0x49, 0xff, 0xca,	/* dec r10 */
		0x75, 0xef,		/* jnz to the first */
		0xf4,			/* hlt */
	};
	__u8 *code = vm->mem + GPA_LOOP;

	memcpy(code, load, sizeof(load));
	memcpy(code + 3, vm->mem + VM_CODE, 3);
	memcpy(code + 6, rest, sizeof(rest));
}

/* Time of one hypercall out of @count; each must give @answer. */
static double loop_run(struct vm *vm, const struct vm_args *args, __u64 step,
		       __u64 count, __s64 answer)
{
	struct kvm_regs regs = {
		.rbx = args->rbx, .rcx = args->rcx, .rdx = args->rdx,
		.rsi = args->rsi, .r8 = args->nr, .r9 = step, .r10 = count,
		.rip = GPA_LOOP, .rflags = 2,
	};
	__u64 time;

	if (ioctl(vm->vcpu.fd, KVM_SET_REGS, &regs))
		die("KVM_SET_REGS");
	time = now();
	if (ioctl(vm->vcpu.fd, KVM_RUN, 0))
		die("KVM_RUN");
	time = now() - time;
	if (ioctl(vm->vcpu.fd, KVM_GET_REGS, &regs))
		die("KVM_GET_REGS");
	if (vm->vcpu.run->exit_reason != KVM_EXIT_HLT || regs.r10 ||
	    (__s64)regs.r11 != (__s64)count * answer) {
		fprintf(stderr, "op %#llx of %lld: exit reason %u, ", args->rbx,
			args->rdx, vm->vcpu.run->exit_reason);
		fprintf(stderr, "%lld of %lld calls left, answers %lld\n",
			regs.r10, count, regs.r11);
		exit(1);
	}
	return (double)time / count;
}

static void measure_empty(struct vm *vm, const char *name)
{
	const struct vm_args args = { .nr = KVM_HC_VAPIC_POLL_IRQ };

	measured(loop_run(vm, &args, 0, MAX_CALLS, 0), "hypercall %s", name);
}

static int empty(const char *name)
{
	struct vm vm;
	int i;

	if (vm_create(&vm))
		die("VM");
	loop_init(&vm);
	for (i = 0; i <= REPEATS; i++) {
		warm = i;
		measure_empty(&vm, name);
	}
	print_rows();
	return 0;
}

/* Guest memory: of huge pages, or of small ones that lie in disorder. */
static __u8 *memory(struct vm *vm, unsigned int slot, __u64 gpa, bool huge)
{
	__u8 *mem;
	__u64 i;

	mem = mmap(NULL, MEM_SIZE + HUGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		die("mmap");
	mem = (__u8 *)(((__u64)mem + HUGE_SIZE - 1) & -HUGE_SIZE);
	if (madvise(mem, MEM_SIZE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		die("madvise");
	for (i = 0; i < PAGES; i++)
		mem[(huge ? i : i * TOUCH_FACTOR % PAGES) * VM_PAGE_SIZE] = 1;
	if (vm_set_memslot(vm, slot, gpa, mem, MEM_SIZE, 0))
		die("memslot");
	return mem;
}

static __u64 mem_page(const struct layout *layout, __u64 index)
{
	return index * layout->factor % PAGES;
}

/* How many neighbours in the window are neighbours in the host's memory. */
static void print_neighbours(const struct layout *layout)
{
	static __u64 pfns[PAGES];
	int fd = open("/proc/self/pagemap", O_RDONLY);
	unsigned int i, n = 0;

	if (fd < 0 ||
	    pread(fd, pfns, sizeof(pfns),
		  (__u64)layout->mem / VM_PAGE_SIZE * 8) != sizeof(pfns))
		die("pagemap");
	close(fd);
	for (i = 0; i + 1 < PAGES; i++)
		n += pfns[mem_page(layout, i)] + 1 ==
		     pfns[mem_page(layout, i + 1)];
	printf("neighbours %s %u of %lu\n", layout->name, n, PAGES - 1);
}

/* Window page i * @stride for all of a layout's memory. */
static void fill(struct ctx *ctx, const struct layout *layout,
		 unsigned int stride)
{
	__u64 i;

	for (i = 0; i < PAGES; i++)
		table_set(ctx, i * stride,
			  (layout->gpa + mem_page(layout, i) * VM_PAGE_SIZE) | RW);
}

static void clear(struct ctx *ctx)
{
	memset(ctx->vm.mem + GPA_LEAVES, 0, MICRO_PAGES * sizeof(__u64));
}

static __u64 calls(unsigned int n)
{
	return PAGES / n < MAX_CALLS ? PAGES / n : MAX_CALLS;
}

/* SYNCs of @n pages each, from the first page of the window on. */
static double sync_all(struct ctx *ctx, unsigned int n, __u64 flags)
{
	const struct vm_args args = {
		KVM_HC_PVIOMMU, PVIOMMU_OP_SYNC, 0, n, flags
	};

	return loop_run(&ctx->vm, &args, n, calls(n), n);
}

/* The same of every other page of the window, each of them a range. */
static double list_all(struct ctx *ctx, unsigned int n, __u64 flags)
{
	const struct vm_args args = {
		KVM_HC_PVIOMMU, PVIOMMU_OP_SYNC_LIST, GPA_LISTS, n, flags
	};
	struct pviommu_range *list =
		(struct pviommu_range *)(ctx->vm.mem + GPA_LISTS);
	__u64 i;

	for (i = 0; i < PAGES; i++)
		list[i] = (struct pviommu_range){ .first = 2 * i, .count = 1 };
	return loop_run(&ctx->vm, &args, n * sizeof(*list), calls(n), n);
}

static void measure_syncs(struct ctx *ctx, const struct layout *layout,
			  unsigned int n)
{
	const char *name = layout->name;

	fill(ctx, layout, 1);
	measured(sync_all(ctx, n, 0), "sync map %u %s", n, name);
	measured(sync_all(ctx, n, 0), "sync unchanged %u %s", n, name);
	clear(ctx);
	measured(sync_all(ctx, n, PVIOMMU_SYNC_UNMAP), "sync unmap %u %s", n,
		 name);
	measured(sync_all(ctx, n, 0), "sync nothing %u %s", n, name);
	fill(ctx, layout, 1);
	sync_all(ctx, n, 0);
	clear(ctx);
	measured(sync_all(ctx, n, 0), "sync clear %u %s", n, name);

	fill(ctx, layout, 2);
	measured(list_all(ctx, n, 0), "list map %u %s", n, name);
	clear(ctx);
	measured(list_all(ctx, n, PVIOMMU_SYNC_UNMAP), "list unmap %u %s", n,
		 name);
}

static void measure_bare(const char *bdf, const struct layout *layout,
			 unsigned int n)
{
	char line[128], name[64];
	double ns;
	FILE *file;
	int fd, len;

	len = snprintf(line, sizeof(line), "%s %llx %u %llu\n", bdf,
		       (__u64)layout->mem, n, calls(n));
	fd = open(BARE "run", O_WRONLY);
	if (fd < 0 || write(fd, line, len) != len)
		die(BARE "run");
	close(fd);
	file = fopen(BARE "result", "r");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %lf", name, &ns) == 2)
			measured(ns / calls(n), "bare %s %u %s", name, n,
				 layout->name);
	}
	if (file)
		fclose(file);
}

static void open_aperture(struct ctx *ctx)
{
	__u64 *directory;
	unsigned int i;

	if (ctx_open(ctx, true) ||
	    __bind(ctx->fd, ctx->vm.vm_fd) ||
	    __create_aperture(ctx->fd, MICRO_BASE, MICRO_PAGES * VM_PAGE_SIZE, 0,
			      NULL) ||
	    __attach(ctx->fd, 0, ctx->edu.device_fd, ctx->edu_host,
		     GUEST_DEVFN))
		die("aperture");
	directory = (__u64 *)(ctx->vm.mem + GPA_DIRECTORY);
	for (i = 0; i < MICRO_PAGES / PVIOMMU_ENTRIES_PER_LEAF; i++)
		directory[i] = GPA_LEAVES + i * VM_PAGE_SIZE;
	clear(ctx);
	if (hc(ctx, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0))
		die("ENABLE");
	loop_init(&ctx->vm);
}

static int sync_and_bare(void)
{
	const struct vm_args bad = { KVM_HC_PVIOMMU, 99, 0, 0, 0 };
	const struct vm_args none = {
		KVM_HC_PVIOMMU, PVIOMMU_OP_SYNC, 0, 0, 0
	};
	const char *bdf = getenv("PVIOMMU_MICRO_BARE");
	struct ctx ctx;
	unsigned int i, j, k;

	open_aperture(&ctx);
	layouts[0].mem = memory(&ctx.vm, 1, GPA_HUGE, true);
	layouts[1].mem = memory(&ctx.vm, 2, GPA_SMALL, false);
	layouts[2].mem = layouts[1].mem;

	for (i = 0; i <= REPEATS; i++) {
		fprintf(stderr, "round %u\n", i);
		warm = i;
		measure_empty(&ctx.vm, "bound");
		measured(loop_run(&ctx.vm, &bad, 0, MAX_CALLS,
				  PVIOMMU_RC_BAD_OP), "pviommu bad-op");
		measured(loop_run(&ctx.vm, &none, 0, MAX_CALLS, 0),
			 "sync map 0");
		for (j = 0; j < ARRAY_SIZE(layouts); j++) {
			for (k = 0; k < ARRAY_SIZE(sizes); k++)
				measure_syncs(&ctx, &layouts[j], sizes[k]);
		}
		/* The third has the memory of the second. */
		for (j = 0; bdf && j < 2; j++) {
			for (k = 0; k < ARRAY_SIZE(sizes); k++)
				measure_bare(bdf, &layouts[j], sizes[k]);
		}
	}
	print_rows();
	for (i = 0; i < ARRAY_SIZE(layouts); i++)
		print_neighbours(&layouts[i]);
	if (pinned(&ctx))
		printf("failure %llu pages are left pinned\n", pinned(&ctx));
	ctx_close_all(&ctx);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "empty"))
		return empty(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "sync"))
		return sync_and_bare();
	fprintf(stderr, "usage: micro empty NAME | micro sync\n");
	return 1;
}
