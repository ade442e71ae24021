// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The capture files of an offline measurement: path, filter, chosen point and --sample -> packets
 * of that point in order; and, before anything is measured, the guest's addresses and the coarse
 * offset of the clocks.
 *
 * Both are looked for in the beginnings of the files, which are kept and fed first afterwards. Where
 * the beginnings have nothing in common (one file starts much earlier), both files are read once
 * through for a sample of packets that each file chooses alike: those whose digest is below a limit
 * (consistent sampling, RFC 5475 section 6.2).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <vnetscope/source.h>

#include "base/reserve.h"
#include "flow/table.h"
#include "measure/vo_offline.h"

int vo_out_of_memory(struct vns_err *err)
{
	return vns_err_set(err, -ENOMEM, "no memory to pair the captures");
}

/* --- one capture file --- */

/* Open, or open again, from the start. */
static int open_end(struct vo_end *e, struct vns_err *err)
{
	const struct vns_source_opts opts = { .filter = e->filter };

	e->n = 0;
	e->taken = 0;
	e->left_out = 0;
	e->doubled = 0;
	e->not_sampled = 0;
	e->digest_short = 0;
	e->strange = 0;
	e->stray = e->looked_at = 0;
	e->timed = false;
	e->n_ahead = 0;
	e->eof = false;
	memset(&e->sampler, 0, sizeof(e->sampler));
	memset(&e->udp, 0, sizeof(e->udp));
	if (!e->pkt)
		e->pkt = vns_reserve(VO_PROBE, sizeof(*e->pkt));
	if (!e->pkt)
		return vo_out_of_memory(err);
	return vns_source_open_file(&e->source, e->path, &opts, err);
}

void vo_end_close(struct vo_end *e)
{
	vns_source_close(e->source);
	e->source = NULL;
}

/* Of @n packets keep those of the chosen point. */
static size_t keep_point(struct vo_end *e, struct vns_packet *pkt, size_t n)
{
	size_t keep = 0;

	for (size_t i = 0; i < n; i++)
		if (pkt[i].point == e->point)
			pkt[keep++] = pkt[i];
	e->left_out += n - keep;
	return keep;
}

int vo_point_find(const struct vns_source *s, const char *want)
{
	const char *name;
	unsigned long number;
	char *end;

	for (uint16_t i = 0; i < VO_POINTS_MAX && (name = vns_source_point_name(s, i)) != NULL; i++)
		if (strcmp(name, want) == 0)
			return i;
	number = strtoul(want, &end, 10);
	return *want && !*end && number < VO_POINTS_MAX && vns_source_point_name(s, (uint16_t)number) ?
		       (int)number :
		       -ENOENT;
}

/*
 * A pcapng file of several interfaces (bridge and tap, say) holds each packet several times, each
 * with its own time: choose the interface that saw most.
 */
static int choose_point(struct vo_end *e, struct vns_err *err)
{
	size_t seen[VO_POINTS_MAX] = { 0 };

	for (size_t i = 0; i < e->n; i++) {
		seen[e->pkt[i].point % VO_POINTS_MAX]++;
		e->one_point |= e->pkt[i].point != e->pkt[0].point;
	}
	for (uint16_t p = 0; p < VO_POINTS_MAX; p++)
		if (seen[p] > seen[e->point])
			e->point = p;
	if (e->want) {
		int point = vo_point_find(e->source, e->want);

		if (point < 0)
			return vns_err_set(err, -ENOENT, "%s has no capture point '%s'", e->path, e->want);
		e->one_point = true;
		e->point = (uint16_t)point;
	}
	if (e->one_point)
		e->n = keep_point(e, e->pkt, e->n);
	return 0;
}

