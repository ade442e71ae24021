// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Any two sequences of packets through the twin engine, with room for a few: every packet read has
 * one class, no more samples than matched packets, and what is asked at both points stays sane.
 *
 * input: 1 byte (bits 0-2: packets pending at most, 0: no small limit; bit 3: guest not told; bits
 * 4-6 being 1: addresses may be translated in between, rare since its tables cost milliseconds), then
 * records of packets.h
 */
#include <stdlib.h>

#include <vnetscope/twin.h>

#include "packets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
	if (!truth)
		abort();
}

static void on_sample(void *ctx, const struct vns_twin_sample *s)
{
	require(s->direction < VNS_DIRECTIONS && s->proto < VNS_PROTOS);
	++*(uint64_t *)ctx;
}

static void check(const struct vns_twin *t, const uint64_t fed[2], uint64_t samples)
{
	uint64_t matched = 0;

	for (int p = 0; p < 2; p++) {
		struct vns_twin_counts c;
		uint64_t sum = 0;

		vns_twin_get_counts(t, (enum vns_point)p, &c);
		for (int i = 0; i < VNS_TWIN_CLASSES; i++)
			sum += c.in_class[i];
		require(c.read == fed[p] && sum == c.read);
		matched += c.in_class[VNS_TWIN_MATCHED];
	}
	require(samples <= matched);
	require(vns_twin_evicted(t) <= fed[0] + fed[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t guest_v4[4] = { 10, 0, 0, 2 };
	static struct fuzz_packets f;
	struct vns_addr guest = vns_addr_from_v4(guest_v4);
	struct vns_twin_opts o = { .max_pending = size && data[0] & 7 ? data[0] & 7 : 64,
				   .guest = &guest, .n_guest = !(size && data[0] & 8),
				   .nat = size && (data[0] & 0x70) == 0x10 };
	uint64_t fed[2] = { 0, 0 }, samples = 0;
	struct vns_twin *t;

	fuzz_packets_init(&f);
	require(vns_twin_new(&t, &o, on_sample, &samples, NULL) == 0);
	for (size_t i = 1; i + FUZZ_RECORD <= size; i += FUZZ_RECORD) {
		int point;
		struct vns_packet p = fuzz_packet(&f, data + i, &point);

		require(vns_twin_feed(t, (enum vns_point)point, &p, 1) == 0);
		fed[point]++;
	}
	vns_twin_finish(t);
	check(t, fed, samples);
	vns_twin_free(t);
	return 0;
}
