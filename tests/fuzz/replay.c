// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Replays a fuzz target's seeds without libFuzzer: each seed as it is, cut at every
 * length, and mutated by a generator with a printed seed. A crash, a hang or a
 * sanitizer's report fails the test.
 *
 * in: folder of seeds (argv[1]), optionally the generator's seed (argv[2])
 * out: one line with the counts
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_SEED_BYTES   65536
#define MAX_CUTS         2048 /* longer seeds are cut at evenly spaced lengths */
#define MUTANTS_PER_SEED 2000

static uint64_t state;
static uint64_t runs;

/* xorshift64*: small, and the same everywhere. */
static uint64_t next_random(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * UINT64_C(2685821657736338717);
}

/* The target gets memory of exactly @n bytes, so that a sanitizer sees a read past it. */
static void run_one(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	if (!copy)
		abort();
	memcpy(copy, data, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
	runs++;
}

static void mutate(uint8_t *data, size_t n)
{
	static const uint8_t edges[] = { 0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe };
	unsigned int changes = 1 + (unsigned int)(next_random() % 8);

	while (changes--) {
		size_t at = next_random() % n;

		switch (next_random() % 3) {
		case 0:
			data[at] ^= (uint8_t)(1u << (next_random() % 8));
			break;
		case 1:
			data[at] = edges[next_random() % sizeof(edges)];
			break;
		default:
			data[at] = (uint8_t)next_random();
		}
	}
}

static void replay(const uint8_t *seed, size_t n)
{
	static uint8_t mutant[MAX_SEED_BYTES];
	size_t step = n / MAX_CUTS + 1;

	run_one(seed, n);
	for (size_t cut = 0; cut < n; cut += step)
		run_one(seed, cut);
	for (int i = 0; n > 0 && i < MUTANTS_PER_SEED; i++) {
		memcpy(mutant, seed, n);
		mutate(mutant, n);
		run_one(mutant, n);
	}
}

int main(int argc, char **argv)
{
	static uint8_t seed[MAX_SEED_BYTES];
	struct dirent *e;
	unsigned int files = 0;
	DIR *d = argc > 1 ? opendir(argv[1]) : NULL;

	state = argc > 2 ? strtoull(argv[2], NULL, 0) : UINT64_C(20110922);
	if (!d || state == 0) {
		fprintf(stderr, "usage: %s FOLDER [SEED]: the folder must exist\n", argv[0]);
		return 2;
	}
	printf("generator seed %llu\n", (unsigned long long)state);
	while ((e = readdir(d))) {
		char path[4096];
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", argv[1], e->d_name);
		f = fopen(path, "rb");
		if (!f)
			continue;
		replay(seed, fread(seed, 1, sizeof(seed), f));
		fclose(f);
		files++;
	}
	closedir(d);
	printf("%u seeds, %llu runs\n", files, (unsigned long long)runs);
	return files > 0 ? 0 : 1;
}
