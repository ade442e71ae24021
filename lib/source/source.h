/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of struct vns_source: what every kind shares, and the kind's operations.
 * A kind embeds this struct first and hands frames to vns_source_emit().
 */
#ifndef VNS_SOURCE_SOURCE_H
#define VNS_SOURCE_SOURCE_H

#include <vnetscope/source.h>

struct vns_source_ops {
	int (*next)(struct vns_source *s, struct vns_packet *out, size_t max,
		    struct vns_err *err);
	void (*refresh)(struct vns_source *s); /* bring stats up to date; may be NULL */
	const char *(*point_name)(const struct vns_source *s, uint16_t point); /* NULL: one, nameless */
	int (*fd)(const struct vns_source *s); /* may be NULL: nothing to poll */
	uint64_t (*left)(struct vns_source *s, int64_t upto_ns); /* may be NULL: it cannot be told */
	void (*close)(struct vns_source *s);
};

struct vns_source {
	const struct vns_source_ops *ops;
	struct vns_source_stats stats;
	uint64_t wraps;       /* of stats.backwards: see vns_source_back() */
	unsigned int without; /* VNS_WITHOUT_* */
	bool any;             /* a packet's point is the interface of one host, and a forwarded one comes again */
	char sentence[512];
};

/* Live: packets with stamps up to @upto_ns that wait to be read, filtered by the kernel already. */
uint64_t vns_source_left(struct vns_source *s, int64_t upto_ns);

/*
 * A stamp below the one before. pcap's seconds have 32 bits: where stamps fall from the last month of those to the first
 * they went on. Told stamp by stamp, so that it does not depend on the batches that a source is read in.
 */
static inline void vns_source_back(struct vns_source *s, int64_t last_ns, int64_t time_ns)
{
	const int64_t seconds = (INT64_C(1) << 32) * VNS_NSEC_PER_SEC, month = INT64_C(2678400) * VNS_NSEC_PER_SEC;

	s->stats.backwards++;
	s->wraps += last_ns <= seconds && last_ns >= seconds - month && time_ns >= 0 && time_ns < month;
}

/* Count one frame that is handed out. @last_ns: time of the last one at this point. */
static inline void vns_source_count(struct vns_source *s, const struct vns_frame *frame,
				    int64_t *last_ns)
{
	s->stats.frames++;
	s->stats.bytes += frame->wire_len > frame->cap_len ? frame->wire_len : frame->cap_len;
	if (__builtin_expect(frame->time_ns < *last_ns, 0))
		vns_source_back(s, *last_ns, frame->time_ns);
	*last_ns = frame->time_ns;
}

/* Decode one frame and count it. */
static inline void vns_source_emit(struct vns_source *s, const struct vns_frame *frame,
				   int64_t *last_ns, struct vns_packet *out)
{
	s->stats.verdicts[vns_packet_decode_without(frame, s->without, out)]++;
	vns_source_count(s, frame, last_ns);
}

/* Add verdicts that were counted elsewhere. */
static inline void vns_source_count_verdicts(struct vns_source *s,
					     const uint64_t counts[VNS_PKT_VERDICTS])
{
	for (int i = 0; i < VNS_PKT_VERDICTS; i++)
		s->stats.verdicts[i] += counts[i];
}

#endif
