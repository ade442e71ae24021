// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Records of the kernel's rings (Documentation/bpf/ringbuf.rst) -> struct vns_packet.
 *
 * A ring is read here and not by libbpf's callbacks: a batch ends where the caller's array does,
 * and the consumer's position is published once per batch.
 *
 * Each processor writes a ring of its own, in the order of its stamps; the earliest head of all is the
 * next packet. A ring that is empty may still get an earlier one, stamped and not yet reserved: the
 * program does both within a microsecond, so what is older than SETTLED_NS before the rings were looked at is
 * complete, and later packets wait for the next look. One ring alone needs no waiting.
 *
 * Time: the program stamps with CLOCK_MONOTONIC. REALTIME minus MONOTONIC is constant but for
 * steps, since adjtime() and NTP slew both alike. It is measured by reading one clock between two
 * readings of the other: the true offset lies within half the bracket (some 20 to 50 ns) around
 * the middle. Of all brackets seen the narrowest counts, until two exclude each other: then
 * the clock was stepped and the new one counts. Packets that waited in the ring over a step get the
 * stamp of the clock after it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "source/ebpf.h"
#include "source/source.h"

#define TRACK_NS  (5 * VNS_NSEC_PER_MSEC)
#define TRIES     3    /* readings of which the narrowest bracket counts */
#define RECORD_HEAD 8u /* bytes before each record: length with two flags, page offset */
#define SETTLED_NS  VNS_NSEC_PER_MSEC /* a virtual processor may be taken away between stamp and record */

static int map_ring(struct vns_ebpf_ring *r, int fd, uint32_t bytes, struct vns_err *err)
{
	void *consumer, *producer;

	memset(r, 0, sizeof(*r));
	r->page = (size_t)sysconf(_SC_PAGESIZE);
	/* the kernel maps the data twice in a row, so that no record is torn at the end */
	r->data_bytes = r->page + 2 * (size_t)bytes;
	consumer = mmap(NULL, r->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (consumer == MAP_FAILED)
		return vns_err_set(err, -errno, "cannot map the eBPF ring: %s", strerror(errno));
	producer = mmap(NULL, r->data_bytes, PROT_READ, MAP_SHARED, fd, (off_t)r->page);
	if (producer == MAP_FAILED) {
		int e = errno;

		munmap(consumer, r->page);
		return vns_err_set(err, -e, "cannot map the eBPF ring: %s", strerror(e));
	}
	r->consumer = consumer;
	r->producer = producer;
	r->data = (const uint8_t *)producer + r->page;
	r->mask = bytes - 1;
	r->at = __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE);
	return 0;
}

int vns_ebpf_rings_map(struct vns_ebpf_rings *r, const struct vns_ebpf_object *o,
		       struct vns_err *err)
{
	int rc = 0;

	memset(r, 0, sizeof(*r));
	while (!rc && r->n < o->n_ring) {
		rc = map_ring(&r->ring[r->n], o->ring[r->n], o->ring_bytes, err);
		r->n += !rc;
	}
	if (rc)
		vns_ebpf_rings_unmap(r);
	vns_ebpf_time_track(&r->time);
	return rc;
}

static void unmap_ring(struct vns_ebpf_ring *r)
{
	if (!r->consumer)
		return;
	munmap((void *)(uintptr_t)r->consumer, r->page);
	munmap((void *)(uintptr_t)r->producer, r->data_bytes);
	r->consumer = NULL;
}

void vns_ebpf_rings_unmap(struct vns_ebpf_rings *r)
{
	for (unsigned int i = 0; i < r->n; i++)
		unmap_ring(&r->ring[i]);
	r->n = 0;
}

static int64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * VNS_NSEC_PER_SEC + t.tv_nsec;
}

void vns_ebpf_time_track(struct vns_ebpf_timebase *t)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC), best = INT64_MAX, offset = 0, apart;

	if (t->checked_ns && now - t->checked_ns < TRACK_NS)
		return;
	for (int i = 0; i < TRIES; i++) {
		int64_t before = clock_ns(CLOCK_MONOTONIC), real = clock_ns(CLOCK_REALTIME);
		int64_t after = clock_ns(CLOCK_MONOTONIC);

		if (after - before < best) {
			best = after - before;
			offset = real - (before + best / 2);
		}
	}
	best = best / 2 + 1;
	apart = offset > t->offset_ns ? offset - t->offset_ns : t->offset_ns - offset;
	if (!t->checked_ns || best <= t->error_ns || apart > best + t->error_ns) {
		t->offset_ns = offset;
		t->error_ns = best;
	}
	t->checked_ns = now;
}

