// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Capture files written by this test, read back through the source: both byte orders, both
 * resolutions, pcapng with sections and interfaces, files cut at every byte, and all that is no
 * capture. Frames come from frames.h; nothing is shared with the reader.
 */
#include "captures.h"

#include <errno.h>

static void test_pcap_magics(void **state)
{
	static const struct {
		uint32_t magic;
		int64_t unit;
	} kinds[] = { { 0xa1b2c3d4, 1000 }, { 0xa1b23c4d, 1 } };
	struct bytes f;

	make_tcp4(&f, 100);
	for (int i = 0; i < 4; i++) {
		struct writer w = { .big = i & 1 };

		pcap_head(&w, kinds[i / 2].magic, 1);
		pcap_record(&w, 1700000000, 123456, &f, f.n);
		pcap_record(&w, 4000000000u, 999999, &f, 96);
		assert_int_equal(slurp(save(&w, w.n), NULL, 7), 2);
		assert_int_equal(got[0].time_ns, 1700000000000000000 + 123456 * kinds[i / 2].unit);
		assert_int_equal(got[1].time_ns, 4000000000000000000 + 999999 * kinds[i / 2].unit);
		assert_int_equal(got[0].payload_len, 100);
		assert_int_equal(got[1].cap_len, 96);
		assert_int_equal(got[1].wire_len, f.n);
		assert_int_equal(got[0].digest, got[1].digest);
		assert_int_equal(stats.verdicts[VNS_PKT_OK], 2);
		assert_int_equal(stats.bytes, 2 * f.n);
		assert_string_equal(sentence, "");
	}
	(void)state;
}

/* Kuznetzov's records are 8 bytes longer; before 2.3 the wire length comes first. */
static void test_pcap_variants(void **state)
{
	struct writer w = { .n = 0 };
	struct bytes f;

	make_tcp4(&f, 100);
	pcap_head(&w, 0xa1b2cd34, 1);
	for (int i = 0; i < 2; i++) {
		w32(&w, 1);
		w32(&w, 2);
		w32(&w, 80);
		w32(&w, f.n);
		w_bytes(&w, "\1\0\0\0\0\x08\0\0", 8);
		w_bytes(&w, f.b, 80);
	}
	assert_int_equal(slurp(save(&w, w.n), NULL, 7), 2);
	assert_int_equal(got[1].cap_len, 80);
	assert_int_equal(got[1].time_ns, 1000002000);
	w.n = 0;
	pcap_head(&w, 0xa1b2c3d4, 1);
	w.b[6] = 2;
	w32(&w, 1);
	w32(&w, 2);
	w32(&w, f.n);
	w32(&w, 80);
	w_bytes(&w, f.b, 80);
	assert_int_equal(slurp(save(&w, w.n), NULL, 7), 1);
	assert_int_equal(got[0].cap_len, 80);
	assert_int_equal(got[0].wire_len, f.n);
	w.b[4] = 3;
	assert_int_equal(slurp(save(&w, w.n), NULL, 7), -EINVAL);
	assert_non_null(strstr(err.text, "version 3.2"));
	(void)state;
}

/* Cut at every byte: whole records before the cut are all there, the sentence names the rest. */
static void test_pcap_cut(void **state)
{
	struct writer w = { .n = 0 };
	struct bytes f;
	char want[128];

	make_tcp4(&f, 4);
	pcap_head(&w, 0xa1b2c3d4, 1);
	for (uint32_t i = 0; i < 3; i++)
		pcap_record(&w, i, 0, &f, f.n);
	for (size_t n = 24; n <= w.n; n++) {
		size_t whole = (n - 24) / (16 + f.n), rest = (n - 24) % (16 + f.n);

		assert_int_equal(slurp(save(&w, n), NULL, (int)(1 + n % 3)), whole);
		assert_int_equal(stats.truncated, rest != 0);
		snprintf(want, sizeof(want), "%s is cut in the middle of record %zu at byte %zu",
			 path, whole + 1, n);
		assert_string_equal(sentence, rest ? want : "");
	}
	for (size_t n = 5; n < 24; n++) {
		assert_int_equal(slurp(save(&w, n), NULL, 7), -EINVAL);
		assert_non_null(strstr(err.text, "is cut inside its header"));
	}
	(void)state;
}