/* Of @n packets keep those that every point chooses alike. */
static size_t keep_sampled(struct vo_end *e, struct vns_packet *pkt, size_t n)
{
	size_t keep = 0;

	for (size_t i = 0; i < n; i++) {
		if (!vns_sampler_takes(&e->sampler, &pkt[i], e->one_in))
			continue;
		vo_udp_see(&e->udp, &e->sampler, &pkt[i]);
		pkt[keep++] = pkt[i];
	}
	e->not_sampled += n - keep;
	return keep;
}

/* As vns_source_next(); the file ends where the user has stopped it, but not before its first packets. */
static int packets_of_file(struct vo_end *e, struct vns_packet *to, size_t max, struct vns_err *err)
{
	int n;

	if (!e->stopped && e->taken && e->stop && *e->stop) {
		e->stopped = true;
		e->limit = e->taken;
	}
	if (e->stopped && max > e->limit - e->taken)
		max = (size_t)(e->limit - e->taken);
	n = max ? vns_source_next(e->source, to, max, err) : VNS_SOURCE_EOF;
	e->taken += n > 0 ? (uint64_t)n : 0;
	return n;
}

/* The same, after those that were read before their turn. */
static int next_packets(struct vo_end *e, struct vns_packet *to, size_t max, struct vns_err *err)
{
	size_t n = max < e->n_ahead ? max : e->n_ahead;

	if (!n)
		return packets_of_file(e, to, max, err);
	memcpy(to, e->ahead, n * sizeof(*to));
	e->n_ahead -= n;
	memmove(e->ahead, e->ahead + n, e->n_ahead * sizeof(*to));
	return (int)n;
}

int vo_end_look_ahead(struct vo_end *e, struct vns_err *err)
{
	while (e->n_ahead < VO_AHEAD) {
		int n = packets_of_file(e, e->ahead + e->n_ahead, VO_AHEAD - e->n_ahead, err);

		if (n == VNS_SOURCE_EOF)
			break;
		if (n < 0)
			return n;
		e->n_ahead += (size_t)n;
	}
	return 0;
}

static uint64_t short_digests(const struct vns_packet *pkt, size_t n)
{
	uint64_t k = 0;

	for (size_t i = 0; i < n; i++)
		k += (pkt[i].flags & VNS_PKT_F_DIGEST_SHORT) && pkt[i].proto != VNS_PROTO_TCP;
	return k;
}

/* Is any of @n packets from or to an address that was given as the guest's? */
static bool has_given(const struct vo_end *e, const struct vns_packet *pkt, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t g = 0; g < e->given->n_guest; g++)
			if (vns_addr_equal(&e->given->guest[g], &pkt[i].key.addr[0]) ||
			    vns_addr_equal(&e->given->guest[g], &pkt[i].key.addr[1]))
				return true;
	return false;
}

int vo_end_read(struct vo_end *e, struct vns_packet *to, size_t max, struct vns_err *err)
{
	int n = 0, code = 0;

	while (!e->eof && n == 0) {
		n = next_packets(e, to, max, err);
		e->eof = n == VNS_SOURCE_EOF;
		if (e->eof)
			n = 0;
		if (n > 0 && e->one_point)
			n = (int)keep_point(e, to, (size_t)n);
		if (n > 0 && !e->has_given)
			e->has_given = has_given(e, to, (size_t)n);
		if (n > 0 && e->chosen)
			code = vo_stray_filter(e, to, (size_t)n, err);
		if (code)
			return code;
		if (n > 0 && e->once)
			n = (int)vo_once_filter(e, to, (size_t)n);
		if (n > 0 && e->one_in > 1)
			n = (int)keep_sampled(e, to, (size_t)n);
	}
	if (n > 0 && e->senders)
		e->strange += vns_vo_senders_filter(e->senders, to, (size_t)n);
	e->digest_short += n > 0 ? short_digests(to, (size_t)n) : 0;
	return n;
}

