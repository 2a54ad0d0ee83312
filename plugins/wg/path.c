/*
 * Paths and origins: conversions and comparisons, without state.
 */
#include "path.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cookie.h"
#include "ratelimit.h"
#include "wire.h"

bool wg_addr_equal(const struct warren_addr *a, const struct warren_addr *b)
{
	size_t len = a->family == 4 ? 4 : a->family == 6 ? 16 : 0;

	return a->family == b->family && !memcmp(a->bytes, b->bytes, len);
}

bool wg_addrport_equal(const struct warren_addrport *a, const struct warren_addrport *b)
{
	return a->port == b->port && wg_addr_equal(&a->addr, &b->addr);
}

static void set_name(struct wg_path *path)
{
	if (path->to.addr.family == 4) {
		path->name.v4.sin_family = AF_INET;
		path->name.v4.sin_port = htons(path->to.port);
		memcpy(&path->name.v4.sin_addr, path->to.addr.bytes, 4);
		path->name_len = sizeof(path->name.v4);
	} else {
		path->name.v6.sin6_family = AF_INET6;
		path->name.v6.sin6_port = htons(path->to.port);
		path->name.v6.sin6_scope_id = path->scope;
		memcpy(&path->name.v6.sin6_addr, path->to.addr.bytes, 16);
		path->name_len = sizeof(path->name.v6);
	}
}

struct wg_path *wg_path_new(const struct warren_data_path *data, const uint8_t peer[32])
{
	struct wg_path *path = calloc(1, sizeof(*path));

	if (!path)
		return NULL;
	path->kind = data->kind;
	path->to = data->address;
	path->vni = data->vni;
	path->region = data->region;
	path->copy_region = data->copy_region;
	path->tell = data->tell;
	path->generation = data->generation;
	memcpy(path->relay_peer, peer, sizeof(path->relay_peer));
	if (path->kind == WARREN_PATH_UDP || path->kind == WARREN_PATH_GENEVE)
		set_name(path);
	return path;
}

void wg_path_from_origin(struct wg_path *path, const struct wg_origin *origin)
{
	memset(path, 0, sizeof(*path));
	path->kind = origin->kind;
	path->to = origin->from;
	path->scope = origin->scope;
	path->vni = origin->vni;
	path->region = origin->region;
	path->local = origin->local;
	memcpy(path->relay_peer, origin->relay_peer, sizeof(path->relay_peer));
	if (path->kind == WARREN_PATH_UDP || path->kind == WARREN_PATH_GENEVE)
		set_name(path);
}

void wg_path_to_data(const struct wg_path *path, struct warren_data_path *data)
{
	memset(data, 0, sizeof(*data));
	data->size = sizeof(*data);
	if (!path)
		return;
	data->kind = path->kind;
	data->address = path->to;
	data->vni = path->vni;
	data->region = path->region;
	data->copy_region = path->copy_region;
	data->tell = path->tell;
	data->generation = path->generation;
}

bool wg_path_is(const struct wg_path *path, const struct wg_origin *origin)
{
	if (!path || path->kind != origin->kind)
		return false;
	switch (path->kind) {
	case WARREN_PATH_UDP:
		return wg_addrport_equal(&path->to, &origin->from) && path->scope == origin->scope;
	case WARREN_PATH_GENEVE:
		return path->vni == origin->vni && wg_addrport_equal(&path->to, &origin->from);
	case WARREN_PATH_RELAY:
		return path->region == origin->region;
	default:
		return false;
	}
}

bool wg_path_same_local(const struct wg_path *path, const struct wg_origin *origin)
{
	return path->local.ifindex == origin->local.ifindex &&
	       wg_addr_equal(&path->local.addr, &origin->local.addr);
}

size_t wg_origin_cookie_source(const struct wg_origin *origin, uint8_t out[WG_ORIGIN_BYTES])
{
	size_t len = 0;

	/* UDP sources have 6 or 18 bytes, relay sessions 10 or 22, relays 36: no two look alike. */
	if (origin->kind == WARREN_PATH_RELAY) {
		wg_store_be32(out, origin->region);
		memcpy(out + 4, origin->relay_peer, 32);
		return 36;
	}
	len = wg_cookie_source_udp(out, &origin->from);
	if (origin->kind == WARREN_PATH_GENEVE) {
		wg_store_be32(out + len, origin->vni);
		len += 4;
	}
	return len;
}

size_t wg_origin_rate_source(const struct wg_origin *origin, uint8_t out[16])
{
	if (origin->kind == WARREN_PATH_RELAY) {
		memcpy(out, origin->relay_peer, 12);
		return 12;
	}
	return wg_ratelimit_key(out, &origin->from.addr);
}

void wg_geneve_write(uint8_t header[WG_GENEVE_LEN], uint16_t protocol, uint32_t vni)
{
	header[0] = 0;
	header[1] = vni & WARREN_VNI_CONTROL ? 0x80 : 0;
	wg_store_be16(header + 2, protocol);
	wg_store_be32(header + 4, vni << 8);
}

void wg_addrport_text(const struct warren_addrport *a, char text[WG_PATH_TEXT])
{
	char addr[INET6_ADDRSTRLEN] = "?";

	inet_ntop(a->addr.family == 4 ? AF_INET : AF_INET6, a->addr.bytes, addr, sizeof(addr));
	snprintf(text, WG_PATH_TEXT, a->addr.family == 4 ? "%s:%u" : "[%s]:%u", addr, a->port);
}

void wg_path_text(const struct wg_path *path, char text[WG_PATH_TEXT])
{
	switch (path ? path->kind : WARREN_PATH_NONE) {
	case WARREN_PATH_UDP:
		wg_addrport_text(&path->to, text);
		break;
	case WARREN_PATH_GENEVE:
		wg_addrport_text(&path->to, text);
		snprintf(text + strlen(text), WG_PATH_TEXT - strlen(text), ":vni:%u", path->vni);
		break;
	case WARREN_PATH_RELAY:
		snprintf(text, WG_PATH_TEXT, "relay %u", path->region);
		break;
	default:
		snprintf(text, WG_PATH_TEXT, "none");
	}
}
