/*
 * The section `control:` and the tests of its single values.
 */
#include "options.h"

#include <string.h>

#include <warren/net.h>

static int check_url(const struct warren_conf *at, struct warren_err *err)
{
	struct warren_url url;

	if (warren_url_parse(warren_conf_str(at, NULL), &url, NULL))
		return warren_fail(err, at, "\"%s\" is no URL of a control server: expected "
				   "https://hq.example.com, or http:// on a trusted network",
				   warren_conf_str(at, NULL));
	if (strcmp(url.path, "/"))
		return warren_fail(err, at, "the URL of a control server has no path: leave out "
				   "\"%s\"", url.path);
	return 0;
}

/* tag:name, as the servers take it: a letter, then letters, digits and "-". */
static int check_tag(const struct warren_conf *at, struct warren_err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789-";
	const char *text = warren_conf_str(at, NULL);
	const char *name = strncmp(text, "tag:", 4) ? "" : text + 4;

	if (!*name || !strchr(letters, *name) || name[strspn(name, rest)])
		return warren_fail(err, at, "\"%s\" is no tag: expected tag:NAME with letters, "
				   "digits and \"-\", as in tag:gateway", text);
	return 0;
}

const struct warren_option ctl_options[CTL_OPTIONS] = {
	{
		.key = "url",
		.type = WARREN_STRING,
		.flags = WARREN_REQUIRED,
		.max = 255,
		.brief = "The control server.",
		.help = "https:// and a host name, with a port if it is not 443. With http:// "
			"whoever is on the way can pose as the server.",
		.check = check_url,
		.example = "https://hq.example.com",
	},
	{
		.key = "auth-key",
		.type = WARREN_SECRET_REF,
		.brief = "Pre-auth key for the first login.",
		.help = "Without it, or when the server does not take it, a user logs in with the "
			"link that `warren status` shows. It is used where this node has no login "
			"or its key expired, not at every start.",
	},
	{
		.key = "up",
		.type = WARREN_BOOL,
		.def = "true",
		.brief = "Be connected; false leaves the network and keeps the login.",
	},
	{
		.key = "tags",
		.type = WARREN_STRING,
		.flags = WARREN_MANY,
		.max = 64,
		.brief = "Tags that this node asks for.",
		.check = check_tag,
		.example = "[tag:gateway]",
	},
	{
		.key = "ephemeral",
		.type = WARREN_BOOL,
		.def = "false",
		.brief = "Ask to be forgotten soon after going offline.",
	},
	{
		.key = "advertise-exit-node",
		.type = WARREN_BOOL,
		.def = "false",
		.brief = "Offer a way to all of the internet.",
		.help = "The same as 0.0.0.0/0 and ::/0 in `router.advertise`. Private, shared and "
			"reserved networks are not led to, unless that list has them.",
	},
	{
		.key = "shields-up",
		.type = WARREN_BOOL,
		.def = "false",
		.brief = "Let no peer begin a conversation, whatever the policy says.",
	},
	{
		.key = "proxy",
		.type = WARREN_STRING,
		.max = 255,
		.brief = "HTTP proxy on the way to the server; absent: the environment's.",
		.help = "http://HOST:PORT, or https:// where the proxy itself speaks TLS. It must "
			"allow CONNECT to the server's ports.",
		.check = warren_proxy_check,
		.example = "http://proxy.example.com:3128",
	},
	{
		.key = "proxy-auth",
		.type = WARREN_SECRET_REF,
		.max = 511,
		.brief = "User and password for the proxy.",
		.help = "A file that holds USER:PASSWORD.",
	},
	{
		.key = "ca-file",
		.type = WARREN_PATH,
		.flags = WARREN_READ,
		.brief = "Certificates (PEM) to trust, instead of the system's.",
		.help = "Those of the server, and of a proxy with https://. Every user may read "
			"the file.",
	},
};