static void test_strange_records(void **state)
{
	struct writer w = { .n = 0 };
	struct bytes f;

	make_tcp4(&f, 10);
	pcap_head(&w, 0xa1b2c3d4, 1);
	pcap_record(&w, 10, 0, &f, 0);      /* nothing captured */
	pcap_record(&w, 9, 0, &f, f.n);     /* time goes back */
	pcap_record(&w, 11, 5000000, &f, f.n); /* more than a second of microseconds */
	w32(&w, 12);
	w32(&w, 0);
	w32(&w, 0x7fffffff);
	w32(&w, 0x7fffffff);
	w_bytes(&w, f.b, f.n);
	assert_int_equal(slurp(save(&w, w.n), NULL, 64), 3);
	assert_int_equal(got[0].verdict, VNS_PKT_CUT);
	assert_int_equal(got[2].time_ns, 16000000000);
	assert_int_equal(stats.backwards, 1);
	assert_int_equal(stats.bad_records, 1);
	assert_non_null(strstr(sentence, "record 4 at byte"));
	/* no packets at all */
	assert_int_equal(slurp(save(&w, 24), NULL, 64), 0);
	assert_string_equal(sentence, "");
	/* a link type that nobody reads */
	w.b[20] = 147;
	assert_int_equal(slurp(save(&w, 24 + 16), "tcp", 64), 1);
	assert_int_equal(got[0].verdict, VNS_PKT_BAD_LINKTYPE);
	(void)state;
}

static void test_refusals(void **state)
{
	static const struct {
		const char *start;
		size_t len;
		const char *says;
	} files[] = {
		{ "", 0, "is empty" },
		{ "ab", 2, "too short" },
		{ "\x1f\x8b\x08\0\0\0\0\0", 8, "gzip stream is cut at byte 8" },
		{ "\x28\xb5\x2f\xfd\0\0\0\0", 8, "zstd stream is cut at byte 8" },
		{ "\xfd" "7zXZ\0\0\0", 8, "xz" },
		{ "BZh9aaaa", 8, "bzip2" },
		{ "snoop\0\0\0", 8, "snoop" },
		{ "\x7f" "ELF\2\1\1\0", 8, "starts with 7f 45 4c 46" },
	};
	struct writer w;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		memcpy(w.b, files[i].start, files[i].len);
		assert_int_equal(slurp(save(&w, files[i].len), NULL, 7), -EINVAL);
		assert_non_null(strstr(err.text, files[i].says));
		assert_non_null(strstr(err.text, path));
	}
	assert_int_equal(slurp("/tmp", NULL, 7), -EISDIR);
	assert_int_equal(slurp("/nowhere/x.pcap", NULL, 7), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/x.pcap"));
	(void)state;
}

static void test_filter(void **state)
{
	struct vns_bpf_insn *code;
	struct writer w = { .n = 0 };
	struct bytes f;

	pcap_head(&w, 0xa1b2c3d4, 1);
	for (int i = 0; i < 10; i++) {
		if (i % 3)
			make_tcp4(&f, 10);
		else
			make_udp4(&f, 10);
		pcap_record(&w, (uint32_t)i, 0, &f, f.n);
	}
	assert_int_equal(slurp(save(&w, w.n), "udp port 5202", 3), 4);
	assert_int_equal(stats.filtered, 6);
	assert_int_equal(got[3].time_ns, 9000000000);
	assert_int_equal(slurp(path, "port 1", 3), 0);
	assert_int_equal(stats.filtered, 10);
	assert_int_equal(slurp(path, "udp prt 1", 3), -EINVAL);
	assert_non_null(strstr(err.text, "udp prt 1"));
	assert_int_equal(vns_filter_compile(" ", 1, 96, &code, &err), 1);
	assert_int_equal(code[0].code, 6);
	assert_int_equal(code[0].k, 96);
	free(code);
	assert_int_equal(vns_filter_compile(NULL, 1, 96, &code, &err), 1);
	free(code);
	assert_true(vns_filter_compile("tcp", VNS_LINK_RAW, 96, &code, &err) > 1);
	free(code);
	(void)state;
}

