// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Bodies of the messages, field by field, both ways. Every decoder takes a cursor over
 * exactly one body and is true only when the body ends where its last field does.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "wire/wire.h"

static bool done(const struct vns_cursor *c)
{
	return !c->bad && c->pos == c->len;
}

static void put_f64(struct vns_cursor *c, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	vns_put_le64(c, bits);
}

/* Finite or the message is bad: nothing behind this should meet a NaN. */
static double get_f64(struct vns_cursor *c)
{
	uint64_t bits = vns_get_le64(c);
	double v;

	memcpy(&v, &bits, sizeof(v));
	if (!isfinite(v)) {
		c->bad = true;
		return 0.0;
	}
	return v;
}

void vns_put_hello(struct vns_cursor *c, const struct vns_wire_hello *h)
{
	vns_put_le64(c, h->nonce);
	vns_put_le32(c, h->protocol);
	vns_put_str(c, h->version);
}

bool vns_get_hello(struct vns_cursor *c, struct vns_wire_hello *h)
{
	h->nonce = vns_get_le64(c);
	h->protocol = vns_get_le32(c);
	vns_get_str(c, h->version, sizeof(h->version));
	return !c->bad; /* a later version may add fields */
}

static void put_iface(struct vns_cursor *c, const struct vns_agent_iface *f)
{
	vns_put_str(c, f->name);
	vns_put_bytes(c, f->mac, sizeof(f->mac));
	vns_put_u8(c, f->up);
	vns_put_u8(c, f->n_addr);
	for (unsigned int i = 0; i < f->n_addr; i++)
		vns_put_bytes(c, f->addr[i].b, sizeof(f->addr[i].b));
}

static void get_iface(struct vns_cursor *c, struct vns_agent_iface *f)
{
	vns_get_str(c, f->name, sizeof(f->name));
	vns_get_bytes(c, f->mac, sizeof(f->mac));
	f->up = vns_get_u8(c) != 0;
	f->n_addr = vns_get_u8(c);
	if (f->n_addr > sizeof(f->addr) / sizeof(f->addr[0])) {
		c->bad = true;
		f->n_addr = 0;
	}
	for (unsigned int i = 0; i < f->n_addr; i++)
		vns_get_bytes(c, f->addr[i].b, sizeof(f->addr[i].b));
}

void vns_put_hello_reply(struct vns_cursor *c, uint64_t nonce, const struct vns_agent_info *i)
{
	vns_put_le64(c, nonce);
	vns_put_le32(c, i->protocol);
	vns_put_str(c, i->version);
	vns_put_le32(c, i->caps);
	vns_put_str(c, i->hostname);
	vns_put_str(c, i->kernel);
	vns_put_str(c, i->boot_id);
	vns_put_str(c, i->clocksource);
	vns_put_le16(c, i->n_cpu);
	vns_put_str(c, i->capture_why);
	vns_put_u8(c, i->n_iface);
	for (unsigned int k = 0; k < i->n_iface; k++)
		put_iface(c, &i->iface[k]);
}

bool vns_get_hello_reply(struct vns_cursor *c, uint64_t *nonce, struct vns_agent_info *i)
{
	memset(i, 0, sizeof(*i));
	*nonce = vns_get_le64(c);
	i->protocol = vns_get_le32(c);
	vns_get_str(c, i->version, sizeof(i->version));
	if (c->bad || i->protocol != VNS_AGENT_PROTOCOL)
		return !c->bad;
	i->caps = vns_get_le32(c);
	vns_get_str(c, i->hostname, sizeof(i->hostname));
	vns_get_str(c, i->kernel, sizeof(i->kernel));
	vns_get_str(c, i->boot_id, sizeof(i->boot_id));
	vns_get_str(c, i->clocksource, sizeof(i->clocksource));
	i->n_cpu = vns_get_le16(c);
	vns_get_str(c, i->capture_why, sizeof(i->capture_why));
	i->n_iface = vns_get_u8(c);
	if (i->n_iface > sizeof(i->iface) / sizeof(i->iface[0])) {
		i->n_iface = 0;
		return false;
	}
	for (unsigned int k = 0; k < i->n_iface; k++)
		get_iface(c, &i->iface[k]);
	return done(c);
}

void vns_put_error(struct vns_cursor *c, int code, const char *sentence)
{
	vns_put_le32(c, (uint32_t)-code);
	vns_put_str(c, sentence);
}

