// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Bytes of a message <-> its fields, through a cursor with a sticky error: what goes beyond the end reads
 * as 0 or is not written, and is looked at once, at the end. Contract in cursor.h.
 */
#include <string.h>

#include <vnetscope/base.h>

#include "base/cursor.h"

void vns_cursor_init(struct vns_cursor *c, void *data, size_t len)
{
	*c = (struct vns_cursor){ .base = data, .len = len };
}

void vns_cursor_init_const(struct vns_cursor *c, const void *data, size_t len)
{
	/* readers only look; the cast is undone by their taking no pointer back */
	*c = (struct vns_cursor){ .base = (uint8_t *)(uintptr_t)data, .len = len };
}

/* The next @n bytes, or NULL and the sticky error. */
static uint8_t *take(struct vns_cursor *c, size_t n)
{
	uint8_t *p;

	if (c->bad || n > c->len - c->pos) {
		c->bad = true;
		return NULL;
	}
	p = c->base + c->pos;
	c->pos += n;
	return p;
}

const uint8_t *vns_get_span(struct vns_cursor *c, size_t n)
{
	return take(c, n);
}

void vns_get_bytes(struct vns_cursor *c, void *to, size_t n)
{
	const uint8_t *p = take(c, n);

	if (p)
		memcpy(to, p, n);
	else
		memset(to, 0, n);
}

static uint64_t get_le(struct vns_cursor *c, size_t n)
{
	const uint8_t *p = take(c, n);
	uint64_t v = 0;

	for (size_t i = 0; p && i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static void put_le(struct vns_cursor *c, uint64_t v, size_t n)
{
	uint8_t *p = take(c, n);

	for (size_t i = 0; p && i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

uint8_t vns_get_u8(struct vns_cursor *c)
{
	return (uint8_t)get_le(c, 1);
}

uint16_t vns_get_le16(struct vns_cursor *c)
{
	return (uint16_t)get_le(c, 2);
}

uint32_t vns_get_le32(struct vns_cursor *c)
{
	return (uint32_t)get_le(c, 4);
}

uint64_t vns_get_le64(struct vns_cursor *c)
{
	return get_le(c, 8);
}

void vns_get_str(struct vns_cursor *c, char *to, size_t size)
{
	size_t n = vns_get_le16(c);
	const uint8_t *p = take(c, n);

	/* what the other end says is shown on terminals and stands in JSON */
	vns_text_clean(to, size, p, p ? n : 0);
}

void vns_put_u8(struct vns_cursor *c, uint8_t v)
{
	put_le(c, v, 1);
}

void vns_put_le16(struct vns_cursor *c, uint16_t v)
{
	put_le(c, v, 2);
}

void vns_put_le32(struct vns_cursor *c, uint32_t v)
{
	put_le(c, v, 4);
}

void vns_put_le64(struct vns_cursor *c, uint64_t v)
{
	put_le(c, v, 8);
}

void vns_put_bytes(struct vns_cursor *c, const void *from, size_t n)
{
	uint8_t *p = take(c, n);

	if (p)
		memcpy(p, from, n);
}

void vns_put_str(struct vns_cursor *c, const char *s)
{
	size_t n = strlen(s);

	if (n > UINT16_MAX)
		n = UINT16_MAX;
	vns_put_le16(c, (uint16_t)n);
	vns_put_bytes(c, s, n);
}
