// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Start, watch and stop loads. A specification in; processes, figures and sentences out.
 *
 * A load is one or more forked children that share one mapping with the parent: each child
 * has its slot there and is its only writer. A failure's sentence comes back through it.
 * Children get SIGKILL when the parent dies (PR_SET_PDEATHSIG).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "load/load.h"

#define ASKED_NS (20 * VNS_NSEC_PER_MSEC) /* whoever waits for its peer has so long to end before it is killed */
#define CROWD_NS VNS_NSEC_PER_SEC         /* whoever waits for a processor, so long; and to begin */

struct slot {
	struct vns_probe_live live;
	struct vns_err failed; /* sentence, when the child gave up */
	volatile bool stop;    /* it is to end between two operations */
	volatile bool begun;   /* its sockets are open: the first operation may come */
};

struct load {
	uint32_t id; /* 0: free */
	struct vns_load_spec spec;
	struct slot *slot;
	pid_t pid[VNS_LOAD_PROCS]; /* 0: reaped */
	unsigned int n, alive;
	int64_t start_ns, end_ns, stop_ns; /* monotonic; stop_ns: when the last child ended */
	int64_t cpu_ns;                    /* of reaped children */
};

struct vns_loads {
	struct load load[VNS_LOADS_MAX];
	uint32_t last_id;
};

typedef int (*kind_fn)(const struct vns_probe_run *run, struct vns_err *err);

static const struct kind {
	const char *name;
	kind_fn run;
	bool needs_peer, needs_port, many;
} kinds[] = {
	[VNS_LOAD_MD5] = { "md5", vns_load_md5, false, false, true },
	[VNS_LOAD_VIDEO] = { "video", vns_load_video, true, true, true },
	[VNS_LOAD_ECHO_SERVER] = { "echo", vns_load_echo_server, false, true, false },
	[VNS_LOAD_TCP_RR] = { "tcp_rr", vns_probe_tcp_rr, true, true, true },
	[VNS_LOAD_UDP_RR] = { "udp_rr", vns_probe_udp_rr, true, true, true },
	[VNS_LOAD_PING] = { "ping", vns_probe_ping, true, false, true },
	[VNS_LOAD_TCP_STREAM] = { "tcp_stream", vns_probe_tcp_stream, true, true, true },
	[VNS_LOAD_UDP_SINK] = { "sink", vns_load_sink, false, true, false },
};

int vns_loads_new(struct vns_loads **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

static int check_spec(const struct vns_load_spec *s, struct vns_err *err)
{
	static const struct vns_addr none;
	const struct kind *k;

	if (!s->kind || s->kind >= sizeof(kinds) / sizeof(kinds[0]))
		return vns_err_set(err, -EINVAL, "load kind %u is unknown", s->kind);
	k = &kinds[s->kind];
	if (k->needs_peer && vns_addr_equal(&s->peer, &none))
		return vns_err_set(err, -EINVAL, "load %s needs a peer", k->name);
	if (k->needs_port && !s->port)
		return vns_err_set(err, -EINVAL, "load %s needs a port", k->name);
	if (s->procs > (k->many ? VNS_LOAD_PROCS : 1))
		return vns_err_set(err, -EINVAL, "load %s runs in at most %u processes", k->name,
				   k->many ? VNS_LOAD_PROCS : 1);
	if (s->percent > 100)
		return vns_err_set(err, -EINVAL, "%u is no percentage of a CPU", s->percent);
	if (!(s->rate_hz >= 0 && s->rate_hz <= 1e7) || s->rate_bps > UINT64_C(1000000000000))
		return vns_err_set(err, -EINVAL, "no load runs at that rate");
	if (s->duration_ns < 0 || s->duration_ns > 365 * 86400 * VNS_NSEC_PER_SEC)
		return vns_err_set(err, -EINVAL, "no load runs for that long");
	return 0;
}

/* Only the standard descriptors stay: the parent's connection must close with the parent. */
static void close_inherited(void)
{
	if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0)
		return;
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
}

static void __attribute__((noreturn)) child(const struct load *l, unsigned int index, pid_t parent)
{
	struct slot *s = &l->slot[index];
	struct vns_probe_run run = { .spec = &l->spec, .live = &s->live, .end_ns = l->end_ns,
				     .stop = &s->stop, .begun = &s->begun, .index = index };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	setpriority(PRIO_PROCESS, 0, 0); /* the agent's own priority is not its loads' */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	prctl(PR_SET_NAME, kinds[l->spec.kind].name);
	close_inherited();
	_exit(kinds[l->spec.kind].run(&run, &s->failed) == 0 ? 0 : 1);
}

static void kill_load(struct load *l)
{
	for (unsigned int i = 0; i < l->n; i++)
		if (l->pid[i])
			kill(l->pid[i], SIGKILL);
}

