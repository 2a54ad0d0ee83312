/*
 * A listener of our own, where `front` is not to serve the relay: with certificate and key of the
 * operator, one that we sign ourselves, or without TLS behind a proxy that has it.
 *
 * Whoever has not logged in as far as the upgrade is in the crowd. That is bounded, as a whole and
 * for each source: at the limit the one that has been in it longest gives way to a new one, so that
 * those who are slow on purpose keep nobody out for longer than a handshake takes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "relay.h"

enum {
	CROWD = 512, CROWD_SOURCE = 64,
	HEAD_USEC = 10000000, IDLE_USEC = 30000000, BODY_MAX = 4096,
	HTTPS = 443, HTTP = 80,
	SETTLED_USEC = 10000000,	/* in which a coordinator says how we are called */
};

struct relay_conn {			/* until its upgrade */
	struct list link;		/* the oldest first */
	struct relay *relay;
	struct warren_stream *stream;	/* until HTTP has it */
	struct warren_http *http;
	struct warren_addr source;	/* IPv6: its /64 */
	bool tls;
};

static const char *const alpn[] = { "http/1.1", NULL };	/* HTTP/2 has no such upgrade */

/* ---- the section ---- */

/* "443", ":443", "192.0.2.1:443", "[::]:443". */
static int parse_place(const char *text, struct warren_addrport *out)
{
	const char *port = text[0] == ':' ? text + 1 : text;

	memset(out, 0, sizeof(*out));
	return port_parse(port, &out->port) ? addrport_parse(text, out) : 0;
}

int relay_own_check_place(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL);
	struct warren_addrport place;

	if (parse_place(text, &place) == 0)
		return 0;
	return warren_fail(err, at, "\"%s\" is no place to listen: expected a port, or an address "
			   "with one as in :443, 192.0.2.1:443, [2001:db8::1]:443", text);
}

enum relay_tls relay_own_tls(const struct warren_conf *conf)
{
	const struct warren_conf *tls = warren_conf_map(conf, "tls");

	if (tls && warren_conf_has(tls, "mode"))
		return (enum relay_tls)warren_conf_enum(tls, "mode");
	return tls && warren_conf_has(tls, "cert") ? RELAY_TLS_FILES : RELAY_TLS_SELF_SIGNED;
}

int relay_own_check(const struct warren_conf *conf, struct warren_err *err)
{
	static const char *const only[] = { "tls", "listen-http", "port" };

	if (warren_conf_count(conf, "listen") == 0) {
		for (size_t i = 0; i < 3; i++) {
			if (i == 1 ? warren_conf_count(conf, only[i]) > 0 :
			    i == 0 ? warren_conf_map(conf, "tls") != NULL :
				     warren_conf_has(conf, only[i]))
				return warren_fail_key(err, -EINVAL, conf, only[i], "\"%s\" is of "
						       "a listener of its own: add \"listen\", or "
						       "take it out and let front serve the relay",
						       only[i]);
		}
		return 0;
	}
	return warren_pair_check(warren_conf_map(conf, "tls"),
				 relay_own_tls(conf) == RELAY_TLS_FILES, err);
}

/* ---- a connection ---- */

static void conn_free(struct relay_conn *conn)
{
	conn->relay->own.crowd--;
	list_del(&conn->link);
	warren_http_close(conn->http);
	warren_stream_close(conn->stream);
	free(conn);
}

static void refuse(struct relay *relay, int reason, const char *why)
{
	warren_stat_add(relay->stats.refused[reason], 1);
	warren_log_limit(relay->ctx, &relay->own.limit, LOG_INFO,
			 "a connection to the relay is not served: %s", why);
}

/* Without TLS, while there is a port with it, clients get what needs none. */
static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct relay_conn *conn = arg;
	struct relay *relay = conn->relay;

	if (!conn->tls && relay->own.tls && !relay_http_is_plain(head))
		warren_exchange_to_https(x, head, relay_own_port(relay));
	else
		relay_http_serve(relay, x, head);
}

static const struct warren_exchange_events exchange_events = {
	.size = sizeof(exchange_events), .head = on_head,
};

static void on_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)http;
	(void)result;
	(void)why;
	conn_free(arg);
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .exchange = &exchange_events, .ended = on_ended,
};

