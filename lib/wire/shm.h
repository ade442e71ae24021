/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clock exchange over one page of memory that host and guest share (ivshmem).
 *
 * Layout of the page's first 192 bytes; each side writes one cache line only:
 *
 *   offset   0  u64 magic "VNSHMEM1"    guest, when it starts to poll
 *           64  u64 request             host: session << 32 | counter; counter ~0: stop
 *          128  u64 reply               guest: the request it answers
 *          136  i64 t2_ns               guest: clock when it saw the request
 *          144  i64 t3_ns               guest: clock just before it stored the reply
 *
 * Host: T1 = clock, store request (release), wait until reply == request (acquire), T4 = clock.
 * Guest: sees a new request of its session (acquire), T2, T3 = clock, then stores reply
 * (release), so T2 and T3 belong to it. A session number that the host draws anew each time
 * keeps what an earlier host left in the page from being taken for a request.
 *
 * Neither side waits without a limit: the guest polls only between SHM_START and its own
 * deadline, the host gives up at its own.
 */
#ifndef VNS_WIRE_SHM_H
#define VNS_WIRE_SHM_H

#include <vnetscope/clock.h>

#define VNS_SHM_MAGIC      UINT64_C(0x314d454d48534e56) /* "VNSHMEM1" */
#define VNS_SHM_STOP       UINT32_C(0xffffffff)
#define VNS_SHM_PAGE_BYTES 4096u
/* Longest time a guest polls, whatever it is asked: it holds its vCPU meanwhile. */
#define VNS_SHM_MAX_NS     (1000 * VNS_NSEC_PER_MSEC)
#define VNS_SHM_DEFAULT_NS (100 * VNS_NSEC_PER_MSEC)

/* Guest: answer requests of @session until stop or @max_ns. Return: requests answered. */
uint64_t vns_shm_serve(void *page, uint32_t session, int64_t max_ns);
/* Host: up to @n exchanges within @max_ns, then stop. Return: exchanges in @out. */
size_t vns_shm_ask(void *page, uint32_t session, int64_t max_ns, struct vns_exchange *out,
		   size_t n);

#endif
