// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fills memory with what cannot be compressed, and looks whether it stays, again and again.
 *
 *   memory LENGTH ROUNDS SEED      prints "memory ROUND PAGES-THAT-ARE-WRONG" for each round
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "number.h"

#define PAGE_WORDS	(4096 / sizeof(unsigned long))

/* Marsaglia's xorshift: each word depends on the one before, and a page on its number. */
static unsigned long next(unsigned long word)
{
	word ^= word << 13;
	word ^= word >> 7;
	word ^= word << 17;
	return word;
}

static unsigned long first(size_t page, unsigned long seed)
{
	return (page + 1) * 0x9e3779b97f4a7c15UL + (seed << 1 | 1);
}

static void fill(unsigned long *words, unsigned long word)
{
	for (size_t i = 0; i < PAGE_WORDS; i++) {
		words[i] = word;
		word = next(word);
	}
}

static int is_right(const unsigned long *words, unsigned long word)
{
	for (size_t i = 0; i < PAGE_WORDS; i++) {
		if (words[i] != word)
			return 0;
		word = next(word);
	}
	return 1;
}

int main(int argc, char **argv)
{
	unsigned long *words, wrong, rounds, seed;
	size_t length, pages;

	if (argc != 4)
		errx(2, "usage: memory LENGTH ROUNDS SEED");
	length = parse(argv[1]);
	rounds = parse(argv[2]);
	seed = parse(argv[3]);
	words = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (words == MAP_FAILED)
		err(1, "mmap");
	setvbuf(stdout, NULL, _IOLBF, 0);
	pages = length / sizeof(*words) / PAGE_WORDS;
	for (unsigned long round = 0; round < rounds; round++) {
		for (size_t page = 0; page < pages; page++)
			fill(words + page * PAGE_WORDS, first(page, seed + round));
		wrong = 0;
		/* What was written last is looked at first: least of it has been swapped out. */
		for (size_t page = pages; page--;)
			wrong += !is_right(words + page * PAGE_WORDS, first(page, seed + round));
		printf("memory %lu %lu\n", round, wrong);
	}
	return 0;
}
