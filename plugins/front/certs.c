/*
 * The certificates that answer, one per name, and where they come from: files of the operator, or
 * one that we sign ourselves. Those of an authority come from acme.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/addr.h"
#include "base/str.h"
#include "front.h"

enum { SETTLED_USEC = 10000000 };	/* in which other plugins bring their names along */
static const char *const alpn[] = { "h2", "http/1.1", NULL };

/* ---- the set ---- */

static void cert_free(struct front_cert *cert)
{
	list_del(&cert->link);
	warren_tls_server_free(cert->tls);
	free(cert);
}

void front_certs_drop_named(struct front *front)
{
	struct front_cert *cert, *next;

	list_for_each_safe(cert, next, &front->certs, link) {
		if (cert->name[0])
			cert_free(cert);
	}
}

void front_certs_free(struct front *front)
{
	struct front_cert *cert, *next;

	list_for_each_safe(cert, next, &front->certs, link)
		cert_free(cert);
}

void front_cert_drop(struct front *front, const char *name)
{
	struct front_cert *cert, *next;

	list_for_each_safe(cert, next, &front->certs, link) {
		if (strcmp(cert->name, name) == 0)
			cert_free(cert);
	}
}

int front_cert_set(struct front *front, const char *name, const char *cert_pem,
		   const uint8_t *key_pem, size_t key_len, struct warren_err *err)
{
	struct front_cert *cert = calloc(1, sizeof(*cert));

	if (!cert || !str_copy(cert->name, sizeof(cert->name), name)) {
		free(cert);
		warren_fail(err, NULL, "no memory for a certificate");
		return -ENOMEM;
	}
	cert->facts.size = sizeof(cert->facts);
	cert->tls = warren_tls_server_new(cert_pem, key_pem, key_len, alpn, err);
	if (!cert->tls || !warren_cert_facts(cert_pem, &cert->facts) ||
	    warren_derp_meta_set(cert->tls, front->marker, err)) {
		warren_tls_server_free(cert->tls);
		free(cert);
		return -EINVAL;
	}
	front_cert_drop(front, name);
	list_add_tail(&front->certs, &cert->link);
	return 0;
}

const struct front_cert *front_cert_find(const struct front *front, const char *server_name)
{
	const struct front_cert *cert, *any = NULL;

	list_for_each(cert, &front->certs, link) {
		if (cert->name[0] && strcmp(cert->name, server_name) == 0)
			return cert;
		if (!cert->name[0] || !any)
			any = cert;
	}
	return any;
}

/* ---- a relay's marker ---- */

static void mark_all(struct front *front)
{
	struct front_cert *cert;

	list_for_each(cert, &front->certs, link) {
		if (warren_derp_meta_set(cert->tls, front->marker, NULL))
			warren_log(front->ctx, LOG_WARNING, "clients of the relay log in a round "
				   "trip slower: its key cannot be added to a certificate's chain");
	}
}

static void marker_ends(void *arg)
{
	struct front *front = arg;

	free(front->marker);
	front->marker = NULL;
	front->marker_of = NULL;
	mark_all(front);
}

int front_marker(void *self, struct warren_ctx *ctx, const char *pem, struct warren_err *err)
{
	struct front *front = self;
	char *copy;

	if (front->marker_of && front->marker_of != ctx) {
		warren_fail(err, NULL, "another plugin's relay is told in the certificates");
		return -EEXIST;
	}
	copy = strdup(pem);
	if (!copy || (!front->marker_of && !warren_on_end(ctx, marker_ends, front))) {
		free(copy);
		warren_fail(err, NULL, "no memory");
		return -ENOMEM;
	}
	free(front->marker);
	front->marker = copy;
	front->marker_of = ctx;
	mark_all(front);
	return 0;
}

bool front_pin(void *self, uint8_t sha256[32])
{
	struct front *front = self;
	const struct front_cert *cert = front_cert_find(front, "");

	if (front_tls(front->conf) != FRONT_SELF_SIGNED || !cert)
		return false;
	front->own_is_new = false;
	memcpy(sha256, cert->facts.sha256, 32);
	return true;
}

/* ---- the operator's files ---- */

/* What answers where no name has its own. */
static int take_pair(void *arg, const char *cert_pem, const uint8_t *key_pem, size_t key_len,
		     struct warren_err *err)
{
	return front_cert_set(arg, "", cert_pem, key_pem, key_len, err);
}

int front_text_file(struct front *front, const struct warren_conf *at, const char *key, char **out,
		    struct warren_err *err)
{
	int fd = warren_conf_open_wait(front->ctx, at, key, err);
	size_t len;

	*out = NULL;
	if (fd < 0)
		return fd;
	*out = (char *)warren_file_text_take(fd, &len);
	if (*out && strlen(*out) == len)
		return 0;
	free(*out);
	*out = NULL;
	return warren_fail_key(err, -EIO, at, key, "this file cannot be read as text");
}

int front_cert_files(struct front *front, struct warren_err *err)
{
	return warren_pair_files_wait(front->ctx, warren_conf_map(front->conf, "tls"), take_pair,
				      front, err);
}

static int take_changed(void *arg, const char *cert_pem, const uint8_t *key_pem, size_t key_len,
			struct warren_err *err)
{
	const struct front *front = arg;

	return front_tls(front->conf) != FRONT_FILES ? 0 :
	       take_pair(arg, cert_pem, key_pem, key_len, err);
}

int front_cert_watch(struct front *front, struct warren_err *err)
{
	return warren_pair_watch(front->ctx, warren_conf_map(front->conf, "tls"), "front.tls",
				 take_changed, front, err);
}

/* ---- our own ---- */

struct names {
	const char *text[FRONT_OWN_NAMES];
	uint32_t n;
};

static void add_name(const char *name, void *arg)
{
	struct names *names = arg;

	if (names->n < FRONT_OWN_NAMES)
		names->text[names->n++] = name;
}

static void gather_names(const struct front *front, char addr[ADDR_TEXT], struct names *out)
{
	struct warren_addr at = { 0 };

	if (front->conf)
		at = warren_conf_addr(front->conf, "address");
	out->n = 0;
	if (at.family)
		add_name(addr_format(&at, addr), out);
	front_each_name(front, add_name, out);
}

/* Somebody may have seen it in the status by now. */
static void own_is_known(struct warren_ctx *ctx, void *arg)
{
	struct front *front = arg;

	(void)ctx;
	front->own_is_new = false;
}

void front_cert_own_names(struct front *front)
{
	struct names names;
	char addr[ADDR_TEXT];

	if (!front->own_is_new)
		return;
	gather_names(front, addr, &names);
	if (warren_pair_make(front->ctx, names.text, names.n, take_pair, front, NULL))
		warren_log(front->ctx, LOG_WARNING, "the certificate of this box does not say all "
			   "of its names: no memory");
}

int front_cert_self_signed(struct front *front, struct warren_err *err)
{
	struct names names;
	char addr[ADDR_TEXT];

	if (!front->settled)
		front->settled = warren_timer_new(front->ctx, own_is_known, front);
	if (!front->settled)
		return -ENOMEM;
	warren_timer_set(front->settled, SETTLED_USEC);
	gather_names(front, addr, &names);
	return warren_pair_own_wait(front->ctx, names.text, names.n, take_pair, front,
				    &front->own_is_new, err);
}