static void serve(struct relay_conn *conn)
{
	static const struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_1, .head_timeout = HEAD_USEC,
		.idle_timeout = IDLE_USEC, .body_max = BODY_MAX,
	};
	struct warren_stream *stream = conn->stream;

	conn->stream = NULL;
	conn->http = warren_http_server_take(stream, &options, &http_events, conn);
	if (!conn->http)
		conn_free(conn);
}

static void on_tls(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct relay_conn *conn = arg;

	(void)stream;
	if (result) {
		refuse(conn->relay, RELAY_REFUSED_TLS, why);
		conn_free(conn);
		return;
	}
	serve(conn);
}

/* ---- the crowd ---- */

static struct warren_addr source_of(const struct warren_stream *stream)
{
	struct warren_addrport peer = { 0 };

	if (warren_stream_peer(stream, &peer))
		peer.addr = addr_unmap(&peer.addr);
	if (peer.addr.family == 6)
		memset(peer.addr.bytes + 8, 0, 8);
	return peer.addr;
}

static uint32_t count_of(const struct relay *relay, const struct warren_addr *source)
{
	const struct relay_conn *conn;
	uint32_t n = 0;

	list_for_each(conn, &relay->own.conns, link)
		n += addr_equal(&conn->source, source);
	return n;
}

static struct relay_conn *conn_new(struct relay *relay, struct warren_stream *stream, bool tls)
{
	const struct warren_addr source = source_of(stream);
	struct relay_conn *conn;

	/* All that a proxy lets through comes from one place. */
	if (relay->own.tls && count_of(relay, &source) >= CROWD_SOURCE) {
		refuse(relay, RELAY_REFUSED_CROWD, "many others of the same address have not "
		       "logged in yet");
		return NULL;
	}
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return NULL;
	if (relay->own.crowd >= CROWD) {
		refuse(relay, RELAY_REFUSED_CROWD, "it is the slowest of many that have not logged "
		       "in yet");
		conn_free(list_first(&relay->own.conns, struct relay_conn, link));
	}
	conn->relay = relay;
	conn->stream = stream;
	conn->source = source;
	conn->tls = tls;
	list_add_tail(&relay->own.conns, &conn->link);
	relay->own.crowd++;
	return conn;
}

void relay_own_accept(struct warren_ctx *ctx, struct warren_stream *stream, void *arg)
{
	struct relay *relay = arg;
	struct relay_conn *conn = conn_new(relay, stream, relay->own.tls != NULL);

	(void)ctx;
	if (!conn) {
		warren_stream_close(stream);
	} else if (!relay->own.tls) {
		serve(conn);
	} else {
		relay->own.is_new = false;
		conn->stream = warren_tls_accept_take(stream, relay->own.tls, on_tls, conn, NULL);
		if (!conn->stream)
			conn_free(conn);
	}
}

void relay_own_accept_plain(struct warren_ctx *ctx, struct warren_stream *stream, void *arg)
{
	struct relay_conn *conn = conn_new(arg, stream, false);

	(void)ctx;
	if (conn)
		serve(conn);
	else
		warren_stream_close(stream);
}

/* ---- certificate and key ---- */

static int take_pair(void *arg, const char *cert_pem, const uint8_t *key_pem, size_t key_len,
		     struct warren_err *err)
{
	struct relay *relay = arg;
	struct warren_cert_facts facts = { .size = sizeof(facts) };
	struct warren_tls_server *tls = warren_tls_server_new(cert_pem, key_pem, key_len, alpn,
							      err);

	if (!tls || !warren_cert_facts(cert_pem, &facts) ||
	    warren_derp_meta_set(tls, relay->own.marker, err)) {
		warren_tls_server_free(tls);
		return -EINVAL;
	}
	warren_tls_server_free(relay->own.tls);
	relay->own.tls = tls;
	relay->own.facts = facts;
	return 0;
}

static int take_changed(void *arg, const char *cert_pem, const uint8_t *key_pem, size_t key_len,
			struct warren_err *err)
{
	const struct relay *relay = arg;

	if (!relay->own.n || relay_own_tls(relay->conf) != RELAY_TLS_FILES)
		return 0;
	return take_pair(arg, cert_pem, key_pem, key_len, err);
}

/* How clients may call this box; @host: they are told so, or NULL. */
struct names {
	char addrs[RELAY_PLACES][ADDR_TEXT];
	const char *text[RELAY_PLACES + 1];
	uint32_t n;
};

