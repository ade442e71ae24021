/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/source.h - where packets enter: capture files and live interfaces.
 *
 * Like libpcap: open with options, fetch batches, close. Offline and live share the
 * calls, so engines cannot tell them apart.
 */
#ifndef VNETSCOPE_SOURCE_H
#define VNETSCOPE_SOURCE_H

#include <vnetscope/packet.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vns_source;

/** Conditions vns_source_next() returns beside a count (>= 1) and -errno. */
#define VNS_SOURCE_NONE 0 /* live: nothing arrived within the time-out; pipe: a signal came */
#define VNS_SOURCE_EOF  (-0x10000) /* file read to its end, or source closed for good */

/** enum vns_capture - how a live capture is made. */
enum vns_capture {
	VNS_CAPTURE_AFPACKET = 0, /* a packet socket with a ring: frames to user space */
	VNS_CAPTURE_EBPF,         /* programs at tc ingress and egress: decoded in the kernel */
};

/**
 * struct vns_source_opts - options of both kinds; zero means default.
 * @filter:     pcap filter expression (pcap-filter(7)), NULL for all
 * @without:    VNS_WITHOUT_*: what decoding may leave out
 * @snaplen:    live: bytes kept of each frame; 0 = 128
 * @ring_bytes: live: size of the receive ring; 0 = 16 MiB
 * @timeout_ms: live: longest wait of one vns_source_next(); 0 = 100; negative: do not wait
 * @by_interface: file: a capture on "any" (Linux cooked, version 2) has a capture point for each interface, its index
 *              (those over 65534 share 65535), as live; without other interfaces in its section
 * @promisc:    live: promiscuous mode
 * @netns_fd:   live: network namespace to open the socket in, -1 or 0 for the caller's own
 * @capture:    live: enum vns_capture
 * @threads:    live, AF_PACKET: read and decode by so many threads, each with a socket and a ring of
 *              its share of the flows, in the order of time up to 50 ms later; 0 and 1: the caller's
 *              thread. Such a source has no descriptor and ends when the interface goes down. Where the kernel
 *              shares nothing out it is one thread, and vns_source_sentence() says so
 * @fanout:     live, AF_PACKET: sources on one interface with the same number (1 to 65533) share its
 *              packets out by flow, both directions to the same source; fragments, first and later,
 *              go by their addresses alone. The number is the network namespace's: choose one of your own, e.g. the pid
 * @retire_ms:  live, AF_PACKET: a packet waits at most about twice that for its block to be handed over; 0 = 10.
 *              The reader wakes for each, so more costs fewer wake-ups, and blocks are larger by as much
 */
struct vns_source_opts {
	const char *filter;
	unsigned int without;
	uint32_t snaplen;
	uint32_t ring_bytes;
	int timeout_ms;
	bool promisc;
	bool by_interface;
	int netns_fd;
	enum vns_capture capture;
	uint16_t fanout;
	uint16_t threads;
	uint16_t retire_ms;
};

/**
 * struct vns_source_stats - what was read and what was lost.
 * @frames:    frames handed out (after the filter)
 * @filtered:  frames that did not match the filter (files only)
 * @dropped:   live: lost by the kernel since the ring was full; pcapng: as its statistics say
 * @early:     live, eBPF: passed while the programs were being hung, before the common start
 * @bytes:     wire bytes of @frames
 * @truncated: 1 when a file ends in the middle of a record or of its compressed stream
 * @bad_records: records whose lengths or times contradict the file: skipped, or, when the next
 *             record cannot be found any more, the end (vns_source_sentence() says so)
 * @backwards: frames with a time stamp lower than their predecessor's at the same point
 * @verdicts:  frames by enum vns_verdict
 * @resolution_ns: coarsest step of the time stamps read (1000 for an ordinary pcap file); stamps
 *             are cut to it, not rounded
 * @damaged:   1 when a file was not read to its end, because of a bad record behind which no other can be
 *             found, or since its compressed stream is damaged
 */
struct vns_source_stats {
	uint64_t frames, filtered, dropped, bytes;
	uint64_t truncated, bad_records, backwards;
	uint64_t verdicts[VNS_PKT_VERDICTS];
	uint64_t resolution_ns;
	uint64_t damaged;
	uint64_t early;
};

