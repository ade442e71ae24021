/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Byte cursor with a sticky error, for every decoder and encoder of messages.
 *
 * Read or write field after field without a check between; look at `bad` once at
 * the end. A read past the end gives zeros and sets `bad`; a write past the end
 * writes nothing and sets `bad`. Integers are
 * little-endian, as the agent protocol has them.
 */
#ifndef VNS_BASE_CURSOR_H
#define VNS_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vns_cursor {
	uint8_t *base;
	size_t len;
	size_t pos;
	bool bad;
};

/* The memory stays the caller's. A reader never writes through @data. */
void vns_cursor_init(struct vns_cursor *c, void *data, size_t len);
void vns_cursor_init_const(struct vns_cursor *c, const void *data, size_t len);
static inline size_t vns_cursor_left(const struct vns_cursor *c)
{
	return c->bad ? 0 : c->len - c->pos;
}

uint8_t vns_get_u8(struct vns_cursor *c);
uint16_t vns_get_le16(struct vns_cursor *c);
uint32_t vns_get_le32(struct vns_cursor *c);
uint64_t vns_get_le64(struct vns_cursor *c);
/* Copies @n bytes to @to (zeros when they are not there). */
void vns_get_bytes(struct vns_cursor *c, void *to, size_t n);
/* Borrowed pointer to the next @n bytes, or NULL. */
const uint8_t *vns_get_span(struct vns_cursor *c, size_t n);
/* A string with a 16-bit length in front, cleaned (vns_text_clean()), cut to @size - 1 and terminated. */
void vns_get_str(struct vns_cursor *c, char *to, size_t size);

void vns_put_u8(struct vns_cursor *c, uint8_t v);
void vns_put_le16(struct vns_cursor *c, uint16_t v);
void vns_put_le32(struct vns_cursor *c, uint32_t v);
void vns_put_le64(struct vns_cursor *c, uint64_t v);
void vns_put_bytes(struct vns_cursor *c, const void *from, size_t n);
void vns_put_str(struct vns_cursor *c, const char *s);

#endif
