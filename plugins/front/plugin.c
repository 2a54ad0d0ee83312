/*
 * front: the box's public listeners, 443 and 80, shared by all plugins that are reached from
 * outside; one certificate store, one place for limits.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <warren/acme.h>
#include <warren/priv.h>

#include "acme.h"
#include "front.h"
#include "reach.h"

static const char *const tls_modes[] = { "self-signed", "files", "acme", NULL };

static const struct warren_option tls_options[] = {
	{ .key = "mode", .type = WARREN_ENUM, .values = tls_modes,
	  .brief = "Where the certificate comes from.",
	  .help = "self-signed: made at the first start; whoever connects must know its "
		  "fingerprint, which `warren status` shows. files: cert and key below. acme: an "
		  "authority's, one for each public name, renewed by itself; using it is "
		  "agreeing to the authority's terms of service.",
	  .example = "files" },
	WARREN_PAIR_OPTIONS,
};

static int check_directory(const struct warren_conf *at, struct warren_err *err)
{
	struct warren_url url;

	if (warren_url_parse(warren_conf_str(at, NULL), &url, NULL) ||
	    strcmp(url.scheme, "https") != 0)
		return warren_fail(err, at, "\"%s\" is no directory of an authority: expected an "
				   "https URL", warren_conf_str(at, NULL));
	return 0;
}

static const struct warren_option eab_options[] = {
	{ .key = "key-id", .type = WARREN_STRING, .flags = WARREN_REQUIRED, .min = 1, .max = 200,
	  .brief = "What the authority calls the account.", .example = "kid-1" },
	{ .key = "key", .type = WARREN_SECRET_REF, .flags = WARREN_REQUIRED,
	  .brief = "The account's MAC key, in base64url as the authority shows it.",
	  .example = "{file: /etc/warren/eab.key}" },
};

static const struct warren_option acme_options[] = {
	{ .key = "directory", .type = WARREN_STRING, .max = 255, .check = check_directory,
	  .def = "https://acme-v02.api.letsencrypt.org/directory",
	  .brief = "Where the authority's service (RFC 8555) begins." },
	{ .key = "contact", .type = WARREN_STRING, .min = 3, .max = 200,
	  .brief = "E-mail address that the authority may write to.",
	  .example = "ops@example.com" },
	{ .key = "ca-file", .type = WARREN_PATH, .flags = WARREN_READ,
	  .brief = "Who vouches for the authority's service, in PEM form.",
	  .help = "For an authority of one's own; without it the system's certificates do.",
	  .example = "/etc/ssl/certs/our-root.pem" },
	{ .key = "eab", .type = WARREN_MAP, .sub = WARREN_TABLE(eab_options),
	  .brief = "The account at the authority that certificates are for.",
	  .help = "External account binding (RFC 8555): what an authority hands out where not "
		  "everybody may order." },
};

static const struct warren_option options[] = {
	{ .key = "tls", .type = WARREN_MAP, .flags = WARREN_OR_TEXT,
	  .sub = WARREN_TABLE(tls_options),
	  .brief = "The certificate: acme, self-signed, or {cert: FILE, key: FILE}." },
	{ .key = "acme", .type = WARREN_MAP, .sub = WARREN_TABLE(acme_options),
	  .brief = "The authority, where `tls` is acme." },
	{ .key = "address", .type = WARREN_ADDR,
	  .brief = "Listen on this address only; all of them without it.",
	  .example = "203.0.113.5" },
	{ .key = "https-port", .type = WARREN_INT, .def = "443", .min = 1, .max = 65535,
	  .brief = "TCP port for TLS." },
	{ .key = "http-port", .type = WARREN_INT, .def = "80", .min = 0, .max = 65535,
	  .brief = "TCP port without TLS; 0 for none.",
	  .help = "Browsers are sent to https from there; the control protocol, which brings its "
		  "own encryption, is served on both." },
	{ .key = "connections", .type = WARREN_INT, .def = "16384", .min = 16, .max = 100000,
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

static int run_renew(struct warren_ctx *ctx, const struct warren_conf *args,
		     struct warren_reply *reply, struct warren_err *err);

static const struct warren_option renew_args[] = {
	{ .key = "name", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 253,
	  .brief = "Only this name.", .example = "hq.example.com" },
};

static const struct warren_command commands[] = {
	{ .path = "front renew", .flags = WARREN_CMD_OPERATOR, .args = WARREN_TABLE(renew_args),
	  .brief = "Order certificates now instead of when they are due.",
	  .help = "Without a name: those that are missing or could not be renewed. Authorities "
		  "limit how often a name may be tried in an hour and in a week.",
	  .example = "warren front renew hq.example.com", .run = run_renew },
};

static const struct warren_check checks[] = {
	{
		.id = "front.certificate", .severity = WARREN_BAD,
		.brief = "The certificates are valid now, and for another week.",
		.help = "Clients refuse a certificate that has expired or is not valid yet.",
		.run = front_check_certificate,
	}, {
		.id = "front.acme", .severity = WARREN_BAD,
		.brief = "The authority has certified all public names.",
		.help = "It looks at ports 443 and 80 of each name from outside.",
		.run = front_check_acme,
	}, {
		.id = "front.clock", .severity = WARREN_BAD,
		.brief = "The clock is that of the certificate authority, within a minute.",
		.help = "Certificates and tokens are judged by the time of day.",
		.run = front_check_clock,
	}, {
		.id = "front.reachable", .severity = WARREN_WARN,
		.brief = "The public names and ports lead to this box, as seen from itself.",
		.help = "Asked some seconds after the start, and every six hours.",
		.run = front_check_reach,
	},
};

enum front_tls front_tls(const struct warren_conf *conf)
{
	const struct warren_conf *tls = warren_conf_map(conf, "tls");

	if (tls && warren_conf_has(tls, "mode"))
		return (enum front_tls)warren_conf_enum(tls, "mode");
	return tls && warren_conf_has(tls, "cert") ? FRONT_FILES : FRONT_SELF_SIGNED;
}

static int check_names(const struct warren_conf *conf, struct warren_err *err)
{
	for (uint32_t i = 0; i < warren_conf_count(conf, "names"); i++) {
		const struct warren_conf *name = warren_conf_at(conf, "names", i);

		if (!warren_acme_can(warren_conf_str(name, NULL)))
			return warren_fail(err, name, "\"%s\" is no public name that an authority "
					   "can certify: expected one as in hq.example.com",
					   warren_conf_str(name, NULL));
	}
	return 0;
}

static int front_check(const struct warren_conf *conf, struct warren_err *err)
{
	const struct warren_conf *tls = warren_conf_map(conf, "tls");
	bool cert = tls && warren_conf_has(tls, "cert"), key = tls && warren_conf_has(tls, "key");

	if (front_tls(conf) == FRONT_ACME && (cert || key))
		return warren_fail(err, tls, "\"tls\" has files and is \"acme\" as well: take one "
				   "of them out");
	if (front_tls(conf) == FRONT_ACME && check_names(conf, err))
		return -EINVAL;
	if (front_tls(conf) != FRONT_ACME &&
	    warren_pair_check(tls, front_tls(conf) == FRONT_FILES, err))
		return -EINVAL;
	if (warren_conf_int(conf, "https-port") == warren_conf_int(conf, "http-port"))
		return warren_fail_key(err, -EINVAL, conf, "http-port", "the port with TLS and the "
				       "one without must differ");
	return 0;
}

/* With padding or without. */
static int read_binding(const struct warren_conf *eab, uint8_t key[WARREN_ACME_BINDING],
			size_t *len, struct warren_err *err)
{
	size_t n;
	const char *text = (const char *)warren_secret_bytes(warren_conf_secret(eab, "key"), &n);

	while (n && strchr(" \t\r\n=", text[n - 1]))
		n--;
	if (sodium_base642bin(key, WARREN_ACME_BINDING, text, n, NULL, len, NULL,
			      sodium_base64_VARIANT_URLSAFE_NO_PADDING) || !*len)
		return warren_fail_key(err, -EINVAL, eab, "key", "it is no MAC key: expected %d "
				       "bytes at most in base64url, as the authority shows it",
				       WARREN_ACME_BINDING);
	return 0;
}

