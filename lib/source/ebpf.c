// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A network interface -> packets decoded in the kernel, by programs at tc ingress and egress
 * (bpf/capture.bpf.c) and rings of records, one for each processor.
 *
 * Where it differs from AF_PACKET: a packet is seen when it is handed to the stack (ingress) and
 * before the interface's queueing discipline (egress), with its stamp of that moment, so that what
 * a qdisc drops or delays is seen as sent; superframes are seen before a device without
 * segmentation offload has them cut.
 *
 * Waking: the program wakes the reader with the first packet after WAKE_NS without a wake-up and
 * not at all in between. So the reader looks by itself WAKE_NS after it has found anything. Its
 * descriptor is an epoll instance that reports the rings' wake-ups (edges); a ring's own would
 * be readable as long as there is a packet, and every packet would be a wake-up again.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/netns.h"
#include "source/ebpf.h"
#include "source/live.h"
#include "source/source.h"

/* generated from bpf/capture.bpf.c */
#include "vns_capture_bpf.h"

#define WAKE_NS    (10 * VNS_NSEC_PER_MSEC)
#define RING_BYTES (16u << 20) /* 160,000 packets: 0.3 s at 500,000 packets a second */
#define RING_LEAST (64u << 10)
#define SHARE_LEAST (4u << 20) /* of one ring among several: traffic may keep to one processor */
#define RING_MOST  (1u << 30)
#define TIMEOUT_MS 100
#define STATE_NS   (100 * VNS_NSEC_PER_MSEC) /* between two looks at the interface's state */

_Static_assert(sizeof(struct vns_bpf_record) == 24, "no holes: both sides read it");

struct ebpf {
	struct vns_source base;
	struct vns_ebpf_object object;
	struct vns_ebpf_hooks hooks;
	struct vns_ebpf_rings rings;
	char ifname[IFNAMSIZ];
	int ifindex, control; /* socket in the interface's namespace, for its state */
	int epoll;
	uint32_t linktype;
	int timeout_ms;
	int64_t last_ns, state_ns;
	bool found;  /* the last look found packets: another comes WAKE_NS later */
	bool by_clock; /* nobody is woken */
	bool down;   /* said so; until it is up again */
	bool gone;
};

/* libbpf's last warning: it goes into our sentence instead of to stderr, as long as we run. */
static _Thread_local char said[256];

__attribute__((format(printf, 2, 0)))
static int keep_what_is_said(enum libbpf_print_level level, const char *fmt, va_list args)
{
	if (level == LIBBPF_WARN)
		vsnprintf(said, sizeof(said), fmt, args);
	said[strcspn(said, "\n")] = '\0';
	return 0;
}

const char *vns_ebpf_said(void)
{
	return said;
}

static int load_failed(struct vns_ebpf_object *o, int code, struct vns_err *err)
{
	bool root = geteuid() == 0;

	vns_ebpf_unload(o);
	/* What libbpf says then names nothing but our own object; EACCES is a verifier's word, too. */
	if (code == -EPERM || (code == -EACCES && !root))
		return vns_err_set(err, code, "eBPF capture needs the capabilities CAP_BPF, CAP_NET_ADMIN and "
				   "CAP_NET_RAW%s", root ? ", which root does not have here (a container, "
				   "or a locked-down kernel)" : ": run as root");
	return vns_err_set(err, code, "the kernel does not take the capture program: %s (%s)",
			   strerror(-code), said);
}

static uint32_t power_of_two(uint32_t bytes)
{
	uint32_t n = RING_LEAST;

	while (n < bytes && n < RING_MOST)
		n *= 2;
	return n;
}

uint8_t vns_ebpf_ring_mask(uint32_t ring_bytes)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN); /* a guest's that may be plugged in later are many */
	unsigned int n = 1;

	while ((long)n < cpus && n < VNS_BPF_RINGS && ring_bytes / (2 * n) >= SHARE_LEAST)
		n *= 2;
	return (uint8_t)(n - 1);
}

