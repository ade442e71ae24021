// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What stands behind a guest's network card: MAC address -> the host's interface that sees its
 * packets, or why none does.
 *
 * QEMU's command line names the card with its address and what it is plugged into, as words
 * (tap,id=n0,ifname=tap0) or as JSON (libvirt 8 and later). A descriptor handed over by libvirt
 * leads on: /proc/PID/fdinfo tells a tap's name ("iff:"), /dev/tapN is the macvtap of index N. A
 * function passed through has no address on the command line: it is QEMU's only card then, and
 * sysfs tells whose virtual function it is. Read from a folder, so that tests can make one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vnetscope/measure.h>

#define CMDLINE_MAX 65536
#define VALUE_MAX   128
#define PATH_LEN    512

struct look {
	const char *root;
	char mac[18];
	char text[CMDLINE_MAX]; /* a command line, words ended by NUL */
	size_t len;
	struct vns_backing *out;
};

/* Value of @key in "type,key=value,..." or in a JSON object; the type is key "" or "type"/"driver". */
static bool option(const char *word, const char *key, char value[VALUE_MAX])
{
	size_t k = strlen(key);
	bool first = true;

	value[0] = '\0';
	if (*word == '{') {
		json_t *o = json_loads(word, 0, NULL);
		const json_t *v = json_object_get(o, *key ? key : "type");

		if (!*key && !v)
			v = json_object_get(o, "driver");
		if (!*key && !v)
			v = json_object_get(o, "backend");
		if (json_is_string(v))
			snprintf(value, VALUE_MAX, "%s", json_string_value(v));
		json_decref(o);
		return *value;
	}
	for (; *word; first = false) {
		size_t n = strcspn(word, ",");
		const char *from = NULL;

		if (!*key && first)
			from = word;
		else if (*key && n > k && word[k] == '=' && strncmp(word, key, k) == 0)
			from = word + k + 1;
		if (from) {
			snprintf(value, VALUE_MAX, "%.*s", (int)(word + n - from), from);
			return *value;
		}
		word += n + (word[n] == ',');
	}
	return false;
}

/* The word behind option @flag, from word @from on; NULL: none. @at: how far that was. */
static const char *next_option(const struct look *l, const char *flag, size_t *at)
{
	while (*at < l->len) {
		const char *word = l->text + *at;

		*at += strlen(word) + 1;
		if (*word == '-' && strcmp(word + 1 + (word[1] == '-'), flag) == 0 && *at < l->len)
			return l->text + *at;
	}
	return NULL;
}

/* The option @flag whose id is @id. */
static const char *option_of_id(const struct look *l, const char *flag, const char *id)
{
	char value[VALUE_MAX];
	const char *word;
	size_t at = 0;

	while ((word = next_option(l, flag, &at)) != NULL)
		if (option(word, "id", value) && strcmp(value, id) == 0)
			return word;
	return NULL;
}

static bool read_line(const char *path, char *to, size_t size)
{
	FILE *f = fopen(path, "re");
	bool got = f && fgets(to, (int)size, f);

	if (f)
		fclose(f);
	if (got)
		to[strcspn(to, "\n")] = '\0';
	return got;
}

/* Last part of where a symbolic link leads. */
static bool link_name(char *to, size_t size, const char *path)
{
	char target[PATH_LEN];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	const char *name;

	if (n <= 0)
		return false;
	target[n] = '\0';
	name = strrchr(target, '/');
	snprintf(to, size, "%.*s", (int)size - 1, name ? name + 1 : target);
	return true;
}

/* Interface whose index is @index. */
static bool name_of_index(const struct look *l, const char *index, char *ifname)
{
	char path[PATH_LEN], line[32];
	struct dirent *e;
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "%s/sys/class/net", l->root);
	d = opendir(path);
	while (d && !found && (e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/sys/class/net/%.15s/ifindex", l->root, e->d_name);
		found = e->d_name[0] != '.' && read_line(path, line, sizeof(line)) && strcmp(line, index) == 0;
		if (found)
			snprintf(ifname, 16, "%.15s", e->d_name);
	}
	if (d)
		closedir(d);
	return found;
}

/* What interface a macvtap sits on: sysfs has a link "lower_NAME". */
static void find_lower(struct look *l)
{
	char path[PATH_LEN];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/sys/class/net/%s", l->root, l->out->ifname);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (strncmp(e->d_name, "lower_", 6) == 0)
			snprintf(l->out->lower, sizeof(l->out->lower), "%.15s", e->d_name + 6);
	if (d)
		closedir(d);
}