/* Until the first pair comes what was there before goes on answering. */
static int load_acme(struct front *front, struct warren_err *err)
{
	const struct warren_conf *conf = warren_conf_map(front->conf, "acme");
	struct warren_acme_options wanted = {
		.size = sizeof(wanted),
		.directory = warren_conf_str(conf, "directory"),
		.contact = warren_conf_has(conf, "contact") ? warren_conf_str(conf, "contact") :
							      NULL,
	};
	const struct warren_conf *eab = warren_conf_map(conf, "eab");
	uint8_t key[WARREN_ACME_BINDING];
	struct front_acme *fresh;
	char *ca = NULL;
	int result = eab ? read_binding(eab, key, &wanted.binding_len, err) : 0;

	if (eab) {
		wanted.binding_id = warren_conf_str(eab, "key-id");
		wanted.binding_key = key;
	}
	if (!result && warren_conf_has(conf, "ca-file"))
		result = front_text_file(front, conf, "ca-file", &ca, err);
	wanted.ca_pem = ca;
	if (!result)
		result = front_acme_new(front, &wanted, &fresh, err);
	free(ca);
	sodium_memzero(key, sizeof(key));
	if (result)
		return result;
	front_acme_free(front->acme);
	front->acme = fresh;
	return 0;
}

static int load_certificate(struct front *front, struct warren_err *err)
{
	int result;

	if (front_tls(front->conf) == FRONT_ACME)
		return load_acme(front, err);
	result = front_tls(front->conf) == FRONT_FILES ? front_cert_files(front, err) :
						      front_cert_self_signed(front, err);
	if (result)
		return result;
	front_acme_free(front->acme);
	front->acme = NULL;
	front_certs_drop_named(front);
	return 0;
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

static uint16_t front_port(void *self, bool tls)
{
	const struct front *front = self;
	struct warren_listener *listener = tls ? front->https : front->http;

	return listener ? warren_listener_port(listener) : 0;
}

static const struct warren_front service = {
	.size = sizeof(service), .route = front_route, .raw = front_raw, .name = front_name,
	.secure = front_secure, .marker = front_marker, .port = front_port, .pin = front_pin,
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
	front_reach_free(front->reach);
	front->reach = NULL;
	front_acme_free(front->acme);
	front->acme = NULL;
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
	if (!result && front_tls(conf) == FRONT_FILES)
		result = front_cert_watch(front, err);
	if (!result)
		result = listen_on(front, "https-port", front_accept_tls, &front->https, err);
	if (!result)
		result = listen_on(front, "http-port", front_accept_plain, &front->http, err);
	if (!result && !(front->reach = front_reach_new(front)))
		result = -ENOMEM;
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
	bool new_tls = !warren_conf_equal(old, now, "tls") ||
		       (front_tls(now) == FRONT_ACME && !warren_conf_equal(old, now, "acme"));
	int result = 0;

	front->conf = now;
	if (new_tls)
		result = load_certificate(front, err);
	if (!result && new_tls && front_tls(now) == FRONT_FILES)
		result = front_cert_watch(front, err);
	if (!result)
		result = reload_listeners(front, old, err);
	if (!result) {
		front_acme_names(front->acme);
		front_reach_again(front->reach);
		return 0;
	}
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

static int run_renew(struct warren_ctx *ctx, const struct warren_conf *args,
		     struct warren_reply *reply, struct warren_err *err)
{
	const struct front *front = warren_self(ctx);
	const char *name = warren_conf_has(args, "name") ? warren_conf_str(args, "name") : NULL;
	uint32_t n;

	if (!front->acme)
		return warren_fail(err, NULL, "front.tls is not \"acme\": nothing is ordered here");
	n = front_acme_again(front->acme, name);
	if (name && n == 0)
		return warren_fail(err, NULL, "%s is none of the public names: add it to "
				   "front.names", name);
	warren_reply_int(reply, "ordered", n);
	warren_reply_text(reply, "%u certificate%s ordered; `warren status` shows what comes of it",
			  n, n == 1 ? "" : "s");
	return 0;
}

WARREN_PLUGIN(front, "front",
	.version = "0.1",
	.license = "ISC",
	.brief = "The public listeners of this box.",
	.help = "Ports 443 and 80, shared by the plugins that are reached from outside, by name "
		"and path; certificates and limits in one place.",
	.options = WARREN_TABLE(options),
	.commands = WARREN_TABLE(commands),
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
