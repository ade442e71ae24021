// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A crew: jobs of a pipeline -> done in order each, at once with each other. See crew.h.
 *
 * One mutex guards all states, and one condition says that something changed: a job takes some 100
 * us, so neither is contended with the handful of threads that a pipeline can use.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "measure/crew.h"

struct vns_crew {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct vns_crew_job *jobs;
	size_t n_jobs;
	size_t n_sleeping;  /* the owner too */
	bool owner_sleeping; /* waits for what only it knows */
	bool quit;
	size_t n_threads;
	pthread_t thread[];
};

/* Locked. The most urgent job that can be done now, taken; NULL: none. */
static struct vns_crew_job *take(struct vns_crew *c, bool owner)
{
	struct vns_crew_job *best = NULL;
	unsigned int most = 0;

	for (size_t i = 0; i < c->n_jobs; i++) {
		struct vns_crew_job *j = &c->jobs[i];
		unsigned int urgency = j->urgency ? j->urgency(j->ctx) : 0;

		if (j->busy || (j->owners && !owner) || !j->ready(j->ctx) || (best && urgency <= most))
			continue;
		best = j;
		most = urgency;
	}
	if (best)
		best->busy = true;
	return best;
}

static bool any_ready(const struct vns_crew *c)
{
	for (size_t i = 0; i < c->n_jobs; i++)
		if (!c->jobs[i].busy && !c->jobs[i].owners && c->jobs[i].ready(c->jobs[i].ctx))
			return true;
	return false;
}

/* Locked. Whoever is woken in vain has cost two switches. */
static void wake_if_useful(struct vns_crew *c)
{
	if (c->n_sleeping && (c->owner_sleeping || any_ready(c)))
		pthread_cond_broadcast(&c->changed);
}

/* Locked, and unlocked while the job runs. */
static void perform(struct vns_crew *c, struct vns_crew_job *j)
{
	pthread_mutex_unlock(&c->lock);
	j->run(j->ctx);
	pthread_mutex_lock(&c->lock);
	j->done(j->ctx);
	j->busy = false;
	wake_if_useful(c);
}

/* Locked. */
static void sleep_until_changed(struct vns_crew *c)
{
	c->n_sleeping++;
	pthread_cond_wait(&c->changed, &c->lock);
	c->n_sleeping--;
}

static void *help(void *ctx)
{
	struct vns_crew *c = ctx;

	pthread_mutex_lock(&c->lock);
	while (!c->quit) {
		struct vns_crew_job *j = take(c, false);

		if (j)
			perform(c, j);
		else
			sleep_until_changed(c);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

int vns_crew_new(struct vns_crew **out, struct vns_crew_job *jobs, size_t n_jobs, size_t n_helpers,
		 struct vns_err *err)
{
	struct vns_crew *c = calloc(1, sizeof(*c) + n_helpers * sizeof(c->thread[0]));
	sigset_t all, before;

	if (!c)
		return vns_err_set(err, -ENOMEM, "no memory for %zu threads", n_helpers);
	c->jobs = jobs;
	c->n_jobs = n_jobs;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	/* signals are the program's own affair: none is handled in a helper */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (c->n_threads < n_helpers &&
	       pthread_create(&c->thread[c->n_threads], NULL, help, c) == 0)
		c->n_threads++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	*out = c;
	return 0;
}

void vns_crew_free(struct vns_crew *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->quit = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; i < c->n_threads; i++)
		pthread_join(c->thread[i], NULL);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void vns_crew_lock(struct vns_crew *c)
{
	pthread_mutex_lock(&c->lock);
}

void vns_crew_unlock(struct vns_crew *c)
{
	wake_if_useful(c);
	pthread_mutex_unlock(&c->lock);
}

static bool any_busy(const struct vns_crew *c)
{
	for (size_t i = 0; i < c->n_jobs; i++)
		if (c->jobs[i].busy)
			return true;
	return false;
}

bool vns_crew_wait(struct vns_crew *c, bool (*until)(void *ctx), void *ctx)
{
	while (!until(ctx)) {
		struct vns_crew_job *j = take(c, true);

		if (j) {
			perform(c, j);
		} else if (any_busy(c)) {
			c->owner_sleeping = true;
			sleep_until_changed(c);
			c->owner_sleeping = false;
		} else {
			return false;
		}
	}
	return true;
}
