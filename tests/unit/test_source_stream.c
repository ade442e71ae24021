// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Compressed captures: zlib and libzstd pack them here, the source unpacks them. Several members
 * and frames, padding, junk behind, cut at every byte, damaged at every byte, from a pipe in
 * pieces, and bombs.
 */
#include "captures.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <zlib.h>
#include <zstd.h>

enum { PACKETS = 20, ROOM = 1 << 16 };

static uint8_t plain[ROOM], packed[2 * ROOM];
static size_t plain_n, packed_n;

static void make_plain(void)
{
	struct writer w = { .n = 0 };
	struct bytes f;

	make_tcp4(&f, 100);
	pcap_head(&w, 0xa1b23c4d, 1);
	for (uint32_t i = 0; i < PACKETS; i++)
		pcap_record(&w, 1000 + i, i * 7919, &f, 60 + i);
	memcpy(plain, w.b, w.n);
	plain_n = w.n;
}

/* Pack @n bytes at @p as one more gzip member (@zstd: frame) behind what is there. */
static void pack(bool zstd, const uint8_t *p, size_t n)
{
	z_stream z = { .next_in = (Bytef *)p, .avail_in = (uInt)n };

	if (zstd) {
		ZSTD_CCtx *c = ZSTD_createCCtx();
		size_t made;

		ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
		made = ZSTD_compress2(c, packed + packed_n, sizeof(packed) - packed_n, p, n);
		assert_false(ZSTD_isError(made));
		packed_n += made;
		ZSTD_freeCCtx(c);
		return;
	}
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_out = packed + packed_n;
	z.avail_out = (uInt)(sizeof(packed) - packed_n);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	packed_n += z.total_out;
	deflateEnd(&z);
}

/* What is packed, to a file. */
static const char *save_packed(size_t n)
{
	static struct writer w;

	assert_true(n <= sizeof(w.b));
	memcpy(w.b, packed, n);
	return save(&w, n);
}

static void check_packets(int n)
{
	for (int i = 0; i < n; i++) {
		assert_int_equal(got[i].time_ns, (1000 + i) * VNS_NSEC_PER_SEC + i * 7919);
		assert_int_equal(got[i].cap_len, 60 + i);
		assert_int_equal(got[i].verdict, VNS_PKT_OK);
	}
}

/* One stream, and the same bytes in members cut at odd places, one of them empty. */
static void test_members(void **state)
{
	static const size_t cuts[] = { 0, 3, 24, 24, 500, 501 };

	make_plain();
	for (int zstd = 0; zstd < 2; zstd++) {
		packed_n = 0;
		pack(zstd, plain, plain_n);
		assert_int_equal(slurp(save_packed(packed_n), NULL, 7), PACKETS);
		check_packets(PACKETS);
		assert_string_equal(sentence, "");
		assert_int_equal(slurp(path, "host 1.2.3.4", 7), 0);
		assert_int_equal(stats.filtered, PACKETS);
		packed_n = 0;
		for (size_t i = 0; i < 6; i++)
			pack(zstd, plain + cuts[i], (i < 5 ? cuts[i + 1] : plain_n) - cuts[i]);
		assert_int_equal(slurp(save_packed(packed_n), NULL, 7), PACKETS);
		check_packets(PACKETS);
		assert_string_equal(sentence, "");
	}
	(void)state;
}

