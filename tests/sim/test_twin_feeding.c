// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The twin engine's outcome is one of the packets alone: not of how many go in one call, nor, in these captures, of
 * the order in which the points take turns (but that may change the samples' order). In others turns
 * may tell of single packets, see vns_twin_feed(): of seeds 11 to 70 in 33, 35 and 39.
 *
 * argv: vns-gencap, number of seeds (5). Captures with much that is hard to tell apart are fed in calls of 1, 7, 64, 1000
 * and random numbers of packets, and in turns of several lengths: every sample, in its order, and
 * every count must be the same as of the feeding by single packets.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vnetscope/source.h>
#include <vnetscope/twin.h>

#define MAX_ARGS 48
#define RANDOM   0 /* packets of a call */
#define FIRST_SEED 11 /* that in which calls of several sizes are tried, too */

struct capture {
	struct vns_packet *pkt;
	size_t n, cap, at;
};

/* How to feed: @turn_ns of A, then of B, or B first; @call packets in each call. */
struct feeding {
	int64_t turn_ns;
	int first;
	size_t call;
};

/* @in_order, @as_set: of all samples, the second whatever their order. */
struct outcome {
	uint64_t in_order, as_set, samples;
	struct vns_twin_counts count[2];
};

struct trial {
	const char *name, *args; /* of gencap */
	bool nat;
};

static const struct trial trials[] = {
	{ "clean", "--loss 1 --retrans 0 --identical 0 --offload same --udp 30", false },
	{ "split", "--loss 0 --retrans 0 --identical 0 --offload split", false },
	{ "lossy", "--loss 5 --retrans 15 --identical 60 --udp 40", false },
	{ "disorder", "--loss 2 --retrans 10 --dup 3 --reorder 5 --drift-ppm 100", false },
	{ "pieces", "--udp 80 --frames 40 --fragments 30 --ipv6 10 --loss 2 --one-sided 50", false },
	{ "NAT", "--nat masquerade --ipv6 0 --loss 1 --retrans 5", true },
	{ "step", "--loss 2 --retrans 5 --step-ns 300000000", false },
	{ "dense", "--loss 5 --retrans 20 --identical 80 --duration 1 --flows 5 --cut 0.2", false },
};

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

static void on_sample(void *ctx, const struct vns_twin_sample *s)
{
	struct outcome *o = ctx;
	uint64_t h = mix(mix(1, (uint64_t)s->host_ns), (uint64_t)s->first_raw_ns);

	h = mix(mix(h, (uint64_t)s->last_host_ns), (uint64_t)s->last_raw_ns);
	h = mix(mix(h, s->flow_hash), s->payload_len);
	h = mix(h, (uint64_t)s->proto << 16 | (uint64_t)s->direction << 8 | s->has_last);
	o->in_order = mix(o->in_order, h);
	o->as_set += h;
	o->samples++;
}

static void die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static void load(struct capture *c, const char *path)
{
	struct vns_source *source;
	struct vns_err err = { "" };
	int n;

	c->n = 0;
	if (vns_source_open_file(&source, path, NULL, &err))
		die(err.text);
	do {
		if (c->n + 1024 > c->cap) {
			c->cap = 2 * c->cap + 65536;
			c->pkt = realloc(c->pkt, c->cap * sizeof(*c->pkt));
			if (!c->pkt)
				die("no memory");
		}
		n = vns_source_next(source, c->pkt + c->n, 1024, &err);
		c->n += n > 0 ? (size_t)n : 0;
	} while (n >= 0);
	if (n != VNS_SOURCE_EOF)
		die(err.text);
	vns_source_close(source);
}

/* Generate a trial's captures. */
static void generate(const char *gencap, const struct trial *x, const char *seed, const char *host,
		     const char *guest)
{
	char text[512], *arg[MAX_ARGS] = { (char *)(uintptr_t)gencap, "twin", "--seed",
					   (char *)(uintptr_t)seed, "--packets", "20000", "--host",
					   (char *)(uintptr_t)host, "--guest",
					   (char *)(uintptr_t)guest };
	int n = 10, status;
	pid_t pid;

	snprintf(text, sizeof(text), "%s", x->args);
	for (char *a = strtok(text, " "); a && n < MAX_ARGS - 1; a = strtok(NULL, " "))
		arg[n++] = a;
	pid = fork();
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(126);
		execv(gencap, arg);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		die("vns-gencap failed");
}

static uint64_t rng = 12345;

/* Packets of the next call, of @left that may be fed. */
static size_t of_call(size_t call, size_t left)
{
	rng = rng * UINT64_C(6364136223846793005) + 1442695040888963407;
	if (call == RANDOM)
		call = 1 + (rng >> 33) % 300;
	return call < left ? call : left;
}

/* One point's turn: all before @until, in calls as @f says. */
static void take_turn(struct vns_twin *t, enum vns_point p, struct capture *c, int64_t until,
		      const struct feeding *f)
{
	size_t to = c->at;

	while (to < c->n && c->pkt[to].time_ns < until)
		to++;
	while (c->at < to) {
		size_t n = of_call(f->call, to - c->at);

		if (vns_twin_feed(t, p, c->pkt + c->at, n))
			die("feed failed");
		c->at += n;
	}
	if (c->at == c->n)
		vns_twin_advance(t, p, INT64_MAX);
}

static struct outcome pair(struct capture cap[2], const struct vns_twin_opts *opts,
			   const struct feeding *f)
{
	struct outcome o = { 0 };
	struct vns_twin *t;
	int64_t until = cap[0].pkt[0].time_ns < cap[1].pkt[0].time_ns ? cap[0].pkt[0].time_ns :
								       cap[1].pkt[0].time_ns;

	cap[0].at = cap[1].at = 0;
	if (vns_twin_new(&t, opts, on_sample, &o, NULL))
		die("no engine");
	while (cap[0].at < cap[0].n || cap[1].at < cap[1].n) {
		until += f->turn_ns;
		for (int i = 0; i < 2; i++)
			take_turn(t, i ^ f->first, &cap[i ^ f->first], until, f);
	}
	vns_twin_finish(t);
	for (int p = 0; p < 2; p++)
		vns_twin_get_counts(t, p, &o.count[p]);
	vns_twin_free(t);
	return o;
}

static bool same(const struct outcome *a, const struct outcome *b, bool order)
{
	return a->samples == b->samples && a->as_set == b->as_set &&
	       (!order || a->in_order == b->in_order) &&
	       memcmp(a->count, b->count, sizeof(a->count)) == 0;
}

static void show(const char *what, const struct outcome *o)
{
	printf("  %s: %" PRIu64 " samples, hash %016" PRIx64 "; classes", what, o->samples, o->in_order);
	for (int p = 0; p < 2; p++)
		for (int c = 0; c < VNS_TWIN_CLASSES; c++)
			printf(" %" PRIu64, o->count[p].in_class[c]);
	putchar('\n');
}

/* @calls_too: not only turns. Return: feedings whose outcome is wrong. */
static int try(const struct trial *x, struct capture cap[2], bool calls_too)
{
	static const size_t calls[] = { 7, 64, 1000, RANDOM };
	static const struct { int64_t turn_ns; int first; } turns[] = {
		{ 10 * VNS_NSEC_PER_MSEC, 0 }, { 10 * VNS_NSEC_PER_MSEC, 1 },
		{ 300 * VNS_NSEC_PER_USEC, 0 }, { 200 * VNS_NSEC_PER_MSEC, 1 },
	};
	struct vns_twin_opts opts = { .nat = x->nat };
	struct vns_addr guest[2];
	struct outcome reference;
	int wrong = 0;

	if (vns_addr_parse("100.0.0.11", &guest[0]) || vns_addr_parse("fd00:0:0:8::b", &guest[1]))
		die("no addresses");
	opts.guest = guest;
	opts.n_guest = 2;
	for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		struct feeding f = { turns[i].turn_ns, turns[i].first, calls_too ? 1 : 500 };
		struct outcome one = pair(cap, &opts, &f);

		if (!one.samples)
			die("no sample at all");
		if (i == 0)
			reference = one;
		else if (!same(&one, &reference, false)) {
			printf("%s: turns of %" PRId64 " ns, %c first, differ\n", x->name, f.turn_ns,
			       "AB"[f.first]);
			show("reference", &reference);
			show("this", &one);
			wrong++;
		}
		for (size_t k = 0; calls_too && k < sizeof(calls) / sizeof(calls[0]); k++) {
			struct outcome many;

			f.call = calls[k];
			many = pair(cap, &opts, &f);
			if (same(&many, &one, true))
				continue;
			printf("%s: turns of %" PRId64 " ns, calls of %zu packets differ from single ones\n",
			       x->name, f.turn_ns, f.call);
			show("single", &one);
			show("these", &many);
			wrong++;
		}
	}
	return wrong;
}

