/*
 * Reads wg(8) and wg-quick(8) configuration files and writes the equivalent Warren configuration:
 * `warren wg import FILE`. The file may be anybody's: sizes are bounded, nothing in it is run, and
 * private keys never reach the output.
 *
 * Pure; any thread.
 */
#ifndef WG_WGCONF_H
#define WG_WGCONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <warren/plugin.h>

enum {
	WG_CONF_FILE_MAX = 16 << 20,	/* bytes; 10,000 peers are about 2 MiB */
	WG_CONF_LINE_MAX = 64 << 10,
	WG_CONF_PEERS_MAX = 65536,
	WG_CONF_ITEMS_MAX = 1 << 20,	/* addresses, allowed IPs, commands: all lists together */
	WG_CONF_HOST_MAX = 255,		/* RFC 1035 name, or an address */
	WG_CONF_ERRORS_MAX = 10,
};

struct wg_conf_prefixes {		/* in file order */
	struct warren_prefix *at;
	size_t n, room;
};

struct wg_conf_text {			/* to be told, not done: PostUp, Table, ... */
	const char *key;		/* as wg-quick spells it */
	char *value;
	uint32_t line;
};

struct wg_conf_peer {
	uint32_t line;			/* of its [Peer] */
	char *comment;			/* the comment right below or above [Peer], or NULL */
	bool has_key, has_psk;
	uint8_t public_key[32], psk[32];
	struct wg_conf_prefixes allowed;	/* host bits zero */
	char host[WG_CONF_HOST_MAX + 1];	/* name or address without brackets; "" none */
	uint16_t port;
	uint16_t keepalive;		/* seconds, 0 off */
};

struct wg_conf {
	bool has_private_key;
	uint8_t private_key[32];
	uint32_t port, mtu;		/* 0: not given */
	struct wg_conf_prefixes address;	/* host bits kept: the addresses of the box */
	struct wg_conf_text *text;	/* without equivalent, in file order */
	size_t text_n, text_room;
	struct wg_conf_peer *peer;
	size_t peer_n, peer_room;
};

/*
 * Parses @len bytes of @data; @name is what errors call the file. NULL with "NAME:LINE: ..." in
 * @err (all errors of the file, up to ten). No error text repeats a key. The result holds keys:
 * wg_conf_free() wipes them; @data is the caller's to wipe.
 */
struct wg_conf *wg_conf_parse(const char *name, const char *data, size_t len,
			      struct warren_err *err);
void wg_conf_free(struct wg_conf *conf);	/* NULL is allowed */

/*
 * Writes the YAML to @out: printable ASCII only, whatever the file held. The private key and the
 * pre-shared keys are named as files below /etc/warren that the operator has to make. -ENOMEM, or
 * -EIO: a write failed.
 */
int wg_conf_render(const struct wg_conf *conf, const char *name, FILE *out);

#endif
