/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A sentence of counts, of which those of 0 are left out: "flows    12 of TCP, 3 closed". See rtt.c.
 */
#ifndef VNS_OUTPUT_RTT_SAY_H
#define VNS_OUTPUT_RTT_SAY_H

#include <stdint.h>
#include <stdio.h>

/* Zero-initialise. @items: counts so far, which a comma separates from the next. */
struct vns_rtt_sentence {
	char text[1024];
	size_t n;
	unsigned int items;
};
void vns_rtt_say(struct vns_rtt_sentence *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "N what", unless N is 0; of "{packet was|packets were} lost" the words that fit N. */
void vns_rtt_say_count(struct vns_rtt_sentence *s, uint64_t n, const char *what);
/* Print it, in lines that are not too long; @s is empty again. */
void vns_rtt_said(struct vns_rtt_sentence *s, FILE *to);

#endif
