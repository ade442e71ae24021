// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Text of any width -> lines of at most so many columns, broken at blanks; what goes on stands further in.
 */
#include <string.h>

#include <vnetscope/output.h>

/* A continuation byte of UTF-8 takes no column. */
static bool takes_column(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

/* The bytes of @s, @n long, that stand on a line of @columns: up to its last blank, or all of one word. */
static size_t first_line(const char *s, size_t n, size_t columns)
{
	size_t at = 0, used = 0, blank = 0;

	for (; at < n && (used < columns || s[at] == ' ' || !takes_column(s[at])); at++) {
		if (s[at] == ' ' && used && s[at - 1] != ' ')
			blank = at;
		used += takes_column(s[at]);
	}
	if (at == n)
		return n;
	for (at = blank ? blank : at; at < n && s[at] != ' '; at++)
		; /* a word that is longer than a line stays whole */
	return at;
}

static void wrap_line(const char *s, size_t n, size_t columns, size_t indent, FILE *to)
{
	size_t at = first_line(s, n, columns);

	fprintf(to, "%.*s", (int)at, s);
	while (at < n) {
		while (at < n && s[at] == ' ')
			at++;
		s += at;
		n -= at;
		at = first_line(s, n, columns - indent);
		if (n)
			fprintf(to, "\n%*s%.*s", (int)indent, "", (int)at, s);
	}
	fputc('\n', to);
}

void vns_text_wrap(const char *text, size_t columns, size_t indent, FILE *to)
{
	while (*text) {
		const char *end = strchrnul(text, '\n');

		wrap_line(text, (size_t)(end - text), columns, indent, to);
		text = *end ? end + 1 : end;
	}
}