/* Read up to @max packets behind those that are there. Return: 0 or -errno. */
static int fill_end(struct vo_end *e, size_t max, struct vns_err *err)
{
	while (!e->eof && e->n < max) {
		int n = vo_end_read(e, e->pkt + e->n, max - e->n, err);

		if (n < 0)
			return n;
		e->n += (size_t)n;
	}
	return 0;
}

/* --- what must be known beforehand --- */

/*
 * The same packets of both files, chosen by digest wherever they are: keep those below a limit, and
 * halve the limit when the buffer is full.
 */
static int sample_file(struct vo_end *e, uint64_t *limit, struct vns_err *err)
{
	struct vns_packet batch[128];
	int n, code = open_end(e, err);

	while (!code && (n = next_packets(e, batch, 128, err)) != VNS_SOURCE_EOF) {
		if (n < 0)
			code = n;
		for (int i = 0; i < n; i++) {
			if ((e->one_point && batch[i].point != e->point) ||
			    !vns_sampler_takes(&e->sampler, &batch[i], e->one_in) || batch[i].digest > *limit)
				continue;
			if (e->n == VO_PROBE) {
				size_t keep = 0;

				*limit /= 2;
				for (size_t k = 0; k < e->n; k++)
					if (e->pkt[k].digest <= *limit)
						e->pkt[keep++] = e->pkt[k];
				e->n = keep;
			}
			if (batch[i].digest <= *limit && e->n < VO_PROBE)
				e->pkt[e->n++] = batch[i];
		}
	}
	vo_end_close(e);
	return code;
}

bool vo_read_once(const char *path)
{
	struct stat st;

	return strcmp(path, "-") == 0 || (stat(path, &st) == 0 && !S_ISREG(st.st_mode));
}

int vo_reopen(struct vo_offline *r, struct vns_err *err)
{
	for (int p = 0; p < 2; p++) {
		const char *path = r->end[p].path;
		bool input = strcmp(path, "-") == 0;
		int code;

		vo_end_close(&r->end[p]);
		if (vo_read_once(path))
			return vns_err_set(err, -ESPIPE, "%s must be read twice here%s: save the capture to a "
					   "file, or give --offset-ns and --guest-addr",
					   input ? "standard input" : path,
					   input ? "" : ", and is no regular file");
		code = open_end(&r->end[p], err);
		if (code)
			return code;
	}
	return 0;
}

#define NAT_SIGNS 3 /* packets that agree but for one end's address, to look for NAT at all */

static void set_coarse(struct vo_offline *r, int64_t offset_ns)
{
	r->coarse_told = true;
	if (!r->opts->have_offset)
		r->coarse_ns = offset_ns;
}

/* ... where NAT changes addresses between the points. Return: packets that told the offset. */
static size_t learn_nat(struct vo_offline *r, bool offset_known, int64_t *offset_ns)
{
	struct vo_end *a = &r->end[VNS_POINT_A], *b = &r->end[VNS_POINT_B];
	size_t max = r->opts->n_guest ? r->n_guest : VO_GUESTS, support = 0, peers = 0;
	int64_t offset;

	r->nat = r->opts->nat == VNS_NAT_ON;
	r->n_guest = vns_twin_find_nat(a->pkt, a->n, b->pkt, b->n, r->guest, r->n_guest, max,
				       &offset, &support, &peers);
	if (support < NAT_SIGNS)
		return 0;
	r->nat = true;
	if (!offset_known)
		*offset_ns = offset;
	if (!offset_known)
		set_coarse(r, offset);
	return support;
}

/* May @p, of this family, be the guest's, for all that is known? */
static bool is_unlearnt(const struct vo_offline *r, const struct vns_packet *p, int family)
{
	if (p->verdict != VNS_PKT_OK || p->key.family != family || (p->flags & VNS_PKT_F_MULTICAST))
		return false;
	for (size_t g = 0; g < r->n_guest; g++)
		if (vns_addr_equal(&r->guest[g], &p->key.addr[0]) ||
		    vns_addr_equal(&r->guest[g], &p->key.addr[1]))
			return false;
	return true;
}