/* The rings, and their places in the program's map of them. */
static int make_rings(struct vns_ebpf_object *o, unsigned int n, uint32_t bytes)
{
	int rings = bpf_map__fd(bpf_object__find_map_by_name(o->object, "rings"));

	o->ring_bytes = power_of_two(bytes / n);
	for (uint32_t i = 0; i < n; i++) {
		o->ring[i] = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "vns_ring", 0, 0, o->ring_bytes, NULL);
		if (o->ring[i] < 0)
			return -errno;
		o->n_ring++;
		if (bpf_map_update_elem(rings, &i, &o->ring[i], BPF_ANY))
			return -errno;
	}
	return 0;
}

int vns_ebpf_load(struct vns_ebpf_object *o, const struct vns_bpf_config *config,
		  uint32_t ring_bytes, struct vns_err *err)
{
	struct bpf_map *rodata, *bss;
	int rc = 0;

	*o = (struct vns_ebpf_object){ .filter = { -1, -1 }, .gates = -1 };
	libbpf_set_print(keep_what_is_said);
	said[0] = '\0';
	o->object = bpf_object__open_mem(vns_capture_bpf, sizeof(vns_capture_bpf), NULL);
	if (!o->object)
		rc = -errno;
	rodata = rc ? NULL : bpf_object__find_map_by_name(o->object, ".rodata");
	bss = rc ? NULL : bpf_object__find_map_by_name(o->object, ".bss");
	if (!rc && (!rodata || !bss))
		rc = -ENOENT;
	if (!rc)
		rc = bpf_map__set_initial_value(rodata, config, sizeof(*config));
	if (!rc)
		rc = bpf_object__load(o->object);
	if (!rc)
		rc = make_rings(o, config->ring_mask + 1u, ring_bytes);
	if (rc)
		return load_failed(o, rc, err);
	o->prog = bpf_program__fd(bpf_object__find_program_by_name(o->object, "vns_capture"));
	o->state = bpf_map__fd(bss);
	o->counts = bpf_map__fd(bpf_object__find_map_by_name(o->object, "counts"));
	return 0;
}

int vns_source_try_ebpf(struct vns_err *err)
{
	struct vns_bpf_config config = { .snaplen = VNS_LIVE_SNAPLEN };
	struct vns_ebpf_object o;
	int rc = vns_ebpf_load(&o, &config, RING_LEAST, err);

	if (!rc)
		vns_ebpf_unload(&o);
	return rc;
}

int vns_ebpf_load_filter(struct vns_ebpf_object *o, const struct vns_bpf_insn *filter, size_t n,
			 struct vns_err *err)
{
	static const char *const name[2] = { "vns_in", "vns_out" };
	static const struct vns_bpf_insn all = { .code = BPF_RET | BPF_K, .k = UINT32_MAX };
	uint32_t zero = 0;

	if (n == 0) {
		filter = &all;
		n = 1;
	}
	o->gates = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "vns_gates", 4, 4, 1, NULL);
	if (o->gates < 0)
		return vns_err_set(err, -errno, "cannot create an eBPF map: %s", strerror(errno));
	for (int i = 0; i < 2; i++) {
		struct bpf_insn *code = NULL;
		int count = vns_ebpf_translate(filter, n, o->gates, i, &code, err);

		if (count < 0)
			return count;
		if (bpf_map_update_elem(o->gates, &zero, &o->prog, BPF_ANY) == 0)
			o->filter[i] = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, name[i],
						     "Dual BSD/GPL", code, (size_t)count, NULL);
		free(code);
		if (o->filter[i] < 0)
			return vns_err_set(err, -errno, "the kernel does not take the filter: %s",
					   strerror(errno));
	}
	return 0;
}

void vns_ebpf_unload(struct vns_ebpf_object *o)
{
	for (int i = 0; i < 2; i++)
		if (o->filter[i] >= 0)
			close(o->filter[i]);
	if (o->gates >= 0)
		close(o->gates);
	for (unsigned int i = 0; i < o->n_ring; i++)
		close(o->ring[i]);
	bpf_object__close(o->object);
	*o = (struct vns_ebpf_object){ .filter = { -1, -1 }, .gates = -1 };
}

int vns_ebpf_entry(const struct vns_ebpf_object *o, int egress)
{
	return o->filter[egress];
}

int vns_ebpf_begin(const struct vns_ebpf_object *o, struct vns_err *err)
{
	struct vns_bpf_state state = { .begun = 1 };
	uint32_t zero = 0;

	if (bpf_map_update_elem(o->state, &zero, &state, BPF_ANY) == 0)
		return 0;
	return vns_err_set(err, -errno, "cannot start the capture programs: %s", strerror(errno));
}

