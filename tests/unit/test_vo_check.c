// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The check of the clock relation: how often it is inside where nothing is wrong, and what it sees.
 * Pairs are made here with a relation's error that is known; see vo_check.c.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>

#include <cmocka.h>

#include "measure/clock_watch.h"
#include "measure/note.h"
#include "measure/vo_check.h"

#define T0   INT64_C(1763764800000000000)
#define SPAN (10.0 * VNS_NSEC_PER_SEC)

static uint64_t rng = 1;

static double uniform(void) /* splitmix64 (Steele, Lea, Flood 2014) */
{
	uint64_t z = (rng += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return ((double)((z ^ (z >> 31)) >> 11) + 0.5) / 9007199254740992.0;
}

/* What is wrong with the relation, and with the packets. */
struct wrong {
	double offset_ns, rate_ppm, step_ns;
	double load_ns;      /* both directions slower in the second half */
	int mispaired;       /* one reply in so many is another's, 1 ms later; 0: none */
};

static double error_at(const struct wrong *w, double t)
{
	return w->offset_ns + w->rate_ppm * 1e-6 * t + (t > SPAN * 0.6 ? w->step_ns : 0);
}

/* 1000 pairs over 10 s, a request answered after up to 1 ms, heavy tails; now and then a slow 50 ms. */
static struct vns_vo_check run_of(const struct wrong *w)
{
	struct vo_check c = { .len_ns = 0 };
	struct vns_vo_check out;
	double slow_until = 0;

	for (int i = 0; i < 1000; i++) {
		double t = i * SPAN / 1000, gap = uniform() * 1e6, extra = t > SPAN / 2 ? w->load_ns : 0;
		double in = 30e3 - 10e3 * log(uniform()) + extra, back = 20e3 - 12e3 * log(uniform()) + extra;

		if (uniform() < 0.005)
			slow_until = t + 50e6;
		if (t < slow_until) {
			in += 40e3;
			back += 10e3;
		}
		if (w->mispaired && i % w->mispaired == 0)
			back += 1e6;
		vo_check_add(&c, T0 + (int64_t)t, in - error_at(w, t), back + error_at(w, t + gap),
			     in + back, 0);
	}
	vo_check_judge(&c, &out);
	return out;
}

/* Share of 400 runs that are inside. */
static double inside(const struct wrong *w)
{
	int n = 0;

	for (int i = 0; i < 400; i++)
		n += run_of(w).inside;
	return n / 400.0;
}

static void test_nothing_wrong(void **state)
{
	const struct wrong none = { 0 }, load = { .load_ns = 20e3 };
	double quiet = inside(&none), loaded = inside(&load);

	(void)state;
	print_message("inside where nothing is wrong: %.1f %%, where both directions slow down: %.1f %%\n",
		      100 * quiet, 100 * loaded);
	assert_true(quiet >= 0.93);
	assert_true(loaded >= 0.93);
}

static void test_what_it_sees(void **state)
{
	const struct wrong drift = { .rate_ppm = 5 }, step = { .step_ns = -30e3 };

	(void)state;
	print_message("inside with a rate wrong by 5 ppm: %.1f %%, with a step of 30 us: %.1f %%\n",
		      100 * inside(&drift), 100 * inside(&step));
	assert_true(inside(&drift) < 0.02);
	assert_true(inside(&step) < 0.02);
	assert_true(fabs(run_of(&drift).difference_ns - 25e3) < 6e3);
}

static void test_what_it_cannot_see(void **state)
{
	const struct wrong offset = { .offset_ns = 5e6 }, mispaired = { .mispaired = 50 };
	double share = inside(&offset);

	(void)state;
	assert_true(share >= 0.93);
	assert_true(run_of(&mispaired).half_ns > run_of(&offset).half_ns); /* wider, no verdict */
}

/* How a load with a memory looks: both ways' queues as first-order autoregressive series, bursts, a level. */
struct load {
	double memory_s;      /* of the queues; 0: none */
	double common;	      /* share that both ways have in common, -1 to 1 */
	double bursts;	      /* a second; each for up to 0.5 s, one way alone */
	double from, level_ns; /* the way in is longer from this part of the run on */
};

static double normal(void)
{
	return sqrt(-2 * log(uniform())) * cos(2 * 3.141592653589793 * uniform());
}

/* 2000 pairs over 10 s whose clock is perfect, or wrong by a step. */
static struct vns_vo_check loaded(const struct load *l, const struct wrong *w)
{
	double x = normal(), y = normal(), keep = l->memory_s > 0 ? exp(-0.005 / l->memory_s) : 0;
	double busy_in = 0, busy_out = 0, own = sqrt(1 - l->common * l->common);
	struct vo_check c = { .len_ns = 0 };
	struct vns_vo_check out;

	for (int i = 0; i < 2000; i++) {
		double t = i * SPAN / 2000, in, back;

		x = keep * x + sqrt(1 - keep * keep) * normal();
		y = keep * y + sqrt(1 - keep * keep) * normal();
		in = 60e3 + 10e3 * x - 10e3 * log(uniform());
		back = 50e3 + 10e3 * (l->common * x + own * y) - 5e3 * log(uniform());
		if (uniform() < l->bursts * 0.005)
			*(uniform() < 0.5 ? &busy_in : &busy_out) = t + uniform() * 0.5e9;
		in += (t < busy_in ? 200e3 * uniform() : 0) + (t > l->from * SPAN ? l->level_ns : 0);
		back += t < busy_out ? 200e3 * uniform() : 0;
		vo_check_add(&c, T0 + (int64_t)t, in - error_at(w, t), back + error_at(w, t), in + back, 0);
	}
	vo_check_judge(&c, &out);
	return out;
}

/* Whatever load does with a perfect clock, at most 1 of 20 is outside; a clock's error shows all the same. */
static void test_load_is_not_the_clock(void **state)
{
	static const struct load loads[] = {
		{ .memory_s = 0.02 }, { .memory_s = 0.1 }, { .memory_s = 0.5 }, { .memory_s = 2 },
		{ .memory_s = 0.1, .common = 0.9 }, { .memory_s = 0.5, .common = 0.9 },
		{ .memory_s = 0.5, .common = -0.5 },
		{ .bursts = 0.3 }, { .bursts = 2 }, { .memory_s = 0.2, .bursts = 2 },
		{ .from = 0.5, .level_ns = 300e3 }, { .memory_s = 0.1, .from = 0.5, .level_ns = 300e3 },
		{ .memory_s = 0.2, .from = 0.7, .level_ns = 100e3 }, { .from = 0.3, .level_ns = 1e6 },
		{ .memory_s = 0.1, .common = 0.9, .from = 0.5, .level_ns = 300e3 },
	};
	const struct wrong none = { 0 }, step = { .step_ns = -40e3 }, drift = { .rate_ppm = 8 };

	(void)state;
	for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
		int n = 0, stepped = 0, drifting = 0;

		for (int run = 0; run < 400; run++) {
			n += loaded(&loads[i], &none).inside;
			if (i >= 2)
				continue;
			stepped += loaded(&loads[i], &step).inside;
			drifting += loaded(&loads[i], &drift).inside;
		}
		print_message("load %zu: inside %.1f %%\n", i, n / 4.0);
		assert_true(n >= 372); /* at most 5 -+ 2 % outside */
		assert_true(stepped < 20);
		assert_true(drifting < 20);
	}
}

