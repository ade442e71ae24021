/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A crew: one owner and some helper threads that share the jobs of a pipeline.
 *
 * A job is a step that is done again and again (fill the next buffer from a file, add the next
 * batch of samples to the figures). Each job is done by one thread at a time, in order, so its
 * results do not depend on how many threads there are; different jobs are done at once. The owner
 * does jobs too while it waits, so a crew without helpers is the same pipeline in one thread.
 *
 * Rules: what @ready reads and @done writes is touched only with the crew locked. @run works on what
 * @ready found (a free buffer, a full one), unlocked, and nobody else touches that meanwhile.
 */
#ifndef VNS_MEASURE_CREW_H
#define VNS_MEASURE_CREW_H

#include <vnetscope/base.h>

struct vns_crew_job {
	bool (*ready)(void *ctx); /* locked: is there something to do? */
	void (*run)(void *ctx);   /* unlocked: do it */
	void (*done)(void *ctx);  /* locked: show it to the others */
	unsigned int (*urgency)(void *ctx); /* locked: the highest that is ready is done first; NULL: 0 */
	void *ctx;
	bool busy;                /* the crew's own */
	bool owners;              /* for no helper: it may block until a signal comes, which only the owner gets */
};

struct vns_crew;

/*
 * @jobs are borrowed; of equally urgent ones earlier ones go first. @n_helpers threads beside the caller, which may be 0;
 * where threads cannot be had the crew is smaller, which changes nothing but the time.
 */
int vns_crew_new(struct vns_crew **out, struct vns_crew_job *jobs, size_t n_jobs, size_t n_helpers,
		 struct vns_err *err);
/* Wait until no job is under way; then end the helpers. */
void vns_crew_free(struct vns_crew *c);
void vns_crew_lock(struct vns_crew *c);
/* Others may find their job ready after what was done meanwhile. */
void vns_crew_unlock(struct vns_crew *c);
/*
 * Owner, locked: do jobs, or sleep while others do them, until @until is true. Returns locked.
 * Return: false when @until is not true and no job is ready or under way, so that it never will be.
 */
bool vns_crew_wait(struct vns_crew *c, bool (*until)(void *ctx), void *ctx);

#endif
