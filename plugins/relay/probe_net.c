/*
 * What a relay needs below and beside DERP: a name, TCP, a certificate, HTTP, STUN, port 80.
 */
#include <errno.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <warren/priv.h>

#include "base/addr.h"
#include "base/hex.h"
#include "base/util.h"
#include "probe.h"

enum {
	ANSWER_USEC = 5000000, STUN_USEC = 700000, STUN_TRIES = 4, SOON_DAYS = 14,
	LISTED = PROBE_ADDRS * (ADDR_TEXT + 2),
};

void probe_net_drop(struct probe *probe)
{
	warren_dial_cancel(probe->dial);
	probe->dial = NULL;
	warren_http_close(probe->http);
	probe->http = NULL;
	warren_stream_close(probe->stream);
	probe->stream = NULL;
	warren_release(probe->udp);
	probe->udp = NULL;
}

static bool reached(struct probe *probe)
{
	if (!probe->chosen)
		probe_done(probe, PROBE_LEFT_OUT, 0, "TCP does not reach it");
	return probe->chosen != NULL;
}

/* ---- name ---- */

static void found_names(struct probe *probe)
{
	char text[LISTED] = "", one[ADDR_TEXT];
	size_t n = 0;

	for (uint32_t i = 0; i < probe->n_addrs; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? ", " : "",
				      addr_format(&probe->addrs[i], one));
	probe_done(probe, PROBE_OK, 0, "%s is %s", probe->url.host, text);
}

static void on_names(struct warren_ctx *ctx, int result, const struct warren_addr *addrs,
		     const char *why, void *arg)
{
	struct probe *probe = arg;

	(void)ctx;
	if (!probe_still(probe))
		return;
	for (int i = 0; i < result && probe->n_addrs < PROBE_ADDRS; i++)
		probe->addrs[probe->n_addrs++] = addrs[i];
	if (probe->n_addrs)
		found_names(probe);
	else
		probe_done(probe, PROBE_FAILED, 0, "%s has no address (%s): give it an A or AAAA "
			   "record, or the relay map an IPv4 or IPv6 of the node",
			   probe->url.host, why ? why : "none was answered");
}

void probe_step_name(struct probe *probe)
{
	if (probe->n_addrs) {
		char text[ADDR_TEXT];

		probe_done(probe, PROBE_LEFT_OUT, 0, "--address says %s",
			   addr_format(&probe->addrs[0], text));
	} else if (warren_resolve(probe->ctx, probe->url.host, on_names, probe)) {
		probe_done(probe, PROBE_FAILED, 0, "too much is going on: try again");
	} else {
		probe->busy++;
	}
}

/* ---- tcp ---- */

static void try_address(struct probe *probe);

static void on_tcp(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		   void *arg)
{
	struct probe *probe = arg;
	const struct warren_addrport at = { probe->addrs[probe->at], probe->url.port };
	uint64_t usec = warren_now() - probe->began;
	char text[ADDRPORT_TEXT];

	(void)ctx;
	probe->dial = NULL;
	addrport_format(&at, text);
	if (stream) {
		warren_stream_close(stream);
		probe_tell(probe, PROBE_OK, usec, "%s", text);
		if (!probe->chosen)
			probe->chosen = &probe->addrs[probe->at];
	} else {
		/* Clients need one of them: whether any was reached is known at the end only. */
		probe_tell(probe, probe->chosen || probe->at + 1 < probe->n_addrs ?
			   PROBE_WARNING : PROBE_FAILED, 0, "%s: %s: does the relay listen there, "
			   "do firewalls on the way let TCP port %u in, and has this host that "
			   "family?", text, why, probe->url.port);
	}
	probe->at++;
	try_address(probe);
}

static void try_address(struct probe *probe)
{
	if (probe->at == probe->n_addrs) {
		probe_next(probe);
		return;
	}
	probe->dial = probe_dial(probe, &probe->addrs[probe->at], probe->url.port, false, on_tcp,
				 probe);
	if (!probe->dial)
		probe_done(probe, PROBE_FAILED, 0, "no memory");
}

void probe_step_tcp(struct probe *probe)
{
	if (!probe->n_addrs)
		probe_done(probe, PROBE_LEFT_OUT, 0, "no address is known");
	else
		try_address(probe);
}