/* All trials with the captures of @seed. */
static int all_trials(const char *gencap, unsigned int seed, const char *dir, struct capture cap[2])
{
	char host[64], guest[64], number[16];
	bool first = seed == FIRST_SEED;
	int wrong = 0;

	snprintf(host, sizeof(host), "%s/h", dir);
	snprintf(guest, sizeof(guest), "%s/g", dir);
	snprintf(number, sizeof(number), "%u", seed);
	for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
		/* After a step a point is farther ahead than either reader knows: turns of 200 ms tell. */
		if (!first && strcmp(trials[i].name, "step") == 0)
			continue;
		generate(gencap, &trials[i], number, host, guest);
		load(&cap[0], host);
		load(&cap[1], guest);
		wrong += try(&trials[i], cap, first);
		unlink(host);
		unlink(guest);
	}
	return wrong;
}

int main(int argc, char **argv)
{
	static struct capture cap[2];
	char dir[] = "/tmp/vns-feeding-XXXXXX";
	unsigned int seeds = argc > 2 ? (unsigned int)atoi(argv[2]) : 5;
	int wrong = 0;

	if (argc < 2 || !mkdtemp(dir))
		return 2;
	for (unsigned int seed = FIRST_SEED; seed < FIRST_SEED + seeds; seed++) {
		int n = all_trials(argv[1], seed, dir, cap);

		if (n)
			printf("... with seed %u\n", seed);
		wrong += n;
	}
	rmdir(dir);
	free(cap[0].pkt);
	free(cap[1].pkt);
	printf("%u seeds, %d feedings differ\n", seeds, wrong);
	return wrong != 0;
}