/* Two kinds of question by turns, of which one takes twice as long (DNS: A and AAAA). */
static void test_kinds_by_turns(void **state)
{
	int n = 0;

	(void)state;
	for (int run = 0; run < 400; run++) {
		struct vo_check c = { .len_ns = 0 };
		struct vns_vo_check out;

		for (int i = 0; i < 1000; i++) {
			double in = 30e3 - 1e3 * log(uniform()), back = 20e3 - 1e3 * log(uniform());

			if (i & 1)
				in *= 2;
			vo_check_add(&c, T0 + (int64_t)(i * SPAN / 1000), in, back, in + back, 0);
		}
		vo_check_judge(&c, &out);
		n += out.inside;
	}
	print_message("inside with two kinds by turns: %.1f %%\n", n / 4.0);
	assert_true(n / 400.0 >= 0.91);
}

static void test_too_little(void **state)
{
	struct vo_check c = { .len_ns = 0 };
	struct vns_vo_check out;

	(void)state;
	for (int i = 0; i < 13; i++)
		vo_check_add(&c, T0 + i * 50 * VNS_NSEC_PER_MSEC, 1, 1, 2, 0);
	vo_check_judge(&c, &out);
	assert_int_equal(out.blocks, 0);
	assert_false(out.inside);
	vo_check_add(&c, INT64_MAX, 1, 1, 2, 0);
	vo_check_add(&c, INT64_MIN, 1, 1, 2, 0);
	vo_check_judge(&c, &out);
	assert_int_equal(out.blocks, 0);
}

