// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The public calls on a source: to the kind's operations.
 */
#include <errno.h>
#include <stdlib.h>

#include "source/source.h"

int vns_source_next(struct vns_source *s, struct vns_packet *out, size_t max,
		    struct vns_err *err)
{
	return max ? s->ops->next(s, out, max, err) : VNS_SOURCE_NONE;
}

int vns_source_fd(const struct vns_source *s)
{
	return s->ops->fd ? s->ops->fd(s) : -1;
}

void vns_source_stats(struct vns_source *s, struct vns_source_stats *out)
{
	if (s->ops->refresh)
		s->ops->refresh(s);
	*out = s->stats;
}

const char *vns_source_sentence(const struct vns_source *s)
{
	return s->sentence[0] ? s->sentence : NULL;
}

const char *vns_source_point_name(const struct vns_source *s, uint16_t point)
{
	if (s->ops->point_name)
		return s->ops->point_name(s, point);
	return point == 0 ? "" : NULL;
}

void vns_source_close(struct vns_source *s)
{
	if (s)
		s->ops->close(s);
}

int vns_block_init(struct vns_block *b)
{
	*b = (struct vns_block){ .frame = malloc(VNS_BLOCK_FRAMES * sizeof(*b->frame)) };
	return b->frame ? 0 : -ENOMEM;
}

void vns_block_fini(struct vns_block *b)
{
	free(b->frame);
	free(b->buf);
	*b = (struct vns_block){ 0 };
}

int vns_source_next_block(struct vns_source *s, struct vns_block *b, struct vns_err *err)
{
	int n = s->ops->next_block ? s->ops->next_block(s, b, err) :
		vns_err_set(err, -EINVAL, "only a file can be read in blocks");

	b->n = n > 0 ? (size_t)n : 0;
	return n;
}

void vns_source_count_verdicts(struct vns_source *s, const uint64_t counts[VNS_PKT_VERDICTS])
{
	for (int i = 0; i < VNS_PKT_VERDICTS; i++)
		s->stats.verdicts[i] += counts[i];
}
