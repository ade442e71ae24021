// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * MD5 message digest, written from RFC 1321: bytes in, 16 bytes out.
 * The sine table of its section 3.4 is computed once: floor(2^32 * |sin(i + 1)|).
 */
#include <math.h>
#include <string.h>

#include "load/load.h"

static const uint8_t shifts[4][4] = {
	{ 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 },
};
static uint32_t sines[64];

static uint32_t rol(uint32_t v, unsigned int n)
{
	return v << n | v >> (32 - n);
}

static uint32_t le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void one_block(uint32_t state[4], const uint8_t *p)
{
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3], f, t, x[16];
	unsigned int g;

	for (int i = 0; i < 16; i++)
		x[i] = le32(p + 4 * i);
	for (unsigned int i = 0; i < 64; i++) {
		switch (i / 16) {
		case 0:
			f = (b & c) | (~b & d);
			g = i;
			break;
		case 1:
			f = (b & d) | (c & ~d);
			g = (5 * i + 1) % 16;
			break;
		case 2:
			f = b ^ c ^ d;
			g = (3 * i + 5) % 16;
			break;
		default:
			f = c ^ (b | ~d);
			g = 7 * i % 16;
		}
		t = d;
		d = c;
		c = b;
		b += rol(a + f + x[g] + sines[i], shifts[i / 16][i % 4]);
		a = t;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

void vns_md5_init(struct vns_md5 *m)
{
	if (!sines[0])
		for (int i = 0; i < 64; i++)
			sines[i] = (uint32_t)(int64_t)floor(4294967296.0 * fabs(sin(i + 1)));
	*m = (struct vns_md5){ .state = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 } };
}

void vns_md5_add(struct vns_md5 *m, const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t have = m->bytes % 64, take;

	m->bytes += n;
	if (have) {
		take = n < 64 - have ? n : 64 - have;
		memcpy(m->block + have, p, take);
		p += take;
		n -= take;
		if (have + take < 64)
			return;
		one_block(m->state, m->block);
	}
	for (; n >= 64; p += 64, n -= 64)
		one_block(m->state, p);
	memcpy(m->block, p, n);
}

void vns_md5_end(struct vns_md5 *m, uint8_t digest[16])
{
	static const uint8_t pad[64] = { 0x80 };
	uint64_t bits = m->bytes * 8;
	uint8_t len[8];

	for (int i = 0; i < 8; i++)
		len[i] = (uint8_t)(bits >> (8 * i));
	vns_md5_add(m, pad, 1 + (119 - m->bytes % 64) % 64);
	vns_md5_add(m, len, sizeof(len));
	for (int i = 0; i < 16; i++)
		digest[i] = (uint8_t)(m->state[i / 4] >> (8 * (i % 4)));
}
