// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Binary heap of (time, order, id): the earliest leaves first. Keys by value: comparing touches
 * nothing else.
 */
#include <stdlib.h>

#include "gencap.h"

void *gc_grow(void *p, size_t n, size_t size)
{
	p = reallocarray(p, n, size);
	if (!p)
		gc_die(GC_EXIT_ENV, "no memory for %zu times %zu bytes", n, size);
	return p;
}

static bool earlier(const struct gc_heap_entry *x, const struct gc_heap_entry *y)
{
	return x->t != y->t ? x->t < y->t : (int32_t)(x->order - y->order) < 0;
}

void gc_heap_push(struct gc_heap *h, int64_t t, uint32_t order, uint32_t id)
{
	struct gc_heap_entry new = { t, order, id };
	size_t i = h->n++;

	if (h->n > h->size) {
		h->size = h->size ? h->size * 2 : 256;
		h->entry = gc_grow(h->entry, h->size, sizeof(*h->entry));
	}
	for (; i && earlier(&new, &h->entry[(i - 1) / 2]); i = (i - 1) / 2)
		h->entry[i] = h->entry[(i - 1) / 2];
	h->entry[i] = new;
}

uint32_t gc_heap_pop(struct gc_heap *h)
{
	uint32_t top = h->entry[0].id;
	struct gc_heap_entry last = h->entry[--h->n];
	size_t i = 0;

	for (size_t k = 1; k < h->n; k = 2 * i + 1) {
		if (k + 1 < h->n && earlier(&h->entry[k + 1], &h->entry[k]))
			k++;
		if (!earlier(&h->entry[k], &last))
			break;
		h->entry[i] = h->entry[k];
		i = k;
	}
	h->entry[i] = last;
	return top;
}
