/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of the examination; each adds to the lists of @d. */
#ifndef VNS_MEASURE_DOCTOR_H
#define VNS_MEASURE_DOCTOR_H

#include <vnetscope/doctor.h>

/* First line of a small file without its line end; "" when it cannot be read. Return: @buf. */
char *vns_doctor_read(const char *path, char *buf, size_t size);
void vns_doctor_add_precision(struct vns_doctor *d, enum vns_clock_mode mode, double error_ns,
			      const char *fmt, ...) __attribute__((format(printf, 4, 5)));

void vns_doctor_guests(struct vns_doctor *d);
void vns_doctor_capture(struct vns_doctor *d);
void vns_doctor_clock(struct vns_doctor *d);
void vns_doctor_noise(struct vns_doctor *d);
void vns_doctor_links(struct vns_doctor *d);

#endif
