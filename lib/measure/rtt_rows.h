/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fixed part of a row of struct vns_rtt_rows, for those who compare rows without opening them.
 */
#ifndef VNS_MEASURE_RTT_ROWS_H
#define VNS_MEASURE_RTT_ROWS_H

#include <string.h>

#include <vnetscope/measure.h>

#define VNS_RTT_ROW_KIND      0x0f /* of @kind */
#define VNS_RTT_ROW_DIR       0x01
#define VNS_RTT_ROW_ENDED     0x02
#define VNS_RTT_ROW_V4        0x04 /* addresses of 4 bytes follow, else of 16 */
#define VNS_RTT_ROW_SINGLE    0x08 /* one sample: all figures are the minimum */
#define VNS_RTT_ROW_CLOCK     0x10
#define VNS_RTT_ROW_INTERVALS 0x20
#define VNS_RTT_ROW_UNIT      4u   /* rows begin at multiples: 32 bits reach 16 GiB */
#define VNS_RTT_ROW_V4_FROM   12   /* of the bytes of a v4-mapped address */

struct vns_rtt_row_head {
	uint8_t flags;
	uint8_t kind; /* and the opener << 4 */
	uint8_t ipproto, family;
	uint32_t first_ns[2]; /* upper and lower half: rows are aligned to 4 bytes */
	uint16_t port[2];
	uint16_t point;
	uint8_t unused[2];
};

static inline const struct vns_rtt_row_head *vns_rtt_row_at(const struct vns_rtt_rows *r, uint32_t at)
{
	return (const struct vns_rtt_row_head *)(const void *)(r->bytes + (size_t)at * VNS_RTT_ROW_UNIT);
}

/* Row @i in the present order; its addresses follow. */
static inline const struct vns_rtt_row_head *vns_rtt_rows_head(const struct vns_rtt_rows *r, size_t i)
{
	return vns_rtt_row_at(r, r->at[i]);
}

void vns_rtt_row_open(const struct vns_rtt_row_head *h, struct vns_rtt_entry *out);

static inline int64_t vns_rtt_row_first(const struct vns_rtt_row_head *h)
{
	return (int64_t)((uint64_t)h->first_ns[0] << 32 | h->first_ns[1]);
}

static inline void vns_rtt_row_addr(const struct vns_rtt_row_head *h, unsigned int end,
				    struct vns_addr *out)
{
	static const uint8_t mapped[VNS_RTT_ROW_V4_FROM] = { [10] = 0xff, [11] = 0xff };
	const uint8_t *after = (const uint8_t *)(h + 1);

	if (!(h->flags & VNS_RTT_ROW_V4)) {
		memcpy(out->b, after + 16 * end, sizeof(out->b));
		return;
	}
	memcpy(out->b, mapped, sizeof(mapped));
	memcpy(out->b + VNS_RTT_ROW_V4_FROM, after + 4 * end, sizeof(out->b) - VNS_RTT_ROW_V4_FROM);
}

#endif
