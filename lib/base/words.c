// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What somebody else says (a guest's agent, a capture file, ssh) -> text that may be shown.
 *
 * in: any bytes; out: UTF-8 without control characters. Well-formed UTF-8 is that of RFC 3629 section 4:
 * no overlong forms, no surrogates. A terminal also takes orders as C1 controls (U+0080 to U+009F, ECMA-48)
 * and lets text run backwards (Unicode's bidirectional formatting characters): neither is let through.
 */
#include <string.h>

#include <vnetscope/base.h>

/* First byte from..to, second byte min..max, the others 80..BF: RFC 3629 section 4. */
static const struct {
	uint8_t from, to, min, max, n;
} forms[] = {
	{ 0x00, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
	{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
	{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

/* The character at @p, of at most @n > 0 bytes, to @code. Return: its bytes, 0 where there is none. */
static size_t character(const uint8_t *p, size_t n, uint32_t *code)
{
	size_t i = 0, len;

	while (i < sizeof(forms) / sizeof(forms[0]) && (*p < forms[i].from || *p > forms[i].to))
		i++;
	if (i == sizeof(forms) / sizeof(forms[0]))
		return 0;
	len = forms[i].n;
	if (len > n || (len > 1 && (p[1] < forms[i].min || p[1] > forms[i].max)))
		return 0;
	*code = len == 1 ? *p : *p & (0x7fU >> len);
	for (size_t k = 1; k < len; k++) {
		if ((p[k] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (p[k] & 0x3fU);
	}
	return len;
}

static bool gives_orders(uint32_t c)
{
	return c < ' ' || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

size_t vns_text_clean(char *to, size_t size, const void *from, size_t n)
{
	const uint8_t *p = from;
	size_t len = 0;

	for (size_t at = 0; at < n;) {
		uint32_t code = 0;
		size_t bytes = character(p + at, n - at, &code);
		bool shown = bytes && !gives_orders(code);

		if (len + (shown ? bytes : 1) >= size)
			break;
		if (shown)
			memmove(to + len, p + at, bytes);
		else
			to[len] = bytes ? ' ' : '?';
		len += shown ? bytes : 1;
		at += bytes ? bytes : 1;
	}
	to[len] = '\0';
	return len;
}