/* Put @n tags behind the addresses, the innermost one of 802.1Q. */
static void add_tags(struct bytes *f, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		memmove(f->b + 16, f->b + 12, f->n - 12);
		memcpy(f->b + 12, i ? "\x88\xa8\0\x07" : "\x81\0\0\x05", 4);
		f->n += 4;
	}
}

/*
 * 12 frames, by turns TCP and UDP, without tags, with one and with two: a filter means them all, and frames as
 * they stand where it speaks of the link. A tag that the snap length cut is none.
 */
static void test_filter_of_tagged(void **state)
{
	static const struct {
		const char *expr;
		int wanted;
	} cases[] = {
		{ "tcp", 6 }, { "not tcp", 6 }, { "udp port 5202", 6 }, { "tcp or udp", 12 },
		{ "vlan", 8 }, { "not vlan", 4 }, { "vlan 5 and tcp", 2 }, { "tcp and not vlan", 2 },
		{ "ether[12:2] == 0x8100", 4 }, { "ether proto 0x88a8", 4 },
	};
	struct writer w = { .n = 0 };
	struct bytes f;

	pcap_head(&w, 0xa1b2c3d4, 1);
	for (unsigned int i = 0; i < 12; i++) {
		if (i % 2)
			make_udp4(&f, 10);
		else
			make_tcp4(&f, 10);
		add_tags(&f, i / 2 % 3);
		pcap_record(&w, i, 0, &f, f.n);
	}
	save(&w, w.n);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(slurp(path, cases[i].expr, 3), cases[i].wanted);
		assert_int_equal(stats.filtered, 12 - cases[i].wanted);
	}
	w.n = 0;
	pcap_head(&w, 0xa1b2c3d4, 1);
	make_tcp4(&f, 10);
	add_tags(&f, 1);
	for (uint32_t cap = 12; cap < 18; cap++)
		pcap_record(&w, cap, 0, &f, cap);
	assert_int_equal(slurp(save(&w, w.n), "tcp", 3), 0);
	(void)state;
}

/* Two sections of opposite byte order, three interfaces, blocks in between. */
static void make_pcapng(struct writer *w)
{
	struct bytes f, raw = { .n = 0 };
	size_t at;

	make_tcp4(&f, 100);
	put(&raw, f.b + 14, f.n - 14);
	ng_section(w);
	at = block(w, 0x0bad); /* unknown */
	w_bytes(w, "whatever, nobody", 16);
	block_end(w, at);
	ng_iface(w, 1, 0, -1, 0);
	ng_iface(w, 101, 0, 9, 0);
	ng_packet(w, 0, 1700000000123456, &f, f.n, 0);
	ng_packet(w, 1, 1700000000123456789, &raw, raw.n, 1);
	ng_packet(w, 0, 1700000000123457, &f, 97, 2); /* outgoing */
	at = block(w, 3); /* simple packet */
	w32(w, f.n);
	w_bytes(w, f.b, f.n);
	block_end(w, at);
	at = block(w, 2); /* old packet block */
	w16(w, 1);
	w16(w, 0);
	w32(w, 0x17979cfe);
	w32(w, 0x362a0000);
	w32(w, raw.n);
	w32(w, raw.n);
	w_bytes(w, raw.b, raw.n);
	block_end(w, at);
	w->big = !w->big;
	ng_section(w);
	ng_iface(w, 1, 0, 0x8a, 1700000000); /* 1/1024 s since that second */
	ng_packet(w, 0, 512, &f, f.n, 0);
	ng_packet(w, 1, 512, &f, f.n, 0); /* no such interface */
	at = block(w, 5); /* statistics: 7 lost */
	w32(w, 0);
	w32(w, 0);
	w32(w, 0);
	w16(w, 5);
	w16(w, 8);
	if (w->big)
		w32(w, 0);
	w32(w, 7);
	if (!w->big)
		w32(w, 0);
	block_end(w, at);
	ng_packet(w, 0, 1024, &f, f.n, 0);
}

