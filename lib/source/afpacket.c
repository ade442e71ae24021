// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A network interface -> packets, by an AF_PACKET socket with a TPACKET_V3 ring (packet(7),
 * Documentation/networking/packet_mmap.rst).
 *
 * The kernel fills blocks of the mapped ring and hands each over when it is full or 10 ms (opts->retire_ms)
 * after its first packet, so that output is prompt at any rate. We decode straight from the block and
 * give it back. Stamps are the kernel's software stamps: CLOCK_REALTIME in ns, taken when the
 * packet enters the stack or is handed to the driver (SO_TIMESTAMPNS switches them on; else the
 * time of the copy into the ring would stand there).
 *
 * The socket is created with protocol 0 and receives nothing until bind(): filter and ring are in
 * place by then, so that no packet gets in unfiltered. Both directions are captured. On a loopback
 * interface the kernel shows each packet twice, when sent and when received: the second is kept.
 *
 * Where both ends of a flow run on processors of their own, these take turns at the socket: its state
 * moves between their caches with each packet, which costs the observed more than the copy. With
 * opts->fanout VNS_FANOUT_CPU the interface has a lane, a socket with a ring, for each
 * processor (PACKET_FANOUT_CPU), and next() takes the earliest head of all. A kernel that refuses leaves one
 * lane, and a sentence (vns_source_sentence()). A lane that is empty may
 * still hold an earlier packet in the block that the kernel fills: what is SETTLED_NS old is complete,
 * and what is younger waits, yet never longer than that after its block came, whatever the clock does.
 *
 * Ethernet and loopback are read with their link header; other interfaces (tun, WireGuard,
 * ipip) through SOCK_DGRAM, which leaves the IP packet.
 *
 * "any" is a socket bound to no interface: it sees those of its namespace, later ones too. A
 * forwarded packet passes several of them, so each interface is a capture point, its number the
 * interface's index. Link headers differ among them: SOCK_DGRAM leaves them out, and the cooked header
 * (LINKTYPE_LINUX_SLL) that tells the decoder the protocol is written into the gap that the kernel
 * leaves before each packet in the ring.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
/* after net/if.h, whose definitions they leave alone then */
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "base/netns.h"
#include "source/live.h"
#include "source/source.h"

#define RETIRE_MS    10 /* between looks at a block that does not fill, if opts->retire_ms is 0 */
#define RING_BYTES   (16u << 20)
/*
 * A block is handed over retire_ms after its first packet however empty it is, so that a quiet
 * interface uses up a block in that time: the more blocks, the longer a reader may be held up.
 */
#define BLOCK_BYTES  (64u << 10)
#define BLOCK_HEADS  1024u /* of the block and of one packet, generously */
#define TIMEOUT_MS   100
#define COOKED_BYTES 16 /* of LINKTYPE_LINUX_SLL */
#define MAX_LANES    4 /* processors beyond share them */
#define LANE_LEAST   (4u << 20) /* bytes of a lane's ring: traffic may keep to one processor */
#define NUMBERS      8 /* of the kernel's for a group; three in a row have a meaning of their own */
#define SETTLED      3 /* times retire_ms: a block comes within two, and its timer may be late */
#define DRAIN_ROUNDS 3 /* empty polls of twice retire_ms before a dead interface is reported */

/* A socket and its ring. */
struct lane {
	int fd;
	uint8_t *ring;
	size_t ring_bytes, block_bytes;
	unsigned int n_block, block;        /* number of blocks; the one we are in or wait for */
	const struct tpacket3_hdr *packet;  /* next packet of the block; NULL: block not opened */
	uint32_t left;                      /* packets left in it */
	int64_t opened_ns;                  /* monotonic; with several lanes only */
};

