/*
 * relay: the DERP relay and STUN server of this box, behind `front` or on listeners of its own.
 *
 * This file is the plugin's face: section, tables, start and reload. client.c has a connection,
 * table.c who is here, queue.c what waits.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <warren/priv.h>

#include "base/addr.h"
#include "base/err.h"
#include "probe.h"
#include "relay.h"

enum { KEY_FORMAT = 1 };
static const uint64_t marker_usec = UINT64_C(86400) * 1000000;	/* it is valid for 30 days */

/* ---- the section ---- */

static bool is_loopback(const char *host)
{
	return strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
	       strcmp(host, "::1") == 0;
}

static int check_verify(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL);
	struct warren_url url;

	if (strcmp(text, "coordinator") == 0 || strcmp(text, "anyone") == 0)
		return 0;
	if (warren_url_parse(text, &url, NULL))
		return warren_fail(err, at, "\"%s\" says nobody who decides: expected "
				   "coordinator, anyone, or a URL", text);
	if (strcmp(url.scheme, "http") == 0 && !is_loopback(url.host))
		return warren_fail(err, at, "%s is without TLS: whoever is on the way could let "
				   "anybody in; expected https", text);
	return 0;
}

static int check_code(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL);

	if (strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text))
		return 0;
	return warren_fail(err, at, "\"%s\" is no code of a region: expected lower-case letters, "
			   "digits and -", text);
}

static const char *const tls_modes[] = { "self-signed", "files", "off", NULL };

static const struct warren_option tls_options[] = {
	{ .key = "mode", .type = WARREN_ENUM, .values = tls_modes,
	  .brief = "Where the certificate comes from.",
	  .help = "self-signed: made at the first start; clients must know its fingerprint, which "
		  "`warren relay status` shows and the coordinator beside it tells. files: cert "
		  "and key below. off: a proxy in front has TLS; it must pass upgrades of "
		  "connections on, those to WebSocket at least.",
	  .example = "files" },
	WARREN_PAIR_OPTIONS,
};