static void test_pcapng(void **state)
{
	for (int big = 0; big < 2; big++) {
		for (int batch = 1; batch < 9; batch++) {
			struct writer w = { .big = big };

			make_pcapng(&w);
			assert_int_equal(slurp(save(&w, w.n), NULL, batch), 7);
			assert_int_equal(got[0].time_ns, 1700000000123456000);
			assert_int_equal(got[1].time_ns, 1700000000123456789);
			assert_int_equal(got[1].point, 1);
			assert_int_equal(got[1].flags & VNS_PKT_F_OUTGOING, 0);
			assert_int_equal(got[2].time_ns, 1700000000123457000);
			assert_true(got[2].flags & VNS_PKT_F_OUTGOING);
			assert_int_equal(got[2].cap_len, 97);
			assert_int_equal(got[3].time_ns, got[2].time_ns);
			assert_int_equal(got[4].time_ns, 0x17979cfe362a0000);
			assert_int_equal(got[5].time_ns, 1700000000500000000);
			assert_int_equal(got[6].time_ns, 1700000001000000000);
			for (int i = 0; i < 7; i++) {
				assert_int_equal(got[i].verdict, i == 3 ? VNS_PKT_NO_TIME :
							 VNS_PKT_OK);
				assert_int_equal(got[i].digest, got[0].digest);
			}
			assert_int_equal(stats.bad_records, 1);
			assert_int_equal(stats.dropped, 7);
			assert_int_equal(stats.truncated, 0);
			/* the filter works on both link types */
			assert_int_equal(slurp(path, "tcp src port 40000", batch), 7);
			assert_int_equal(slurp(path, "udp", batch), 0);
			assert_int_equal(stats.filtered, 7);
			assert_int_equal(slurp(path, "udp prt", batch), -EINVAL);
		}
	}
	(void)state;
}

static void test_pcapng_cut(void **state)
{
	struct writer w = { .big = true };
	int before = 0;

	make_pcapng(&w);
	for (size_t n = 28; n <= w.n; n++) {
		int found = slurp(save(&w, n), NULL, 3);

		assert_true(found >= before && found <= before + 1);
		before = found;
		assert_int_equal(stats.truncated, strstr(sentence, " is cut in the middle") != NULL);
	}
	assert_int_equal(before, 7);
	(void)state;
}

/* Blocks whose framing is broken end the file with a sentence. */
static void test_pcapng_framing(void **state)
{
	struct writer w = { .big = false }, v;
	struct bytes f;
	size_t at;

	make_tcp4(&f, 100);
	ng_section(&w);
	ng_iface(&w, 1, 0, 6, 0);
	ng_packet(&w, 0, 1000000, &f, f.n, 0);
	at = w.n;
	ng_packet(&w, 0, 2000000, &f, f.n, 0);
	v = w;
	v.b[at + 4] = 11;
	assert_int_equal(slurp(save(&v, v.n), NULL, 64), 1);
	assert_int_equal(stats.damaged, 1);
	assert_non_null(strstr(sentence, "block 4 at byte"));
	v = w;
	v.b[v.n - 4] ^= 4; /* trailing length */
	assert_int_equal(slurp(save(&v, v.n), NULL, 64), 1);
	assert_non_null(strstr(sentence, "another length"));
	v = w;
	v.b[at + 20] = 0xff; /* captured length beyond the block */
	assert_int_equal(slurp(save(&v, v.n), NULL, 64), 1);
	assert_int_equal(stats.bad_records, 1);
	assert_int_equal(stats.damaged, 0);
	assert_non_null(strstr(sentence, "1 record of"));
	v = w;
	v.b[at + 7] = 0x7f; /* 2 GB block */
	assert_int_equal(slurp(save(&v, v.n), NULL, 64), 1);
	assert_int_equal(stats.truncated, 1);
	v = w;
	memset(v.b + at + 12, 0xff, 8); /* a time that no clock has */
	assert_int_equal(slurp(save(&v, v.n), NULL, 64), 1);
	assert_int_equal(stats.bad_records, 1);
	v = w;
	v.b[12] = 2; /* version 2 */
	assert_int_equal(slurp(save(&v, v.n), NULL, 64), -EINVAL);
	v = w;
	v.b[8] = 0; /* no byte-order mark */
	assert_int_equal(slurp(save(&v, v.n), NULL, 64), -EINVAL);
	(void)state;
}

