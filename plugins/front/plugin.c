/*
 * front: the box's public listeners, 443 and 80, shared by all plugins that are reached from
 * outside; one certificate store, one place for limits.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include <warren/priv.h>

#include "base/hex.h"
#include "base/str.h"
#include "base/util.h"
#include "front.h"

enum tls_mode { TLS_SELF_SIGNED, TLS_FILES };
enum { EXPIRES_SOON = 7 * 86400, CONNECTIONS = 4096 };

static const char *const tls_modes[] = { "self-signed", "files", NULL };

static const struct warren_option tls_options[] = {
	{ .key = "mode", .type = WARREN_ENUM, .values = tls_modes,
	  .brief = "Where the certificate comes from.",
	  .help = "self-signed: made at the first start; whoever connects must know its "
		  "fingerprint, which `warren status` shows. files: cert and key below.",
	  .example = "files" },
	{ .key = "cert", .type = WARREN_PATH, .flags = WARREN_READ,
	  .brief = "The certificate with its chain, in PEM form.",
	  .help = "Read again when it changes, so that renewing needs no reload.",
	  .example = "/etc/ssl/hq.example.com.crt" },
	{ .key = "key", .type = WARREN_PATH, .flags = WARREN_READ,
	  .brief = "Its key, in PEM form, without a password.",
	  .example = "/etc/ssl/private/hq.example.com.key" },
};

static const struct warren_option options[] = {
	{ .key = "tls", .type = WARREN_MAP, .flags = WARREN_OR_TEXT,
	  .sub = WARREN_TABLE(tls_options),
	  .brief = "The certificate: self-signed, or {cert: FILE, key: FILE}." },
	{ .key = "address", .type = WARREN_ADDR,
	  .brief = "Listen on this address only; all of them without it.",
	  .example = "203.0.113.5" },
	{ .key = "https-port", .type = WARREN_INT, .def = "443", .min = 1, .max = 65535,
	  .brief = "TCP port for TLS." },
	{ .key = "http-port", .type = WARREN_INT, .def = "80", .min = 0, .max = 65535,
	  .brief = "TCP port without TLS; 0 for none.",
	  .help = "Browsers are sent to https from there; the control protocol, which brings its "
		  "own encryption, is served on both." },
	{ .key = "connections", .type = WARREN_INT, .def = "4096", .min = 16, .max = 100000,
	  .brief = "Connections at a time per port; more wait for one to end." },
	{ .key = "names", .type = WARREN_STRING, .flags = WARREN_MANY, .max = 253,
	  .brief = "Public names of this box, besides those that other sections bring along.",
	  .example = "[hq.example.com]" },
};

static const struct warren_port offers[] = {
	{ .name = "front", .major = 0, .minor = 1, .brief = "The public listeners." },
};

static const struct warren_metric metrics[] = {
	{ .name = "connections", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Connections accepted." },
	{ .name = "requests", .kind = WARREN_COUNTER, .unit = "1", .brief = "HTTP requests." },
	{ .name = "refused_tls", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Connections whose TLS handshake failed." },
	{ .name = "refused_path", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Requests for a path that nobody serves." },
};

static bool check_certificate(struct warren_ctx *ctx, struct warren_check_result *result);

static const struct warren_check checks[] = {
	{
		.id = "front.certificate", .severity = WARREN_BAD,
		.brief = "The certificates are valid now, and for another week.",
		.help = "Clients refuse a certificate that has expired or is not valid yet.",
		.run = check_certificate,
	},
};

static enum tls_mode tls_mode(const struct warren_conf *conf)
{
	const struct warren_conf *tls = warren_conf_map(conf, "tls");

	if (tls && warren_conf_has(tls, "mode"))
		return (enum tls_mode)warren_conf_enum(tls, "mode");
	return tls && warren_conf_has(tls, "cert") ? TLS_FILES : TLS_SELF_SIGNED;
}

static int front_check(const struct warren_conf *conf, struct warren_err *err)
{
	const struct warren_conf *tls = warren_conf_map(conf, "tls");
	bool cert = tls && warren_conf_has(tls, "cert"), key = tls && warren_conf_has(tls, "key");

	if (cert != key)
		return warren_fail(err, tls, "\"tls\" needs both \"cert\" and \"key\"");
	if (tls_mode(conf) == TLS_FILES && !cert)
		return warren_fail(err, tls, "\"tls\" is \"files\" but names none: add \"cert\" "
				   "and \"key\"");
	if (tls_mode(conf) == TLS_SELF_SIGNED && cert)
		return warren_fail(err, tls, "\"tls\" has files and is \"self-signed\" as well: "
				   "take one of them out");
	if (warren_conf_int(conf, "https-port") == warren_conf_int(conf, "http-port"))
		return warren_fail_key(err, -EINVAL, conf, "http-port", "the port with TLS and the "
				       "one without must differ");
	return 0;
}

static int load_certificate(struct front *front, struct warren_err *err)
{
	switch (tls_mode(front->conf)) {
	case TLS_SELF_SIGNED:
		return front_cert_self_signed(front, err);
	case TLS_FILES:
		return front_cert_files(front, err);
	}
	return -EINVAL;
}

static int listen_on(struct front *front, const char *key, warren_accept_fn *fn,
		     struct warren_listener **out, struct warren_err *err)
{
	const struct warren_listen_options wanted = {
		.size = sizeof(wanted), .flags = WARREN_LISTEN_KEEP,
		.key = strcmp(key, "http-port") ? "front.https-port" : "front.http-port",
		.at = { .addr = warren_conf_addr(front->conf, "address"),
			.port = (uint16_t)warren_conf_int(front->conf, key) },
		.connections = (uint32_t)warren_conf_int(front->conf, "connections"),
	};

	return wanted.at.port ? warren_listen_wait(front->ctx, &wanted, fn, front, out, err) : 0;
}

static const struct warren_front service = {
	.size = sizeof(service), .route = front_route, .raw = front_raw, .name = front_name,
	.secure = front_secure,
};

static void open_stats(struct front *front)
{
	struct front_stats *stats = &front->stats;

	stats->connections = warren_stat_open(front->ctx, "connections", NULL);
	stats->requests = warren_stat_open(front->ctx, "requests", NULL);
	stats->refused_tls = warren_stat_open(front->ctx, "refused_tls", NULL);
	stats->refused_path = warren_stat_open(front->ctx, "refused_path", NULL);
}

static void let_go(struct front *front)
{
	front_close_all(front);
	front_routes_free(front);
	front_certs_free(front);
	warren_listener_close(front->https);
	warren_listener_close(front->http);
	front->https = front->http = NULL;
}

static int front_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		       struct warren_err *err)
{
	struct front *front = warren_zalloc(ctx, sizeof(*front));
	int result;

	if (!front)
		return -ENOMEM;
	front->ctx = ctx;
	front->conf = conf;
	list_init(&front->conns);
	list_init(&front->routes);
	list_init(&front->raws);
	list_init(&front->names);
	list_init(&front->certs);
	open_stats(front);
	warren_self_set(ctx, front);
	result = load_certificate(front, err);
	if (!result && tls_mode(conf) == TLS_FILES)
		result = front_cert_watch(front, err);
	if (!result)
		result = listen_on(front, "https-port", front_accept_tls, &front->https, err);
	if (!result)
		result = listen_on(front, "http-port", front_accept_plain, &front->http, err);
	if (!result)
		result = warren_offer(ctx, "front", &service, front);
	if (result)
		let_go(front);
	return result;
}

/*
 * A listener by the new settings instead of the old one, whose connections go on. The old socket is
 * closed first where both would have the same port.
 */
