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
 * cancels and cannot.
 *
 * Load does change that difference: a queue that one way finds in the second half alone lengthens this way
 * and the sum, whereas an error of the relation lengthens one way, shortens the other by as much and leaves
 * the sum alone. From the change of the sum S and that of the difference D follow those of the ways,
 * S / 2 -+ D; only where they have opposite signs, |D| > |S| / 2, can load that lengthens ways or
 * shortens them not explain it. So |S| / 2 is added to the interval. Each of the two changes then has to
 * be beyond chance by itself (an intersection-union test: Berger, Technometrics 24, 1982): where nothing
 * is wrong at most 1 of 20 is outside, mostly fewer.
 *
 * Neighbouring packets share their fate, and so do seconds: the interval is Welch's over the means of few
 * long batches of each half (batch means: Law, Simulation Modeling and Analysis, 9.5.3), widened by what
 * correlation is left between neighbouring ones as in lib/stat/intervals.c; and what the relation itself
 * claims to be uncertain by is added.
 */
#include <math.h>

#include "measure/vo_check.h"

#define FIRST_LEN_NS (50 * VNS_NSEC_PER_MSEC)
#define LEAST_BLOCKS 4 /* of each half */
#define BATCHES	     5 /* of each half, at most: long beside what load takes to change */
#define MAX_PHI	     0.8

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
	struct vo_check_block batch[BATCHES];
	unsigned int k;
	double claim;
};

/* A mean of a half: its variance, and the degrees of freedom of that. */
struct level {
	double mean, var, df;
};

enum what { WAY_IN, WAY_OUT, SUM, IN_LESS_HALF, OUT_LESS_HALF };

static struct half half_of(const struct vo_check *c, const size_t *index, size_t n)
{
	struct half h = { .k = n < BATCHES ? (unsigned int)n : BATCHES };

	for (size_t i = 0; i < n; i++) {
		const struct vo_check_block *b = &c->block[index[i]];
		struct vo_check_block *to = &h.batch[i * h.k / n];

		to->in += b->in;
		to->out += b->out;
		to->both += b->both;
		to->n_ways += b->n_ways;
		to->n_both += b->n_both;
		h.claim += b->claim / (double)(b->n_ways + b->n_both) / (double)n;
	}
	return h;
}

static double figure_of(const struct vo_check_block *b, enum what what)
{
	double in = b->in / (double)b->n_ways, out = b->out / (double)b->n_ways;
	double half = b->both / (double)b->n_both / 2;

	switch (what) {
	case WAY_IN:
		return in;
	case WAY_OUT:
		return out;
	case SUM:
		return in + out;
	case IN_LESS_HALF:
		return in - half;
	case OUT_LESS_HALF:
		break;
	}
	return out - half;
}

static struct level level_of(const struct half *h, enum what what)
{
	double r[BATCHES], squares = 0, neighbours = 0, phi, k = h->k;
	struct level l = { .df = k - 1 };

	for (unsigned int i = 0; i < h->k; i++)
		l.mean += figure_of(&h->batch[i], what) / k;
	for (unsigned int i = 0; i < h->k; i++) {
		r[i] = figure_of(&h->batch[i], what) - l.mean;
		squares += r[i] * r[i];
		neighbours += i ? r[i] * r[i - 1] : 0;
	}
	phi = squares > 0 ? fmin(fmax(neighbours / squares, 0), MAX_PHI) : 0;
	l.var = squares / (k - 1) / k * (1 + phi) / (1 - phi);
	return l;
}

/* Student's t, 97.5 % point: Cornish and Fisher's expansion, within 1 % from 3 degrees of freedom on. */
static double student_975(double df)
{
	const double z = 1.959964, z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z;

	return z + (z3 + z) / (4 * df) + (5 * z5 + 16 * z3 + 3 * z) / (96 * df * df) +
	       (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * df * df * df);
}

/* Half of the 95 % interval of a difference (or sum) of two levels. */
static double half_width(struct level a, struct level b)
{
	double var = a.var + b.var;

	return var > 0 ? student_975(var * var / (a.var * a.var / a.df + b.var * b.var / b.df)) * sqrt(var) : 0;
}

void vo_check_judge(const struct vo_check *c, struct vns_vo_check *out)
{
	size_t index[VO_CHECK_BLOCKS], n = 0;
	struct level in, back;
	double sampling, sum;
	struct half a, b;

	*out = (struct vns_vo_check){ 0 };
	for (size_t i = 0; i < VO_CHECK_BLOCKS; i++)
		if (c->block[i].n_ways && c->block[i].n_both)
			index[n++] = i;
	if (n < 2 * LEAST_BLOCKS)
		return;
	a = half_of(c, index, n / 2);
	b = half_of(c, &index[n - n / 2], n / 2);
	in = level_of(&a, IN_LESS_HALF);
	back = level_of(&b, OUT_LESS_HALF);
	sampling = half_width(in, back);
	sampling = fmax(sampling, half_width(level_of(&a, WAY_IN), level_of(&b, WAY_IN)));
	sampling = fmax(sampling, half_width(level_of(&a, WAY_OUT), level_of(&b, WAY_OUT)));
	sum = level_of(&b, SUM).mean - level_of(&a, SUM).mean;
	out->blocks = (uint32_t)n;
	out->difference_ns = in.mean + back.mean;
	out->half_ns = sampling + fabs(sum) / 2 + a.claim + b.claim + 1; /* 1: whole ns */
	out->inside = fabs(out->difference_ns) <= out->half_ns;
}
