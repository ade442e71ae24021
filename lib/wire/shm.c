// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Clock exchange over a shared page, both sides; see shm.h for the layout.
 * A page and a deadline in, exchanges out. No lock: each word has one writer, and the
 * acquire/release pairs order the stamps with the sequence number that makes them valid.
 */
#include <sched.h>

#include "wire/shm.h"

struct page {
	uint64_t magic;
	uint64_t pad0[7];
	uint64_t request;
	uint64_t pad1[7];
	uint64_t reply;
	int64_t t2_ns, t3_ns;
};

/* Looks at the clock between deadline checks: a read of it is dear next to a load. */
#define SPINS_PER_CHECK 64
/*
 * On a crowded machine the other side may not be running. Spin that long, then look again after
 * short sleeps: a thread that sleeps is let in at once when it wakes, one that spins is not.
 */
#define SPIN_NS  (30 * VNS_NSEC_PER_USEC)
#define SLEEP_NS (100 * VNS_NSEC_PER_USEC)
/* An exchange slower than that: perhaps both sides share a core. Try from another one. */
#define SLOW_NS  (300 * VNS_NSEC_PER_USEC)

static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

uint64_t vns_shm_serve(void *page, uint32_t session, int64_t max_ns)
{
	struct page *p = page;
	int64_t end = vns_monotonic_ns() + max_ns, t2;
	uint64_t req, last = 0, answered = 0;

	__atomic_store_n(&p->magic, VNS_SHM_MAGIC, __ATOMIC_RELEASE);
	for (unsigned int spin = 1;; spin++) {
		req = __atomic_load_n(&p->request, __ATOMIC_ACQUIRE);
		if (req != last && req >> 32 == session) {
			if ((uint32_t)req == VNS_SHM_STOP)
				break;
			t2 = vns_now_ns();
			__atomic_store_n(&p->t2_ns, t2, __ATOMIC_RELAXED);
			__atomic_store_n(&p->t3_ns, vns_now_ns(), __ATOMIC_RELAXED);
			__atomic_store_n(&p->reply, req, __ATOMIC_RELEASE);
			last = req;
			answered++;
		} else if (spin % SPINS_PER_CHECK == 0 && vns_monotonic_ns() > end) {
			break;
		}
		relax();
	}
	return answered;
}

/* Wait for the reply to @req. Return: true when it came before @end. */
static bool await_reply(const struct page *p, uint64_t req, int64_t end)
{
	int64_t spin_until = vns_monotonic_ns() + SPIN_NS;

	for (unsigned int spin = 1;; spin++) {
		if (__atomic_load_n(&p->reply, __ATOMIC_ACQUIRE) == req)
			return true;
		relax();
		if (spin % SPINS_PER_CHECK == 0) {
			int64_t now = vns_monotonic_ns();

			if (now > end)
				return false;
			if (now > spin_until) {
				vns_sleep_ns(SLEEP_NS);
				spin_until = vns_monotonic_ns() + SPIN_NS;
			}
		}
	}
}

/* The calling thread's CPUs, to go round them and to come back. */
struct cpus {
	cpu_set_t all;
	int now;
	bool moved;
};

static void move_on(struct cpus *c)
{
	cpu_set_t one;

	if (!c->moved && sched_getaffinity(0, sizeof(c->all), &c->all) < 0)
		return;
	if (!c->moved)
		c->now = sched_getcpu();
	if (c->now < 0 || CPU_COUNT(&c->all) < 2)
		return;
	do {
		c->now = (c->now + 1) % CPU_SETSIZE;
	} while (!CPU_ISSET(c->now, &c->all));
	CPU_ZERO(&one);
	CPU_SET(c->now, &one);
	c->moved = sched_setaffinity(0, sizeof(one), &one) == 0 || c->moved;
}

size_t vns_shm_ask(void *page, uint32_t session, int64_t max_ns, struct vns_exchange *out,
		   size_t n)
{
	struct page *p = page;
	int64_t end = vns_monotonic_ns() + max_ns;
	uint64_t base = (uint64_t)session << 32;
	struct cpus cpus = { .moved = false };
	size_t done = 0;

	while (done < n && vns_monotonic_ns() <= end) {
		struct vns_exchange *x = &out[done];
		uint64_t req = base | (done + 1);

		x->t1_ns = vns_now_ns();
		__atomic_store_n(&p->request, req, __ATOMIC_RELEASE);
		if (!await_reply(p, req, end))
			break;
		x->t4_ns = vns_now_ns();
		x->t2_ns = __atomic_load_n(&p->t2_ns, __ATOMIC_RELAXED);
		x->t3_ns = __atomic_load_n(&p->t3_ns, __ATOMIC_RELAXED);
		done++;
		if (x->t4_ns - x->t1_ns > SLOW_NS)
			move_on(&cpus);
	}
	__atomic_store_n(&p->request, base | VNS_SHM_STOP, __ATOMIC_RELEASE);
	if (cpus.moved)
		sched_setaffinity(0, sizeof(cpus.all), &cpus.all);
	return done;
}