static int listen_again(struct front *front, const struct warren_conf *old, const char *key,
			warren_accept_fn *fn, struct warren_listener **at, struct warren_err *err)
{
	const struct warren_conf *now = front->conf;
	bool same_port = warren_conf_equal(old, now, key);
	struct warren_listener *fresh = NULL;
	int result;

	if (same_port && warren_conf_equal(old, now, "address")) {
		if (*at)
			warren_listener_limit(*at, (uint32_t)warren_conf_int(now, "connections"));
		return 0;
	}
	if (same_port) {
		warren_listener_close(*at);
		*at = NULL;
	}
	result = listen_on(front, key, fn, &fresh, err);
	if (result && same_port) {
		front->conf = old;
		(void)listen_on(front, key, fn, at, err);
		front->conf = now;
	}
	if (result)
		return result;
	warren_listener_close(*at);
	*at = fresh;
	return 0;
}

static int reload_listeners(struct front *front, const struct warren_conf *old,
			    struct warren_err *err)
{
	const struct warren_conf *now = front->conf;
	int result = listen_again(front, old, "https-port", front_accept_tls, &front->https, err);

	if (result)
		return result;
	result = listen_again(front, old, "http-port", front_accept_plain, &front->http, err);
	if (result) {			/* the first one back as well */
		front->conf = old;
		(void)listen_again(front, now, "https-port", front_accept_tls, &front->https, err);
		front->conf = now;
	}
	return result;
}