bool vns_get_error(struct vns_cursor *c, int *code, struct vns_err *sentence)
{
	uint32_t e = vns_get_le32(c);

	vns_get_str(c, sentence->text, sizeof(sentence->text));
	/* a code that is none would turn into success or a condition */
	*code = e > 0 && e < 4096 ? -(int)e : -EPROTO;
	return done(c);
}

void vns_put_capture(struct vns_cursor *c, const struct vns_wire_capture *w)
{
	vns_put_le32(c, w->id);
	vns_put_le32(c, w->snaplen);
	vns_put_str(c, w->ifname);
	vns_put_le16(c, (uint16_t)w->n_filter);
	for (uint32_t i = 0; i < w->n_filter; i++) {
		vns_put_le16(c, w->filter[i].code);
		vns_put_u8(c, w->filter[i].jt);
		vns_put_u8(c, w->filter[i].jf);
		vns_put_le32(c, w->filter[i].k);
	}
}

bool vns_get_capture(struct vns_cursor *c, struct vns_wire_capture *w)
{
	w->id = vns_get_le32(c);
	w->snaplen = vns_get_le32(c);
	vns_get_str(c, w->ifname, sizeof(w->ifname));
	w->n_filter = vns_get_le16(c);
	if (w->n_filter > VNS_WIRE_MAX_BPF)
		return false;
	for (uint32_t i = 0; i < w->n_filter && !c->bad; i++) {
		w->filter[i].code = vns_get_le16(c);
		w->filter[i].jt = vns_get_u8(c);
		w->filter[i].jf = vns_get_u8(c);
		w->filter[i].k = vns_get_le32(c);
	}
	return done(c);
}

void vns_put_load_spec(struct vns_cursor *c, const struct vns_load_spec *s)
{
	vns_put_le32(c, s->kind);
	vns_put_bytes(c, s->peer.b, sizeof(s->peer.b));
	vns_put_le16(c, s->port);
	vns_put_le16(c, s->procs);
	vns_put_le32(c, s->size);
	vns_put_le32(c, s->percent);
	put_f64(c, s->rate_hz);
	vns_put_le64(c, s->rate_bps);
	vns_put_le64(c, (uint64_t)s->duration_ns);
	vns_put_u8(c, s->persist);
}

bool vns_get_load_spec(struct vns_cursor *c, struct vns_load_spec *s)
{
	memset(s, 0, sizeof(*s));
	s->kind = vns_get_le32(c);
	vns_get_bytes(c, s->peer.b, sizeof(s->peer.b));
	s->port = vns_get_le16(c);
	s->procs = vns_get_le16(c);
	s->size = vns_get_le32(c);
	s->percent = vns_get_le32(c);
	s->rate_hz = get_f64(c);
	s->rate_bps = vns_get_le64(c);
	s->duration_ns = (int64_t)vns_get_le64(c);
	s->persist = vns_get_u8(c) != 0;
	return done(c);
}

void vns_put_load_stats(struct vns_cursor *c, const struct vns_load_stats *s)
{
	vns_put_le64(c, s->ops);
	vns_put_le64(c, s->bytes_tx);
	vns_put_le64(c, s->bytes_rx);
	vns_put_le64(c, s->errors);
	vns_put_le64(c, (uint64_t)s->elapsed_ns);
	vns_put_le64(c, (uint64_t)s->cpu_ns);
	vns_put_le64(c, s->rtt_n);
	vns_put_le64(c, (uint64_t)s->rtt_min_ns);
	vns_put_le64(c, (uint64_t)s->rtt_max_ns);
	put_f64(c, s->rtt_mean_ns);
	put_f64(c, s->rtt_stddev_ns);
	vns_put_le64(c, (uint64_t)s->rtt_p50_ns);
	vns_put_le64(c, (uint64_t)s->rtt_p95_ns);
	vns_put_le64(c, (uint64_t)s->rtt_p99_ns);
}

bool vns_get_load_stats(struct vns_cursor *c, struct vns_load_stats *s)
{
	s->ops = vns_get_le64(c);
	s->bytes_tx = vns_get_le64(c);
	s->bytes_rx = vns_get_le64(c);
	s->errors = vns_get_le64(c);
	s->elapsed_ns = (int64_t)vns_get_le64(c);
	s->cpu_ns = (int64_t)vns_get_le64(c);
	s->rtt_n = vns_get_le64(c);
	s->rtt_min_ns = (int64_t)vns_get_le64(c);
	s->rtt_max_ns = (int64_t)vns_get_le64(c);
	s->rtt_mean_ns = get_f64(c);
	s->rtt_stddev_ns = get_f64(c);
	s->rtt_p50_ns = (int64_t)vns_get_le64(c);
	s->rtt_p95_ns = (int64_t)vns_get_le64(c);
	s->rtt_p99_ns = (int64_t)vns_get_le64(c);
	return done(c);
}

