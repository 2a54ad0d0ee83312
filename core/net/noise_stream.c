/*
 * The control protocol's Noise as a layer. Plaintext is cut into records of at most 4077 bytes; the
 * records of a turn are decoded together. What the first records of a server hold may be the early
 * payload, which the layer keeps to itself. As in TLS a client's handshake is told by a timer,
 * since a layer's input must not call its owner.
 *
 * Noise has no end mark: an end between two records is one in order, as far as this layer knows,
 * and HTTP/2 above knows whether something was missing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <warren/net.h>

#include "base/err.h"
#include "base/util.h"

#include "early.h"
#include "stream.h"

enum {
	HANDSHAKE_USEC = 15000000,
	TOGETHER = 4,			/* records in one write */
};

struct noise_stream {
	struct warren_noise *noise;
	struct warren_stream *up;
	warren_noise_fn *done;		/* NULL: called, or a server's */
	void *arg;
	struct warren_timer *timer;	/* of the handshake; or tells its end */
	bool open, broken;
	bool past_early;		/* what comes is the owner's */
	struct early early;
	char why[320];
};

static void ns_free(void *layer)
{
	struct noise_stream *ns = layer;

	warren_release(ns->timer);
	warren_noise_free(ns->noise);
	early_free(&ns->early);
	free(ns);
}

/* Keeps the sentence of @err as the layer's. */
static int explain(struct noise_stream *ns, int result, struct warren_err *err)
{
	snprintf(ns->why, sizeof(ns->why), "%s", err_first(err));
	err_free(err);
	return result;
}

static int feed(struct noise_stream *ns, struct warren_stream *up, const uint8_t *plain, size_t len)
{
	struct warren_err err = ERR_INIT;
	size_t used = 0;
	int result;

	if (!ns->past_early) {
		result = early_feed(&ns->early, plain, len, &used, &err);
		if (result < 0)
			return explain(ns, result, &err);
		if (result == WARREN_PENDING)
			return 0;
		ns->past_early = true;
		if (ns->early.none) {
			result = warren_layer_feed(up, ns->early.head, ns->early.have);
			if (result)
				return result;
		}
	}
	return warren_layer_feed(up, plain + used, len - used);
}

/* 0 with @n 0: not enough bytes yet. */
static int step(struct noise_stream *ns, struct warren_stream *up, const uint8_t *data, size_t len,
		size_t *n)
{
	struct warren_err err = ERR_INIT;
	uint8_t plain[WARREN_NOISE_PLAIN];
	size_t plain_len;
	int result;

	*n = 0;
	if (!ns->open) {
		result = warren_noise_client_read(ns->noise, data, len, n, &err);
		if (result < 0)
			return explain(ns, result, &err);
		if (result == 0) {
			ns->open = true;
			warren_timer_set(ns->timer, 0);
		}
		return 0;
	}
	result = warren_noise_open(ns->noise, data, len, plain, &plain_len, &err);
	if (result < 0)
		return explain(ns, result, &err);
	*n = (size_t)result;
	return result > 0 ? feed(ns, up, plain, plain_len) : 0;
}

static int check_end(struct noise_stream *ns, size_t left)
{
	if (ns->open && left == 0 && (ns->past_early || ns->early.have == 0))
		return 0;
	snprintf(ns->why, sizeof(ns->why), "%s", ns->open ?
		 "the other side closed the connection in the middle of a Noise record" :
		 "the control server closed the connection instead of answering the Noise "
		 "handshake: its key may have changed, or it refuses our version");
	return -ECONNRESET;
}

static int ns_input(void *layer, struct warren_stream *below, struct warren_stream *up, bool eof,
		    const char **why)
{
	struct noise_stream *ns = layer;
	const uint8_t *data;
	size_t len, n, at = 0;
	int result;

	data = warren_stream_input(below, &len);
	do {
		result = step(ns, up, data + at, len - at, &n);
		at += n;
	} while (result == 0 && n > 0);
	warren_stream_drain(below, at);
	if (result == 0 && eof)
		result = check_end(ns, len - at);
	*why = ns->why[0] ? ns->why : NULL;
	return result;
}

/* Asked first: a record that was sealed must be sent, or nothing opens after it. */
static bool has_room(const struct warren_stream *below, size_t len)
{
	size_t waiting = warren_stream_pending(below);

	if (len > STREAM_OUTPUT_MAX || waiting > STREAM_OUTPUT_MAX)
		return false;
	len += (len / WARREN_NOISE_PLAIN + 1) * WARREN_NOISE_OVERHEAD;
	return len <= STREAM_OUTPUT_MAX - waiting;
}