#define TRIED 16 /* packets of the guest's file of which a twin is looked for one by one */

/* Are packets of @family at both points, though no guest's address is known there? */
static void find_unlearnt(struct vo_offline *r, int family)
{
	struct vo_end *a = &r->end[VNS_POINT_A], *b = &r->end[VNS_POINT_B];
	uint64_t *n = r->unlearnt[family == 6];
	bool both = false;
	int tried = 0;

	n[0] = n[1] = 0;
	for (size_t i = 0; i < b->n && tried < TRIED && !both; i++) {
		const struct vns_packet *p = &b->pkt[i];

		if (!is_unlearnt(r, p, family))
			continue;
		tried++;
		for (size_t k = 0; k < a->n && !both; k++)
			both = is_unlearnt(r, &a->pkt[k], family) &&
			       (vns_flow_same_key(&a->pkt[k].key, &p->key) ||
				a->pkt[k].digest == p->digest);
	}
	for (size_t p = 0; p < 2 && both; p++)
		for (size_t i = 0; i < r->end[p].n; i++)
			n[p] += is_unlearnt(r, &r->end[p].pkt[i], family);
}

/* Now that the guest is known: is it its peers whose addresses are translated? */
static bool peers_translated(struct vo_offline *r)
{
	struct vo_end *a = &r->end[VNS_POINT_A], *b = &r->end[VNS_POINT_B];
	size_t support = 0, peers = 0;
	int64_t offset;

	vns_twin_find_nat(a->pkt, a->n, b->pkt, b->n, r->guest, r->n_guest, r->n_guest, &offset,
			  &support, &peers);
	return peers >= NAT_SIGNS;
}

/* Through NAT a sender may have another address at each point: nothing is known of them. */
static void learn_senders(struct vo_offline *r)
{
	_Static_assert(sizeof(r->senders.guest) == sizeof(r->guest), "room for as many guests");
	for (int p = 0; p < 2 && !r->nat && r->n_guest; p++) {
		vo_senders_learn(&r->senders, r->end[p].pkt, r->end[p].n, r->guest, r->n_guest);
		r->end[p].senders = &r->senders;
	}
}

/* Guest and coarse offset from what is in both buffers. Return: packets that told the offset. */
static size_t learn(struct vo_offline *r)
{
	struct vo_end *a = &r->end[VNS_POINT_A], *b = &r->end[VNS_POINT_B];
	size_t support = 0;
	int64_t offset = 0;

	if (vns_twin_coarse_offset(a->pkt, a->n, b->pkt, b->n, &offset, &support) == 0)
		set_coarse(r, offset);
	r->n_guest = vns_twin_learn_guest_pairs(a->pkt, a->n, b->pkt, b->n, r->guest,
						r->opts->n_guest ? r->n_guest : 0, VO_GUESTS);
	if (r->opts->nat != VNS_NAT_OFF)
		support += learn_nat(r, support > 0, &offset);
	if (!r->n_guest)
		r->n_guest = vns_twin_learn_guest(b->pkt, b->n, r->guest, VO_GUESTS);
	if (!r->n_guest && support) {
		/* One peer, one way: the sign of the difference is all there is. */
		const struct vns_packet *p = &b->pkt[0];
		bool later = offset >= (r->opts->have_offset ? r->opts->offset_ns : 0);

		for (size_t i = 0; i < b->n && p->verdict != VNS_PKT_OK; i++)
			p = &b->pkt[i];
		if (later && p->flags & VNS_PKT_F_MULTICAST) /* a group is nobody's address */
			return support;
		r->guest[0] = later ? *vns_packet_dst(p) : *vns_packet_src(p);
		r->n_guest = 1;
		r->guest_assumed = true;
	}
	r->nat_peers = r->nat && peers_translated(r);
	learn_senders(r);
	find_unlearnt(r, 4);
	find_unlearnt(r, 6);
	return support;
}