/* ---- certificate ---- */

static void look_again(struct probe *probe, const char *why);

/* The days that are left, and whether it names itself as issuer. */
static bool look_at(const struct warren_tls_info *info, int *days, bool *self_signed)
{
	const uint8_t *der = info->peer_cert;
	X509 *cert = d2i_X509(NULL, &der, (long)info->peer_cert_len);
	int seconds;
	bool ok = cert && ASN1_TIME_diff(days, &seconds, NULL, X509_get0_notAfter(cert));

	*self_signed = cert && X509_NAME_cmp(X509_get_subject_name(cert),
					     X509_get_issuer_name(cert)) == 0;
	X509_free(cert);
	return ok;
}

static void good_certificate(struct probe *probe, const struct warren_tls_info *info,
			     uint64_t usec)
{
	const char *how = probe->pinned ? "the pinned one" :
			  probe->ca_pem ? "vouched for by --ca-file" : "vouched for";
	bool self_signed;
	int days;

	if (!look_at(info, &days, &self_signed))
		probe_done(probe, PROBE_WARNING, usec, "%s, and it cannot be read", info->version);
	else if (days < SOON_DAYS)
		probe_done(probe, PROBE_WARNING, usec, "%s, %s, but it ends in %d day%s: is it "
			   "ordered anew?", info->version, how, days, days == 1 ? "" : "s");
	else
		probe_done(probe, PROBE_OK, usec, "%s, %s, valid for %d days", info->version, how,
			   days);
}

static void on_tls(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		   void *arg)
{
	struct probe *probe = arg;
	struct warren_tls_info info = { .size = sizeof(info) };
	uint64_t usec = warren_now() - probe->began;

	(void)ctx;
	probe->dial = NULL;
	probe->stream = stream;
	if (stream && warren_tls_info(stream, &info) && info.peer_cert)
		good_certificate(probe, &info, usec);
	else
		look_again(probe, why ? why : "it shows no certificate");
}

/* Why it is not trusted was told by the first handshake; this one shows what it is. */
static void on_insecure(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
			void *arg)
{
	struct probe *probe = arg;
	struct warren_tls_info info = { .size = sizeof(info) };
	char pin[65], first[PROBE_WHY];
	uint8_t digest[32];
	bool self_signed;
	int days;

	(void)ctx;
	(void)why;
	probe->dial = NULL;
	probe->stream = stream;
	snprintf(first, sizeof(first), "%s", probe->why);
	probe->why[0] = '\0';
	if (!stream || !warren_tls_info(stream, &info) || !info.peer_cert) {
		probe->chosen = NULL;
		probe_done(probe, PROBE_FAILED, 0, "%s: does something else than a relay listen "
			   "there, or does the relay not serve this name?", first);
		return;
	}
	crypto_hash_sha256(digest, info.peer_cert, info.peer_cert_len);
	hex_encode(pin, digest, 32);
	if (look_at(&info, &days, &self_signed) && self_signed && !probe->pinned)
		probe_done(probe, PROBE_FAILED, 0, "%s: it is self-signed; if the relay map pins "
			   "it, check again with --pin sha256-raw:%s", first, pin);
	else
		probe_done(probe, PROBE_FAILED, 0, "%s: the certificate is sha256-raw:%s and "
			   "ends in %d day%s; give the relay one for %s, or clients will not "
			   "use it", first, pin, days, days == 1 ? "" : "s", probe->url.host);
}

static void look_again(struct probe *probe, const char *why)
{
	snprintf(probe->why, sizeof(probe->why), "%s", why);
	warren_stream_close(probe->stream);
	probe->stream = NULL;
	probe->insecure = true;
	probe->dial = probe_dial(probe, probe->chosen, probe->url.port, true, on_insecure, probe);
	if (!probe->dial)
		probe_done(probe, PROBE_FAILED, 0, "no memory");
}

void probe_step_certificate(struct probe *probe)
{
	if (!probe->tls) {
		probe_done(probe, PROBE_LEFT_OUT, 0, "http:// is without TLS: packets stay sealed, "
			   "but who sends to whom is seen on the way");
		return;
	}
	if (!reached(probe))
		return;
	probe->dial = probe_dial(probe, probe->chosen, probe->url.port, true, on_tls, probe);
	if (!probe->dial)
		probe_done(probe, PROBE_FAILED, 0, "no memory");
}

