// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What reading through libpcap alone costs: open each capture, count its packets.
 */
#include <inttypes.h>
#include <stdio.h>

#include <pcap/pcap.h>

int main(int argc, char **argv)
{
	char err[PCAP_ERRBUF_SIZE];
	uint64_t packets = 0;

	for (int i = 1; i < argc; i++) {
		const unsigned char *data;
		struct pcap_pkthdr *head;
		pcap_t *p = pcap_open_offline_with_tstamp_precision(
			argv[i], PCAP_TSTAMP_PRECISION_NANO, err);

		if (!p) {
			fprintf(stderr, "%s\n", err);
			return 3;
		}
		while (pcap_next_ex(p, &head, &data) == 1)
			packets++;
		pcap_close(p);
	}
	printf("%" PRIu64 "\n", packets);
	return 0;
}
