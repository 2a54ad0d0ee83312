/*
 * UPnP Internet Gateway Device, as far as one host maps one UDP port (path-protocols.md 6.4): the
 * search and its answers (SSDP), the description of the device, and its actions (SOAP). Pure.
 *
 * What a device says of hosts is not taken: everything is asked of the gateway itself.
 */
#ifndef PATHS_IGD_H
#define PATHS_IGD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

#include "base/str.h"

enum {
	IGD_SSDP_PORT = 1900,
	IGD_PATH = 256,			/* of a URL, with its NUL */
	IGD_SERVICES = 8,		/* of a device that can map */
	IGD_BODY = 64 << 10,		/* bytes of an answer */
	/* Error codes of WANIPConnection that mean something to us. */
	IGD_INVALID_ARGS = 402,
	IGD_CONFLICT = 718,
	IGD_ONLY_PERMANENT = 725,
};

/* The datagrams: to the gateway, and to IGD_SSDP_GROUP for a device that hears nothing else. */
extern const char igd_search[], igd_search_group[];

struct igd_place {			/* at the gateway */
	uint16_t port;
	char path[IGD_PATH];
};
struct igd_found {
	struct igd_place at;		/* of the description */
	uint32_t boot;			/* BOOTID.UPNP.ORG; 0: not told */
};
/* -EBADMSG: no answer of a gateway device, or its place is none of HTTP. */
int igd_answer_parse(const uint8_t *data, size_t len, struct igd_found *out);

enum igd_kind {				/* the better one first */
	IGD_IP2, IGD_IP1, IGD_PPP1, IGD_KINDS
};
struct igd_service {
	enum igd_kind kind;
	struct igd_place at;
};
struct igd_device {
	struct igd_service services[IGD_SERVICES];	/* the better one first */
	uint32_t n;
};
/* @from: where @data was. -EBADMSG: no such XML; -ENOENT: it tells of no service that maps. */
int igd_device_parse(const struct igd_place *from, const uint8_t *data, size_t len,
		     struct igd_device *out);

/* The names of actions: for SOAPAction, in quotes, and in the body. */
const char *igd_type(enum igd_kind kind);
void igd_ask_address(enum igd_kind kind, struct str *body);
/* AddPortMapping, of IGD_IP2 AddAnyPortMapping. @lifetime 0: for ever. */
const char *igd_add_action(enum igd_kind kind);
void igd_ask_add(enum igd_kind kind, uint16_t external, uint16_t internal,
		 const struct warren_addr *self, uint32_t lifetime, struct str *body);
void igd_ask_delete(enum igd_kind kind, uint16_t external, struct str *body);

struct igd_answer {
	struct warren_addr address;	/* family 0: not told */
	uint16_t port;			/* reserved by AddAnyPortMapping; 0: not told */
	uint16_t error;			/* of a fault; 0: none */
};
/* Content of an answer, or of a fault. -EBADMSG: no such XML. */
int igd_soap_parse(const uint8_t *data, size_t len, struct igd_answer *out);
const char *igd_error_text(uint16_t error);

#endif