static int64_t rusage_ns(const struct rusage *ru)
{
	return ((int64_t)ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * VNS_NSEC_PER_SEC +
	       ((int64_t)ru->ru_utime.tv_usec + ru->ru_stime.tv_usec) * VNS_NSEC_PER_USEC;
}

static void child_gone(struct load *l, unsigned int i, const struct rusage *ru)
{
	l->pid[i] = 0;
	l->cpu_ns += rusage_ns(ru);
	if (--l->alive == 0)
		l->stop_ns = vns_monotonic_ns();
}

static void reap(struct load *l, int options)
{
	struct rusage ru;

	for (unsigned int i = 0; i < l->n; i++)
		if (l->pid[i] && wait4(l->pid[i], NULL, options, &ru) == l->pid[i])
			child_gone(l, i, &ru);
}

/* Does it wait for a processor and for nothing else (proc(5), /proc/PID/stat)? */
static bool runnable(pid_t pid)
{
	char path[32], text[128];
	const char *p = NULL;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n > 0) {
		text[n] = '\0';
		p = strrchr(text, ')'); /* behind its name */
	}
	return p && p[1] == ' ' && p[2] == 'R';
}

static bool any_runnable(const struct load *l)
{
	for (unsigned int i = 0; i < l->n; i++)
		if (l->pid[i] && runnable(l->pid[i]))
			return true;
	return false;
}

/*
 * Reaped here, so that the figures are final. One that is killed between an operation and its count has done one
 * more than it says, so they are asked to end first. One that waits for its peer does not look; one that waits for
 * a processor will as soon as it has one.
 */
static void end_load(struct load *l)
{
	int64_t start_ns = vns_monotonic_ns(), waited_ns = 0;

	for (unsigned int i = 0; i < l->n; i++)
		l->slot[i].stop = true;
	for (reap(l, WNOHANG); l->alive && (waited_ns < ASKED_NS || (waited_ns < CROWD_NS && any_runnable(l)));
	     reap(l, WNOHANG)) {
		vns_sleep_ns(VNS_NSEC_PER_MSEC);
		waited_ns = vns_monotonic_ns() - start_ns;
	}
	kill_load(l);
	reap(l, 0);
}

static void free_load(struct load *l)
{
	if (l->slot)
		munmap(l->slot, l->n * sizeof(*l->slot));
	*l = (struct load){ .id = 0 };
}

static int spawn(struct load *l, struct vns_err *err)
{
	pid_t parent = getpid();

	for (unsigned int i = 0; i < l->n; i++) {
		pid_t pid = fork();

		if (pid == 0)
			child(l, i, parent);
		if (pid < 0) {
			int e = errno;

			end_load(l);
			return vns_err_set(err, -e, "no process for the load: %s", strerror(e));
		}
		l->pid[i] = pid;
		l->alive++;
	}
	return 0;
}

static struct load *free_slot(struct vns_loads *all)
{
	for (unsigned int i = 0; i < VNS_LOADS_MAX; i++)
		if (!all->load[i].id)
			return &all->load[i];
	/* finished loads that nobody asked about give way */
	for (unsigned int i = 0; i < VNS_LOADS_MAX; i++)
		if (!all->load[i].alive) {
			free_load(&all->load[i]);
			return &all->load[i];
		}
	return NULL;
}

/*
 * A server that cannot have its port says so before it begins: wait for either, so that the answer
 * to "start" is the truth. Return: 0, or the failure.
 */
static int early_failure(struct load *l, struct vns_err *err)
{
	int64_t end_ns = vns_monotonic_ns() + CROWD_NS;
	struct rusage ru;

	while (!l->slot[0].begun && vns_monotonic_ns() < end_ns) {
		if (wait4(l->pid[0], NULL, WNOHANG, &ru) == l->pid[0]) {
			child_gone(l, 0, &ru);
			if (!l->slot[0].failed.text[0])
				return 0; /* ended as it should */
			return vns_err_set(err, -EIO, "load %s: %.300s",
					   kinds[l->spec.kind].name, l->slot[0].failed.text);
		}
		vns_sleep_ns(VNS_NSEC_PER_MSEC);
	}
	return 0;
}

int vns_loads_start(struct vns_loads *all, const struct vns_load_spec *spec, uint32_t *id,
		    struct vns_err *err)
{
	int r = check_spec(spec, err);
	struct load *l;

