// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The public calls on a source -> the operations of its kind (file, AF_PACKET, eBPF, several at once), so
 * that no engine can tell them apart.
 */
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

uint64_t vns_source_left(struct vns_source *s, int64_t upto_ns)
{
	return s->ops->left ? s->ops->left(s, upto_ns) : 0;
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
