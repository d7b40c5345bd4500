// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "load.h"

unsigned int test_rounds(unsigned int n)
{
	const char *divisor = getenv("PVIOMMU_TEST_DIVISOR");

	return divisor && atoi(divisor) > 0 ? n / atoi(divisor) : n;
}

static void start(pthread_t *thread, void *(*function)(void *), void *data)
{
	if (pthread_create(thread, NULL, function, data)) {
		perror("pthread_create");
		exit(1);
	}
}

static void *entry_thread(void *data)
{
	struct entry_load *load = data;
	__u64 i, round = 0;

	while (!atomic_load(&load->stop)) {
		for (i = 0; i < 64; i++)
			table_set(load->ctx, i, (i + round) % 3 ?
				  guest_page_entry((i + round) % 200, RW) |
				  (i + round) % load->uses * PVIOMMU_ENTRY_USE :
				  0);
		round++;
	}
	return NULL;
}

void entry_load_start(struct entry_load *load, struct ctx *ctx, unsigned int uses)
{
	*load = (struct entry_load){ .ctx = ctx, .uses = uses };
	start(&load->thread, entry_thread, load);
}

void entry_load_end(struct entry_load *load)
{
	atomic_store(&load->stop, true);
	pthread_join(load->thread, NULL);
}

static void *dma_thread(void *data)
{
	struct dma_load *load = data;

	/* The device may disappear meanwhile. */
	while (!atomic_load(&load->stop)) {
		if (edu_write_memory(&load->ctx->edu, load->iova, EDU_DMA_MAX))
			atomic_fetch_add(&load->transfers, 1);
		else
			usleep(1000);
	}
	return NULL;
}

void dma_load_start(struct dma_load *load, struct ctx *ctx, __u64 iova)
{
	*load = (struct dma_load){ .ctx = ctx, .iova = iova };
	start(&load->thread, dma_thread, load);
}

void dma_load_end(struct dma_load *load)
{
	atomic_store(&load->stop, true);
	pthread_join(load->thread, NULL);
}

/* The aperture may be disabled, and lose its device, at any time. */
static bool may_be(__s64 rc)
{
	return rc == PVIOMMU_RC_NOT_ENABLED || rc == PVIOMMU_RC_NO_ENDPOINT ||
	       rc == PVIOMMU_RC_RETRY;
}

static void judge(struct sync_load *load, __s64 rc)
{
	if (rc < 0 && !may_be(rc))
		load->wrong = rc;
	if (rc == PVIOMMU_RC_NOT_ENABLED) {
		rc = vcpu_hc(load->vcpu, PVIOMMU_OP_ENABLE, GPA_DIRECTORY, 0, 0);
		if (rc && !may_be(rc))
			load->wrong = rc;
	}
}

static void *sync_thread(void *data)
{
	struct sync_load *load = data;
	__s64 rc;

	while (!atomic_load(&load->stop)) {
		table_fill(load->ctx, load->first, load->count);
		rc = vcpu_sync_all(load->vcpu, load->first, load->count, 0);
		judge(load, rc);
		if (!rc)
			atomic_fetch_add(&load->mapped, 1);
		table_clear(load->ctx, load->first, load->count);
		judge(load, vcpu_sync_all(load->vcpu, load->first, load->count,
					  PVIOMMU_SYNC_UNMAP));
		atomic_fetch_add(&load->rounds, 1);
	}
	return NULL;
}

void sync_load_start(struct sync_load *load, struct ctx *ctx, struct vcpu *vcpu,
		     __u64 first, __u64 count)
{
	*load = (struct sync_load){
		.ctx = ctx, .vcpu = vcpu, .first = first, .count = count,
	};
	start(&load->thread, sync_thread, load);
}

/* The range is left unmapped. */
void sync_load_end(struct sync_load *load)
{
	atomic_store(&load->stop, true);
	pthread_join(load->thread, NULL);
}

void load_wait(atomic_ulong *count, unsigned long n)
{
	unsigned long before = atomic_load(count);

	while (atomic_load(count) - before < n)
		usleep(1000);
}