/* An option list that runs out of its block is not followed into the next one. */
static void test_pcapng_options(void **state)
{
	struct writer w = { .n = 0 };
	struct bytes f;
	size_t at;

	make_tcp4(&f, 1);
	ng_section(&w);
	at = block(&w, 1);
	w16(&w, 1);
	w16(&w, 0);
	w32(&w, 0);
	w16(&w, 100); /* unknown option, 12 bytes that are not there */
	w16(&w, 12);
	block_end(&w, at);
	at = block(&w, 0x0bad);
	w16(&w, 9); /* would be if_tsresol: milliseconds */
	w16(&w, 1);
	w32(&w, 3);
	block_end(&w, at);
	ng_packet(&w, 0, 5000000, &f, f.n, 0);
	assert_int_equal(slurp(save(&w, w.n), NULL, 64), 1);
	assert_int_equal(got[0].time_ns, 5000000000);
	(void)state;
}

/* Records longer than the window, one just believable. */
static void test_long_records(void **state)
{
	static const uint32_t lengths[] = { 300000, 1 << 20, 100, 700000, (1 << 20) + 1 };
	static uint8_t filler[(1 << 20) + 1];
	struct writer w = { .n = 0 };
	FILE *to;

	pcap_head(&w, 0xa1b2c3d4, 1);
	save(&w, w.n);
	to = fopen(path, "ab");
	for (uint32_t i = 0; i < 5; i++) {
		w.n = 0;
		w32(&w, i);
		w32(&w, 0);
		w32(&w, lengths[i]);
		w32(&w, lengths[i]);
		assert_int_equal(fwrite(w.b, 1, w.n, to), w.n);
		assert_int_equal(fwrite(filler, 1, lengths[i], to), lengths[i]);
	}
	fclose(to);
	assert_int_equal(slurp(path, NULL, 64), 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(got[i].cap_len, lengths[i]);
		assert_int_equal(got[i].time_ns, i * VNS_NSEC_PER_SEC);
		assert_int_equal(got[i].verdict, VNS_PKT_NOT_IP);
	}
	assert_int_equal(stats.bad_records, 1);
	(void)state;
}

static void test_time_resolutions(void **state)
{
	static const struct {
		int tsresol;
		uint64_t ticks;
		int64_t ns; /* -1: not usable */
	} cases[] = {
		{ 0, 1700000000, 1700000000000000000 },
		{ 3, 1700000000123, 1700000000123000000 },
		{ 9, 1700000000123456789, 1700000000123456789 },
		{ 12, 1234567890123, 1234567890 },
		{ 19, 12345678901234567, 1234567 },
		{ 29, 1, -1 },
		{ 0x80, 1700000000, 1700000000000000000 },
		{ 0x80 | 20, 1700000000ull << 20 | 1 << 19, 1700000000500000000 },
		{ 0x80 | 63, 1ull << 62, 500000000 },
		{ 0x80 | 64, 1, -1 },
		{ 0, UINT64_MAX, -1 },
	};
	struct bytes f;

	make_tcp4(&f, 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct writer w = { .n = 0 };

		ng_section(&w);
		ng_iface(&w, 1, 0, cases[i].tsresol, 0);
		ng_packet(&w, 0, cases[i].ticks, &f, f.n, 0);
		assert_int_equal(slurp(save(&w, w.n), NULL, 64), cases[i].ns >= 0);
		assert_int_equal(stats.bad_records, cases[i].ns < 0);
		if (cases[i].ns >= 0)
			assert_int_equal(got[0].time_ns, cases[i].ns);
	}
	struct writer w = { .n = 0 };

	ng_section(&w);
	ng_iface(&w, 1, 0, 6, -10);
	ng_packet(&w, 0, 30000000, &f, f.n, 0);
	assert_int_equal(slurp(save(&w, w.n), NULL, 64), 1);
	assert_int_equal(got[0].time_ns, 20000000000);
	(void)state;
}