static const struct warren_option options[] = {
	{ .key = "listen", .type = WARREN_STRING, .flags = WARREN_MANY, .max = 53,
	  .check = relay_own_check_place,
	  .brief = "Ports, or addresses with ports, to serve the relay at without `front`.",
	  .help = "With TLS, unless `tls` is off. Eight at most; clients are told the first one's "
		  "port, or `port`.",
	  .example = "[\":443\"]" },
	{ .key = "listen-http", .type = WARREN_STRING, .flags = WARREN_MANY, .max = 53,
	  .check = relay_own_check_place,
	  .brief = "The same without TLS, for /generate_204 and what clients measure.",
	  .help = "Port 80 is where they look for a captive portal; other requests are sent to "
		  "https from there.",
	  .example = "[\":80\"]" },
	{ .key = "tls", .type = WARREN_MAP, .flags = WARREN_OR_TEXT,
	  .sub = WARREN_TABLE(tls_options),
	  .brief = "The certificate of `listen`: self-signed, {cert: FILE, key: FILE}, or off." },
	{ .key = "port", .type = WARREN_INT, .min = 1, .max = 65535,
	  .brief = "TCP port that clients are told, where it is not that of `listen`.",
	  .help = "Without it the first of `listen`; 443 with `tls: off`.", .example = "8443" },
	{ .key = "region", .type = WARREN_INT, .def = "900", .min = 1, .max = 65535,
	  .brief = "Number of the region that this relay serves.",
	  .help = "900 to 999 are for regions of one's own. A number stays what it is: nodes "
		  "remember it." },
	{ .key = "code", .type = WARREN_STRING, .def = "own", .min = 1, .max = 16,
	  .check = check_code, .brief = "Short name of the region, as clients show it.",
	  .example = "tpe" },
	{ .key = "name", .type = WARREN_STRING, .max = 64,
	  .brief = "Its name for people; the code without it.", .example = "Taipei" },
	{ .key = "host", .type = WARREN_STRING, .max = 253,
	  .brief = "How clients reach this box; as they reach the coordinator without it.",
	  .example = "relay.example.com" },
	{ .key = "verify", .type = WARREN_STRING, .def = "coordinator", .max = 512,
	  .check = check_verify, .brief = "Who may use it: coordinator, anyone, or a URL.",
	  .help = "coordinator: nodes that the coordinator in this daemon knows. A URL is asked "
		  "as stock relays do ({\"NodePublic\": ..., \"Source\": ...}), and who is not "
		  "allowed, or when it does not answer, is not let in. anyone: whoever finds it.",
	  .example = "https://hq.example.com/verify" },
	{ .key = "ca-file", .type = WARREN_PATH, .flags = WARREN_READ,
	  .brief = "Certificates (PEM) to trust instead of the system's.",
	  .help = "For the URL of `verify`, and for relays of `mesh-with`.",
	  .example = "/etc/ssl/certs/our-root.pem" },
	{ .key = "address", .type = WARREN_ADDR,
	  .brief = "Serve STUN at this address only; at all of them without it.",
	  .example = "203.0.113.5" },
	{ .key = "stun-port", .type = WARREN_INT, .def = "3478", .min = 0,
	  .max = 65535, .brief = "UDP port for STUN; 0 for none." },
	{ .key = "clients", .type = WARREN_INT, .def = "10000", .min = 1, .max = 100000,
	  .brief = "Connections at a time; more are turned away.",
	  .help = "Behind front, front.connections must let them through." },
	{ .key = "accept-rate", .type = WARREN_INT, .def = "0", .min = 0, .max = 1000000,
	  .brief = "Logins in a second, at most; 0 for no limit." },
	{ .key = "rate", .type = WARREN_SIZE, .def = "0", .min = 0, .max = INT64_C(1) << 34,
	  .brief = "Bytes in a second that one client may send; 0 for no limit.",
	  .help = "Nothing is dropped: the relay reads on when there is room again." },
	{ .key = "burst", .type = WARREN_SIZE, .def = "1MiB", .min = 128 << 10,
	  .max = INT64_C(1) << 30,
	  .brief = "Bytes that it may send at once after a pause." },
	{ .key = "mesh-key", .type = WARREN_SECRET_REF, .max = 128,
	  .brief = "What the relays of one region know each other by: 64 hexadecimal digits.",
	  .help = "The same for all of them, as the mesh key of the stock relay." },
	{ .key = "mesh-with", .type = WARREN_STRING, .flags = WARREN_MANY, .max = 400,
	  .check = relay_mesh_check, .brief = "The other relays of this region.",
	  .help = "HOST, HOST:PORT or HOST/ADDRESS, and behind a blank the pin (sha256-raw:...) of "
		  "a certificate that the relay made for itself. Each relay must have all others "
		  "here; itself may be among them.",
	  .example = "[relay2.example.com]" },
	{ .key = "write-timeout", .type = WARREN_DURATION, .def = "2s", .min = 100000,
	  .max = INT64_C(600) * 1000000,
	  .brief = "A client that takes nothing for so long is disconnected." },
};

static const struct warren_port needs[] = {
	{ .name = "front", .major = 0, .minor = 1, .flags = WARREN_SOFT,
	  .brief = "The public listeners." },
};
static const struct warren_port offers[] = {
	{ .name = "relay-server", .major = 0, .minor = 2, .brief = "The relay of this box." },
};