static double look(struct clock_watch *w, enum clock_end end, const struct vns_clock_state *now, char text[600])
{
	clock_watch_take(w, end, now);
	snprintf(text, 600, "%s%s", w->said[end].source, w->said[end].rate);
	return clock_watch_wander(w, 0);
}

/* What changes between looks is said and allowed for; a look without an answer ends nothing. */
static void test_kernels_clocks(void **state)
{
	const struct vns_clock_state still = { .source = "tsc", .tick_us = 10000, .steering_known = true,
					       .status = STA_UNSYNC };
	struct vns_clock_state hpet = still, unknown = { .source = "tsc" }, steered = still, slewed = still;
	struct clock_watch w = { 0 };
	char text[600];

	(void)state;
	strcpy(hpet.source, "hpet");
	steered.freq = 40 * 65536;
	slewed.tick_us = 10001;
	assert_true(look(&w, CLOCK_GUEST, &still, text) == 0);
	assert_true(look(&w, CLOCK_GUEST, &still, text) == 0);
	assert_string_equal(text, "");
	assert_true(look(&w, CLOCK_GUEST, NULL, text) == 0); /* an agent that was busy */
	assert_true(look(&w, CLOCK_GUEST, &unknown, text) == 0); /* adjtimex that failed once is no change */
	assert_string_equal(text, "");
	assert_true(look(&w, CLOCK_GUEST, &hpet, text) == 250);
	assert_non_null(strstr(text, "The guest's kernel changed its clock source from tsc to hpet"));
	w = (struct clock_watch){ 0 };
	look(&w, CLOCK_HOST, &still, text);
	assert_true(look(&w, CLOCK_HOST, NULL, text) == 0);
	assert_true(look(&w, CLOCK_HOST, &steered, text) == 20); /* found all the same */
	assert_non_null(strstr(text, "host's clock was steered meanwhile (NTP?), by +40.000 ppm"));
	/* it ran at 0, at 40 and at 100 ppm: 50 to either side of 50, whichever change was the largest */
	assert_true(look(&w, CLOCK_HOST, &slewed, text) == 50);
	assert_non_null(strstr(text, "by +60.000 ppm"));
	assert_true(clock_watch_wander(&w, -1) == 50); /* changes are allowed for in any case */
	assert_true(look(&w, CLOCK_HOST, &still, text) == 50); /* what was, was */
	clock_watch_words(&w, 0, text, sizeof(text));
	assert_non_null(strstr(text, "frequency from +0.000 to +100.000 ppm): 50 ppm of wander"));
}