/**
 * vns_source_open_file() - read a pcap or pcapng file ("-" reads standard input).
 * Micro- and nanosecond magic, either byte order, pcapng with several sections,
 * interfaces and per-interface resolution; pipes and FIFOs too. What is compressed with gzip or
 * zstd (told by its first bytes, not its name) is unpacked on the way. Seconds of pcap are unsigned
 * (1970 to 2106, not unwrapped), times of pcapng are valid within 146 years of 1970; packets of
 * simple packet blocks have none (VNS_PKT_NO_TIME). vns_packet.point is the interface's number in
 * its section. The filter is compiled for each
 * interface's link type; packets of foreign link types pass it and get their verdict. It looks at frames
 * without their VLAN tags ("tcp" means tagged ones too), unless it has words of the link layer (vlan, ether,
 * mpls ...): then as they stand.
 * Return: 0 or -errno with @err set (not a capture, empty, a directory, wrong filter ...).
 */
int vns_source_open_file(struct vns_source **out, const char *path,
			 const struct vns_source_opts *opts, struct vns_err *err);

/**
 * vns_source_open_live() - AF_PACKET TPACKET_V3 ring on @ifname, ns software stamps
 * (CLOCK_REALTIME), both directions; VNS_PKT_F_OUTGOING tells them apart. On a loopback interface,
 * where the kernel shows each packet twice, the received one is kept. The kernel takes the
 * outermost VLAN tag out of the bytes before the filter sees them: "tcp" also matches tagged
 * packets, "vlan N" matches none. @ifname "any": all interfaces of the namespace, those that come later
 * too; each is a capture point, vns_packet.point its index (those over 65534 share 65535), so that a
 * packet that is forwarded from one to another is not taken for two; not by eBPF, not promiscuous,
 * filters without link-layer words. Return: 0; -ENODEV no such interface, -ENETDOWN it is down,
 * -EPERM without CAP_NET_RAW, -EINVAL the filter is wrong, ...; @err names the object.
 */
int vns_source_open_live(struct vns_source **out, const char *ifname,
			 const struct vns_source_opts *opts, struct vns_err *err);

/**
 * vns_source_next() - decode up to @max packets into @out.
 * Return: number of packets (> 0), VNS_SOURCE_NONE, VNS_SOURCE_EOF, or -errno with @err set.
 * Packets are copies; they stay valid. Undecodable frames are handed out too (see verdict).
 * Live: -ENETDOWN when the interface went down (call again: capture goes on if it comes back),
 * -ENODEV when it was removed (VNS_SOURCE_EOF from then on); both once all captured before is
 * handed out.
 */
int vns_source_next(struct vns_source *s, struct vns_packet *out, size_t max,
		    struct vns_err *err);

/**
 * vns_source_fd() - descriptor to poll for live sources; -1 for files. It tells of packets within
 * 10 ms, but by eBPF not of those that come within 10 ms after a wake-up: call vns_source_next() again
 * 10 ms after it gave any.
 */
int vns_source_fd(const struct vns_source *s);

/** vns_source_stats() - counters so far; live drops are fetched from the kernel. */
void vns_source_stats(struct vns_source *s, struct vns_source_stats *out);

/**
 * vns_source_sentence() - a message about the end of the file ("FILE is cut in the middle of
 * record 17 at byte 4242"), or that a live capture has one socket where several were asked for; NULL when there
 * is nothing to say. Borrowed.
 */
const char *vns_source_sentence(const struct vns_source *s);

/**
 * vns_source_point_name() - name of capture point @point (struct vns_packet) of a file or of the
 * capture on "any": the interface's, as the pcapng file or now the kernel says; "" when it has none, NULL when
 * there is no such point (so far: interfaces may be described anywhere before their packets). Borrowed
 * until the next call.
 */
const char *vns_source_point_name(const struct vns_source *s, uint16_t point);

void vns_source_close(struct vns_source *s);

struct vns_bpf_insn { uint16_t code; uint8_t jt, jf; uint32_t k; }; /* struct sock_filter */
/**
 * vns_filter_compile() - pcap expression to classic BPF for @linktype, by libpcap.
 * @out is allocated; free() it. An empty or NULL expression gives one "accept all".
 * Return: number of instructions, or -EINVAL with @err naming the expression.
 */
int vns_filter_compile(const char *expr, uint32_t linktype, uint32_t snaplen,
		       struct vns_bpf_insn **out, struct vns_err *err);

#ifdef __cplusplus
}
#endif
#endif
