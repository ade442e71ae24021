// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Sentences -> a result's note. Half a sentence may say the contrary of the whole, and one that is missing must not be
 * taken for one that there was no reason for: room for MORE is kept, and taken by the first that does not fit.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "measure/note.h"

#define MORE "(There were more notes than find room.)"

void note_add(char *note, size_t size, const char *fmt, ...)
{
	size_t have = strlen(note), begin = have + (have > 0);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n <= 0 || size <= sizeof(MORE) || strstr(note, MORE))
		return;
	if (have)
		note[have] = ' ';
	if (begin + (size_t)n + 1 + sizeof(MORE) > size) { /* there is always room for MORE and its space */
		memcpy(note + begin, MORE, sizeof(MORE));
		return;
	}
	va_start(ap, fmt);
	vsnprintf(note + begin, size - begin, fmt, ap);
	va_end(ap);
}
