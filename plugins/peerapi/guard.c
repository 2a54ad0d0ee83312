/*
 * Ports, what a connection speaks, and which requests are none of a peer's daemon.
 */
#include "guard.h"

#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/crc32.h"

enum { PORT_BYTES = 3 };

uint16_t papi_port(const struct warren_addr *addr, uint32_t attempt)
{
	uint8_t last[PORT_BYTES];

	memcpy(last, addr->bytes + addr_size(addr) - PORT_BYTES, sizeof(last));
	last[0] = (uint8_t)(last[0] + attempt);
	return (uint16_t)(crc32_of(last, sizeof(last)) | 0x8000);
}

uint32_t papi_version(const uint8_t *data, size_t len)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";	/* RFC 9113 3.4 */
	size_t whole = sizeof(preface) - 1, n = len < whole ? len : whole;

	if (memcmp(data, preface, n) != 0)
		return WARREN_HTTP_1;
	return n == whole ? WARREN_HTTP_2 : 0;
}

static bool is_ours(const struct warren_addr *addr, const struct warren_node *self,
		    const struct warren_node *node)
{
	return warren_netmap_has(self, addr) ||
	       (addr->family == 4 && addr_equal(addr, &node->masquerade_v4)) ||
	       (addr->family == 6 && addr_equal(addr, &node->masquerade_v6));
}

const char *papi_refusal(const struct warren_http_head *head, const struct warren_node *self,
			 const struct warren_node *node, const struct warren_addrport *at)
{
	struct warren_addrport host;

	if (warren_http_field(head, "referer"))
		return "it has a Referer";
	if (warren_http_field(head, "origin"))
		return "it has an Origin";
	if (!head->authority)
		return "it names no host";
	if (strcmp(head->authority, "peer") == 0)
		return NULL;
	if (addrport_parse(head->authority, &host) || host.port != at->port ||
	    !is_ours(&host.addr, self, node))
		return "it names another host";
	return NULL;
}

bool papi_below(const char *path, const char *prefix)
{
	size_t len = strlen(prefix);

	if (strncmp(path, prefix, len) != 0)
		return false;
	return path[len] == '\0' || path[len] == '/' || path[len] == '?';
}

uint16_t papi_told_port(const struct warren_node *node, uint8_t family)
{
	const char *proto = family == 6 ? "peerapi6" : "peerapi4";

	for (uint32_t i = 0; i < node->n_services; i++) {
		if (strcmp(node->services[i].proto, proto) == 0)
			return node->services[i].port;
	}
	return 0;
}

const struct warren_addr *papi_address(const struct warren_node *node, uint8_t family)
{
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		if (node->addresses[i].addr.family == family)
			return &node->addresses[i].addr;
	}
	return NULL;
}
