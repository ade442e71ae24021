// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Output queue: replies first, bulk (batches, command output) behind. A frame once begun is
 * finished, so a clock reply waits for one frame at most. Its T3 is written into it at the
 * moment it is handed to the kernel.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

void outq_init(struct outq *q)
{
	*q = (struct outq){ .current = NULL };
	q->control.end = &q->control.first;
	q->bulk.end = &q->bulk.first;
}

static void clear_list(struct outlist *l)
{
	struct outframe *f;

	while ((f = l->first)) {
		l->first = f->next;
		free(f);
	}
	l->end = &l->first;
	l->bytes = 0;
}

void outq_clear(struct outq *q)
{
	clear_list(&q->control);
	clear_list(&q->bulk);
	free(q->current);
	q->current = NULL;
}

bool outq_empty(const struct outq *q)
{
	return !q->current && !q->control.first && !q->bulk.first;
}

struct outframe *outframe_new(size_t room)
{
	struct outframe *f = malloc(sizeof(*f) + VNS_WIRE_HEADER + room);

	if (f)
		*f = (struct outframe){ .next = NULL };
	return f;
}

void outq_add(struct outlist *l, struct outframe *f, uint16_t type, uint32_t request,
	      size_t body_len)
{
	struct vns_frame_header h = { (uint32_t)body_len, type, 0, request };

	vns_frame_put_header(f->data, &h);
	f->len = VNS_WIRE_HEADER + body_len;
	f->at = 0;
	f->next = NULL;
	*l->end = f;
	l->end = &f->next;
	l->bytes += f->len;
}

bool outq_put(struct outlist *l, uint16_t type, uint32_t request, const void *body, size_t len)
{
	struct outframe *f = outframe_new(len);

	if (!f)
		return false;
	if (len)
		memcpy(f->data + VNS_WIRE_HEADER, body, len);
	outq_add(l, f, type, request, len);
	return true;
}

static struct outframe *take(struct outlist *l)
{
	struct outframe *f = l->first;

	if (f) {
		l->first = f->next;
		if (!l->first)
			l->end = &l->first;
		l->bytes -= f->len;
	}
	return f;
}

static void stamp(struct outframe *f)
{
	uint64_t t3 = htole64((uint64_t)vns_now_ns());

	memcpy(f->data + f->len - sizeof(t3), &t3, sizeof(t3));
}

int outq_flush(struct outq *q, int fd)
{
	struct outframe *f;
	ssize_t n;

	for (;;) {
		if (!q->current && !(q->current = take(&q->control)))
			q->current = take(&q->bulk);
		f = q->current;
		if (!f)
			return 0;
		if (f->stamp_t3 && f->at == 0)
			stamp(f);
		n = write(fd, f->data + f->at, f->len - f->at);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		f->at += (size_t)n;
		if (f->at < f->len)
			continue;
		free(f);
		q->current = NULL;
	}
}