static int front_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			const struct warren_conf *now, struct warren_err *err)
{
	struct front *front = warren_self(ctx);
	bool new_tls = !warren_conf_equal(old, now, "tls");
	int result = 0;

	front->conf = now;
	if (new_tls)
		result = load_certificate(front, err);
	if (!result && new_tls && tls_mode(now) == TLS_FILES)
		result = front_cert_watch(front, err);
	if (!result)
		result = reload_listeners(front, old, err);
	if (!result)
		return 0;
	front->conf = old;
	if (new_tls)
		(void)load_certificate(front, NULL);
	return result;
}

static int front_stop(struct warren_ctx *ctx)
{
	let_go(warren_self(ctx));
	return 0;
}

/* ---- What the operator sees ---- */

static bool check_certificate(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct front *front = warren_self(ctx);
	int64_t now = warren_realtime() / 1000000;
	const struct front_cert *cert;
	bool ok = true;

	list_for_each(cert, &front->certs, link) {
		const char *name = cert->name[0] ? cert->name : "front.tls";

		if (now < cert->not_before)
			warren_finding(result, "the certificate of %s is valid only in %" PRId64
				       " h: is the clock right?", name,
				       (cert->not_before - now) / 3600 + 1);
		else if (now >= cert->not_after)
			warren_finding(result, "the certificate of %s has expired %" PRId64
				       " days ago: renew it", name,
				       (now - cert->not_after) / 86400);
		else if (cert->not_after - now < EXPIRES_SOON)
			warren_finding(result, "the certificate of %s expires in %" PRId64
				       " days: renew it", name, (cert->not_after - now) / 86400);
		else
			continue;
		ok = false;
	}
	return ok;
}

static void status_certificate(const struct front_cert *cert, enum tls_mode mode,
			       struct warren_reply *reply)
{
	char hex[2 * 32 + 1];

	hex_encode(hex, cert->sha256, 32);
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "name", "%s", cert->name);
	warren_reply_str(reply, "sha256", "%s", hex);
	warren_reply_int(reply, "not_after", cert->not_after);
	warren_reply_close(reply);
	if (mode == TLS_SELF_SIGNED)
		warren_reply_text(reply, "certificate: self-signed, sha256-raw:%s", hex);
	else
		warren_reply_text(reply, "certificate%s%s: valid for %" PRId64 " days",
				  cert->name[0] ? " of " : "", cert->name,
				  (cert->not_after - warren_realtime() / 1000000) / 86400);
}

static void front_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct front *front = warren_self(ctx);
	uint32_t open = warren_listener_open(front->https);
	const struct front_cert *cert;

	if (front->http)
		open += warren_listener_open(front->http);
	warren_reply_int(reply, "https_port", warren_listener_port(front->https));
	warren_reply_int(reply, "http_port", front->http ? warren_listener_port(front->http) : 0);
	warren_reply_int(reply, "open", open);
	warren_reply_text(reply, "https on port %u, http on port %u; connections: %u",
			  warren_listener_port(front->https),
			  front->http ? warren_listener_port(front->http) : 0, open);
	warren_reply_open(reply, "certificates", '[');
	list_for_each(cert, &front->certs, link)
		status_certificate(cert, tls_mode(front->conf), reply);
	warren_reply_close(reply);
}

WARREN_PLUGIN(front, "front",
	.version = "0.1",
	.license = "ISC",
	.brief = "The public listeners of this box.",
	.help = "Ports 443 and 80, shared by the plugins that are reached from outside, by name "
		"and path; certificates and limits in one place.",
	.options = WARREN_TABLE(options),
	.metrics = WARREN_TABLE(metrics),
	.offers = WARREN_TABLE(offers),
	.checks = WARREN_TABLE(checks),
	.privops = WARREN_PRIVOP(SOCKET) | WARREN_PRIVOP(OPEN) | WARREN_PRIVOP(WATCH),
	.check = front_check,
	.start = front_start,
	.reload = front_reload,
	.stop = front_stop,
	.status = front_status,
);