static const struct warren_metric metrics[] = {
	{ .name = "clients", .kind = WARREN_GAUGE, .unit = "1", .brief = "Connections now." },
	{ .name = "peers", .kind = WARREN_GAUGE, .unit = "1", .brief = "Keys that are connected." },
	{ .name = "homes", .kind = WARREN_GAUGE, .unit = "1",
	  .brief = "Connections of nodes that are at home here." },
	{ .name = "duplicates", .kind = WARREN_GAUGE, .unit = "1",
	  .brief = "Keys that are connected more than once." },
	{ .name = "accepted", .kind = WARREN_COUNTER, .unit = "1", .brief = "Logins." },
	{ .name = "websockets", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Connections of those that came as WebSocket." },
	{ .name = "refused", .kind = WARREN_COUNTER, .unit = "1", .label = "reason",
	  .brief = "Connections turned away: full, rate, verify; on `listen` tls, crowd." },
	{ .name = "not_ideal", .kind = WARREN_GAUGE, .unit = "1",
	  .brief = "Connections of clients that wanted another node of the region." },
	{ .name = "watchers", .kind = WARREN_GAUGE, .unit = "1",
	  .brief = "Other relays of the mesh that are told who is here." },
	{ .name = "remote", .kind = WARREN_GAUGE, .unit = "1",
	  .brief = "Keys at other relays of the mesh, once for each of those." },
	{ .name = "home_moves", .kind = WARREN_COUNTER, .unit = "1", .label = "direction",
	  .brief = "Clients that moved their home here, or away; not at their start." },
	{ .name = "packets", .kind = WARREN_COUNTER, .unit = "packets", .label = "direction",
	  .brief = "Packets from and to clients." },
	{ .name = "bytes", .kind = WARREN_COUNTER, .unit = "bytes", .label = "direction",
	  .brief = "Bytes of those packets." },
	{ .name = "dropped", .kind = WARREN_COUNTER, .unit = "packets", .label = "reason",
	  .brief = "Packets for nobody here, or for one that does not read." },
	{ .name = "dropped_bytes", .kind = WARREN_COUNTER, .unit = "bytes", .label = "reason",
	  .brief = "Bytes of those packets." },
	{ .name = "forwarded", .kind = WARREN_COUNTER, .unit = "packets", .label = "direction",
	  .brief = "Packets from and to other relays of the mesh." },
	{ .name = "pongs", .kind = WARREN_COUNTER, .unit = "1", .brief = "Pings answered." },
	{ .name = "peer_gone", .kind = WARREN_COUNTER, .unit = "1", .label = "reason",
	  .brief = "Clients told that a peer has left, or is not here." },
	{ .name = "shed", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Clients disconnected because they did not read." },
	{ .name = "protocol_errors", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Clients disconnected for what they said." },
	{ .name = "stun", .kind = WARREN_COUNTER, .unit = "packets", .label = "result",
	  .brief = "STUN: answered, foreign (also answered), limited (not), other, failed." },
};

static const struct warren_option check_args[] = {
	{ .key = "url", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .min = 1, .max = 512, .brief = "Its host name or URL." },
	{ .key = "pin", .type = WARREN_STRING, .max = 75,
	  .brief = "SHA-256 of its certificate, as CertName in a relay map." },
	{ .key = "ca-file", .type = WARREN_FD_IN,
	  .brief = "Who vouches for its certificate, PEM; the system's authorities without it." },
	{ .key = "address", .type = WARREN_ADDR,
	  .brief = "Reach it there, and ask no name server." },
	{ .key = "stun-port", .type = WARREN_INT, .def = "3478", .min = 0, .max = 65535,
	  .brief = "UDP port of its STUN; 0: it has none." },
	{ .key = "http-port", .type = WARREN_INT, .def = "80", .min = 0, .max = 65535,
	  .brief = "TCP port of /generate_204; 0: it has none." },
	{ .key = "anyone", .type = WARREN_BOOL, .def = "false",
	  .brief = "It is to admit keys that nobody knows." },
};

static const struct warren_command commands[] = {
	{ .path = "relay check", .flags = WARREN_CMD_OPERATOR | WARREN_CMD_ALWAYS,
	  .args = WARREN_TABLE(check_args), .brief = "Test a relay from outside.",
	  .help = "One line for each check: what is wrong, and what to do. Any DERP relay will "
		  "do, a stock one too, and this box need not be one. The exit status is 1 if a "
		  "check failed. Two clients with keys made for this log in; where only known "
		  "nodes are admitted they are turned away, and no packet is passed on.",
	  .example = "warren relay check relay.example.com", .run = relay_run_check },
	{ .path = "relay status", .flags = WARREN_CMD_OPERATOR,
	  .brief = "Who is connected to the relay.",
	  .help = "The first 256 connections; the metrics count all of them.",
	  .example = "warren relay status --json", .run = relay_run_status },
};

static const struct warren_check checks[] = {
	{ .id = "relay.mesh", .severity = WARREN_WARN,
	  .brief = "The other relays of the region are reached.",
	  .help = "Nodes at home at different ones do not find each other otherwise.",
	  .run = relay_check_mesh },
	{ .id = "relay.served", .severity = WARREN_BAD,
	  .brief = "Something listens for the relay's clients.",
	  .help = "That is `front` with its public ports, or `listen`.",
	  .run = relay_check_served },
	{ .id = "relay.certificate", .severity = WARREN_BAD,
	  .brief = "The certificate of `listen` is valid now, and for another week.",
	  .help = "Clients refuse a certificate that has expired or is not valid yet.",
	  .run = relay_check_certificate },
	{ .id = "relay.verify", .severity = WARREN_BAD,
	  .brief = "Somebody can say who may use the relay.",
	  .help = "Without a verdict nobody is let in.", .run = relay_check_verify },
	{ .id = "relay.reachable", .severity = WARREN_WARN,
	  .brief = "STUN is reached under the relay's name, as seen from this box itself.",
	  .help = "Asked after the start and a change, then every six hours.",
	  .run = relay_check_reach },
	{ .id = "relay.duplicates", .severity = WARREN_WARN,
	  .brief = "No key is connected more than once.",
	  .help = "For a moment after a change of networks that is normal.",
	  .run = relay_check_duplicates },
};

/* ---- start and stop ---- */

static void open_stats(struct relay *relay)
{
	static const char *const refused[] = { "full", "rate", "verify", "tls", "crowd" };
	static const char *const drops[] = { "unknown", "oldest", "newest", "gone" };
	static const char *const stun[] = {
		"answered", "foreign", "limited", "other", "failed",
	};
	static const char *const ways[] = { "received", "sent" };
	static const char *const moves[] = { "in", "out" };
	static const char *const gone[] = { "disconnected", "not-here" };
	struct relay_stats *stats = &relay->stats;

	stats->clients = warren_stat_open(relay->ctx, "clients", NULL);
	stats->peers = warren_stat_open(relay->ctx, "peers", NULL);
	stats->homes = warren_stat_open(relay->ctx, "homes", NULL);
	stats->duplicates = warren_stat_open(relay->ctx, "duplicates", NULL);
	stats->websockets = warren_stat_open(relay->ctx, "websockets", NULL);
	stats->accepted = warren_stat_open(relay->ctx, "accepted", NULL);
	stats->pongs = warren_stat_open(relay->ctx, "pongs", NULL);
	stats->shed = warren_stat_open(relay->ctx, "shed", NULL);
	stats->protocol = warren_stat_open(relay->ctx, "protocol_errors", NULL);
	for (int i = 0; i < RELAY_REFUSALS; i++)
		stats->refused[i] = warren_stat_open(relay->ctx, "refused", refused[i]);
	for (int i = 0; i < RELAY_STUNS; i++)
		stats->stun[i] = warren_stat_open(relay->ctx, "stun", stun[i]);
	stats->not_ideal = warren_stat_open(relay->ctx, "not_ideal", NULL);
	stats->watchers = warren_stat_open(relay->ctx, "watchers", NULL);
	stats->remote = warren_stat_open(relay->ctx, "remote", NULL);
	for (int i = 0; i < 2; i++) {
		stats->home_moves[i] = warren_stat_open(relay->ctx, "home_moves", moves[i]);
		stats->packets[i] = warren_stat_open(relay->ctx, "packets", ways[i]);
		stats->bytes[i] = warren_stat_open(relay->ctx, "bytes", ways[i]);
		stats->forwarded[i] = warren_stat_open(relay->ctx, "forwarded", ways[i]);
		stats->gone[i] = warren_stat_open(relay->ctx, "peer_gone", gone[i]);
	}
	for (int i = 0; i < RELAY_DROPS; i++) {
		stats->dropped[i] = warren_stat_open(relay->ctx, "dropped", drops[i]);
		stats->dropped_bytes[i] = warren_stat_open(relay->ctx, "dropped_bytes", drops[i]);
	}
}

static int load_key(struct relay *relay, struct warren_err *err)
{
	char text[WARREN_PRIVATE_TEXT];
	void *data = NULL;
	size_t len = 0;
	int result = warren_state_read(relay->ctx, "derp.key", WARREN_STATE_KEY, KEY_FORMAT,
				       &data, &len, err);

	if (result == -ENOENT) {
		warren_private_new(&relay->key);
		warren_private_format(&relay->key, text);
		result = warren_state_write_wait(relay->ctx, "derp.key", WARREN_STATE_KEY,
						 KEY_FORMAT, text, strlen(text), err);
	} else if (!result) {
		snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)data);
		result = warren_private_parse(text, &relay->key, err);
	}
	explicit_bzero(text, sizeof(text));
	warren_release(data);
	if (!result)
		warren_private_public(&relay->key, relay->public_key);
	return result;
}

static int set_marker(struct relay *relay, struct warren_err *err)
{
	char *pem = warren_derp_meta_new(relay->public_key, warren_realtime() / 1000000, err);
	int result = !pem ? -ENOMEM : !relay->front ? 0 :
		     relay->front->marker(relay->front_self, relay->ctx, pem, err);

	if (pem)
		relay_own_marker_take(relay, pem);
	warren_timer_set(relay->marker, marker_usec);
	return result;
}

static void on_marker(struct warren_ctx *ctx, void *arg)
{
	struct warren_err err = ERR_INIT;

	if (set_marker(arg, &err))
		warren_log(ctx, LOG_WARNING, "clients log in a round trip slower: %s",
			   err_first(&err));
	err_free(&err);
}

static void take_settings(struct relay *relay, const struct warren_conf *conf)
{
	const char *verify = warren_conf_str(conf, "verify");

	relay->conf = conf;
	relay->verify_url = verify;
	relay->verify = strcmp(verify, "coordinator") == 0 ? RELAY_VERIFY_COORDINATOR :
			strcmp(verify, "anyone") == 0 ? RELAY_VERIFY_ANYONE : RELAY_VERIFY_URL;
	relay->rate = (uint64_t)warren_conf_int(conf, "rate");
	relay->burst = (uint64_t)warren_conf_int(conf, "burst");
	relay->accept_rate = (uint64_t)warren_conf_int(conf, "accept-rate");
	relay->write_timeout = (uint64_t)warren_conf_int(conf, "write-timeout");
	relay->clients_max = (uint32_t)warren_conf_int(conf, "clients");
}

static bool has_own(const struct relay *relay)
{
	return warren_conf_count(relay->conf, "listen") > 0;
}

static void describe(void *self, struct warren_relay_server_info *out)
{
	struct relay *relay = self;
	const struct warren_conf *conf = relay->conf;

	out->region = (uint16_t)warren_conf_int(conf, "region");
	out->code = warren_conf_str(conf, "code");
	out->name = warren_conf_has(conf, "name") ? warren_conf_str(conf, "name") : out->code;
	out->host = warren_conf_has(conf, "host") ? warren_conf_str(conf, "host") : NULL;
	out->stun_port = relay->stun_port;
	if (relay->own.n > 0) {
		out->port = relay_own_port(relay);
		out->port80 = relay_own_port80(relay);
		out->pinned = relay_own_pin(relay, out->sha256);
	} else if (relay->front) {
		out->port = relay->front->port(relay->front_self, true);
		out->port80 = relay->front->port(relay->front_self, false) == 80;
		out->pinned = relay->front->pin(relay->front_self, out->sha256);
	}
}

static void told_host(void *self, const char *host)
{
	struct relay *relay = self;

	relay_reach_host(relay->reach, host);
	if (warren_conf_has(relay->conf, "host"))
		return;
	if (has_own(relay))
		relay_own_name(relay, host);
	else if (relay->front)
		(void)relay->front->name(relay->front_self, relay->ctx, host, NULL);
}

static const struct warren_relay_server service = {
	.size = sizeof(service), .describe = describe, .judge = relay_judge, .host = told_host,
};

static int take_ca(struct relay *relay, const struct warren_conf *conf, struct warren_err *err)
{
	struct warren_ca_file ca;
	int result = warren_ca_file_open_wait(relay->ctx, conf, &ca, err);

	if (result)
		return result;
	warren_ca_file_close(&relay->ca);
	relay->ca = ca;
	return 0;
}

static void let_go(struct relay *relay)
{
	warren_ca_file_close(&relay->ca);
	if (relay->reach)
		relay_reach_stop(relay->reach);
	warren_release(relay->judge_tie);
	relay->judge_tie = NULL;
	relay_clients_close(relay);
	relay_own_close(relay);
	relay_mesh_close(relay);
	hash_free(&relay->peers);
	hash_free(&relay->links);
	warren_private_wipe(&relay->key);
}

/* At front, whether its clients or ours use that now: a reload may change it. */
static int use_front(struct relay *relay, struct warren_err *err)
{
	int result = relay_route(relay, err);

	if (!result && !has_own(relay) && warren_conf_has(relay->conf, "host"))
		result = relay->front->name(relay->front_self, relay->ctx,
					    warren_conf_str(relay->conf, "host"), err);
	return result;
}

static int begin(struct relay *relay, struct warren_err *err)
{
	const void *front;
	int result;

	if (warren_need(relay->ctx, "front", &front, &relay->front_self) == 0)
		relay->front = front;
	relay->marker = warren_timer_new(relay->ctx, on_marker, relay);
	relay->reach = relay_reach_new(relay);
	if (!relay->marker || !relay->reach)
		return -ENOMEM;
	result = relay_gather_begin(relay);
	if (!result)
		result = load_key(relay, err);
	if (!result)
		result = set_marker(relay, err);
	if (!result)
		result = relay_stun_open(relay, err);
	if (!result && relay->front)
		result = use_front(relay, err);
	if (!result)
		result = relay_mesh_open(relay, relay->conf, err);
	if (!result)
		result = relay_own_set(relay, NULL, relay->conf, err);
	return result ? result : warren_offer(relay->ctx, "relay-server", &service, relay);
}

static int relay_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		       struct warren_err *err)
{
	struct relay *relay = warren_zalloc(ctx, sizeof(*relay));
	int result;

	if (!relay)
		return -ENOMEM;
	relay->ctx = ctx;
	relay_init(relay);
	take_settings(relay, conf);
	open_stats(relay);
	warren_self_set(ctx, relay);
	result = take_ca(relay, conf, err);
	if (!result)
		result = begin(relay, err);
	if (result)
		let_go(relay);
	return result;
}

