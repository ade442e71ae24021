/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The processor's time stamp counter beside the clock of packet stamps, for mode tsc.
 */
#ifndef VNS_WIRE_TSC_H
#define VNS_WIRE_TSC_H

#include <vnetscope/agent.h>

/* Does this processor's counter exist and can user space read it? */
static inline bool vns_tsc_present(void)
{
#if defined(__x86_64__) || defined(__aarch64__)
	return true;
#else
	return false;
#endif
}

/* The counter: no instruction before or after it is moved across. */
static inline uint64_t vns_tsc_read(void)
{
#if defined(__x86_64__)
	uint32_t lo, hi;

	__asm__ __volatile__("lfence\n\trdtsc\n\tlfence" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
#elif defined(__aarch64__)
	uint64_t v;

	__asm__ __volatile__("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(v) : : "memory");
	return v;
#else
	return 0;
#endif
}

/* CLOCK_REALTIME between two readings of the counter. */
static inline void vns_tsc_bracket(struct vns_tsc_reading *r)
{
	r->before = vns_tsc_read();
	r->clock_ns = vns_now_ns();
	r->after = vns_tsc_read();
}

#endif
