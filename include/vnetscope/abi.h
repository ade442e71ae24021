/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/abi.h - for callers that are not C: where the fields of the public structs lie, and
 * samples collected in arrays in place of one call each.
 *
 * The table is made by the compiler of the library that is loaded, so that a caller which builds its
 * structs from it cannot disagree with the library; the Python module does.
 */
#ifndef VNETSCOPE_ABI_H
#define VNETSCOPE_ABI_H

#include <vnetscope/rtt.h>
#include <vnetscope/twin.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct vns_abi_field - one field of one struct.
 * @of:     the struct's name without "vns_"; all fields of a struct follow each other
 * @name:   the field's; "" for the struct itself, @size being its size. Fields of inner structs and
 *          elements have a dotted name ("key.port"); those of a union overlap
 * @offset, @size: bytes; an array's size is that of all elements
 * @width:  bytes of one element, equal to @size where it is no array
 * @kind:   'i' signed, 'u' unsigned, 'b' bool, 'f' floating point, 'p' pointer, 'x' anything else
 */
struct vns_abi_field {
	const char *of, *name;
	uint32_t offset, size, width;
	char kind;
};

/** vns_abi_fields() - the table, static; @n: its length. */
const struct vns_abi_field *vns_abi_fields(size_t *n);

/** vns_abi_version() - the library's version, "0.1.0". Static. */
const char *vns_abi_version(void);

/**
 * struct vns_rtt_row - a struct vns_rtt_sample that needs nobody else's memory.
 */
struct vns_rtt_row {
	int64_t at_ns, rtt_ns;
	struct vns_flow_key key;
	uint32_t id;
	uint8_t kind, dir;
	uint16_t ident;
};

/**
 * vns_packets_of_point() - those of @n packets that were captured at @point, to the front of @pkts.
 * Engines must not be fed two points mixed. Return: their number.
 */
size_t vns_packets_of_point(struct vns_packet *pkts, size_t n, uint16_t point);

struct vns_collector;
/**
 * vns_collector_new() - an array that grows with the samples given to it.
 * @width: sizeof(struct vns_rtt_row) or sizeof(struct vns_twin_sample). Return: 0 or -ENOMEM.
 */
int vns_collector_new(struct vns_collector **out, size_t width);
void vns_collector_free(struct vns_collector *c);
/** vns_collect_rtt(), vns_collect_twin() - sinks for the engines; @ctx: a struct vns_collector. */
void vns_collect_rtt(void *ctx, const struct vns_rtt_sample *s);
void vns_collect_twin(void *ctx, const struct vns_twin_sample *s);
/**
 * vns_collector_take() - what has come since the last call; @rows is borrowed until the next sample.
 * Return: 0, or -ENOMEM when the array could not grow: samples are missing from then on.
 */
int vns_collector_take(struct vns_collector *c, const void **rows, size_t *n);

#ifdef __cplusplus
}
#endif
#endif