static int reload_mesh(struct relay *relay, const struct warren_conf *old,
		       const struct warren_conf *now, struct warren_err *err)
{
	int result;

	if (warren_conf_equal(old, now, "mesh-key") && warren_conf_equal(old, now, "mesh-with") &&
	    warren_conf_equal(old, now, "ca-file"))
		return 0;
	relay_mesh_close(relay);
	result = relay_mesh_open(relay, now, err);
	if (result) {
		relay_mesh_close(relay);
		(void)relay_mesh_open(relay, old, NULL);
	}
	return result;
}

/* Clients that are connected stay, by whichever way they came. */
static int reload_own(struct relay *relay, const struct warren_conf *old,
		      const struct warren_conf *now, struct warren_err *err)
{
	int result = relay_own_set(relay, old, now, err);

	if (result && relay_own_set(relay, now, old, NULL))
		warren_log(relay->ctx, LOG_ERR, "the relay is not served everywhere any more: see "
			   "the error of the reload");
	return result;
}

static int relay_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			const struct warren_conf *now, struct warren_err *err)
{
	struct relay *relay = warren_self(ctx);
	bool same = warren_conf_equal(old, now, "stun-port") &&
		    warren_conf_equal(old, now, "address");
	int result = take_ca(relay, now, err);

	if (result)
		return result;
	result = reload_mesh(relay, old, now, err);
	if (!result)
		result = reload_own(relay, old, now, err);
	if (result) {
		(void)take_ca(relay, old, NULL);
		(void)reload_mesh(relay, now, old, NULL);
		return result;
	}
	take_settings(relay, now);
	if (!same)
		relay_stun_close(relay);
	result = same ? 0 : relay_stun_open(relay, err);
	if (result) {			/* what answered before goes on */
		take_settings(relay, old);
		(void)take_ca(relay, old, NULL);
		(void)reload_mesh(relay, now, old, NULL);
		(void)reload_own(relay, now, old, NULL);
		relay_stun_close(relay);
		if (relay_stun_open(relay, NULL))
			warren_log(ctx, LOG_ERR, "STUN is not served any more: see the error of "
				   "the reload");
	}
	relay_reach_again(relay->reach);
	if (relay->changed)
		relay->changed(relay->judge_arg);
	return result;
}