/* A pipe delivers in pieces of any size, and a block far longer than any buffer is passed over. */
static void test_pipe(void **state)
{
	static const uint8_t zeros[4096];
	struct writer w = { .n = 0 };
	struct bytes f;
	const uint32_t big = 8u << 20;
	int fds[2], keep = dup(0), n;

	make_tcp4(&f, 100);
	ng_section(&w);
	ng_iface(&w, 1, 0, 6, 0);
	ng_packet(&w, 0, 1000000, &f, f.n, 0);
	w32(&w, 0x0bad);
	w32(&w, big + 12);
	assert_int_equal(pipe(fds), 0);
	if (fork() == 0) {
		struct writer end = { .n = 0 };

		for (size_t i = 0; i < w.n; i += 5)
			if (write(fds[1], w.b + i, w.n - i < 5 ? w.n - i : 5) < 0)
				_exit(1);
		for (uint32_t i = 0; i < big; i += sizeof(zeros))
			if (write(fds[1], zeros, sizeof(zeros)) < 0)
				_exit(1);
		w32(&end, big + 12);
		ng_packet(&end, 0, 2000000, &f, f.n, 0);
		_exit(write(fds[1], end.b, end.n) < 0);
	}
	close(fds[1]);
	dup2(fds[0], 0);
	close(fds[0]);
	n = slurp("-", NULL, 5);
	dup2(keep, 0);
	close(keep);
	assert_int_equal(n, 2);
	assert_int_equal(got[1].time_ns, 2000000000);
	assert_string_equal(sentence, "");
	(void)state;
}

/* Longer than the window many times over: every record once, in order. */
static void test_long_file(void **state)
{
	static struct vns_packet batch[256];
	struct writer w = { .n = 0 };
	struct vns_source *s;
	struct bytes f;
	FILE *to;
	int n;
	uint32_t seen = 0, total = 9000;

	make_udp4(&f, 1400);
	pcap_head(&w, 0xa1b23c4d, 1);
	save(&w, w.n);
	to = fopen(path, "ab");
	for (uint32_t i = 0; i < total; i++) {
		w.n = 0;
		pcap_record(&w, 100, i, &f, i % 1400 + 42);
		assert_int_equal(fwrite(w.b, 1, w.n, to), w.n);
	}
	fclose(to);
	assert_int_equal(vns_source_open_file(&s, path, NULL, &err), 0);
	while ((n = vns_source_next(s, batch, 256, &err)) > 0)
		for (int i = 0; i < n; i++, seen++) {
			assert_int_equal(batch[i].time_ns, 100000000000 + seen);
			assert_int_equal(batch[i].cap_len, seen % 1400 + 42);
		}
	assert_int_equal(n, VNS_SOURCE_EOF);
	assert_int_equal(seen, total);
	assert_int_equal(vns_source_next(s, batch, 256, &err), VNS_SOURCE_EOF);
	vns_source_close(s);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pcap_magics),
		cmocka_unit_test(test_pcap_variants),
		cmocka_unit_test(test_pcap_cut),
		cmocka_unit_test(test_strange_records),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_filter_of_tagged),
		cmocka_unit_test(test_pcapng),
		cmocka_unit_test(test_pcapng_cut),
		cmocka_unit_test(test_pcapng_framing),
		cmocka_unit_test(test_pcapng_options),
		cmocka_unit_test(test_long_records),
		cmocka_unit_test(test_time_resolutions),
		cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_long_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
