// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Looks for replies -> whether a measurement by count goes on.
 *
 * Lost replies must not keep it for ever, late ones must not be taken for lost: it gives up after twice the rounds
 * that no loss would take, but not before nothing has come for DRIFT_QUIET_NS. While replies come it goes on up to
 * its patience, which is for guests that hardly run.
 */
#include "measure/drift_pace.h"

#define LEAST_PATIENCE_NS (20 * INT64_C(1000000000))
#define PATIENCE_FACTOR   5 /* times what count and interval plan */
#define SPARE_ROUNDS      2 /* times count */

void drift_pace_begin(struct drift_pace *p, size_t count, int64_t interval_ns, int64_t now_ns)
{
	*p = (struct drift_pace){ .count = count, .interval_ns = interval_ns, .begin_ns = now_ns,
				  .heard_ns = now_ns, .looked_ns = now_ns };
}

void drift_pace_look(struct drift_pace *p, int64_t looked_ns, int64_t now_ns, uint64_t have)
{
	p->looked_ns = looked_ns;
	if (have > p->had)
		p->heard_ns = now_ns;
	p->had = have;
}

bool drift_pace_quiet(const struct drift_pace *p)
{
	return p->looked_ns - p->heard_ns >= DRIFT_QUIET_NS;
}

static int64_t patience(const struct drift_pace *p)
{
	int64_t planned = (int64_t)p->count * p->interval_ns;

	return LEAST_PATIENCE_NS > PATIENCE_FACTOR * planned ? LEAST_PATIENCE_NS :
							       PATIENCE_FACTOR * planned;
}

bool drift_pace_more(const struct drift_pace *p)
{
	if (p->rounds >= SPARE_ROUNDS * p->count && drift_pace_quiet(p))
		return false;
	return p->looked_ns - p->begin_ns < patience(p);
}