/* Descriptor @fd of QEMU: a tap by /dev/net/tun, or a macvtap by /dev/tapN. */
static void follow_descriptor(struct look *l, const char *fd)
{
	char path[PATH_LEN], name[64], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/%d/fd/%.8s", l->root, (int)l->out->pid, fd);
	if (!link_name(name, sizeof(name), path))
		return;
	if (strncmp(name, "tap", 3) == 0 && name_of_index(l, name + 3, l->out->ifname)) {
		l->out->kind = VNS_BACKED_MACVTAP;
		return;
	}
	snprintf(path, sizeof(path), "%s/proc/%d/fdinfo/%.8s", l->root, (int)l->out->pid, fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "iff: %15s", l->out->ifname);
	if (f)
		fclose(f);
}

/* A tap: by name, or by its first descriptor. Then: whose port it is. */
static void take_tap(struct look *l, const char *netdev)
{
	char path[PATH_LEN], value[VALUE_MAX];

	l->out->kind = VNS_BACKED_TAP;
	if (option(netdev, "ifname", value))
		snprintf(l->out->ifname, sizeof(l->out->ifname), "%.15s", value);
	else if (option(netdev, "fd", value) || option(netdev, "fds", value)) {
		value[strcspn(value, ":")] = '\0';
		follow_descriptor(l, value);
	}
	if (l->out->kind == VNS_BACKED_MACVTAP) {
		find_lower(l);
		return;
	}
	snprintf(path, sizeof(path), "%s/sys/class/net/%s/master", l->root, l->out->ifname);
	if (*l->out->ifname && link_name(l->out->lower, sizeof(l->out->lower), path) &&
	    strcmp(l->out->lower, "ovs-system") == 0)
		l->out->kind = VNS_BACKED_OVS;
}

static void take_netdev(struct look *l, const char *netdev)
{
	char type[VALUE_MAX], value[VALUE_MAX];
	const char *chardev;

	if (!option(netdev, "", type))
		return;
	if (strcmp(type, "tap") == 0 || strcmp(type, "bridge") == 0) {
		take_tap(l, netdev);
	} else if (strcmp(type, "vhost-user") == 0) {
		l->out->kind = VNS_BACKED_VHOST_USER;
		chardev = option(netdev, "chardev", value) ? option_of_id(l, "chardev", value) : NULL;
		if (chardev && option(chardev, "path", value))
			snprintf(l->out->detail, sizeof(l->out->detail), "%s", value);
	} else if (strcmp(type, "vhost-vdpa") == 0) {
		l->out->kind = VNS_BACKED_VDPA;
		if (option(netdev, "vhostdev", value))
			snprintf(l->out->detail, sizeof(l->out->detail), "%s", value);
	} else {
		l->out->kind = VNS_BACKED_PROCESS;
		snprintf(l->out->detail, sizeof(l->out->detail), "%s", type);
	}
}

/* Is @word a card with our address? Then look at what it is plugged into. */
static bool take_card(struct look *l, const char *word)
{
	char value[VALUE_MAX];
	const char *netdev;

	if (!option(word, "mac", value) || strcasecmp(value, l->mac) != 0)
		return false;
	if (option(word, "netdev", value)) {
		netdev = option_of_id(l, "netdev", value);
		if (netdev)
			take_netdev(l, netdev);
	} else {
		take_netdev(l, word); /* -nic tap,mac=... */
	}
	return true;
}

/* A network function that is passed through: class 0x02.... in sysfs. */
static bool take_function(struct look *l, const char *word)
{
	char value[VALUE_MAX], path[PATH_LEN], class[16], address[32];
	struct dirent *e;
	DIR *d;

	if (!option(word, "", value) || strncmp(value, "vfio-pci", 8) != 0 ||
	    !option(word, "host", value))
		return false;
	snprintf(address, sizeof(address), "%s%.16s", strlen(value) < 12 ? "0000:" : "", value);
	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%s/class", l->root, address);
	if (!read_line(path, class, sizeof(class)) || strncmp(class, "0x02", 4) != 0)
		return false;
	l->out->kind = VNS_BACKED_FUNCTION;
	snprintf(l->out->detail, sizeof(l->out->detail), "%s", address);
	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%s/physfn/net", l->root, address);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			snprintf(l->out->lower, sizeof(l->out->lower), "%.15s", e->d_name);
	if (d)
		closedir(d);
	return true;
}

