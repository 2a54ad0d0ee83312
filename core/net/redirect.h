/*
 * net/redirect.h - where a redirect leads
 */
#ifndef WARREN_NET_REDIRECT_H
#define WARREN_NET_REDIRECT_H

#include <warren/net.h>

#include "base/str.h"

/*
 * Resolves the value of a Location field against the URL that was asked (RFC 3986 5.2; a fragment
 * is dropped, dots in a relative path are left to the server). -EINVAL with a sentence: it is no
 * URL that is followed here, or leads from https to http.
 */
int redirect_resolve(const struct warren_url *base, const char *location, struct warren_url *out,
		     struct warren_err *err);
/* The same scheme, host and port: who may read what was meant for the other. */
bool redirect_same_origin(const struct warren_url *a, const struct warren_url *b);
/* "https://host" or "https://[::1]:8443", without the path, which may be a secret. */
void redirect_add_origin(struct str *out, const struct warren_url *url);
/* "host" or "host:port", as a request says whom it is for. */
void redirect_add_authority(struct str *out, const struct warren_url *url);
/* A status whose Location is followed, and what becomes of the request. */
bool redirect_status(int status);
bool redirect_drops_body(int status, const char *method);

#endif