static void gather_names(const struct warren_conf *conf, const char *host, struct names *out)
{
	struct warren_addrport place;

	out->n = 0;
	if (host)
		out->text[out->n++] = host;
	for (uint32_t i = 0; i < warren_conf_count(conf, "listen") && i < RELAY_PLACES; i++) {
		parse_place(warren_conf_str(warren_conf_at(conf, "listen", i), NULL), &place);
		if (place.addr.family && !addr_is_any(&place.addr))
			out->text[out->n++] = addr_format(&place.addr, out->addrs[i]);
	}
}

/* Somebody may have seen it in the status by now. */
static void own_is_known(struct warren_ctx *ctx, void *arg)
{
	struct relay *relay = arg;

	(void)ctx;
	relay->own.is_new = false;
}

static int load_own_pair(struct relay *relay, const struct warren_conf *conf,
			 struct warren_err *err)
{
	struct relay_own *own = &relay->own;
	struct names names;

	if (!own->settled)
		own->settled = warren_timer_new(relay->ctx, own_is_known, relay);
	if (!own->settled)
		return -ENOMEM;
	warren_timer_set(own->settled, SETTLED_USEC);
	gather_names(conf, warren_conf_has(conf, "host") ? warren_conf_str(conf, "host") : NULL,
		     &names);
	return warren_pair_own_wait(relay->ctx, names.text, names.n, take_pair, relay, &own->is_new,
				    err);
}

void relay_own_name(struct relay *relay, const char *host)
{
	struct names names;

	if (!relay->own.is_new)
		return;
	gather_names(relay->conf, host, &names);
	if (warren_pair_make(relay->ctx, names.text, names.n, take_pair, relay, NULL))
		warren_log(relay->ctx, LOG_WARNING, "the certificate of the relay does not say its "
			   "name: no memory");
}

static int load_pair(struct relay *relay, const struct warren_conf *conf, struct warren_err *err)
{
	const struct warren_conf *tls = warren_conf_map(conf, "tls");
	int result;

	switch (relay_own_tls(conf)) {
	case RELAY_TLS_SELF_SIGNED:
		return load_own_pair(relay, conf, err);
	case RELAY_TLS_FILES:
		result = warren_pair_files_wait(relay->ctx, tls, take_pair, relay, err);
		return result ? result : warren_pair_watch(relay->ctx, tls, "relay.tls",
							   take_changed, relay, err);
	case RELAY_TLS_OFF:
		warren_tls_server_free(relay->own.tls);
		relay->own.tls = NULL;
		return 0;
	}
	return 0;
}

void relay_own_marker_take(struct relay *relay, char *pem)
{
	free(relay->own.marker);
	relay->own.marker = pem;
	if (relay->own.tls && warren_derp_meta_set(relay->own.tls, pem, NULL))
		warren_log(relay->ctx, LOG_WARNING, "clients of the relay log in a round trip "
			   "slower: its key cannot be added to the certificate's chain");
}

/* ---- the listeners ---- */

static uint32_t places_of(const struct warren_conf *conf, const char *key)
{
	uint32_t n = warren_conf_count(conf, key);

	return n < RELAY_PLACES ? n : RELAY_PLACES;
}

static const char *place_of(const struct warren_conf *conf, const char *key, uint32_t i)
{
	return warren_conf_str(warren_conf_at(conf, key, i), NULL);
}

static struct relay_place *find(struct relay *relay, const char *text, bool plain)
{
	struct relay_own *own = &relay->own;

	for (uint32_t i = 0; i < own->n; i++) {
		if (own->places[i].plain == plain && strcmp(own->places[i].text, text) == 0)
			return &own->places[i];
	}
	return NULL;
}

static bool is_wanted(const struct warren_conf *conf, const struct relay_place *place)
{
	const char *key = place->plain ? "listen-http" : "listen";

	for (uint32_t i = 0; i < places_of(conf, key); i++) {
		if (strcmp(place_of(conf, key, i), place->text) == 0)
			return true;
	}
	return false;
}