static void from_digest(const struct vns_bpf_digest *d, struct vns_packet *p)
{
	memset(p, 0, sizeof(*p));
	p->digest = d->digest;
	p->flow_hash = d->flow_hash;
	p->wire_len = d->r.wire_len;
	p->cap_len = d->r.cap_len;
	p->flags = d->r.flags;
	p->vlan = d->r.vlan;
	p->payload_len = d->payload_len;
	p->seq = d->seq;
	p->ack = d->ack;
	p->tsval = d->tsval;
	p->tsecr = d->tsecr;
	p->ip_id = d->ip_id;
	p->sack_left = d->sack_left;
	p->sack_right = d->sack_right;
	p->window = d->window;
	p->icmp_ident = d->icmp_ident;
	p->icmp_seqno = d->icmp_seqno;
	p->tcp_flags = d->tcp_flags;
	p->icmp_type = d->icmp_type;
	p->icmp_code = d->icmp_code;
	p->dir = d->dir;
	p->proto = d->proto;
	p->ttl = d->ttl;
	p->key.port[0] = d->port[0];
	p->key.port[1] = d->port[1];
	p->key.ipproto = d->ipproto;
	if (d->r.kind == VNS_BPF_DIGEST4) {
		p->key.family = 4;
		p->key.addr[0] = vns_addr_from_v4(d->addr);
		p->key.addr[1] = vns_addr_from_v4(d->addr + 4);
	} else {
		p->key.family = 6;
		memcpy(p->key.addr, d->addr, sizeof(p->key.addr));
	}
}

static void take_record(const struct vns_bpf_record *rec, struct vns_source *s, int64_t time_ns,
			uint32_t linktype, int64_t *last_ns, struct vns_packet *out)
{
	struct vns_frame f = { .time_ns = time_ns, .data = (const uint8_t *)(rec + 1),
			       .cap_len = rec->cap_len, .wire_len = rec->wire_len,
			       .linktype = linktype, .flags = rec->flags, .vlan = rec->vlan };

	if (rec->kind == VNS_BPF_RAW) {
		vns_source_emit(s, &f, last_ns, out);
		return;
	}
	from_digest((const struct vns_bpf_digest *)(const void *)rec, out);
	out->time_ns = time_ns;
	s->stats.verdicts[VNS_PKT_OK]++;
	vns_source_count(s, &f, last_ns);
}

static uint32_t record_len(const struct vns_ebpf_ring *r)
{
	return __atomic_load_n((const uint32_t *)(const void *)(r->data + (r->at & r->mask)),
			       __ATOMIC_ACQUIRE);
}

static void pass(struct vns_ebpf_ring *r, uint32_t len)
{
	r->at += ((len & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT)) + RECORD_HEAD + 7) & ~7u;
}

/* The next record. Return: NULL: there is none (yet: @busy, one is still being written). */
static const struct vns_bpf_record *head(struct vns_ebpf_ring *r, bool *busy)
{
	while (r->at < r->end) {
		uint32_t len = record_len(r);

		if (len & BPF_RINGBUF_BUSY_BIT) {
			*busy = true;
			return NULL;
		}
		if (!(len & BPF_RINGBUF_DISCARD_BIT))
			return (const void *)(r->data + (r->at & r->mask) + RECORD_HEAD);
		pass(r, len);
	}
	return NULL;
}

/* The ring whose head is the earliest of all, if that is certain. */
static struct vns_ebpf_ring *earliest(struct vns_ebpf_rings *r, int64_t settled_ns,
				      const struct vns_bpf_record **rec)
{
	struct vns_ebpf_ring *first = NULL;

	r->held = false;
	for (unsigned int i = 0; i < r->n; i++) {
		const struct vns_bpf_record *h = head(&r->ring[i], &r->held);

		if (h && (!first || h->mono_ns < (*rec)->mono_ns)) {
			first = &r->ring[i];
			*rec = h;
		}
	}
	r->held = r->held || (first && (int64_t)(*rec)->mono_ns > settled_ns);
	return r->held ? NULL : first;
}

static bool look(struct vns_ebpf_rings *r)
{
	bool any = false;

	for (unsigned int i = 0; i < r->n; i++) {
		r->ring[i].end = __atomic_load_n(r->ring[i].producer, __ATOMIC_ACQUIRE);
		any |= r->ring[i].at < r->ring[i].end;
	}
	return any;
}

size_t vns_ebpf_rings_drain(struct vns_ebpf_rings *r, struct vns_source *s, uint32_t linktype,
			    int64_t *last_ns, struct vns_packet *out, size_t max)
{
	int64_t settled_ns = r->n > 1 ? clock_ns(CLOCK_MONOTONIC) - SETTLED_NS : INT64_MAX;
	const struct vns_bpf_record *rec = NULL;
	struct vns_ebpf_ring *from;
	size_t n = 0;

	if (!look(r)) {
		r->held = false;
		return 0;
	}
	vns_ebpf_time_track(&r->time);
	while (n < max && (from = earliest(r, settled_ns, &rec))) {
		take_record(rec, s, (int64_t)rec->mono_ns + r->time.offset_ns, linktype, last_ns,
			    &out[n++]);
		pass(from, record_len(from));
	}
	for (unsigned int i = 0; i < r->n; i++)
		if (*r->ring[i].consumer != r->ring[i].at)
			__atomic_store_n(r->ring[i].consumer, r->ring[i].at, __ATOMIC_RELEASE);
	return n;
}

uint64_t vns_ebpf_rings_left(const struct vns_ebpf_rings *r, int64_t upto_ns)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < r->n; i++) {
		struct vns_ebpf_ring copy = r->ring[i];
		const struct vns_bpf_record *rec;
		bool busy = false;

		copy.end = __atomic_load_n(copy.producer, __ATOMIC_ACQUIRE);
		for (; (rec = head(&copy, &busy)); pass(&copy, record_len(&copy)))
			sum += (int64_t)rec->mono_ns + r->time.offset_ns <= upto_ns;
	}
	return sum;
}