static int ns_write(void *layer, struct warren_stream *below, const void *data, size_t len)
{
	struct noise_stream *ns = layer;
	uint8_t out[TOGETHER * WARREN_NOISE_RECORD];
	const uint8_t *from = data;
	int result = 0;

	if (!ns->open)
		return -ENOTCONN;
	if (ns->broken)
		return -EPIPE;
	if (!has_room(below, len))
		return -ENOBUFS;
	while (result == 0 && len > 0) {
		size_t used = 0;

		for (int i = 0; result == 0 && i < TOGETHER && len > 0; i++) {
			size_t n = len < WARREN_NOISE_PLAIN ? len : WARREN_NOISE_PLAIN;

			result = warren_noise_seal(ns->noise, from, n, out + used);
			from += n;
			len -= n;
			used += n + WARREN_NOISE_OVERHEAD;
		}
		if (result == 0)
			result = warren_stream_write(below, out, used);
	}
	if (result)
		ns->broken = true;
	return result;
}

static const struct warren_layer_ops ops = {
	.size = sizeof(ops), .write = ns_write, .input = ns_input, .free = ns_free,
};

/* The owner is told, and may close the stream, which frees @ns. */
static void tell(struct noise_stream *ns, int result, const char *why)
{
	warren_noise_fn *done = ns->done;

	if (!done)
		return;
	ns->done = NULL;
	warren_timer_stop(ns->timer);
	warren_stream_set(ns->up, NULL, NULL);
	done(ns->up, result, why, ns->arg);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct noise_stream *ns = arg;

	(void)ctx;
	if (ns->open)
		tell(ns, 0, NULL);
	else
		tell(ns, -ETIMEDOUT, "the control server does not answer the Noise handshake");
}

static void shaking_ended(struct warren_stream *up, int result, const char *why, void *arg)
{
	struct noise_stream *ns = arg;

	(void)up;
	if (!ns->open)
		tell(ns, result ? result : -ECONNRESET, why);
}

/* What can be read stays, and is told again to the owner. */
static const struct warren_stream_events shaking = {
	.size = sizeof(shaking), .ended = shaking_ended,
};

/* Takes @noise and @below in any case. */
static struct noise_stream *start(struct warren_stream *below, struct warren_noise *noise)
{
	struct noise_stream *ns = calloc(1, sizeof(*ns));

	if (!ns) {
		warren_noise_free(noise);
		warren_stream_close(below);
		return NULL;
	}
	ns->noise = noise;
	ns->timer = warren_timer_new(stream_ctx(below), on_timer, ns);
	if (!ns->timer) {
		ns_free(ns);
		warren_stream_close(below);
		return NULL;
	}
	ns->up = warren_layer_new_take(below, &ops, ns);
	return ns->up ? ns : NULL;
}

struct warren_stream *warren_noise_connect_take(struct warren_stream *below,
						struct warren_noise *noise, warren_noise_fn *done,
						void *arg)
{
	struct noise_stream *ns = start(below, noise);

	if (!ns)
		return NULL;
	ns->done = done;
	ns->arg = arg;
	warren_timer_set(ns->timer, HANDSHAKE_USEC);
	warren_stream_set(ns->up, &shaking, ns);
	return ns->up;
}

/* In one piece with the response: clients wait for both. */
static int write_answer(struct noise_stream *ns, struct warren_stream *below,
			const uint8_t response[WARREN_NOISE_RESPONSE], const char *early)
{
	uint8_t head[EARLY_HEAD];
	size_t len = early ? strlen(early) : 0;
	int result = warren_stream_write(below, response, WARREN_NOISE_RESPONSE);

	if (result || !early)
		return result;
	early_head(len, head);
	result = ns_write(ns, below, head, sizeof(head));
	return result ? result : ns_write(ns, below, early, len);
}

struct warren_stream *warren_noise_accept_take(struct warren_stream *below,
					       const struct warren_noise_key *self,
					       const uint8_t *init, size_t len, const char *early,
					       struct warren_err *err)
{
	uint8_t response[WARREN_NOISE_RESPONSE];
	struct warren_noise *noise = warren_noise_server_new(self, init, len, response, err);
	struct noise_stream *ns;

	if (!noise) {
		warren_stream_close(below);
		return NULL;
	}
	ns = start(below, noise);
	if (!ns) {
		warren_fail(err, NULL, "no memory for a control connection");
		return NULL;
	}
	ns->open = ns->past_early = true;	/* only servers send an early payload */
	if (write_answer(ns, below, response, early)) {
		warren_stream_close(ns->up);
		warren_fail(err, NULL, "the client closed the connection before the Noise "
			    "handshake was answered");
		return NULL;
	}
	return ns->up;
}

const struct warren_noise *warren_noise_session(const struct warren_stream *stream)
{
	const struct noise_stream *ns = stream_layer(stream, &ops);

	return ns ? ns->noise : NULL;
}

bool warren_noise_challenge(const struct warren_stream *stream, uint8_t out[32])
{
	const struct noise_stream *ns = stream_layer(stream, &ops);

	if (!ns || !ns->early.has_challenge)
		return false;
	memcpy(out, ns->early.challenge, 32);
	return true;
}
