/*
 * Options that plugins which dial have in common: `proxy`, `proxy-auth`, `ca-file`.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <warren/net.h>

int warren_proxy_check(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL);
	struct warren_url url;

	if (strchr(text, '@'))		/* not its text: a password */
		return warren_fail(err, at, "user and password do not stand here, where everybody "
				   "can see them: put USER:PASSWORD into a file that proxy-auth "
				   "names");
	if (warren_url_parse(text, &url, NULL) || strcmp(url.path, "/"))
		return warren_fail(err, at, "\"%s\" is no proxy: expected http://HOST:PORT or "
				   "https://HOST:PORT", text);
	return 0;
}

const char *warren_proxy_auth(const struct warren_conf *conf, char out[WARREN_PROXY_AUTH])
{
	const struct warren_secret *secret = warren_conf_secret(conf, "proxy-auth");
	size_t len = 0;
	const uint8_t *bytes = secret ? warren_secret_bytes(secret, &len) : NULL;

	while (len > 0 && (bytes[len - 1] == '\r' || bytes[len - 1] == '\n'))
		len--;
	if (len == 0 || len >= WARREN_PROXY_AUTH || memchr(bytes, '\0', len))
		return NULL;
	memcpy(out, bytes, len);
	out[len] = '\0';
	return out;
}

/* The file stays open under a name that needs no folder to be entered. */
int warren_ca_file_open_wait(struct warren_ctx *ctx, const struct warren_conf *conf,
			     struct warren_ca_file *out, struct warren_err *err)
{
	int fd;

	*out = (struct warren_ca_file){ .path = "" };
	if (!warren_conf_has(conf, "ca-file"))
		return 0;
	fd = warren_conf_open_wait(ctx, conf, "ca-file", err);
	if (fd < 0)
		return fd;
	out->fd = fd;
	snprintf(out->path, sizeof(out->path), "/proc/self/fd/%d", fd);
	return 0;
}

const char *warren_ca_file_path(const struct warren_ca_file *ca)
{
	return ca->path[0] ? ca->path : NULL;
}

void warren_ca_file_close(struct warren_ca_file *ca)
{
	if (ca->path[0])
		close(ca->fd);
	ca->path[0] = '\0';
}