struct vns_bpf_counts vns_ebpf_counts(const struct vns_ebpf_object *o)
{
	int cpus = libbpf_num_possible_cpus();
	struct vns_bpf_counts *of = calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(*of));
	struct vns_bpf_counts sum = { 0 };
	uint32_t zero = 0;

	if (of && bpf_map_lookup_elem(o->counts, &zero, of) == 0) {
		for (int i = 0; i < cpus; i++) {
			sum.lost += of[i].lost;
			sum.early += of[i].early;
		}
	}
	free(of);
	return sum;
}

/* What became of the interface. Return: 0, or what next() returns. */
static int look_at_interface(struct ebpf *e, struct vns_err *err)
{
	int64_t now = vns_monotonic_ns();
	struct ifreq ifr = { .ifr_ifindex = e->ifindex };

	if (now - e->state_ns < STATE_NS)
		return 0;
	e->state_ns = now;
	if (ioctl(e->control, SIOCGIFNAME, &ifr) < 0) {
		e->gone = true;
		return vns_err_set(err, -ENODEV, "interface %s was removed while capturing on it",
				   e->ifname);
	}
	if (ioctl(e->control, SIOCGIFFLAGS, &ifr) < 0 || (ifr.ifr_flags & IFF_UP)) {
		e->down = false;
		return 0;
	}
	if (e->down)
		return 0;
	e->down = true;
	return vns_err_set(err, -ENETDOWN, "interface %s went down while capturing on it",
			   e->ifname);
}

static size_t drain(struct ebpf *e, struct vns_packet *out, size_t max)
{
	size_t n = vns_ebpf_rings_drain(&e->rings, &e->base, e->linktype, &e->last_ns, out,
					max > INT32_MAX ? INT32_MAX : max);

	e->found |= n > 0 || e->rings.held;
	return n;
}

static int ebpf_next(struct vns_source *s, struct vns_packet *out, size_t max, struct vns_err *err)
{
	struct ebpf *e = (struct ebpf *)s;
	int left = e->timeout_ms, rc;
	struct epoll_event event;
	size_t n = drain(e, out, max);

	while (!n) {
		int slice = (e->found || e->by_clock) && left > WAKE_NS / VNS_NSEC_PER_MSEC ?
			    (int)(WAKE_NS / VNS_NSEC_PER_MSEC) : left;

		if (e->gone)
			return VNS_SOURCE_EOF;
		rc = look_at_interface(e, err);
		if (rc)
			return rc;
		if (e->by_clock && slice <= 0)
			return VNS_SOURCE_NONE;
		rc = epoll_wait(e->epoll, &event, 1, slice); /* also takes the edge back */
		if (rc == 0) /* not for an edge that was pending: it may be that of what was read */
			e->found = false;
		if (rc < 0)
			return errno == EINTR ? VNS_SOURCE_NONE :
			       vns_err_set(err, -errno, "waiting for packets on %s failed: %s",
					   e->ifname, strerror(errno));
		n = drain(e, out, max);
		left -= slice;
		if (rc > 0 || left <= 0)
			break;
	}
	return (int)n;
}

static void ebpf_refresh(struct vns_source *s)
{
	struct vns_bpf_counts c = vns_ebpf_counts(&((struct ebpf *)s)->object);

	s->stats.dropped = c.lost;
	s->stats.early = c.early;
}

static int ebpf_fd(const struct vns_source *s)
{
	const struct ebpf *e = (const struct ebpf *)s;

	return e->by_clock ? -1 : e->epoll;
}

static uint64_t ebpf_left(struct vns_source *s, int64_t upto_ns)
{
	return vns_ebpf_rings_left(&((struct ebpf *)s)->rings, upto_ns);
}

static void ebpf_close(struct vns_source *s)
{
	struct ebpf *e = (struct ebpf *)s;

	vns_ebpf_detach(&e->hooks);
	vns_ebpf_rings_unmap(&e->rings);
	vns_ebpf_unload(&e->object);
	if (e->epoll >= 0)
		close(e->epoll);
	if (e->control >= 0)
		close(e->control);
	free(e);
}

static const struct vns_source_ops ebpf_ops = {
	.next = ebpf_next, .refresh = ebpf_refresh, .fd = ebpf_fd, .left = ebpf_left, .close = ebpf_close,
};

