/*
 * Redirects of HTTP (RFC 9110 15.4): where they lead, and what may go there.
 */
#include "redirect.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

void redirect_add_authority(struct str *out, const struct warren_url *url)
{
	bool v6 = strchr(url->host, ':') != NULL;
	uint16_t usual = strcmp(url->scheme, "https") == 0 ? 443 : 80;

	str_addf(out, v6 ? "[%s]" : "%s", url->host);
	if (url->port != usual)
		str_addf(out, ":%u", url->port);
}

void redirect_add_origin(struct str *out, const struct warren_url *url)
{
	str_addf(out, "%s://", url->scheme);
	redirect_add_authority(out, url);
}

bool redirect_same_origin(const struct warren_url *a, const struct warren_url *b)
{
	return strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0 &&
	       a->port == b->port;
}

bool redirect_status(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool redirect_drops_body(int status, const char *method)
{
	if (status == 303)
		return strcmp(method, "HEAD") != 0;
	return (status == 301 || status == 302) && strcmp(method, "POST") == 0;
}

/* "scheme:" in front: the reference is a whole URL. */
static bool has_scheme(const char *s)
{
	size_t n = strcspn(s, ":/?#");

	return n > 0 && s[n] == ':';
}

static void compose(struct str *text, const struct warren_url *base, const char *location)
{
	size_t keep = strcspn(base->path, "?");

	if (has_scheme(location)) {
		str_add(text, location);
		return;
	}
	if (str_starts(location, "//")) {
		str_addf(text, "%s:%s", base->scheme, location);
		return;
	}
	redirect_add_origin(text, base);
	if (*location == '\0' || *location == '#') {
		str_add(text, base->path);
	} else if (*location == '?') {
		str_addn(text, base->path, keep);
		str_add(text, location);
	} else if (*location == '/') {
		str_add(text, location);
	} else {
		while (keep > 0 && base->path[keep - 1] != '/')
			keep--;
		str_addn(text, base->path, keep);
		str_add(text, location);
	}
}

int redirect_resolve(const struct warren_url *base, const char *location, struct warren_url *out,
		     struct warren_err *err)
{
	struct str text = STR_INIT;
	int result;

	compose(&text, base, location);
	str_cut(&text, strcspn(str_text(&text), "#"));
	if (text.failed)
		result = err_add(err, NULL, "there is not enough memory");
	else
		result = warren_url_parse(str_text(&text), out, err);
	str_free(&text);
	if (result == 0 && strcmp(base->scheme, "https") == 0 && strcmp(out->scheme, "https") != 0)
		return err_add(err, NULL, "it leads from https to http");
	return result;
}
