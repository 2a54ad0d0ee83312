/*
 * The section `control:` and the tests of its single values.
 */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <warren/net.h>
#include <warren/netstate.h>

#include "base/addr.h"
#include "base/util.h"

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

/* Only a proxy's address: what it serves us is encrypted and proven end to end. */
static int check_proxy(const struct warren_conf *at, struct warren_err *err)
{
	struct warren_url url;

	if (strchr(warren_conf_str(at, NULL), '@'))	/* not its text: a password */
		return warren_fail(err, at, "user and password do not stand here, where everybody "
				   "can see them: put USER:PASSWORD into a file that "
				   "control.proxy-auth names");
	if (warren_url_parse(warren_conf_str(at, NULL), &url, NULL) || strcmp(url.path, "/"))
		return warren_fail(err, at, "\"%s\" is no proxy: expected http://HOST:PORT or "
				   "https://HOST:PORT", warren_conf_str(at, NULL));
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

static int check_route(const struct warren_conf *at, struct warren_err *err)
{
	struct warren_prefix prefix = warren_conf_prefix(at, NULL);
	static const char why[] = "is no network that can be advertised";
	char text[PREFIX_TEXT];

	if ((prefix.addr.family == 4 && (prefix.addr.bytes[0] == 127 ||
					 (prefix.addr.bytes[0] & 0xf0) == 0xe0)) ||
	    (prefix.addr.family == 6 && prefix.bits >= 8 && prefix.addr.bytes[0] == 0xff))
		return warren_fail(err, at, "\"%s\" %s", prefix_format(&prefix, text), why);
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
		.key = "accept-routes",
		.type = WARREN_BOOL,
		.def = "false",
		.brief = "Reach the networks behind peers too.",
		.help = "Else only the peers' own addresses are routed, and taken as sources. A "
			"peer's network that equals one of this host's own takes its place.",
	},
	{
		.key = "advertise-routes",
		.type = WARREN_PREFIX,
		.flags = WARREN_MANY,
		.brief = "Networks behind this node that it offers to lead to.",
		.help = "An administrator of the network approves them. 0.0.0.0/0 and ::/0 offer "
			"to be an exit node. What it approves beyond this list is not served. "
			"Forwarding is the host's: net.ipv4.ip_forward, "
			"net.ipv6.conf.all.forwarding.",
		.check = check_route,
		.example = "[10.146.0.0/20]",
	},
	{
		.key = "advertise-exit-node",
		.type = WARREN_BOOL,
		.def = "false",
		.brief = "Offer a way to all of the internet.",
		.help = "The same as 0.0.0.0/0 and ::/0 in `advertise-routes`. Private, shared and "
			"reserved networks are not led to, unless that list has them. Forwarding "
			"and address translation are the host's.",
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
		.check = check_proxy,
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

static void add_route(struct warren_prefix *out, uint32_t *n, uint32_t room,
		      const struct warren_prefix *route)
{
	for (uint32_t i = 0; i < *n; i++) {
		if (prefix_equal(&out[i], route))
			return;
	}
	if (*n < room)
		out[(*n)++] = *route;
}

uint32_t ctl_conf_routes(const struct warren_conf *conf, struct warren_prefix *out, uint32_t room)
{
	static const struct warren_prefix all[] = {
		{ { .family = 4 }, 0 }, { { .family = 6 }, 0 },
	};
	uint32_t n = 0, wanted = warren_conf_bool(conf, "advertise-exit-node") ?
				 ARRAY_SIZE(all) : 0;

	for (uint32_t i = 0; i < warren_conf_count(conf, "advertise-routes"); i++) {
		struct warren_prefix route =
			warren_conf_prefix(warren_conf_at(conf, "advertise-routes", i), NULL);

		add_route(out, &n, room, &route);
	}
	for (uint32_t i = 0; i < wanted; i++)
		add_route(out, &n, room, &all[i]);
	return n;
}

bool ctl_forwarding_problem(const struct warren_conf *conf, char why[CTL_FORWARDING_TEXT])
{
	struct warren_prefix routes[CTL_ROUTES_MAX];
	uint32_t n = ctl_conf_routes(conf, routes, CTL_ROUTES_MAX);
	bool offered[2] = { false, false }, on[2] = { true, true };

	for (uint32_t i = 0; i < n; i++)
		offered[routes[i].addr.family == 6] = true;
	for (int six = 0; six < 2; six++) {
		/* What cannot be read is not blamed. */
		if (offered[six] && warren_net_forwarding(six ? 6 : 4, &on[six], NULL))
			on[six] = true;
	}
	if (on[0] && on[1])
		return false;
	snprintf(why, CTL_FORWARDING_TEXT, "IP forwarding is disabled, the networks that this node "
		 "offers cannot be reached: set %s%s%s to 1", on[0] ? "" : "net.ipv4.ip_forward",
		 on[0] || on[1] ? "" : " and ", on[1] ? "" : "net.ipv6.conf.all.forwarding");
	return true;
}