/* Two sockets cannot have one port, though one of them is for a single address. */
static void make_room(struct relay *relay, const struct warren_conf *conf, uint16_t port)
{
	struct relay_own *own = &relay->own;

	for (uint32_t i = 0; i < own->n; i++) {
		if (warren_listener_port(own->places[i].listener) == port &&
		    !is_wanted(conf, &own->places[i])) {
			warren_listener_close(own->places[i].listener);
			own->places[i--] = own->places[--own->n];
		}
	}
}

static int open_place(struct relay *relay, const struct warren_conf *conf, uint32_t index,
		      bool plain, struct warren_err *err)
{
	const char *key = plain ? "listen-http" : "listen";
	struct relay_place place = { .plain = plain };
	struct warren_listen_options wanted = {
		.size = sizeof(wanted), .flags = WARREN_LISTEN_KEEP,
		.key = plain ? "relay.listen-http" : "relay.listen", .index = index,
		.connections = (uint32_t)warren_conf_int(conf, "clients") + CROWD,
	};
	int result;

	str_copy(place.text, sizeof(place.text), place_of(conf, key, index));
	parse_place(place.text, &wanted.at);
	make_room(relay, conf, wanted.at.port);
	result = warren_listen_wait(relay->ctx, &wanted,
				    plain ? relay_own_accept_plain : relay_own_accept, relay,
				    &place.listener, err);
	if (!result)
		relay->own.places[relay->own.n++] = place;
	return result;
}

/* Those that are not to be any more. */
static void close_others(struct relay *relay, const struct warren_conf *conf)
{
	struct relay_own *own = &relay->own;
	uint32_t n = 0;

	for (uint32_t i = 0; i < own->n; i++) {
		if (conf && is_wanted(conf, &own->places[i])) {
			warren_listener_limit(own->places[i].listener, CROWD +
					      (uint32_t)warren_conf_int(conf, "clients"));
			own->places[n++] = own->places[i];
		} else {
			warren_listener_close(own->places[i].listener);
		}
	}
	own->n = n;
}

static int open_missing(struct relay *relay, const struct warren_conf *conf,
			struct warren_err *err)
{
	int result = 0;

	for (int plain = 0; plain <= 1; plain++) {
		const char *key = plain ? "listen-http" : "listen";

		for (uint32_t i = 0; !result && i < places_of(conf, key); i++) {
			if (!find(relay, place_of(conf, key, i), plain))
				result = open_place(relay, conf, i, plain, err);
		}
	}
	return result;
}

int relay_own_set(struct relay *relay, const struct warren_conf *old,
		  const struct warren_conf *now, struct warren_err *err)
{
	bool wanted = warren_conf_count(now, "listen") > 0;
	int result = 0;

	if (wanted && (!old || !relay->own.n || !warren_conf_equal(old, now, "tls")))
		result = load_pair(relay, now, err);
	if (result)
		return result;
	result = wanted ? open_missing(relay, now, err) : 0;
	if (!result)
		close_others(relay, wanted ? now : NULL);
	return result;
}

void relay_own_close(struct relay *relay)
{
	struct relay_conn *conn, *next;

	list_for_each_safe(conn, next, &relay->own.conns, link)
		conn_free(conn);
	close_others(relay, NULL);
	warren_tls_server_free(relay->own.tls);
	relay->own.tls = NULL;
	free(relay->own.marker);
	relay->own.marker = NULL;
}

/* ---- what clients are told ---- */

uint16_t relay_own_port(const struct relay *relay)
{
	struct warren_addrport first;

	if (warren_conf_has(relay->conf, "port"))
		return (uint16_t)warren_conf_int(relay->conf, "port");
	parse_place(place_of(relay->conf, "listen", 0), &first);
	return relay->own.tls ? first.port : HTTPS;
}

bool relay_own_port80(const struct relay *relay)
{
	for (uint32_t i = 0; i < relay->own.n; i++) {
		if (relay->own.places[i].plain &&
		    warren_listener_port(relay->own.places[i].listener) == HTTP)
			return true;
	}
	return false;
}

bool relay_own_is_pinned(const struct relay *relay)
{
	return relay->own.tls && relay_own_tls(relay->conf) == RELAY_TLS_SELF_SIGNED;
}

bool relay_own_pin(struct relay *relay, uint8_t sha256[32])
{
	if (!relay_own_is_pinned(relay))
		return false;
	relay->own.is_new = false;
	memcpy(sha256, relay->own.facts.sha256, 32);
	return true;
}