struct live {
	struct vns_source base;
	struct lane lane[MAX_LANES];
	unsigned int n_lane;
	char ifname[IFNAMSIZ];
	int64_t last_ns;
	uint32_t linktype;
	int timeout_ms;
	unsigned int retire_ms;
	bool loopback;
	bool any;      /* all interfaces */
	char point[IFNAMSIZ]; /* name asked for last */
	uint16_t fanout;
	bool failing;  /* a socket has an error, which is asked for once the ring is empty */
	bool gone;     /* interface removed: nothing will come any more */
	bool refused;  /* the kernel does not let sockets share packets out */
};

static struct tpacket_block_desc *block_at(const struct lane *l, unsigned int i)
{
	return (struct tpacket_block_desc *)(void *)(l->ring + i * l->block_bytes);
}

static void block_release(struct lane *l)
{
	__atomic_store_n(&block_at(l, l->block)->hdr.bh1.block_status, TP_STATUS_KERNEL,
			 __ATOMIC_RELEASE);
	l->packet = NULL;
	l->block = (l->block + 1) % l->n_block;
}

/* True when the current block is ours to read. */
static bool block_open(struct lane *l)
{
	struct tpacket_block_desc *b = block_at(l, l->block);

	if (l->packet)
		return true;
	if (!(__atomic_load_n(&b->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
		return false;
	l->packet = (const void *)((uint8_t *)b + b->hdr.bh1.offset_to_first_pkt);
	l->left = b->hdr.bh1.num_pkts;
	if (l->left)
		return true;
	block_release(l);
	return false;
}

/* Put the cooked header before the packet. */
static void cook(const struct sockaddr_ll *from, struct vns_frame *f)
{
	const uint16_t head[3] = { htons(from->sll_pkttype), htons(from->sll_hatype),
				   htons(from->sll_halen) };
	/* our mapping of the ring is writable; the kernel leaves so much (tpacket_rcv()) */
	uint8_t *to = (uint8_t *)(uintptr_t)f->data - COOKED_BYTES;

	memcpy(to, head, sizeof(head));
	memcpy(to + 6, from->sll_addr, 8);
	memcpy(to + 14, &from->sll_protocol, 2);
	f->data = to;
	f->cap_len += COOKED_BYTES;
	f->wire_len += COOKED_BYTES;
	f->point = vns_live_point(from->sll_ifindex);
}

static int64_t stamp_of(const struct tpacket3_hdr *h)
{
	return (int64_t)h->tp_sec * VNS_NSEC_PER_SEC + h->tp_nsec;
}

static const struct sockaddr_ll *from_of(const struct tpacket3_hdr *h)
{
	return (const void *)((const uint8_t *)h + TPACKET_ALIGN(sizeof(*h)));
}

/* Loopback's first sighting of a packet? */
static bool is_twice(const struct live *l, const struct tpacket3_hdr *h)
{
	const struct sockaddr_ll *from = from_of(h);

	return from->sll_pkttype == PACKET_OUTGOING &&
	       (l->loopback || from->sll_hatype == ARPHRD_LOOPBACK);
}

/* One ring entry to one packet. Return: false when it is loopback's first sighting. */
static bool take_packet(struct live *l, const struct tpacket3_hdr *h, struct vns_packet *out)
{
	const struct sockaddr_ll *from = from_of(h);
	bool outgoing = from->sll_pkttype == PACKET_OUTGOING;
	struct vns_frame f = {
		.time_ns = stamp_of(h),
		.data = (const uint8_t *)h + h->tp_mac,
		.cap_len = h->tp_snaplen,
		.wire_len = h->tp_len,
		.linktype = l->linktype,
		.flags = outgoing ? VNS_PKT_F_OUTGOING : 0,
	};

	if (is_twice(l, h))
		return false;
	if (l->any)
		cook(from, &f);
	if (h->tp_status & TP_STATUS_VLAN_VALID) {
		f.flags |= VNS_PKT_F_VLAN;
		f.vlan = h->hv1.tp_vlan_tci & 0x0fff;
	}
	vns_source_emit(&l->base, &f, &l->last_ns, out);
	return true;
}

static void next_packet(struct lane *l)
{
	l->packet = (const void *)((const uint8_t *)l->packet + l->packet->tp_next_offset);
	if (--l->left == 0)
		block_release(l);
}

static size_t drain_lane(struct live *l, struct lane *from, struct vns_packet *out, size_t max)
{
	size_t n = 0;

	while (n < max && block_open(from)) {
		n += take_packet(l, from->packet, &out[n]);
		next_packet(from);
	}
	return n;
}

/* The lane whose next packet is the earliest of all. @all: no lane is empty. */
static struct lane *earliest(struct live *l, int64_t mono_ns, bool *all)
{
	struct lane *first = NULL;

	*all = true;
	for (unsigned int i = 0; i < l->n_lane; i++) {
		struct lane *k = &l->lane[i];
		bool was_open = k->packet;

		if (!block_open(k)) {
			*all = false;
			continue;
		}
		if (!was_open && !k->opened_ns)
			k->opened_ns = mono_ns;
		if (!first || stamp_of(k->packet) < stamp_of(first->packet))
			first = k;
	}
	return first;
}

static size_t drain_lanes(struct live *l, struct vns_packet *out, size_t max)
{
	int64_t settle_ns = (int64_t)SETTLED * l->retire_ms * VNS_NSEC_PER_MSEC;
	int64_t mono_ns = vns_monotonic_ns(), settled_ns = vns_now_ns() - settle_ns;
	struct lane *from;
	size_t n = 0;
	bool all;

	while (n < max && (from = earliest(l, mono_ns, &all))) {
		if (!all && stamp_of(from->packet) > settled_ns && mono_ns - from->opened_ns < settle_ns)
			break;
		n += take_packet(l, from->packet, &out[n]);
		next_packet(from);
		if (!from->packet)
			from->opened_ns = 0;
	}
	return n;
}

static size_t drain_ring(struct live *l, struct vns_packet *out, size_t max)
{
	return l->n_lane == 1 ? drain_lane(l, &l->lane[0], out, max) : drain_lanes(l, out, max);
}

/*
 * The sockets' error, by which it is gone there: until then their descriptors are readable, so that whoever
 * polls them comes back after each batch of the rest.
 */
static int take_failure(struct live *l)
{
	int failed = ENETDOWN;

	for (unsigned int i = 0; i < l->n_lane; i++) {
		int e = 0;
		socklen_t len = sizeof(e);

		if (getsockopt(l->lane[i].fd, SOL_SOCKET, SO_ERROR, &e, &len) == 0 && e)
			failed = e;
	}
	l->failing = false;
	return failed;
}

/* The ring is empty after a failure: say it once. */
static int report_failure(struct live *l, struct vns_err *err)
{
	struct ifreq ifr = { .ifr_ifindex = 0 };
	int e = take_failure(l);

	memcpy(ifr.ifr_name, l->ifname, IFNAMSIZ);
	if (e == ENETDOWN && ioctl(l->lane[0].fd, SIOCGIFINDEX, &ifr) < 0) {
		l->gone = true;
		return vns_err_set(err, -ENODEV, "interface %s was removed while capturing on it",
				   l->ifname);
	}
	if (e == ENETDOWN)
		return vns_err_set(err, -e, "interface %s went down while capturing on it",
				   l->ifname);
	return vns_err_set(err, -e, "capturing on %s failed: %s", l->ifname, strerror(e));
}

static uint64_t left_in_lane(const struct live *l, const struct lane *k, int64_t upto_ns)
{
	const struct tpacket3_hdr *h = k->packet;
	uint32_t left = k->left;
	uint64_t sum = 0;

	for (unsigned int i = 0; i < k->n_block; i++) {
		struct tpacket_block_desc *b = block_at(k, (k->block + i) % k->n_block);

		if (!h) {
			if (!(__atomic_load_n(&b->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
				break;
			h = (const void *)((uint8_t *)b + b->hdr.bh1.offset_to_first_pkt);
			left = b->hdr.bh1.num_pkts;
		}
		for (; left; left--, h = (const void *)((const uint8_t *)h + h->tp_next_offset))
			sum += stamp_of(h) <= upto_ns && !is_twice(l, h);
		h = NULL;
	}
	return sum;
}

static uint64_t live_left(struct vns_source *s, int64_t upto_ns)
{
	const struct live *l = (const struct live *)s;
	uint64_t sum = 0;

	for (unsigned int i = 0; i < l->n_lane; i++)
		sum += left_in_lane(l, &l->lane[i], upto_ns);
	return sum;
}

/* poll() of all lanes. A block that is held back says at once that there is something: look again soon. */
static int wait_for_lanes(struct live *l, int timeout_ms, short *seen)
{
	struct pollfd p[MAX_LANES];
	int rc;

	*seen = 0;
	for (unsigned int i = 0; i < l->n_lane; i++) {
		bool held = l->lane[i].packet;

		p[i] = (struct pollfd){ .fd = l->lane[i].fd, .events = held ? 0 : POLLIN };
		if (held && timeout_ms > (int)l->retire_ms)
			timeout_ms = (int)l->retire_ms;
	}
	rc = poll(p, l->n_lane, timeout_ms);
	for (unsigned int i = 0; rc > 0 && i < l->n_lane; i++)
		*seen |= p[i].revents;
	return rc;
}

static int live_next(struct vns_source *s, struct vns_packet *out, size_t max,
		     struct vns_err *err)
{
	struct live *l = (struct live *)s;
	int rounds = 0;
	short seen;
	size_t n;

	for (;;) {
		n = drain_ring(l, out, max > INT32_MAX ? INT32_MAX : max);
		if (n || (rounds > 0 && !l->failing))
			return (int)n;
		if (l->gone)
			return VNS_SOURCE_EOF;
		/* a dying interface's last block comes with the retire timer */
		if (l->failing && rounds++ >= DRAIN_ROUNDS)
			return report_failure(l, err);
		if (l->failing) { /* poll() does not wait */
			vns_sleep_ns(2 * (int64_t)l->retire_ms * VNS_NSEC_PER_MSEC);
			continue;
		}
		if (wait_for_lanes(l, l->timeout_ms, &seen) < 0)
			return errno == EINTR ? VNS_SOURCE_NONE :
			       vns_err_set(err, -errno, "waiting for packets on %s failed: %s",
					   l->ifname, strerror(errno));
		l->failing = seen & POLLERR;
		rounds += !l->failing;
	}
}

static void live_refresh(struct vns_source *s)
{
	struct live *l = (struct live *)s;

	for (unsigned int i = 0; i < l->n_lane; i++) {
		struct tpacket_stats_v3 st;
		socklen_t len = sizeof(st);

		/* reading resets the kernel's counters */
		if (getsockopt(l->lane[i].fd, SOL_PACKET, PACKET_STATISTICS, &st, &len) == 0)
			s->stats.dropped += st.tp_drops;
	}
}

static const char *live_point_name(const struct vns_source *s, uint16_t point)
{
	struct live *l = (struct live *)(uintptr_t)s;
	struct ifreq ifr = { .ifr_ifindex = point };

	if (!l->any)
		return point ? NULL : "";
	l->point[0] = '\0';
	if (point != VNS_LIVE_LAST_POINT && ioctl(l->lane[0].fd, SIOCGIFNAME, &ifr) == 0)
		memcpy(l->point, ifr.ifr_name, IFNAMSIZ);
	return l->point;
}

static int live_fd(const struct vns_source *s)
{
	const struct live *l = (const struct live *)s;

	/* one that holds a block back would be readable all the time */
	return l->n_lane == 1 ? l->lane[0].fd : -1;
}

static void close_lane(struct lane *k)
{
	if (k->ring)
		munmap(k->ring, k->ring_bytes);
	if (k->fd >= 0)
		close(k->fd);
	*k = (struct lane){ .fd = -1 };
}

static void live_close(struct vns_source *s)
{
	struct live *l = (struct live *)s;

	for (unsigned int i = 0; i < l->n_lane; i++)
		close_lane(&l->lane[i]);
	free(l);
}

static const struct vns_source_ops live_ops = {
	.next = live_next, .refresh = live_refresh, .point_name = live_point_name, .fd = live_fd,
	.left = live_left, .close = live_close,
};

/* socket() inside the namespace @netns_fd (> 0), back in ours afterwards. */
int vns_live_socket(int netns_fd, int type, struct vns_err *err)
{
	int own = vns_netns_enter(netns_fd, err), fd, e, rc;

	if (vns_netns_failed(own))
		return vns_netns_error(own);
	fd = socket(AF_PACKET, type | SOCK_CLOEXEC, 0);
	e = errno;
	rc = vns_netns_leave(own, err);
	if (rc) {
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (fd < 0 && (e == EPERM || e == EACCES))
		return vns_err_set(err, -e, "capturing needs the capability CAP_NET_RAW: run as "
				   "root or grant it");
	return fd >= 0 ? fd : vns_err_set(err, -e, "cannot open a packet socket: %s", strerror(e));
}

/* Index, state and hardware type of the interface, seen from the socket's namespace. */
int vns_live_look_up(int fd, const char *ifname, int *ifindex, int *arphrd, struct vns_err *err)
{
	struct ifreq ifr = { .ifr_ifindex = 0 };

	if (strlen(ifname) >= IFNAMSIZ)
		return vns_err_set(err, -ENODEV, "there is no interface %s", ifname);
	strcpy(ifr.ifr_name, ifname);
	if (ioctl(fd, SIOCGIFINDEX, &ifr) < 0)
		return errno == ENODEV ?
		       vns_err_set(err, -ENODEV, "there is no interface %s", ifname) :
		       vns_err_set(err, -errno, "interface %s: %s", ifname, strerror(errno));
	*ifindex = ifr.ifr_ifindex;
	if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		return vns_err_set(err, -errno, "interface %s: %s", ifname, strerror(errno));
	*arphrd = ifr.ifr_hwaddr.sa_family;
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return vns_err_set(err, -errno, "interface %s: %s", ifname, strerror(errno));
	if (!(ifr.ifr_flags & IFF_UP))
		return vns_err_set(err, -ENETDOWN, "interface %s is down", ifname);
	return 0;
}

int vns_live_linktype(int arphrd)
{
	return arphrd == ARPHRD_ETHER || arphrd == ARPHRD_LOOPBACK ? VNS_LINK_ETHERNET :
								     VNS_LINK_RAW;
}

int vns_source_live_linktype(const char *ifname, int netns_fd, struct vns_err *err)
{
	int fd = vns_live_socket(netns_fd, SOCK_RAW, err);
	int ifindex, arphrd = ARPHRD_NONE, rc = 0;

	if (fd < 0)
		return fd;
	if (!vns_live_is_any(ifname))
		rc = vns_live_look_up(fd, ifname, &ifindex, &arphrd, err);
	close(fd);
	return rc < 0 ? rc : vns_live_linktype(arphrd);
}

/* Attach the filter; what it returns is the number of bytes to keep, at most @snaplen. */
static int attach_filter(const struct live *l, const struct lane *k, const struct vns_bpf_insn *filter, size_t n,
			 uint32_t snaplen, struct vns_err *err)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, snaplen);
	struct sock_filter *code = &all;
	struct sock_fprog prog;
	int rc = 0;

	if (n > BPF_MAXINSNS)
		return vns_err_set(err, -EINVAL, "the capture filter has %zu instructions, "
				   "the kernel takes %d", n, BPF_MAXINSNS);
	if (n) {
		code = calloc(n, sizeof(*code));
		if (!code)
			return vns_err_set(err, -ENOMEM, "no memory for the capture filter");
		for (size_t i = 0; i < n; i++) {
			code[i] = (struct sock_filter){ filter[i].code, filter[i].jt,
							filter[i].jf, filter[i].k };
			if (code[i].code == (BPF_RET | BPF_K) && code[i].k > snaplen)
				code[i].k = snaplen;
		}
	}
	prog = (struct sock_fprog){ .len = (unsigned short)(n ? n : 1), .filter = code };
	if (setsockopt(k->fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0)
		rc = vns_err_set(err, -errno, "the kernel refuses the capture filter on %s: %s",
				 l->ifname, strerror(errno));
	if (n)
		free(code);
	return rc;
}

/* The ring, smaller if the kernel has no memory for the wanted size. */
static int map_ring(const struct live *l, struct lane *k, uint32_t bytes, uint32_t snaplen, struct vns_err *err)
{
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
	struct tpacket_req3 r = { .tp_frame_size = TPACKET_ALIGNMENT << 7,
				  .tp_retire_blk_tov = l->retire_ms };

	r.tp_block_size = BLOCK_BYTES;
	while ((r.tp_block_size < snaplen + BLOCK_HEADS ||
		r.tp_block_size < BLOCK_BYTES / RETIRE_MS * l->retire_ms) &&
	       r.tp_block_size < 512u << 10)
		r.tp_block_size *= 2;
	while (r.tp_block_size > page && bytes / r.tp_block_size < 4)
		r.tp_block_size /= 2;
	r.tp_block_nr = bytes / r.tp_block_size > 2 ? bytes / r.tp_block_size : 2;
	for (;;) {
		r.tp_frame_nr = r.tp_block_size / r.tp_frame_size * r.tp_block_nr;
		if (setsockopt(k->fd, SOL_PACKET, PACKET_RX_RING, &r, sizeof(r)) == 0)
			break;
		if (errno != ENOMEM || r.tp_block_nr <= 2)
			return vns_err_set(err, -errno, "cannot set up the capture ring on %s: %s",
					   l->ifname, strerror(errno));
		r.tp_block_nr /= 2;
	}
	k->block_bytes = r.tp_block_size;
	k->n_block = r.tp_block_nr;
	k->ring_bytes = k->block_bytes * k->n_block;
	k->ring = mmap(NULL, k->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
	if (k->ring == MAP_FAILED) {
		k->ring = NULL;
		return vns_err_set(err, -errno, "cannot map the capture ring on %s: %s",
				   l->ifname, strerror(errno));
	}
	return 0;
}

int vns_live_promiscuous(int fd, int ifindex)
{
	struct packet_mreq mr = { .mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC };

	return setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mr, sizeof(mr));
}

static int set_options(const struct live *l, const struct lane *k, int ifindex, bool promisc, struct vns_err *err)
{
	const int on = 1, v3 = TPACKET_V3;

	if (setsockopt(k->fd, SOL_PACKET, PACKET_VERSION, &v3, sizeof(v3)) < 0 ||
	    setsockopt(k->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0)
		return vns_err_set(err, -errno, "this kernel lacks what capture on %s needs "
				   "(TPACKET_V3, SO_TIMESTAMPNS): %s", l->ifname, strerror(errno));
	/* spares the ring; older kernels lack it and take_packet() does it alone */
	if (l->loopback)
		setsockopt(k->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	if (promisc && l->any)
		return vns_err_set(err, -EINVAL, "promiscuous mode is one interface's: name it "
				   "instead of any");
	if (promisc && vns_live_promiscuous(k->fd, ifindex))
		return vns_err_set(err, -errno, "cannot make %s promiscuous: %s", l->ifname,
				   strerror(errno));
	return 0;
}

/* Socket of the right type for the interface; fills fd, link type and index. */
static int open_socket(struct live *l, struct lane *k, const char *ifname, int netns_fd, int *ifindex,
		       struct vns_err *err)
{
	int arphrd, rc;

	l->any = vns_live_is_any(ifname);
	l->base.any = l->any;
	k->fd = vns_live_socket(netns_fd, l->any ? SOCK_DGRAM : SOCK_RAW, err);
	if (k->fd < 0)
		return k->fd;
	if (l->any) {
		*ifindex = 0;
		strcpy(l->ifname, ifname);
		l->linktype = VNS_LINK_LINUX_SLL;
		return 0;
	}
	rc = vns_live_look_up(k->fd, ifname, ifindex, &arphrd, err);
	if (rc < 0)
		return rc;
	strcpy(l->ifname, ifname);
	l->linktype = (uint32_t)vns_live_linktype(arphrd);
	l->loopback = arphrd == ARPHRD_LOOPBACK;
	if (l->linktype == VNS_LINK_ETHERNET)
		return 0;
	close(k->fd);
	k->fd = vns_live_socket(netns_fd, SOCK_DGRAM, err);
	return k->fd < 0 ? k->fd : 0;
}

/*
 * PACKET_FANOUT_HASH goes by the kernel's symmetric flow hash: both directions of a flow come to one
 * socket, in order, so that engines that keep flows need no merging. Fragments go by addresses, all of
 * a datagram to one socket. PACKET_FANOUT_FLAG_DEFRAG would put them together: packets that never were.
 * Only a bound socket can join; until it has, it would see what the others see too, so that its filter
 * rejects everything so long. @group: VNS_FANOUT_NEW and _CPU become a number that nobody has. The kernel counts
 * them up from 0 after boot, and in turns through all of 16 bits; what opts->fanout has another meaning for
 * (0: no group at all) cannot be told to the other sockets. Return: as usual, or 1: that was such a number, and
 * a socket made anew gets the next one.
 */
static int join_group(struct live *l, const struct lane *k, uint16_t *group, struct vns_err *err)
{
	int kind = l->n_lane > 1 ? PACKET_FANOUT_CPU : PACKET_FANOUT_HASH;
	int how = *group | kind << 16;
	socklen_t len = sizeof(how);

	if (*group == VNS_FANOUT_NEW || *group == VNS_FANOUT_CPU)
		how = (kind | PACKET_FANOUT_FLAG_UNIQUEID) << 16;
	l->refused = setsockopt(k->fd, SOL_PACKET, PACKET_FANOUT, &how, sizeof(how)) ||
		     getsockopt(k->fd, SOL_PACKET, PACKET_FANOUT, &how, &len);
	if (l->refused)
		return vns_err_set(err, -errno, "cannot share out the packets of %s: %s", l->ifname,
				   strerror(errno));
	if ((uint16_t)how == 0 || (uint16_t)how >= VNS_FANOUT_CPU)
		return 1;
	*group = (uint16_t)how;
	return 0;
}

/* Return: as join_group(). */
static int bind_and_join(struct live *l, const struct lane *k, const struct sockaddr_ll *to,
			 uint16_t *group,
			 const struct vns_bpf_insn *filter, size_t n_filter, uint32_t snaplen,
			 struct vns_err *err)
{
	static const struct vns_bpf_insn nothing = { .code = BPF_RET | BPF_K, .k = 0 };
	int rc = *group ? attach_filter(l, k, &nothing, 1, snaplen, err) :
			  attach_filter(l, k, filter, n_filter, snaplen, err);

	if (!rc && bind(k->fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		rc = vns_err_set(err, -errno, "cannot capture on %s: %s", l->ifname,
				 strerror(errno));
	if (!rc && *group)
		rc = join_group(l, k, group, err);
	if (!rc && *group)
		rc = attach_filter(l, k, filter, n_filter, snaplen, err);
	return rc;
}

/* Return: as join_group(). */
static int try_lane(struct live *l, struct lane *k, const char *ifname, const struct vns_bpf_insn *filter,
		    size_t n_filter, const struct vns_source_opts *o, uint32_t ring_bytes,
		    struct vns_err *err)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	uint32_t snaplen = o->snaplen ? o->snaplen : VNS_LIVE_SNAPLEN;
	int rc = open_socket(l, k, ifname, o->netns_fd, &to.sll_ifindex, err);

	if (!rc)
		rc = set_options(l, k, to.sll_ifindex, o->promisc, err);
	if (!rc)
		rc = map_ring(l, k, ring_bytes, snaplen, err);
	if (!rc)
		rc = bind_and_join(l, k, &to, &l->fanout, filter, n_filter, snaplen, err);
	return rc;
}

static int open_lane(struct live *l, struct lane *k, const char *ifname, const struct vns_bpf_insn *filter,
		     size_t n_filter, const struct vns_source_opts *o, uint32_t ring_bytes,
		     struct vns_err *err)
{
	int rc = 1;

	for (int i = 0; i < NUMBERS && rc > 0; i++) {
		close_lane(k);
		rc = try_lane(l, k, ifname, filter, n_filter, o, ring_bytes, err);
	}
	return rc > 0 ? vns_err_set(err, -EUSERS, "no number to share out the packets of %s under", ifname) : rc;
}

/* As many as there are processors, while each has a ring that is worth it. */
static unsigned int lanes_for(const char *ifname, uint32_t ring_bytes)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int n = 1;

	if (vns_live_is_any(ifname))
		return 1;
	while (n < MAX_LANES && (long)n < cpus && ring_bytes / (n + 1) >= LANE_LEAST)
		n++;
	return n;
}

uint16_t vns_live_fanout(const struct vns_source *s)
{
	return ((const struct live *)s)->fanout;
}

static int open_lanes(struct live *l, const char *ifname, const struct vns_bpf_insn *filter, size_t n_filter,
		      const struct vns_source_opts *o, uint32_t ring_bytes, struct vns_err *err)
{
	int rc = 0;

	for (unsigned int i = 0; i < l->n_lane; i++)
		l->lane[i].fd = -1;
	for (unsigned int i = 0; i < l->n_lane && !rc; i++)
		rc = open_lane(l, &l->lane[i], ifname, filter, n_filter, o, ring_bytes / l->n_lane, err);
	return rc;
}

/* The kernel shares nothing out (an old one, or a group too many): one socket sees the same. */
static int open_alone(struct live *l, const char *ifname, const struct vns_bpf_insn *filter, size_t n_filter,
		      const struct vns_source_opts *o, uint32_t ring_bytes, struct vns_err *err)
{
	for (unsigned int i = 0; i < l->n_lane; i++)
		close_lane(&l->lane[i]);
	snprintf(l->base.sentence, sizeof(l->base.sentence), "%.300s, so one socket takes all", err->text);
	l->n_lane = 1;
	l->fanout = 0;
	return open_lanes(l, ifname, filter, n_filter, o, ring_bytes, err);
}

int vns_source_open_live_bpf(struct vns_source **out, const char *ifname,
			     const struct vns_bpf_insn *filter, size_t n_filter,
			     const struct vns_source_opts *opts, struct vns_err *err)
{
	static const struct vns_source_opts defaults;
	const struct vns_source_opts *o = opts ? opts : &defaults;
	uint32_t ring_bytes = o->ring_bytes ? o->ring_bytes : RING_BYTES;
	struct live *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return vns_err_set(err, -ENOMEM, "no memory to capture on %s", ifname);
	l->base.ops = &live_ops;
	l->timeout_ms = o->timeout_ms ? (o->timeout_ms > 0 ? o->timeout_ms : 0) : TIMEOUT_MS;
	l->retire_ms = o->retire_ms ? o->retire_ms : RETIRE_MS;
	l->last_ns = INT64_MIN;
	l->n_lane = o->fanout == VNS_FANOUT_CPU ? lanes_for(ifname, ring_bytes) : 1;
	l->fanout = o->fanout == VNS_FANOUT_CPU && l->n_lane == 1 ? 0 : o->fanout;
	rc = open_lanes(l, ifname, filter, n_filter, o, ring_bytes, err);
	if (rc && l->refused && (o->fanout == VNS_FANOUT_CPU || o->fanout == VNS_FANOUT_NEW))
		rc = open_alone(l, ifname, filter, n_filter, o, ring_bytes, err);
	if (rc) {
		live_close(&l->base);
		return rc;
	}
	*out = &l->base;
	return 0;
}