static void relay_found(struct warren_ctx *ctx, const char *name, const void *ops, void *self)
{
	struct relay *relay = warren_self(ctx);
	struct warren_err err = ERR_INIT;

	(void)name;
	if (relay->front)
		return;
	relay->front = ops;
	relay->front_self = self;
	if (use_front(relay, &err) || set_marker(relay, &err))
		warren_log(ctx, LOG_ERR, "clients do not reach the relay through front: %s",
			   err_first(&err));
	err_free(&err);
	if (relay->changed)
		relay->changed(relay->judge_arg);
}

static void relay_lost(struct warren_ctx *ctx, const char *name)
{
	struct relay *relay = warren_self(ctx);

	(void)name;
	relay_clients_close_front(relay);
	relay->front = NULL;
	if (relay->changed)
		relay->changed(relay->judge_arg);
}

static int relay_stop(struct warren_ctx *ctx)
{
	let_go(warren_self(ctx));
	return 0;
}

WARREN_PLUGIN(relay, "relay",
	.version = "0.1",
	.license = "ISC",
	.brief = "DERP relay and STUN server.",
	.help = "Passes packets on between nodes that do not reach each other directly, which it "
		"cannot read, and tells them by which address they are seen. Served by `front`, or "
		"at ports of its own (`listen`); "
		"a coordinator in the same daemon tells its nodes of it.",
	.options = WARREN_TABLE(options),
	.commands = WARREN_TABLE(commands),
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.checks = WARREN_TABLE(checks),
	.privops = WARREN_PRIVOP(SOCKET) | WARREN_PRIVOP(CLOSE) | WARREN_PRIVOP(OPEN) |
		   WARREN_PRIVOP(WATCH),
	.check = relay_own_check,
	.start = relay_start,
	.reload = relay_reload,
	.found = relay_found,
	.lost = relay_lost,
	.stop = relay_stop,
	.status = relay_status,
);