/* ---- a request and its answer ---- */

static void on_broken(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	probe_done(arg, PROBE_FAILED, 0, "%s", why);
}

static void on_http_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)http;
	(void)result;
	(void)why;			/* the exchange has told it, or is over */
	(void)arg;
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .ended = on_http_ended,
};

static void request(struct probe *probe, struct warren_stream *stream, const char *path,
		    const struct warren_exchange_events *events)
{
	const struct warren_http_options options = { .size = sizeof(options),
						     .version = WARREN_HTTP_1 };
	const struct warren_http_field fields[] = {
		{ "X-Tailscale-Challenge", probe->challenge },
	};
	char at[300];
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "GET", .path = path, .scheme = "https",
		.authority = at, .fields = fields, .n_fields = probe->challenge[0] ? 1 : 0,
	};

	talk_authority(&probe->url, at, sizeof(at));
	probe->http = warren_http_client_take(stream, &options, &http_events, probe);
	probe->began = warren_now();
	if (!probe->http || !warren_http_request(probe->http, &head, events, probe))
		probe_done(probe, PROBE_FAILED, 0, "no memory, or a name that HTTP does not take");
}

static void on_probe_head(struct warren_exchange *x, const struct warren_http_head *head,
			  void *arg)
{
	uint64_t usec = warren_now() - ((struct probe *)arg)->began;

	warren_exchange_cancel(x);
	if (head->status == 200)
		probe_done(arg, PROBE_OK, usec, "/derp/probe answers 200");
	else
		probe_done(arg, PROBE_FAILED, usec, "/derp/probe answers %d instead of 200: is it "
			   "a relay, or does a proxy in front of it not pass /derp on?",
			   head->status);
}

static const struct warren_exchange_events probe_events = {
	.size = sizeof(probe_events), .head = on_probe_head, .failed = on_broken,
};

static void on_http(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		    void *arg)
{
	struct probe *probe = arg;

	(void)ctx;
	probe->dial = NULL;
	if (stream)
		request(probe, stream, "/derp/probe", &probe_events);
	else
		probe_done(probe, PROBE_FAILED, 0, "%s", why);
}

void probe_step_http(struct probe *probe)
{
	if (!reached(probe))
		return;
	probe_within(probe, ANSWER_USEC);
	probe->dial = probe_dial(probe, probe->chosen, probe->url.port, probe->tls, on_http,
				 probe);
	if (!probe->dial)
		probe_done(probe, PROBE_FAILED, 0, "no memory");
}

void probe_late_http(struct probe *probe)
{
	probe_done(probe, PROBE_FAILED, 0, "/derp/probe has no answer within 5 s: is it a relay?");
}

/* ---- STUN ---- */

static void ask_stun(struct probe *probe, int fd)
{
	const struct warren_addrport to = { *probe->chosen, probe->stun_port };
	uint8_t out[WARREN_STUN_REQUEST];
	struct sockaddr_storage ss;
	socklen_t len = addrport_to_sockaddr(&to, &ss);

	probe->tries++;
	randombytes_buf(probe->txid, sizeof(probe->txid));
	warren_stun_request(probe->txid, out);
	probe->began = warren_now();
	probe_within(probe, STUN_USEC);
	if (sendto(fd, out, sizeof(out), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&ss,
		   len) == -1)
		probe_done(probe, PROBE_FAILED, 0, "cannot send to UDP port %u: %s",
			   probe->stun_port, strerror(errno));
}

static void on_stun(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct probe *probe = arg;
	uint8_t data[1500], txid[WARREN_STUN_TXID];
	struct warren_addrport seen;
	char text[ADDRPORT_TEXT];
	ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

	(void)ctx;
	(void)what;
	if (n < 0 || warren_stun_answer_parse(data, (size_t)n, txid, &seen) ||
	    memcmp(txid, probe->txid, sizeof(txid)) != 0)
		return;
	warren_io_want(probe->udp, 0);
	probe_done(probe, PROBE_OK, warren_now() - probe->began, "UDP port %u sees us as %s",
		   probe->stun_port, addrport_format(&seen, text));
}