/* What steers a clock is allowed for by default; the user's word replaces that; unknown is said. */
static void test_steered_clocks(void **state)
{
	struct vns_clock_state s = { .source = "tsc", .tick_us = 10000, .steering_known = true, .status = STA_UNSYNC };
	struct clock_watch w = { 0 };
	char text[600], words[CLOCK_WORDS];

	(void)state;
	clock_watch_words(&w, 0, words, sizeof(words));
	assert_string_equal(words, "");
	assert_false(clock_watch_steady(&w)); /* nothing seen */
	assert_true(look(&w, CLOCK_GUEST, &s, text) == 0);
	assert_true(look(&w, CLOCK_HOST, &s, text) == 0);
	assert_true(clock_watch_steady(&w));
	s.status = STA_PLL; /* ntpd, timesyncd */
	assert_true(look(&w, CLOCK_HOST, &s, text) == VNS_CLOCK_NTP_WANDER_PPM);
	assert_string_equal(text, "");
	assert_false(clock_watch_steady(&w));
	clock_watch_words(&w, 0, words, sizeof(words));
	assert_string_equal(words, "The host's clock is steered (synchronised, NTP, frequency +0.000 ppm): 15 ppm of "
			    "wander are allowed for.");
	assert_true(clock_watch_wander(&w, 3) == 3 && clock_watch_wander(&w, -1) == 0);
	s.constant = 2;
	/* 1.6 ms were written; the kernel takes a 16th of it in this second and shows the rest: 50 ppm about 50 */
	s.offset_ns = -1500000;
	assert_true(look(&w, CLOCK_HOST, &s, text) == 50);
	s.offset_ns = 300000; /* 20 ppm the other way: from -100 to 20 */
	assert_true(look(&w, CLOCK_HOST, &s, text) == 60);
	s.offset_ns = INT64_MIN;
	s.constant = -1;
	assert_true(look(&w, CLOCK_HOST, &s, text) == 500);
	w = (struct clock_watch){ 0 };
	s = (struct vns_clock_state){ .source = "tsc", .tick_us = 10000, .steering_known = true,
				      .status = STA_UNSYNC, .slew_us = 70 };
	assert_true(look(&w, CLOCK_GUEST, &s, text) == 250);
	clock_watch_gap(&w, CLOCK_GUEST, VNS_NSEC_PER_SEC, VNS_NSEC_PER_SEC + 1);
	clock_watch_gap(&w, CLOCK_GUEST, 19 * VNS_NSEC_PER_SEC / 10, 2 * VNS_NSEC_PER_SEC);
	clock_watch_words(&w, 0, words, sizeof(words));
	assert_null(strstr(words, "apart"));
	clock_watch_gap(&w, CLOCK_GUEST, 4 * VNS_NSEC_PER_SEC, 5 * VNS_NSEC_PER_SEC); /* from 1.9 s on */
	clock_watch_gap(&w, CLOCK_GUEST, 6 * VNS_NSEC_PER_SEC, 6 * VNS_NSEC_PER_SEC);
	clock_watch_words(&w, 0, words, sizeof(words));
	assert_non_null(strstr(words, "It was looked at up to 3.1 s apart"));
	clock_watch_words(&w, 20, words, sizeof(words)); /* the user's word does not come from looks */
	assert_null(strstr(words, "apart"));
	w = (struct clock_watch){ 0 };
	s = (struct vns_clock_state){ .source = "tsc" };
	look(&w, CLOCK_GUEST, &s, text);
	clock_watch_words(&w, 0, words, sizeof(words));
	assert_non_null(strstr(words, "Whether the guest's clock is steered is not known"));
}

/* Sentences are whole or not there, and that some are not is said once; whatever they are long. */
static void test_whole_notes(void **state)
{
	(void)state;
	for (size_t first = 0; first < 130; first++) {
		char note[128] = "", want[300];

		note_add(note, sizeof(note), "%0*d.", (int)first, 7);
		note_add(note, sizeof(note), "A second one of forty bytes, nothing more.");
		note_add(note, sizeof(note), "A third one of forty bytes, and no more.");
		note_add(note, sizeof(note), "%s", "");
		snprintf(want, sizeof(want), "%0*d. A second one of forty bytes, nothing more. A third one of forty bytes, and "
			 "no more.", (int)first, 7);
		if (strcmp(note, want) != 0) {
			const char *more = strstr(note, "(There were more notes than find room.)");

			assert_non_null(more);
			assert_string_equal(more, "(There were more notes than find room.)");
			assert_memory_equal(note, want, (size_t)(more - note));
			assert_true(more == note || (more[-1] == ' ' && more[-2] == '.'));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_wrong),
		cmocka_unit_test(test_what_it_sees),
		cmocka_unit_test(test_what_it_cannot_see),
		cmocka_unit_test(test_load_is_not_the_clock),
		cmocka_unit_test(test_kinds_by_turns),
		cmocka_unit_test(test_too_little),
		cmocka_unit_test(test_kernels_clocks),
		cmocka_unit_test(test_steered_clocks),
		cmocka_unit_test(test_whole_notes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