/* A zstd file may begin with, and hold, frames to be skipped; gzip may end in zeros. */
static void test_padding(void **state)
{
	static const uint8_t skip[] = { 0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c' };

	make_plain();
	memcpy(packed, skip, sizeof(skip));
	packed_n = sizeof(skip);
	pack(true, plain, 300);
	memcpy(packed + packed_n, skip, sizeof(skip));
	packed_n += sizeof(skip);
	pack(true, plain + 300, plain_n - 300);
	assert_int_equal(slurp(save_packed(packed_n), NULL, 64), PACKETS);
	assert_string_equal(sentence, "");
	for (int zstd = 0; zstd < 2; zstd++) {
		char want[64];
		size_t end;

		packed_n = 0;
		pack(zstd, plain, plain_n);
		end = packed_n;
		memset(packed + end, 0, 700);
		assert_int_equal(slurp(save_packed(end + 700), NULL, 64), PACKETS);
		assert_int_equal(sentence[0] == '\0', !zstd);
		memcpy(packed + end, "junk behind", 11);
		assert_int_equal(slurp(save_packed(end + 11), NULL, 64), PACKETS);
		check_packets(PACKETS);
		assert_int_equal(stats.bad_records, 1);
		snprintf(want, sizeof(want), "byte %zu", end);
		assert_non_null(strstr(sentence, want));
	}
	(void)state;
}

/* Cut at every byte: whole packets before the cut, one sentence with the place. */
static void test_cut(void **state)
{
	make_plain();
	for (int zstd = 0; zstd < 2; zstd++) {
		char want[64];
		int n, last = -EINVAL;

		packed_n = 0;
		pack(zstd, plain, 700);
		pack(zstd, plain + 700, plain_n - 700);
		for (size_t cut = 4; cut < packed_n; cut++) {
			n = slurp(save_packed(cut), NULL, 7);
			assert_true(n >= last && n <= PACKETS);
			last = n;
			if (n < 0) {
				assert_int_equal(n, -EINVAL);
				assert_non_null(strstr(err.text, path));
				continue;
			}
			check_packets(n);
			assert_int_equal(stats.truncated, 1);
			snprintf(want, sizeof(want), "cut at byte %zu;", cut);
			if (!strstr(sentence, want)) /* between two members */
				assert_non_null(strstr(sentence, "cut in the middle of record"));
			assert_non_null(strstr(sentence, path));
		}
		assert_true(last >= 8);
	}
	(void)state;
}

/* One bit changed at every byte: no more packets than there were, and never without a word. */
static void test_damage(void **state)
{
	make_plain();
	for (int zstd = 0; zstd < 2; zstd++) {
		int silent = 0;

		packed_n = 0;
		pack(zstd, plain, plain_n);
		for (size_t i = 0; i < packed_n; i++) {
			int n;

			packed[i] ^= 0x10;
			n = slurp(save_packed(packed_n), NULL, 7);
			packed[i] ^= 0x10;
			if (n < 0)
				assert_true(err.text[0]);
			else
				silent += !sentence[0] && (zstd || i < packed_n - 9);
		}
		/* unprotected in gzip: time, flags and OS (6 bytes), the last data byte's padding */
		assert_true(silent <= (zstd ? 1 : 6)); /* zstd: an unused bit of the frame header */
	}
	(void)state;
}

static void test_pipe(void **state)
{
	make_plain();
	for (int zstd = 0; zstd < 2; zstd++) {
		int fds[2], keep = dup(0), n;

		packed_n = 0;
		pack(zstd, plain, 777);
		pack(zstd, plain + 777, plain_n - 777);
		assert_int_equal(pipe(fds), 0);
		if (fork() == 0) {
			for (size_t i = 0; i < packed_n; i++)
				if (write(fds[1], packed + i, 1) != 1)
					_exit(1);
			_exit(0);
		}
		close(fds[1]);
		dup2(fds[0], 0);
		close(fds[0]);
		n = slurp("-", NULL, 5);
		dup2(keep, 0);
		close(keep);
		assert_int_equal(n, PACKETS);
		check_packets(PACKETS);
		assert_string_equal(sentence, "");
		wait(NULL);
	}
	(void)state;
}

/* Compressed again, or not a capture inside. */
static void test_refused(void **state)
{
	make_plain();
	for (int zstd = 0; zstd < 2; zstd++) {
		packed_n = 0;
		pack(zstd, plain, plain_n);
		memcpy(plain, packed, packed_n);
		plain_n = packed_n;
		packed_n = 0;
		pack(!zstd, plain, plain_n);
		assert_int_equal(slurp(save_packed(packed_n), NULL, 7), -EINVAL);
		assert_non_null(strstr(err.text, zstd ? "zstd inside" : "gzip inside"));
		make_plain();
		packed_n = 0;
		pack(zstd, plain, 0);
		assert_int_equal(slurp(save_packed(packed_n), NULL, 7), -EINVAL);
		assert_non_null(strstr(err.text, "is empty"));
		packed_n = 0;
		pack(zstd, (const uint8_t *)"hello, world", 12);
		assert_int_equal(slurp(save_packed(packed_n), NULL, 7), -EINVAL);
		assert_non_null(strstr(err.text, "not a pcap or pcapng file"));
	}
	(void)state;
}

/* 256 MiB of zeros in a block that is passed over, from some 20 or 300 KB, in 48 MiB of heap. */
static void bomb(bool zstd)
{
	const size_t giant = (size_t)256 << 20, chunk = 1 << 20;
	const struct rlimit limit __attribute__((unused)) = { 48 << 20, 48 << 20 };
	uint8_t *zeros = calloc(1, chunk), *out = malloc(4 << 20);
	ZSTD_CCtx *c = ZSTD_createCCtx();
	z_stream z = { .next_out = out, .avail_out = 4 << 20 };
	ZSTD_outBuffer o = { out, 4 << 20, 0 };
	struct writer w = { .n = 0 }, end = { .n = 0 };
	struct bytes f;

	make_tcp4(&f, 10);
	ng_section(&w);
	ng_iface(&w, 1, 0, 6, 0);
	w32(&w, 0x0bad);
	w32(&w, (uint32_t)giant + 12);
	w32(&end, (uint32_t)giant + 12);
	ng_packet(&end, 0, 2000000, &f, f.n, 0);
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	for (size_t i = 0; i < giant / chunk + 2; i++) {
		bool first = i == 0, last = i == giant / chunk + 1;
		const uint8_t *p = first ? w.b : last ? end.b : zeros;
		ZSTD_inBuffer in = { p, first ? w.n : last ? end.n : chunk, 0 };

		if (zstd) {
			assert_int_equal(ZSTD_compressStream2(c, &o, &in, last ? ZSTD_e_end :
							      ZSTD_e_continue) != 0 && last, 0);
			continue;
		}
		z.next_in = (Bytef *)p;
		z.avail_in = (uInt)in.size;
		assert_true(deflate(&z, last ? Z_FINISH : Z_NO_FLUSH) >= 0);
	}
	file = memfd_create("bomb", 0);
	packed_n = zstd ? o.pos : z.total_out;
	assert_int_equal(write(file, out, packed_n), packed_n);
	deflateEnd(&z);
	ZSTD_freeCCtx(c);
	free(zeros);
	free(out);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
#if !defined(__SANITIZE_ADDRESS__) /* whose shadow memory is larger than any limit */
	assert_int_equal(setrlimit(RLIMIT_DATA, &limit), 0);
#endif
	assert_int_equal(slurp(path, NULL, 7), 1);
	assert_int_equal(got[0].time_ns, 2000000000);
}

static void test_bombs(void **state)
{
	for (int zstd = 0; zstd < 2; zstd++) {
		int status;
		pid_t pid = fork(); /* the limit is for the child alone */

		if (pid == 0) {
			bomb(zstd);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	(void)state;
}

/* A window larger than 128 MiB is refused, not allocated. */
static void test_window(void **state)
{
	/* frame header: window descriptor 0x98 is 2^29 bytes; an empty raw block, the last */
	static const uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x98, 0x01, 0x00, 0x00 };

	memcpy(packed, frame, sizeof(frame));
	assert_int_equal(slurp(save_packed(sizeof(frame)), NULL, 7), -EINVAL);
	assert_non_null(strstr(err.text, "window"));
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
