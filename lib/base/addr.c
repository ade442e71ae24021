// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Addresses: IPv4 is kept v4-mapped, so that one 16-byte compare serves both families.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <vnetscope/base.h>

static const uint8_t v4_prefix[12] = { [10] = 0xff, [11] = 0xff };

struct vns_addr vns_addr_from_v4(const uint8_t v4[4])
{
	struct vns_addr a;

	memcpy(a.b, v4_prefix, sizeof(v4_prefix));
	memcpy(a.b + 12, v4, 4);
	return a;
}

bool vns_addr_is_v4(const struct vns_addr *a)
{
	return memcmp(a->b, v4_prefix, sizeof(v4_prefix)) == 0;
}

bool vns_addr_equal(const struct vns_addr *a, const struct vns_addr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

int vns_addr_parse(const char *text, struct vns_addr *out)
{
	uint8_t v4[4];

	if (inet_pton(AF_INET, text, v4) == 1) {
		*out = vns_addr_from_v4(v4);
		return 0;
	}
	return inet_pton(AF_INET6, text, out->b) == 1 ? 0 : -EINVAL;
}

const char *vns_addr_format(const struct vns_addr *a, char buf[VNS_ADDR_STRLEN])
{
	if (vns_addr_is_v4(a))
		inet_ntop(AF_INET, a->b + 12, buf, VNS_ADDR_STRLEN);
	else
		inet_ntop(AF_INET6, a->b, buf, VNS_ADDR_STRLEN);
	return buf;
}
