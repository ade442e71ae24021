// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Frames of one bridge port through this process, those to the guest held for a known time; see
 * relay.h. No queueing discipline of the kernel is needed (netem is not everywhere).
 *
 * The port leaves the bridge; a packet socket is its other end, a tap device stands in the bridge
 * instead. Both carry the virtio header (tun.h, packet(7) PACKET_VNET_HDR), so that large and
 * checksum-less frames of the guest pass as they are.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "experiment/relay.h"

#define SLOTS       1024
#define SMALL_BYTES 2048           /* what the tap gives: no segmentation offload is asked for */
#define LARGE_BYTES (10 + 65550)   /* what a guest may send: virtio header and 64 KB */
#define TAP_NAME    "relay0"
#define AT_ONCE     32             /* frames of one end before the other is looked at */

struct held {
	int64_t at_ns; /* read */
	size_t n;
	uint8_t frame[SMALL_BYTES];
};

struct vns_relay {
	int netns_fd, stop_fd, tap_fd, port_fd, ctl_fd;
	char bridge[IFNAMSIZ], port[IFNAMSIZ];
	int64_t delay_ns;
	struct vns_relay_counts counts;
	struct vns_dist held;    /* how long each frame was */
	struct vns_err err;
	int code;                /* of the set-up */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t ready;
	bool is_ready, moved;
	struct held *queue;
	size_t first, n;
};

static int fail(struct vns_relay *r, const char *what)
{
	return vns_err_set(&r->err, -errno, "delay relay: %s: %s", what, strerror(errno));
}

static int bridge_port(struct vns_relay *r, unsigned long request, const char *port)
{
	struct ifreq q = { .ifr_ifindex = (int)if_nametoindex(port) };

	strcpy(q.ifr_name, r->bridge);
	return ioctl(r->ctl_fd, request, &q);
}

static int open_tap(struct vns_relay *r)
{
	struct ifreq q = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	r->tap_fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (r->tap_fd < 0)
		return fail(r, "/dev/net/tun");
	strcpy(q.ifr_name, TAP_NAME);
	if (ioctl(r->tap_fd, TUNSETIFF, &q) < 0)
		return fail(r, "a tap device");
	q.ifr_flags = IFF_UP | IFF_RUNNING;
	return ioctl(r->ctl_fd, SIOCSIFFLAGS, &q) < 0 ? fail(r, "its interface") : 0;
}

