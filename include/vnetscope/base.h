/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/base.h - errors, time and small helpers shared by every module.
 *
 * Return values across the library: 0 is success; a negative value is -errno,
 * forwarded unchanged; a positive value is a documented condition (end of file,
 * truncated). The library never prints and never exits.
 */
#ifndef VNETSCOPE_BASE_H
#define VNETSCOPE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VNS_NSEC_PER_SEC  INT64_C(1000000000)
#define VNS_NSEC_PER_MSEC INT64_C(1000000)
#define VNS_NSEC_PER_USEC INT64_C(1000)

/** Process exit codes of every program of the suite (style.md, "CLI"). */
enum vns_exit {
	VNS_EXIT_OK = 0,
	VNS_EXIT_CHECK = 1,        /* a threshold was crossed or a check failed */
	VNS_EXIT_USAGE = 2,        /* the command line is wrong */
	VNS_EXIT_SETUP = 3,        /* environment: file, privilege, missing program */
	VNS_EXIT_INCONCLUSIVE = 4, /* ran, but what was measured does not answer */
};

/**
 * struct vns_err - one sentence that says what went wrong and names the object.
 * @text: no trailing newline; empty when nothing was set.
 *
 * Owned by the caller; every function that takes one accepts NULL.
 */
struct vns_err {
	char text[512];
};

/**
 * vns_err_set() - fill @err (may be NULL) with a formatted sentence.
 * Return: @code unchanged, so that `return vns_err_set(err, -EINVAL, ...)` reads well.
 */
int vns_err_set(struct vns_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * vns_text_clean() - the words of somebody else as text that may be shown.
 * @to, @size: receives at most @size - 1 bytes, whole characters, and the closing zero; @size > 0
 * @from, @n:  any bytes; may be @to itself
 *
 * Control characters, and those that turn the direction of writing, become a space; a byte that is not
 * part of well-formed UTF-8 becomes '?'. Return: the length of what stands in @to.
 */
size_t vns_text_clean(char *to, size_t size, const void *from, size_t n);

/** vns_now_ns() - CLOCK_REALTIME in ns since the epoch: the clock of packet timestamps. */
int64_t vns_now_ns(void);

/** vns_monotonic_ns() - CLOCK_MONOTONIC in ns: for time-outs and durations only. */
int64_t vns_monotonic_ns(void);

/** vns_sleep_ns() - sleep for @ns, resumed after signals that have handlers. */
void vns_sleep_ns(int64_t ns);

/**
 * struct vns_addr - an IPv4 or IPv6 address.
 * @b: network byte order; IPv4 is kept as v4-mapped IPv6 (::ffff:a.b.c.d, RFC 4291 2.5.5.2).
 */
struct vns_addr {
	uint8_t b[16];
};

/** vns_addr_parse() - "10.0.0.1" or "fd00::1" to @out. Return: 0 or -EINVAL. */
int vns_addr_parse(const char *text, struct vns_addr *out);

/** vns_addr_from_v4() - four bytes in network order to a v4-mapped address. */
struct vns_addr vns_addr_from_v4(const uint8_t v4[4]);

bool vns_addr_is_v4(const struct vns_addr *a);
bool vns_addr_equal(const struct vns_addr *a, const struct vns_addr *b);

#define VNS_ADDR_STRLEN 48
/** vns_addr_format() - printable form into @buf of VNS_ADDR_STRLEN bytes. Return: @buf. */
const char *vns_addr_format(const struct vns_addr *a, char buf[VNS_ADDR_STRLEN]);

#ifdef __cplusplus
}
#endif
#endif
