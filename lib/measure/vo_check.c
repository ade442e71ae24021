// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A check of the clock relation that can fail: pairs of requests and replies -> the directions' sum
 * against the clock-free sum, with a 95 % interval.
 *
 * Theory. A relation wrong by e(t) makes the way in e too short and the way out e too long, so any
 * pair's own two figures add up to its clock-free sum whatever e is: to compare those shows nothing.
 * Here half of the pairs give their directions and the others their clock-free sum, turn by turn as in
 * the sequence of Thue and Morse, since the traffic may have kinds by turns itself (DNS asks for A and
 * AAAA); and of the former the way in is taken from the first half of the run, the way out from the second:
 *
 *   in(first) + out(second) - both = (h1 - h2),   h = (in - out) / 2 of a half
 *
 * which is e(second) - e(first) as long as the two directions' difference did not change itself. So a
 * wrong rate and a step that the relation does not have show; an offset wrong by a constant
 * cancels and cannot. Neighbouring packets share their fate: the interval is Welch's over the means
 * of equal blocks of time (batch means: Law, Simulation Modeling and Analysis, 9.5.3), and what the
 * relation itself claims to be uncertain by is added.
 */
#include <math.h>

#include "measure/vo_check.h"

#define FIRST_LEN_NS (50 * VNS_NSEC_PER_MSEC)
#define LEAST_BLOCKS 4 /* of each half */

static void double_length(struct vo_check *c)
{
	for (size_t i = 0; i < VO_CHECK_BLOCKS; i += 2) {
		const struct vo_check_block *a = &c->block[i], *b = a + 1;

		c->block[i / 2] = (struct vo_check_block){
			a->in + b->in,	       a->out + b->out,	      a->both + b->both,
			a->claim + b->claim,   a->n_ways + b->n_ways, a->n_both + b->n_both,
		};
	}
	for (size_t i = VO_CHECK_BLOCKS / 2; i < VO_CHECK_BLOCKS; i++)
		c->block[i] = (struct vo_check_block){ 0 };
	c->len_ns *= 2;
}

void vo_check_add(struct vo_check *c, int64_t at_ns, double in, double out, double both, double claim)
{
	struct vo_check_block *b;
	uint64_t since;

	if (c->len_ns == 0) {
		c->from_ns = at_ns;
		c->len_ns = FIRST_LEN_NS;
	}
	since = at_ns < c->from_ns ? 0 : (uint64_t)at_ns - (uint64_t)c->from_ns;
	while (since / (uint64_t)c->len_ns >= VO_CHECK_BLOCKS)
		double_length(c);
	b = &c->block[since / (uint64_t)c->len_ns];
	b->claim += claim;
	if (__builtin_parityll(++c->pairs)) {
		b->in += in;
		b->out += out;
		b->n_ways++;
	} else {
		b->both += both;
		b->n_both++;
	}
}

struct half {
	double mean, var_of_mean, claim; /* of what the half adds to the difference */
	double n;
};

/* Blocks [first, last) of @index: the way in less half of the sum, or the way out. */
static struct half half_of(const struct vo_check *c, const size_t *index, size_t first, size_t last,
			   bool in)
{
	struct half h = { .n = (double)(last - first) };
	double v[VO_CHECK_BLOCKS], ss = 0;

	for (size_t i = first; i < last; i++) {
		const struct vo_check_block *b = &c->block[index[i]];

		v[i] = (in ? b->in : b->out) / (double)b->n_ways - b->both / (double)b->n_both / 2;
		h.mean += v[i] / h.n;
		h.claim += b->claim / (double)(b->n_ways + b->n_both) / h.n;
	}
	for (size_t i = first; i < last; i++)
		ss += (v[i] - h.mean) * (v[i] - h.mean);
	h.var_of_mean = ss / (h.n - 1) / h.n;
	return h;
}

/* Student's t, 97.5 % point: Cornish and Fisher's expansion, within 1 % from 3 degrees of freedom on. */
static double student_975(double df)
{
	const double z = 1.959964, z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z;

	return z + (z3 + z) / (4 * df) + (5 * z5 + 16 * z3 + 3 * z) / (96 * df * df) +
	       (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * df * df * df);
}

void vo_check_judge(const struct vo_check *c, struct vns_vo_check *out)
{
	size_t index[VO_CHECK_BLOCKS], n = 0;
	double var, df;
	struct half a, b;

	*out = (struct vns_vo_check){ 0 };
	for (size_t i = 0; i < VO_CHECK_BLOCKS; i++)
		if (c->block[i].n_ways && c->block[i].n_both)
			index[n++] = i;
	if (n < 2 * LEAST_BLOCKS)
		return;
	a = half_of(c, index, 0, n / 2, true);
	b = half_of(c, index, n - n / 2, n, false);
	var = a.var_of_mean + b.var_of_mean;
	df = var > 0 ? var * var / (a.var_of_mean * a.var_of_mean / (a.n - 1) +
				    b.var_of_mean * b.var_of_mean / (b.n - 1)) : a.n;
	out->blocks = (uint32_t)n;
	out->difference_ns = a.mean + b.mean;
	out->half_ns = student_975(df) * sqrt(var) + a.claim + b.claim + 1; /* 1: whole ns */
	out->inside = fabs(out->difference_ns) <= out->half_ns;
}
