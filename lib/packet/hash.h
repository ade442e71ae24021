/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 64-bit mixing for flow hash and digest.
 *
 * One step multiplies two 64-bit words to 128 bits and folds the halves together: every input
 * bit reaches every output bit in one or two steps, at the price of one multiplication (3-4
 * cycles). The end goes through a xorshift-multiply finisher, so that single bits and ranges of
 * the result may be used (table index, sampling). No secret key: two machines must agree. The
 * constants are the fractional parts of the square roots of 2, 3, 5, 7, 11, 13 (made odd).
 */
#ifndef VNS_PACKET_HASH_H
#define VNS_PACKET_HASH_H

#include <stdint.h>

#define VNS_MIX_K0 UINT64_C(0x6a09e667f3bcc909)
#define VNS_MIX_K1 UINT64_C(0xbb67ae8584caa73b)
#define VNS_MIX_K2 UINT64_C(0x3c6ef372fe94f82b)
#define VNS_MIX_K3 UINT64_C(0xa54ff53a5f1d36f1)
#define VNS_MIX_K4 UINT64_C(0x510e527fade682d1)
#define VNS_MIX_K5 UINT64_C(0x9b05688c2b3e6c1f)

static inline uint64_t vns_mix_fold(uint64_t a, uint64_t b)
{
#ifdef __bpf__ /* in the kernel (bpf/), where no product has 128 bits: by halves */
	uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
	uint64_t low = al * bl, mid = ah * bl + (low >> 32), mid2 = al * bh + (uint32_t)mid;

	return (a * b) ^ (ah * bh + (mid >> 32) + (mid2 >> 32));
#else
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
#endif
}

static inline uint64_t vns_mix_end(uint64_t h)
{
	h ^= h >> 32;
	h *= VNS_MIX_K3;
	return h ^ (h >> 29);
}

/* Two and four words; the last argument goes in twice, so that a zero product loses nothing. */
static inline uint64_t vns_mix2(uint64_t a, uint64_t b)
{
	return vns_mix_end(vns_mix_fold(a ^ VNS_MIX_K0, b ^ VNS_MIX_K1) + a + (b << 1));
}

static inline uint64_t vns_mix4(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t x = vns_mix_fold(a ^ VNS_MIX_K0, b ^ VNS_MIX_K1) + a + (b << 1);
	uint64_t y = vns_mix_fold(c ^ VNS_MIX_K2, d ^ VNS_MIX_K4) + c + (d << 1);

	return vns_mix_end(vns_mix_fold(x ^ VNS_MIX_K5, y ^ VNS_MIX_K3) + x);
}

static inline uint64_t vns_mix5(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	return vns_mix2(vns_mix4(a, b, c, d), e);
}

/*
 * What the payload's length adds to the digest of UDP and ICMP. Added, not mixed in, so that it can be
 * taken off again: what is left is the same for a datagram and for the packet that it begins or is
 * the beginning of (superframes, fragments).
 */
static inline uint64_t vns_length_term(uint32_t payload_len)
{
	return payload_len * VNS_MIX_K2;
}

#endif
