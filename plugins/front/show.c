/*
 * What the operator sees: doctor checks and status.
 */
#include <inttypes.h>

#include "acme.h"
#include "base/hex.h"
#include "front.h"
#include "reach.h"

enum { SKEW_MAX = 60 };

bool front_check_certificate(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct front *front = warren_self(ctx);
	const struct front_cert *cert;
	bool ok = true;

	list_for_each(cert, &front->certs, link) {
		ok = warren_cert_check(&cert->facts, cert->name[0] ? cert->name : "front.tls",
				       result) && ok;
	}
	return ok;
}

static void find_failure(const struct front_acme_state *state, void *arg)
{
	int64_t minutes = (state->again - warren_realtime() / 1000000) / 60;

	if (state->why[0])
		warren_finding(arg, "%s has %s: %s; tried again in %" PRId64 " min, or by `warren "
			       "front renew`", state->name, state->has_cert ?
			       "a certificate that could not be renewed" : "no certificate",
			       state->why, minutes > 0 ? minutes : 0);
}

static void count_failure(const struct front_acme_state *state, void *arg)
{
	bool *ok = arg;

	*ok = *ok && !state->why[0];
}

bool front_check_acme(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct front *front = warren_self(ctx);
	bool ok = true;

	if (!front->acme)
		return true;
	front_acme_each(front->acme, find_failure, result);
	front_acme_each(front->acme, count_failure, &ok);
	return ok;
}

bool front_check_clock(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct front *front = warren_self(ctx);
	int64_t skew;

	if (!front->acme || !front_acme_skew(front->acme, &skew) ||
	    (skew <= SKEW_MAX && skew >= -SKEW_MAX))
		return true;
	warren_finding(result, "this box's clock is %" PRId64 " s %s the certificate authority's: "
		       "set it, best by NTP", skew > 0 ? skew : -skew,
		       skew > 0 ? "ahead of" : "behind");
	return false;
}

static void find_unreached(const char *why, void *arg)
{
	warren_finding(arg, "%s", why);
}

static void count_unreached(const char *why, void *arg)
{
	bool *ok = arg;

	(void)why;
	*ok = false;
}

bool front_check_reach(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct front *front = warren_self(ctx);

	bool ok = true;

	front_reach_each(front->reach, find_unreached, result);
	front_reach_each(front->reach, count_unreached, &ok);
	return ok;
}

static void status_wanted(const struct front_acme_state *state, void *arg)
{
	struct warren_reply *reply = arg;

	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "name", "%s", state->name);
	warren_reply_bool(reply, "has_certificate", state->has_cert);
	warren_reply_str(reply, "error", "%s", state->why);
	warren_reply_int(reply, "next_try", state->again);
	warren_reply_close(reply);
	warren_reply_text(reply, "certificate of %s: %s%s", state->name, state->why[0] ?
			  "not certified: " : "is being ordered", state->why);
}

static void status_certificate(const struct front_cert *cert, enum front_tls mode,
			       struct warren_reply *reply)
{
	char hex[2 * 32 + 1];

	hex_encode(hex, cert->facts.sha256, 32);
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "name", "%s", cert->name);
	warren_reply_str(reply, "sha256", "%s", hex);
	warren_reply_int(reply, "not_after", cert->facts.not_after);
	warren_reply_close(reply);
	if (mode == FRONT_SELF_SIGNED)
		warren_reply_text(reply, "certificate: self-signed, sha256-raw:%s", hex);
	else
		warren_reply_text(reply, "certificate%s%s: valid for %" PRId64 " days",
				  cert->name[0] ? " of " : "", cert->name,
				  (cert->facts.not_after - warren_realtime() / 1000000) / 86400);
}

void front_status(struct warren_ctx *ctx, struct warren_reply *reply)
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
		status_certificate(cert, front_tls(front->conf), reply);
	warren_reply_close(reply);
	if (!front->acme)
		return;
	warren_reply_open(reply, "wanted", '[');
	front_acme_each(front->acme, status_wanted, reply);
	warren_reply_close(reply);
}