static int open_port(struct vns_relay *r)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(r->port) };
	struct packet_mreq mr = { .mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC };
	int one = 1;

	if (at.sll_ifindex == 0)
		return fail(r, r->port);
	r->port_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (r->port_fd < 0 ||
	    setsockopt(r->port_fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0 ||
	    setsockopt(r->port_fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
	    bind(r->port_fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    setsockopt(r->port_fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mr, sizeof(mr)) < 0)
		return fail(r, "a packet socket");
	return 0;
}

static int set_up(struct vns_relay *r)
{
	int code;

	if (setns(r->netns_fd, CLONE_NEWNET) < 0) /* this thread only, and it ends there */
		return fail(r, "cannot enter the lab's namespace");
	prctl(PR_SET_TIMERSLACK, 1UL);
	r->ctl_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (r->ctl_fd < 0)
		return fail(r, "a socket");
	code = open_tap(r);
	if (!code)
		code = open_port(r);
	if (code)
		return code;
	if (bridge_port(r, SIOCBRDELIF, r->port) < 0)
		return fail(r, "the port cannot be taken from its bridge");
	r->moved = true;
	return bridge_port(r, SIOCBRADDIF, TAP_NAME) < 0 ? fail(r, "the bridge refuses the relay") : 0;
}

static void from_guest(struct vns_relay *r)
{
	static _Thread_local uint8_t frame[LARGE_BYTES];

	for (int i = 0; i < AT_ONCE; i++) {
		ssize_t n = read(r->port_fd, frame, sizeof(frame));

		if (n <= 0)
			return;
		if (write(r->tap_fd, frame, (size_t)n) == n)
			r->counts.frames[1]++;
		else
			r->counts.dropped++;
	}
}

static void to_queue(struct vns_relay *r)
{
	for (int i = 0; i < AT_ONCE; i++) {
		struct held *h = &r->queue[(r->first + r->n) % SLOTS];
		uint8_t full[SMALL_BYTES];
		ssize_t n = read(r->tap_fd, r->n < SLOTS ? h->frame : full, SMALL_BYTES);

		if (n <= 0)
			return;
		if (r->n == SLOTS) {
			r->counts.dropped++;
			continue;
		}
		h->at_ns = vns_monotonic_ns();
		h->n = (size_t)n;
		r->n++;
	}
}

static void count_hold(struct vns_relay *r, int64_t hold)
{
	struct vns_relay_counts *c = &r->counts;
	uint64_t n = ++c->frames[0];

	vns_dist_add(&r->held, hold);
	if (n == 1 || hold < c->hold_min_ns)
		c->hold_min_ns = hold;
	if (hold > c->hold_max_ns)
		c->hold_max_ns = hold;
	c->hold_mean_ns += ((double)hold - c->hold_mean_ns) / (double)n;
}

/* Send what is due. Return: ns until the next one is, or -1 when none waits. */
static int64_t send_due(struct vns_relay *r)
{
	while (r->n > 0) {
		struct held *h = &r->queue[r->first];
		int64_t now = vns_monotonic_ns(), hold = now - h->at_ns;

		if (hold < r->delay_ns)
			return r->delay_ns - hold;
		if (write(r->port_fd, h->frame, h->n) == (ssize_t)h->n)
			count_hold(r, hold);
		else
			r->counts.dropped++;
		r->first = (r->first + 1) % SLOTS;
		r->n--;
	}
	return -1;
}

static void work(struct vns_relay *r)
{
	struct pollfd p[] = { { r->stop_fd, POLLIN, 0 }, { r->tap_fd, POLLIN, 0 },
			      { r->port_fd, POLLIN, 0 } };

	while (!p[0].revents) {
		int64_t wait = send_due(r);
		struct timespec t = { wait / VNS_NSEC_PER_SEC, wait % VNS_NSEC_PER_SEC };

		if (ppoll(p, 3, wait >= 0 ? &t : NULL, NULL) < 0 && errno != EINTR)
			return;
		if (p[1].revents)
			to_queue(r);
		if (p[2].revents)
			from_guest(r);
	}
}

static void *run(void *arg)
{
	struct vns_relay *r = arg;
	int code = set_up(r);

	pthread_mutex_lock(&r->lock);
	r->code = code;
	r->is_ready = true;
	pthread_cond_signal(&r->ready);
	pthread_mutex_unlock(&r->lock);
	if (!code)
		work(r);
	if (r->tap_fd >= 0)
		close(r->tap_fd); /* its interface goes with it */
	if (r->moved)
		bridge_port(r, SIOCBRADDIF, r->port);
	if (r->port_fd >= 0)
		close(r->port_fd);
	if (r->ctl_fd >= 0)
		close(r->ctl_fd);
	return NULL;
}

static void destroy(struct vns_relay *r)
{
	if (r->stop_fd >= 0)
		close(r->stop_fd);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->ready);
	vns_dist_fini(&r->held);
	free(r->queue);
	free(r);
}

int vns_relay_open(struct vns_relay **out, int netns_fd, const char *bridge, const char *port,
		   int64_t delay_ns, struct vns_err *err)
{
	struct vns_relay *r = calloc(1, sizeof(*r));
	int code;

	if (!r)
		return vns_err_set(err, -ENOMEM, "out of memory");
	r->netns_fd = netns_fd;
	r->tap_fd = r->port_fd = r->ctl_fd = -1;
	r->delay_ns = delay_ns;
	snprintf(r->bridge, sizeof(r->bridge), "%s", bridge);
	snprintf(r->port, sizeof(r->port), "%s", port);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->ready, NULL);
	r->queue = calloc(SLOTS, sizeof(*r->queue));
	r->stop_fd = eventfd(0, EFD_CLOEXEC);
	code = !r->queue || r->stop_fd < 0 ? -ENOMEM : -pthread_create(&r->thread, NULL, run, r);
	if (code) {
		destroy(r);
		return vns_err_set(err, code, "delay relay: %s", strerror(-code));
	}
	pthread_mutex_lock(&r->lock);
	while (!r->is_ready)
		pthread_cond_wait(&r->ready, &r->lock);
	pthread_mutex_unlock(&r->lock);
	if (r->code) {
		code = r->code;
		if (err)
			*err = r->err;
		pthread_join(r->thread, NULL);
		destroy(r);
		return code;
	}
	*out = r;
	return 0;
}

void vns_relay_close(struct vns_relay *r, struct vns_relay_counts *counts)
{
	if (!r)
		return;
	eventfd_write(r->stop_fd, 1);
	pthread_join(r->thread, NULL);
	r->counts.hold_p25_ns = vns_dist_quantile(&r->held, 0.25);
	if (counts)
		*counts = r->counts;
	destroy(r);
}