static void on_socket(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct probe *probe = arg;
	int fd = answer->count > 0 ? answer->fds[0] : -1;

	if (!probe_still(probe)) {
		if (fd >= 0)
			close(fd);
		return;
	}
	probe->udp = fd < 0 ? NULL : warren_io_new_take(ctx, fd, on_stun, probe);
	if (!probe->udp) {
		probe_done(probe, PROBE_FAILED, 0, "no socket: %s",
			   answer->error ? answer->error : "no memory");
		return;
	}
	warren_io_want(probe->udp, WARREN_IN);
	probe->udp_fd = fd;
	ask_stun(probe, fd);
}

void probe_step_stun(struct probe *probe)
{
	struct warren_priv_socket wanted = {
		.type = WARREN_SOCK_UDP, .flags = WARREN_SOCK_BYPASS,
	};

	if (!probe->stun_port) {
		probe_done(probe, PROBE_LEFT_OUT, 0, "--stun-port is 0");
		return;
	}
	if (!probe->chosen && probe->n_addrs)
		probe->chosen = &probe->addrs[0];	/* UDP may pass where TCP does not */
	if (!reached(probe))
		return;
	wanted.family = probe->chosen->family;
	probe->tries = 0;
	if (warren_priv(probe->ctx, WARREN_OP_SOCKET, &wanted, sizeof(wanted), on_socket, probe))
		probe_done(probe, PROBE_FAILED, 0, "the monitor gives no socket");
	else
		probe->busy++;
}

void probe_late_stun(struct probe *probe)
{
	if (probe->tries < STUN_TRIES)
		ask_stun(probe, probe->udp_fd);
	else
		probe_done(probe, PROBE_FAILED, 0, "no answer from UDP port %u: does the relay "
			   "serve STUN, and do firewalls let UDP in both ways? Without it nodes "
			   "learn less about their own addresses", probe->stun_port);
}

/* ---- port 80 ---- */

static void on_portal_head(struct warren_exchange *x, const struct warren_http_head *head,
			   void *arg)
{
	struct probe *probe = arg;
	uint64_t usec = warren_now() - probe->began;
	const char *response = warren_http_field(head, "x-tailscale-response");
	bool mine = response && strncmp(response, "response ", 9) == 0 &&
		    strcmp(response + 9, probe->challenge) == 0;

	warren_exchange_cancel(x);
	if (head->status == 204 && mine)
		probe_done(probe, PROBE_OK, usec, "/generate_204 answers as it should");
	else
		probe_done(probe, PROBE_FAILED, usec, "/generate_204 on port %u answers %d%s: "
			   "another program has the port, or a portal is in the way",
			   probe->http_port, head->status,
			   head->status == 204 ? " without the response to our challenge" : "");
}

static const struct warren_exchange_events portal_events = {
	.size = sizeof(portal_events), .head = on_portal_head, .failed = on_broken,
};

static void on_portal(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		      void *arg)
{
	struct probe *probe = arg;
	uint8_t random[8];
	char hex[17];

	(void)ctx;
	probe->dial = NULL;
	if (!stream) {
		probe_done(probe, PROBE_FAILED, 0, "TCP port %u: %s: clients look there for "
			   "captive portals, and ACME for its answer: open it, or set CanPort80 "
			   "to false and give --http-port 0", probe->http_port, why);
		return;
	}
	randombytes_buf(random, sizeof(random));
	hex_encode(hex, random, sizeof(random));
	snprintf(probe->challenge, sizeof(probe->challenge), "warren-%s", hex);
	request(probe, stream, "/generate_204", &portal_events);
}

void probe_step_portal(struct probe *probe)
{
	if (!probe->http_port) {
		probe_done(probe, PROBE_LEFT_OUT, 0, "--http-port is 0");
		return;
	}
	if (!reached(probe))
		return;
	probe_within(probe, ANSWER_USEC);
	probe->dial = probe_dial(probe, probe->chosen, probe->http_port, false, on_portal, probe);
	if (!probe->dial)
		probe_done(probe, PROBE_FAILED, 0, "no memory");
}

void probe_late_portal(struct probe *probe)
{
	probe_done(probe, PROBE_FAILED, 0, "port %u has no answer within 5 s: clients look there "
		   "for captive portals", probe->http_port);
}