void vns_put_usage(struct vns_cursor *c, const struct vns_agent_usage *u)
{
	vns_put_le64(c, (uint64_t)u->at_ns);
	vns_put_le64(c, u->cpu_total_ns);
	vns_put_le64(c, u->cpu_idle_ns);
	vns_put_le64(c, u->cpu_steal_ns);
	vns_put_le64(c, u->agent_cpu_ns);
}

bool vns_get_usage(struct vns_cursor *c, struct vns_agent_usage *u)
{
	u->at_ns = (int64_t)vns_get_le64(c);
	u->cpu_total_ns = vns_get_le64(c);
	u->cpu_idle_ns = vns_get_le64(c);
	u->cpu_steal_ns = vns_get_le64(c);
	u->agent_cpu_ns = vns_get_le64(c);
	return done(c);
}

void vns_put_ptp(struct vns_cursor *c, const struct vns_ptp_reading *r, size_t n)
{
	vns_put_le32(c, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		vns_put_le64(c, (uint64_t)r[i].before_ns);
		vns_put_le64(c, (uint64_t)r[i].host_ns);
		vns_put_le64(c, (uint64_t)r[i].after_ns);
	}
}

int vns_get_ptp(struct vns_cursor *c, struct vns_ptp_reading *r)
{
	uint32_t n = vns_get_le32(c);

	if (c->bad || n > VNS_WIRE_MAX_PTP)
		return -EPROTO;
	for (uint32_t i = 0; i < n; i++) {
		r[i].before_ns = (int64_t)vns_get_le64(c);
		r[i].host_ns = (int64_t)vns_get_le64(c);
		r[i].after_ns = (int64_t)vns_get_le64(c);
	}
	return done(c) ? (int)n : -EPROTO;
}

void vns_put_clock_state(struct vns_cursor *c, const struct vns_clock_state *s)
{
	vns_put_str(c, s->source);
	vns_put_le64(c, (uint64_t)s->freq);
	vns_put_le64(c, (uint64_t)s->tick_us);
	vns_put_u8(c, s->steering_known);
	vns_put_le32(c, (uint32_t)s->status);
	vns_put_le32(c, (uint32_t)s->constant);
	vns_put_le64(c, (uint64_t)s->offset_ns);
	vns_put_le64(c, (uint64_t)s->slew_us);
}

bool vns_get_clock_state(struct vns_cursor *c, struct vns_clock_state *s)
{
	*s = (struct vns_clock_state){ .freq = 0 };
	vns_get_str(c, s->source, sizeof(s->source));
	s->freq = (int64_t)vns_get_le64(c);
	s->tick_us = (int64_t)vns_get_le64(c);
	s->steering_known = vns_get_u8(c) != 0;
	s->status = (int32_t)vns_get_le32(c);
	s->constant = (int32_t)vns_get_le32(c);
	s->offset_ns = (int64_t)vns_get_le64(c);
	s->slew_us = (int64_t)vns_get_le64(c);
	return done(c);
}

void vns_put_tsc(struct vns_cursor *c, const struct vns_tsc_reading *r, size_t n)
{
	vns_put_le32(c, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		vns_put_le64(c, r[i].before);
		vns_put_le64(c, (uint64_t)r[i].clock_ns);
		vns_put_le64(c, r[i].after);
	}
}

int vns_get_tsc(struct vns_cursor *c, struct vns_tsc_reading *r)
{
	uint32_t n = vns_get_le32(c);

	if (c->bad || n > VNS_WIRE_MAX_TSC)
		return -EPROTO;
	for (uint32_t i = 0; i < n; i++) {
		r[i].before = vns_get_le64(c);
		r[i].clock_ns = (int64_t)vns_get_le64(c);
		r[i].after = vns_get_le64(c);
	}
	return done(c) ? (int)n : -EPROTO;
}

size_t vns_ptp_to_exchanges(const struct vns_ptp_reading *r, size_t n, struct vns_exchange *out,
			    size_t max)
{
	size_t i;

	for (i = 0; i + 1 < n && i < max; i++)
		out[i] = (struct vns_exchange){
			.t1_ns = r[i].host_ns, .t2_ns = r[i].after_ns,
			.t3_ns = r[i + 1].before_ns, .t4_ns = r[i + 1].host_ns,
		};
	return i;
}
