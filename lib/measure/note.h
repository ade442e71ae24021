/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A result's note: whole sentences, one behind the other. */
#ifndef VNS_MEASURE_NOTE_H
#define VNS_MEASURE_NOTE_H

#include <stddef.h>

/*
 * Add a sentence (or several) to @note (@size bytes, 64 at least). What does not fit is left out as a whole, and said to
 * be: the last words are then that there were more notes.
 */
void note_add(char *note, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