static int watch_rings(struct ebpf *e, struct vns_err *err)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	int rc = 0;

	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll < 0)
		rc = -1;
	for (unsigned int i = 0; !rc && i < e->object.n_ring; i++)
		rc = epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->object.ring[i], &event);
	if (rc)
		return vns_err_set(err, -errno, "cannot wait for packets on %s: %s", e->ifname,
				   strerror(errno));
	return vns_ebpf_rings_map(&e->rings, &e->object, err);
}

/* Interface, programs, ring; then the programs are hung up, in the interface's namespace. */
static int set_up(struct ebpf *e, const char *ifname, const struct vns_bpf_insn *filter,
		  size_t n_filter, enum vns_ebpf_how how, const struct vns_source_opts *o,
		  struct vns_err *err)
{
	uint32_t snaplen = o->snaplen ? o->snaplen : VNS_LIVE_SNAPLEN;
	uint32_t ring_bytes = o->ring_bytes ? o->ring_bytes : RING_BYTES;
	/* each wake-up is an interrupt on the processor of the observed: none for those who look by the clock */
	struct vns_bpf_config config = { .wake_ns = o->fanout == VNS_FANOUT_CPU ? UINT64_MAX : WAKE_NS,
					 .ring_mask = vns_ebpf_ring_mask(ring_bytes),
					 .no_digest = o->without & VNS_WITHOUT_DIGEST };
	int arphrd, rc, token, back;

	e->control = vns_live_socket(o->netns_fd, SOCK_DGRAM, err);
	if (e->control < 0)
		return e->control;
	rc = vns_live_look_up(e->control, ifname, &e->ifindex, &arphrd, err);
	if (rc)
		return rc;
	strcpy(e->ifname, ifname);
	if (o->promisc && vns_live_promiscuous(e->control, e->ifindex))
		return vns_err_set(err, -errno, "cannot make %s promiscuous: %s", ifname,
				   strerror(errno));
	e->linktype = (uint32_t)vns_live_linktype(arphrd);
	config.bare = e->linktype != VNS_LINK_ETHERNET;
	config.snaplen = snaplen < VNS_BPF_RAW_LARGE ? snaplen : VNS_BPF_RAW_LARGE;
	rc = vns_ebpf_load(&e->object, &config, ring_bytes, err);
	if (!rc)
		rc = vns_ebpf_load_filter(&e->object, filter, n_filter, err);
	if (!rc)
		rc = watch_rings(e, err);
	if (rc)
		return rc;
	token = vns_netns_enter(o->netns_fd, err);
	if (vns_netns_failed(token))
		return vns_netns_error(token);
	/* on loopback each packet passes twice: the received one is kept */
	rc = vns_ebpf_attach(&e->hooks, &e->object, ifname, e->ifindex, o->netns_fd,
			     arphrd == ARPHRD_LOOPBACK, how, err);
	back = vns_netns_leave(token, rc ? NULL : err);
	return rc ? rc : back;
}

int vns_source_open_ebpf(struct vns_source **out, const char *ifname,
			 const struct vns_bpf_insn *filter, size_t n_filter, enum vns_ebpf_how how,
			 const struct vns_source_opts *opts, struct vns_err *err)
{
	static const struct vns_source_opts defaults;
	const struct vns_source_opts *o = opts ? opts : &defaults;
	struct ebpf *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return vns_err_set(err, -ENOMEM, "no memory to capture on %s", ifname);
	e->base.ops = &ebpf_ops;
	e->base.without = o->without;
	e->timeout_ms = o->timeout_ms ? (o->timeout_ms > 0 ? o->timeout_ms : 0) : TIMEOUT_MS;
	e->by_clock = o->fanout == VNS_FANOUT_CPU;
	e->last_ns = INT64_MIN;
	e->epoll = e->control = -1;
	e->object = (struct vns_ebpf_object){ .filter = { -1, -1 }, .gates = -1 };
	e->hooks = (struct vns_ebpf_hooks){ .link = { -1, -1 }, .owner = -1, .netns_fd = -1 };
	rc = set_up(e, ifname, filter, n_filter, how, o, err);
	if (rc) {
		ebpf_close(&e->base);
		return rc;
	}
	*out = &e->base;
	return 0;
}
