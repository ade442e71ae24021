// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One direction of a flow -> its JSON object, written in one go.
 *
 * A capture may have millions of them. A tree of values for each took longer than reading the
 * capture did, and so did printf(): it reads its format anew for each of twenty numbers and
 * computes %.3f with numbers of any length. Here text is copied and digits are made two by two.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "output/rtt_flow.h"

/* Above the longest object: 700 bytes of words, two addresses, 25 numbers of at most 24 bytes. */
#define LONGEST 2048

/* Up to here a number with three decimals is exact as an integer of thousandths in a long double. */
#define EXACT 9e12

bool vns_rtt_clock_is_coarse(const struct vns_rtt_entry *e)
{
	return e->clock.hz > 0 && 1e9 / e->clock.hz > (double)e->p50;
}

/* All of these return where to go on. */
static char *put(char *to, const char *text)
{
	return stpcpy(to, text);
}

static char *put_natural(char *to, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	while (v >= 100) {
		unsigned pair = (unsigned)(v % 100);

		v /= 100;
		digits[--n] = (char)('0' + pair % 10);
		digits[--n] = (char)('0' + pair / 10);
	}
	digits[--n] = (char)('0' + v % 10);
	if (v >= 10)
		digits[--n] = (char)('0' + v / 10);
	memcpy(to, digits + n, sizeof(digits) - n);
	return to + sizeof(digits) - n;
}

static char *put_integer(char *to, int64_t v)
{
	if (v >= 0)
		return put_natural(to, (uint64_t)v);
	*to++ = '-';
	return put_natural(to, -(uint64_t)v);
}

/*
 * As "%.3f". A double has 53 bits and a thousand 10: their product is exact in the 64 bits of
 * x87's long double, and rounding it is all the rounding there is. Elsewhere printf() does it.
 */
static char *put_thousandths(char *to, double v)
{
	uint64_t n;

	if (__LDBL_MANT_DIG__ < 64 || !(fabs(v) < EXACT))
		return to + sprintf(to, "%.3f", v);
	if (signbit(v))
		*to++ = '-';
	n = (uint64_t)llrintl(fabsl((long double)v * 1000));
	to = put_natural(to, n / 1000);
	*to++ = '.';
	*to++ = (char)('0' + n / 100 % 10);
	*to++ = (char)('0' + n / 10 % 10);
	*to++ = (char)('0' + n % 10);
	return to;
}

static char *put_address(char *to, const struct vns_addr *a)
{
	if (!vns_addr_is_v4(a))
		return to + strlen(vns_addr_format(a, to));
	for (int i = 12; i < 16; i++) {
		to = put_natural(to, a->b[i]);
		*to++ = '.';
	}
	return to - 1;
}

static char *put_clock(char *to, const struct vns_rtt_entry *e)
{
	const struct vns_rtt_clock *c = &e->clock;

	if (c->hz <= 0)
		return put(to, ", \"tsval_clock\": null");
	to = put(to, ", \"tsval_clock\": {\"hz\": ");
	to = c->nominal_hz ? put_natural(to, c->nominal_hz) : put(to, "null");
	to += sprintf(to, ", \"estimate_hz\": %.6g, \"error_hz\": %.3g", c->hz, c->error_hz);
	to = put(to, ", \"coarser_than_rtt\": ");
	return put(to, vns_rtt_clock_is_coarse(e) ? "true}" : "false}");
}

/* @name with what separates it from the one before. */
static char *put_interval(char *to, const char *name, const struct vns_interval *i)
{
	to = put(to, name);
	if (!vns_interval_known(i))
		return put(to, "null");
	*to++ = '[';
	to = put_integer(to, i->lower);
	to = put(to, ", ");
	to = put_integer(to, i->upper);
	*to++ = ']';
	return to;
}

static char *put_intervals(char *to, const struct vns_intervals *i)
{
	to = put_interval(to, ", \"sampling_interval_ns\": {\"mean\": ", &i->mean);
	to = put_interval(to, ", \"p50\": ", &i->p50);
	to = put_interval(to, ", \"p95\": ", &i->p95);
	to = put_interval(to, ", \"p99\": ", &i->p99);
	return put(to, "}");
}

static char *put_flow(char *to, const struct vns_rtt_entry *e)
{
	const struct vns_flow_key *k = &e->key;
	unsigned d = e->dir;

	to = put_address(put(to, "{\"src\": \""), &k->addr[d]);
	to = put_natural(put(to, "\", \"sport\": "), k->port[d]);
	to = put_address(put(to, ", \"dst\": \""), &k->addr[!d]);
	to = put_natural(put(to, "\", \"dport\": "), k->port[!d]);
	to = put(put(to, ", \"method\": \""), vns_rtt_kind_name(e->kind));
	return put_natural(put(to, "\", \"samples\": "), e->samples);
}

static char *put_figures(char *to, const struct vns_rtt_entry *e)
{
	to = put_integer(put(to, ", \"rtt_ns\": {\"min\": "), e->min);
	to = put_thousandths(put(to, ", \"mean\": "), e->mean);
	to = put_integer(put(to, ", \"p50\": "), e->p50);
	to = put_integer(put(to, ", \"p95\": "), e->p95);
	to = put_integer(put(to, ", \"p99\": "), e->p99);
	to = put_integer(put(to, ", \"max\": "), e->max);
	to = put_thousandths(put(to, ", \"stddev\": "), e->stddev);
	to = put_natural(put(to, "}, \"packets\": "), e->packets);
	to = put_integer(put(to, ", \"first_ns\": "), e->first_ns);
	to = put_integer(put(to, ", \"last_ns\": "), e->last_ns);
	return put(put(to, ", \"ended\": "), e->ended ? "true" : "false");
}

void vns_rtt_json_flow(const struct vns_rtt_entry *e, bool point, FILE *to)
{
	char text[LONGEST], *end;

	end = put_flow(text, e);
	end = put_figures(end, e);
	end = put_intervals(end, &e->interval);
	if (e->kind == VNS_RTT_TS)
		end = put_clock(end, e);
	if (point)
		end = put_natural(put(end, ", \"point\": "), e->point);
	*end++ = '}';
	fwrite(text, 1, (size_t)(end - text), to);
}
