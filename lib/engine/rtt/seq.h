/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sequence ranges of one direction that wait for their acknowledgement.
 *
 * What is a sample (the definition that tcptrace and tshark's ack_rtt teach): one for each ACK that
 * raises the acknowledged end, for the segment whose last byte it acknowledges; its time is
 * that since the segment passed the capture point. None
 *   - for bytes that passed more than once, even in part (Karn and Partridge 1987), or that filled
 *     a hole: an earlier copy may have been lost before the capture point;
 *   - when something acknowledged with it passed later than it did: then a hole was filled, and the
 *     segment has waited behind it at the receiver;
 *   - for a range that was sampled at its selective acknowledgement (RFC 2018) already. The
 *     first block of a SACK holds the segment that caused it, so a block that grows gives a sample for
 *     the segment of its newly acknowledged ones which passed last;
 *   - for an ACK that ends inside a segment, unless asked for.
 *
 * The ranges are a queue in the order of the numbers, each from the end of the one before it; a hole is
 * a range of its own. The oldest stands inline, what follows in a ring. One time per range is
 * enough: of ranges sent once that of the sample, of others when they last passed. Runs of SACKed
 * ranges are skipped through their first one, with path compression, so that a SACK costs
 * amortised logarithmic work and everything else amortised constant work.
 */
#ifndef VNS_ENGINE_RTT_SEQ_H
#define VNS_ENGINE_RTT_SEQ_H

#include <vnetscope/base.h>

struct vns_seq_ring;

struct vns_seq_range {
	int64_t ns;    /* when it passed last; VNS_SEQ_EMPTY, VNS_SEQ_NEVER in vns_seq_side.first */
	uint32_t end;  /* number behind its last byte */
	uint32_t info;
};
#define VNS_SEQ_EMPTY INT64_MIN       /* nothing waits */
#define VNS_SEQ_NEVER (INT64_MIN + 1) /* nothing was ever sent */

/* 32 bytes: both directions of a flow in one cache line. */
struct vns_seq_side {
	struct vns_seq_range first;
	struct vns_seq_ring *ring;
	uint32_t una;  /* acknowledged up to here */
	uint32_t high; /* sent up to here */
};

/* What became of a segment's range. */
enum vns_seq_kind {
	VNS_SEQ_PURE,     /* takes no sequence space */
	VNS_SEQ_STORED,
	VNS_SEQ_REPEATED, /* passed before, in whole or in part */
	VNS_SEQ_LATE,     /* fills a hole: reordered, or its first copy was lost before */
	VNS_SEQ_PROBE,    /* one byte into a closed window */
	VNS_SEQ_OLD,      /* acknowledged before: keep-alive, needless repetition */
	VNS_SEQ_RANGES
};

/* What became of an acknowledgement. */
enum vns_seq_ack {
	VNS_ACK_MATCHED,   /* sample */
	VNS_ACK_SACKED,    /* sample, by its SACK */
	VNS_ACK_AMBIGUOUS, /* of a range that passed more than once, late, or as a probe */
	VNS_ACK_BEHIND,    /* filled a hole that the range waited behind */
	VNS_ACK_AGAIN,     /* the range was acknowledged by a SACK before */
	VNS_ACK_INSIDE,    /* ends inside a range */
	VNS_ACK_REPEATED,  /* says nothing new */
	VNS_ACK_OLD,       /* overtaken by a later one */
	VNS_ACK_UNSEEN,    /* of what the capture missed, or of a range given up */
	VNS_ACK_NO_DATA,   /* before anything of the other direction */
	VNS_ACK_EARLY,     /* stamped before the range: the capture is not in order */
	VNS_ACKS
};

/*
 * Memory of a new range: @limit ranges of this direction at most, @bytes of all queues so far,
 * @dropped counts the oldest ranges given up for it.
 */
struct vns_seq_room {
	uint32_t limit;
	uint64_t *bytes, *dropped;
};

static inline void vns_seq_init(struct vns_seq_side *s)
{
	*s = (struct vns_seq_side){ .first.ns = VNS_SEQ_NEVER };
}

/* A segment of @len (>= 1) numbers from @seq; @probe: it went into a closed window. */
enum vns_seq_kind vns_seq_add(struct vns_seq_side *s, uint32_t seq, uint32_t len, int64_t now_ns,
			      bool probe, const struct vns_seq_room *room);
/* @sent: for VNS_ACK_MATCHED the range's time and end. @inside: ACKs inside a range match too. */
enum vns_seq_ack vns_seq_ack(struct vns_seq_side *s, uint32_t ack, int64_t now_ns, bool inside,
			     struct vns_seq_range *sent);
/* A SACK block above the acknowledged end. @sent: for VNS_ACK_SACKED the range's time and end. */
enum vns_seq_ack vns_seq_sack(struct vns_seq_side *s, uint32_t left, uint32_t right,
			      int64_t now_ns, struct vns_seq_range *sent);
/* Segments whose acknowledgement may still give a sample. */
uint32_t vns_seq_waiting(struct vns_seq_side *s);
/* Free the ring; @s may be initialised again. */
void vns_seq_clear(struct vns_seq_side *s, uint64_t *bytes);

#endif