/* Open and read the start; what all packets tell, its point and whether all is there twice, before a choice is made. */
static int begin_end(struct vo_end *e, struct vns_err *err)
{
	uint32_t one_in = e->one_in;
	int code = open_end(e, err);

	e->one_in = 1;
	if (!code)
		code = fill_end(e, VO_PROBE, err);
	e->one_in = one_in;
	if (!code)
		code = choose_point(e, err);
	if (!code)
		code = vo_stray_filter(e, e->pkt, e->n, err);
	e->chosen = true;
	if (!code && vo_once_detect(e))
		code = vo_out_of_memory(err);
	if (code || one_in <= 1)
		return code;
	e->n = keep_sampled(e, e->pkt, e->n);
	e->digest_short = short_digests(e->pkt, e->n);
	return fill_end(e, VO_PROBE, err);
}

int vo_find_out(struct vo_offline *r, struct vns_err *err)
{
	uint64_t limit = UINT64_MAX;
	int code = 0;
	bool told;

	r->coarse_ns = r->opts->have_offset ? r->opts->offset_ns : 0;
	r->n_guest = r->opts->n_guest < VO_GUESTS ? r->opts->n_guest : VO_GUESTS;
	if (r->n_guest)
		memcpy(r->guest, r->opts->guest, r->n_guest * sizeof(r->guest[0]));
	for (int p = 0; p < 2 && !code; p++) {
		r->end[p].given = r->opts;
		code = begin_end(&r->end[p], err);
	}
	if (code)
		return code;
	r->first_ns = r->end[0].n ? r->end[0].pkt[0].time_ns : 0;
	told = learn(r) > 0 || (r->opts->have_offset && r->n_guest);
	/* Nothing in common at the start, and there is more: one file may start much earlier. */
	if (told || (r->end[0].eof && r->end[1].eof))
		return 0;
	code = vo_reopen(r, err);
	for (int p = 0; p < 2 && !code; p++) {
		vo_end_close(&r->end[p]);
		code = sample_file(&r->end[p], &limit, err);
	}
	if (!code)
		learn(r);
	return code ? code : vo_reopen(r, err);
}

void vo_ends_fini(struct vo_offline *r)
{
	for (int p = 0; p < 2; p++) {
		vo_end_close(&r->end[p]);
		vns_unreserve(r->end[p].pkt);
		free(r->end[p].once);
	}
}

int vns_measure_vo_learn(const struct vns_vo_offline_opts *opts, const char *guest_filter,
			 struct vns_vo_learnt *out, struct vns_err *err)
{
	struct vo_offline *r = calloc(1, sizeof(*r));
	int code;

	_Static_assert(sizeof(out->guest) == sizeof(r->guest), "room for as many guests");
	*out = (struct vns_vo_learnt){ 0 };
	if (!r)
		return vo_out_of_memory(err);
	r->opts = opts;
	r->end[0].path = opts->host_file;
	r->end[0].want = opts->host_point;
	r->end[1].path = opts->guest_file;
	r->end[1].want = opts->guest_point;
	r->end[0].filter = opts->filter;
	r->end[1].filter = guest_filter ? guest_filter : opts->filter;
	r->end[0].one_in = r->end[1].one_in = opts->sample_one_in;
	code = vo_find_out(r, err);
	if (!code) {
		memcpy(out->guest, r->guest, r->n_guest * sizeof(r->guest[0]));
		out->n_guest = r->n_guest;
		out->guest_assumed = r->guest_assumed;
		out->offset_found = r->coarse_told;
		out->offset_ns = r->coarse_ns;
		out->nat = r->nat;
		out->nat_peers = r->nat_peers;
		out->senders = r->senders;
		out->senders.many |= !r->end[0].senders;
	}
	vo_ends_fini(r);
	free(r);
	return code;
}
