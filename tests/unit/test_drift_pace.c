// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A measurement by count against responders that are late, lose requests, stand still or never answer, in a time
 * of the test's own: late replies are not taken for lost, and what does not answer ends it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "measure/drift_pace.h"

#define MS    INT64_C(1000000)
#define NEVER INT64_MAX

/* A request at @sent_ns is answered after @late_ns, not before @frozen_until_ns, and only one in @one_in. */
struct responder {
	int64_t late_ns, frozen_until_ns;
	unsigned int one_in;
};

struct ended {
	uint64_t have, sent;
	int64_t at_ns;
};

/* Replies are in order, so those due by a time are the first ones. */
static uint64_t due(const struct responder *g, const int64_t *sent_ns, uint64_t sent, int64_t now)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < sent && g->late_ns != NEVER; i++)
		n += i % g->one_in == 0 && sent_ns[i] + g->late_ns <= now && g->frozen_until_ns <= now;
	return n;
}

static struct ended measure(const struct responder *g, size_t count, int64_t gap)
{
	static int64_t sent_ns[20000];
	struct ended e = { 0, 0, 77 * MS };
	struct drift_pace p;

	drift_pace_begin(&p, count, gap, e.at_ns);
	while (e.have < count && drift_pace_more(&p)) {
		assert_true(e.sent < 20000);
		sent_ns[e.sent++] = e.at_ns - 77 * MS;
		e.have = due(g, sent_ns, e.sent, e.at_ns + gap - 77 * MS);
		drift_pace_look(&p, e.at_ns, e.at_ns + gap, e.have);
		p.rounds++;
		e.at_ns += gap;
	}
	e.at_ns -= 77 * MS;
	return e;
}

static void late_is_not_lost(void **state)
{
	(void)state;
	for (int64_t late = 0; late < DRIFT_QUIET_NS; late += 100 * MS) {
		struct ended e = measure(&(struct responder){ late, 0, 1 }, 30, 5 * MS);

		assert_true(e.have >= 30);
		assert_true(e.at_ns <= late + 31 * 5 * MS);
	}
}

static void standstill(void **state)
{
	struct ended e = measure(&(struct responder){ 0, 2900 * MS, 1 }, 100, 20 * MS);

	(void)state;
	assert_true(e.have >= 100);
	assert_int_equal(e.at_ns, 2900 * MS);
}

/* Four of five are lost: more than twice the rounds, as long as replies come. */
static void losses(void **state)
{
	struct ended e = measure(&(struct responder){ 1 * MS, 0, 5 }, 30, 5 * MS);

	(void)state;
	assert_true(e.have >= 30);
	assert_int_equal(e.sent, 29 * 5 + 1);
}

static void no_answer_ends(void **state)
{
	static const struct responder silent = { NEVER, 0, 1 };
	struct ended e = measure(&silent, 5, 5 * MS);

	(void)state;
	assert_int_equal(e.have, 0);
	assert_true(e.at_ns >= DRIFT_QUIET_NS && e.at_ns <= DRIFT_QUIET_NS + 10 * MS);
	e = measure(&silent, 1000, 20 * MS); /* the rounds take longer than that */
	assert_int_equal(e.sent, 2000);
}

/* One reply each two seconds: it goes on as long as its patience, and no longer. */
static void patience_ends(void **state)
{
	struct ended e = measure(&(struct responder){ 0, 0, 100 }, 30, 20 * MS);

	(void)state;
	assert_true(e.have > 9 && e.have < 30);
	assert_true(e.at_ns >= 20000 * MS && e.at_ns <= 20100 * MS);
}

/* Who was kept from looking for ten seconds has not waited for ten seconds. */
static void own_standstill(void **state)
{
	struct drift_pace p;

	(void)state;
	drift_pace_begin(&p, 2, 5 * MS, 0);
	p.rounds = 4;
	drift_pace_look(&p, 1 * MS, 10000 * MS, 0);
	assert_true(drift_pace_more(&p));
	drift_pace_look(&p, 10000 * MS, 10005 * MS, 0);
	assert_false(drift_pace_more(&p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_is_not_lost), cmocka_unit_test(standstill),
		cmocka_unit_test(losses), cmocka_unit_test(no_answer_ends),
		cmocka_unit_test(patience_ends), cmocka_unit_test(own_standstill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