	if (r)
		return r;
	l = free_slot(all);
	if (!l)
		return vns_err_set(err, -EBUSY, "%u loads run already", VNS_LOADS_MAX);
	*l = (struct load){ .spec = *spec, .n = spec->procs ? spec->procs : 1 };
	l->slot = mmap(NULL, l->n * sizeof(*l->slot), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (l->slot == MAP_FAILED) {
		*l = (struct load){ .id = 0 };
		return vns_err_set(err, -ENOMEM, "no memory for the load");
	}
	l->start_ns = vns_monotonic_ns();
	l->end_ns = spec->duration_ns ? l->start_ns + spec->duration_ns : 0;
	r = spawn(l, err);
	if (r == 0)
		r = early_failure(l, err);
	if (r) {
		end_load(l);
		free_load(l);
		return r;
	}
	if (++all->last_id == 0)
		all->last_id = 1;
	*id = l->id = all->last_id;
	return 0;
}

static struct load *find(struct vns_loads *all, uint32_t id, struct vns_err *err)
{
	for (unsigned int i = 0; id && i < VNS_LOADS_MAX; i++)
		if (all->load[i].id == id)
			return &all->load[i];
	vns_err_set(err, -ENOENT, "there is no load %u", id);
	return NULL;
}

/* CPU time of a child that lives. */
static int64_t living_cpu_ns(pid_t pid)
{
	struct timespec ts;
	clockid_t id;

	if (clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &ts) != 0)
		return 0;
	return (int64_t)ts.tv_sec * VNS_NSEC_PER_SEC + ts.tv_nsec;
}

static void fill_rtt(const struct load *l, struct vns_load_stats *out)
{
	struct vns_probe_rtt *sum = calloc(1, sizeof(*sum));

	if (!sum)
		return;
	for (unsigned int i = 0; i < l->n; i++)
		vns_probe_rtt_merge(sum, &l->slot[i].live.rtt);
	if (sum->n) {
		out->rtt_n = sum->n;
		out->rtt_min_ns = sum->min_ns;
		out->rtt_max_ns = sum->max_ns;
		out->rtt_mean_ns = isfinite(sum->mean_ns) ? sum->mean_ns : 0.0;
		out->rtt_stddev_ns = vns_probe_rtt_stddev(sum);
		out->rtt_p50_ns = vns_probe_rtt_quantile(sum, 0.50);
		out->rtt_p95_ns = vns_probe_rtt_quantile(sum, 0.95);
		out->rtt_p99_ns = vns_probe_rtt_quantile(sum, 0.99);
	}
	free(sum);
}

static void fill_stats(const struct load *l, struct vns_load_stats *out)
{
	*out = (struct vns_load_stats){ .cpu_ns = l->cpu_ns };
	for (unsigned int i = 0; i < l->n; i++) {
		const struct vns_probe_live *v = &l->slot[i].live;

		out->ops += v->ops;
		out->bytes_tx += v->bytes_tx;
		out->bytes_rx += v->bytes_rx;
		out->errors += v->errors;
		if (l->pid[i])
			out->cpu_ns += living_cpu_ns(l->pid[i]);
	}
	out->elapsed_ns = (l->alive ? vns_monotonic_ns() : l->stop_ns) - l->start_ns;
	fill_rtt(l, out);
}

int vns_loads_stats(struct vns_loads *all, uint32_t id, struct vns_load_stats *out,
		    struct vns_err *err)
{
	struct load *l = find(all, id, err);

	if (!l)
		return -ENOENT;
	fill_stats(l, out);
	return 0;
}

int vns_loads_stop(struct vns_loads *all, uint32_t id, struct vns_load_stats *out,
		   struct vns_err *err)
{
	struct load *l = find(all, id, err);

	if (!l)
		return -ENOENT;
	end_load(l);
	fill_stats(l, out);
	free_load(l);
	return 0;
}

void vns_loads_end_session(struct vns_loads *all)
{
	for (unsigned int i = 0; i < VNS_LOADS_MAX; i++) {
		struct load *l = &all->load[i];

		if (l->id && !(l->spec.persist && l->alive)) {
			end_load(l);
			free_load(l);
		}
	}
}

void vns_loads_free(struct vns_loads *all)
{
	if (!all)
		return;
	for (unsigned int i = 0; i < VNS_LOADS_MAX; i++) {
		end_load(&all->load[i]);
		free_load(&all->load[i]);
	}
	free(all);
}

static void write_note(const struct load *l, unsigned int i, int status, char note[256])
{
	const char *name = kinds[l->spec.kind].name;

	if (l->slot[i].failed.text[0])
		snprintf(note, 256, "load %u (%s) gave up: %.180s", l->id, name,
			 l->slot[i].failed.text);
	else if (WIFSIGNALED(status))
		snprintf(note, 256, "load %u (%s) was ended by signal %d", l->id, name,
			 WTERMSIG(status));
	else if (!l->end_ns || WEXITSTATUS(status))
		snprintf(note, 256, "load %u (%s) ended with exit code %d", l->id, name,
			 WEXITSTATUS(status));
}

bool vns_loads_reaped(struct vns_loads *all, pid_t pid, int status, const struct rusage *ru,
		      char note[256])
{
	note[0] = '\0';
	for (unsigned int i = 0; i < VNS_LOADS_MAX; i++)
		for (unsigned int k = 0; k < all->load[i].n; k++) {
			struct load *l = &all->load[i];

			if (l->pid[k] != pid)
				continue;
			write_note(l, k, status, note);
			child_gone(l, k, ru);
			return true;
		}
	return false;
}