static bool read_process(struct look *l, const char *pid)
{
	char path[PATH_LEN];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/proc/%.10s/cmdline", l->root, pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, l->text, sizeof(l->text) - 1);
	if (fd >= 0)
		close(fd);
	l->len = n > 0 ? (size_t)n : 0;
	l->text[l->len] = '\0';
	return l->len && (strstr(l->text, "qemu") || strstr(l->text, "kvm"));
}

/* Does this process hold our guest? @functions: by a function passed through, if by nothing better. */
static bool look_at(struct look *l, const char *pid, bool functions)
{
	static const char *const flags[] = { "device", "nic" };
	const char *word;

	if (!read_process(l, pid))
		return false;
	l->out->pid = (pid_t)strtol(pid, NULL, 10);
	for (size_t i = 0; i < 2; i++) {
		size_t at = 0;

		while ((word = next_option(l, flags[i], &at)) != NULL)
			if (functions ? take_function(l, word) : take_card(l, word))
				return true;
	}
	return false;
}

static unsigned int look_at_all(struct look *l, bool functions)
{
	struct vns_backing found = { 0 };
	char path[PATH_LEN];
	unsigned int n = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/proc", l->root);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		*l->out = (struct vns_backing){ 0 };
		if (!look_at(l, e->d_name, functions))
			continue;
		found = *l->out;
		n++;
	}
	if (d)
		closedir(d);
	*l->out = found;
	return n;
}

static void explain(struct vns_backing *b)
{
	const char *of = b->lower[0] ? b->lower : "a card of the host";

	switch (b->kind) {
	case VNS_BACKED_TAP:
		snprintf(b->text, sizeof(b->text), "its card is the tap %s of QEMU process %d", b->ifname,
			 (int)b->pid);
		break;
	case VNS_BACKED_OVS:
		snprintf(b->text, sizeof(b->text), "its card is the tap %s, a port of Open vSwitch: its packets "
			 "are seen on the tap, not on a bridge", b->ifname);
		break;
	case VNS_BACKED_MACVTAP:
		snprintf(b->text, sizeof(b->text), "its card is the macvtap %s on %s: there is no bridge, and "
			 "the host's own packets do not reach it", b->ifname, of);
		break;
	case VNS_BACKED_VHOST_USER:
		snprintf(b->text, sizeof(b->text), "its card is vhost-user (socket %.60s): its packets go between "
			 "the guest's memory and the switch's process, no interface of the kernel sees them; "
			 "mirror its port to an interface in the switch (ovs-tcpdump) and capture there", b->detail);
		break;
	case VNS_BACKED_FUNCTION:
		snprintf(b->text, sizeof(b->text), "its card is the PCI function %.24s of %s, passed through: the "
			 "NIC writes to the guest's memory and the host sees no packet; capture on a mirror port "
			 "of the switch, or give the guest a virtio card to compare with", b->detail,
			 b->lower[0] ? b->lower : "the host");
		break;
	case VNS_BACKED_VDPA:
		snprintf(b->text, sizeof(b->text), "its card is vDPA (%.60s): the NIC serves the guest's queues "
			 "itself and the host sees no packet; capture on a mirror port of the switch", b->detail);
		break;
	case VNS_BACKED_PROCESS:
		snprintf(b->text, sizeof(b->text), "its card is QEMU's %.30s network: packets become a process's "
			 "sockets and pass no interface as packets of the guest; use a tap", b->detail);
		break;
	default:
		snprintf(b->text, sizeof(b->text), "no QEMU process on this machine has a card with its address");
	}
}

int vns_backing_find(const char *root, const uint8_t mac[6], struct vns_backing *out)
{
	struct look *l = calloc(1, sizeof(*l));

	*out = (struct vns_backing){ 0 };
	if (!l)
		return -ENOMEM;
	l->root = root ? root : "";
	l->out = out;
	snprintf(l->mac, sizeof(l->mac), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
	/* several guests with functions passed through: nothing tells which one this is */
	if (!look_at_all(l, false) && look_at_all(l, true) != 1)
		*out = (struct vns_backing){ 0 };
	explain(out);
	free(l);
	return 0;
}
