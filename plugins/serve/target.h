/*
 * What can be said of targets, paths, ranges and names without knowing any connection. All of it
 * pure, and most of it about bytes that others wrote.
 */
#ifndef WARREN_SERVE_TARGET_H
#define WARREN_SERVE_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

#include "base/str.h"

enum {
	SRV_HOST = 256,
	SRV_PATH = 2048,		/* of a URL, with NUL */
	SRV_NAME = 256,			/* below a folder, with NUL */
};

struct srv_target {			/* where a request or a connection goes on */
	bool tls, insecure;
	char host[SRV_HOST];
	uint16_t port;
	char path[SRV_PATH];		/* in front of what is asked for; never ends with "/" */
};

/*
 * "3000", "localhost:3000", "http://...", "https://...", "https+insecure://..."; of TCP "5432",
 * "HOST:PORT", "tcp://HOST:PORT". 0, or -EINVAL with a sentence.
 */
int srv_target_http(const char *text, struct srv_target *out, struct warren_err *err);
int srv_target_tcp(const char *text, struct srv_target *out, struct warren_err *err);

/* "/", "/docs", "/docs/": a path as a browser sends it. */
bool srv_mount_ok(const char *mount);
/*
 * The path of a request without its query and without dot segments, encoded ones neither
 * (RFC 3986 5.2.4). False: it is none, leads above the root or is too long.
 */
bool srv_path_clean(const char *path, char out[SRV_PATH]);
/* How well @mount fits @clean: 0 not at all, the most is best. @raw: as it was sent. */
size_t srv_mount_fits(const char *mount, const char *clean, const char *raw);
/* What follows @mount in @clean, with the slash in front: "/x", "/"; "" at the mount itself. */
const char *srv_mount_rest(const char *mount, const char *clean);
/*
 * @rest decoded, as a name below a folder: no "..", no empty part, no NUL; "" is the folder. False:
 * it cannot be one.
 */
bool srv_path_name(const char *rest, char out[SRV_NAME]);
void srv_add_escaped(struct str *out, const char *name);

/* One range of bytes (RFC 9110 14.1.2) of @size. 1: none that counts; 0; -ERANGE: outside. */
int srv_range(const char *text, int64_t size, int64_t *first, int64_t *last);
/* As a value of HTTP: plain ASCII as it is, else RFC 2047 with Q encoding. */
void srv_add_words(struct str *out, const char *text);
/* By the name's end; "application/octet-stream" where nothing is known. */
const char *srv_media_type(const char *name);
/* A field that might be taken for one of ours, or that is of one connection alone. */
bool srv_field_is_forged(const char *name);
bool srv_field_is_hop(const char *name);
/* "301:https://..." with ${HOST} and ${REQUEST_URI}: the status, and the place into @out. */
int srv_redirect(const char *text, const char *host, const char *uri, struct str *out);

#endif
