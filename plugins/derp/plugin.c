/*
 * derp: the relay client. Packets for peers that are not reached directly go through the relays of
 * the network map; the plugin `paths` says which, and when.
 *
 * This file is the plugin's face: section, tables, start and reload. client.c has the regions and
 * the service, conn.c and talk.c one connection, show.c what the operator sees.
 */

#include <warren/priv.h>

#include "client.h"
#include "show.h"

static const struct warren_option options[] = {
	{
		.key = "proxy",
		.type = WARREN_STRING,
		.max = 255,
		.brief = "HTTP proxy on the way to relays; absent: the environment's.",
		.help = "http://HOST:PORT, or https:// where the proxy itself speaks TLS. It must "
			"allow CONNECT to the relays' ports, and learns their names.",
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
		.help = "For relays whose certificate the network map does not pin, and for a "
			"proxy with https://.",
		.example = "/etc/ssl/certs/our-root.pem",
	},
	{
		.key = "tls",
		.type = WARREN_BOOL,
		.def = "true",
		.brief = "Speak TLS with relays; false is for a lab.",
		.help = "Without it packets stay encrypted between peers, but whoever is on the "
			"way sees who talks with whom, and may pose as the relay.",
	},
	{
		.key = "queue",
		.type = WARREN_INT,
		.def = "128",
		.min = 32,
		.max = 4096,
		.brief = "Packets that may wait for each relay; then the oldest is dropped.",
		.help = "Longer ones help a fast flow over a bumpy line and add delay to a slow "
			"one. 32 packets of path discovery have room of their own.",
	},
};

static const struct warren_port needs[] = {
	{ .name = "identity", .major = 0, .minor = 1, .flags = WARREN_ENABLE,
	  .provider = "identity", .brief = "The node key, which relays know us by." },
	{ .name = "netmap", .major = 0, .minor = 1, .brief = "Where relays are." },
};

static const struct warren_port offers[] = {
	{ .name = "relay-client", .major = 0, .minor = 3, .brief = "Packets through relays." },
};

static const struct warren_metric metrics[] = {
	{ .name = "connections", .kind = WARREN_GAUGE, .unit = "1",
	  .brief = "Relays that we are connected to." },
	{ .name = "connects", .kind = WARREN_COUNTER, .unit = "1", .brief = "Logins at relays." },
	{ .name = "failures", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Connections and attempts that ended by themselves." },
	{ .name = "packets", .kind = WARREN_COUNTER, .unit = "packets", .label = "direction",
	  .brief = "Packets through relays." },
	{ .name = "bytes", .kind = WARREN_COUNTER, .unit = "bytes", .label = "direction",
	  .brief = "Bytes of those packets." },
	{ .name = "drops", .kind = WARREN_COUNTER, .unit = "packets", .label = "reason",
	  .brief = "Packets that were not handed to a relay." },
	{ .name = "passed_over", .kind = WARREN_COUNTER, .unit = "1", .label = "reason",
	  .brief = "Frames of relays that were not understood." },
};

static const struct warren_command commands[] = {
	{ .path = "derp status", .flags = WARREN_CMD_ANY,
	  .brief = "Show the relays in use.",
	  .help = "One line for each region: state, node and address, or why it failed; packets.",
	  .example = "warren derp status", .run = derp_run_status },
};

static const struct warren_check checks[] = {
	{
		.id = "derp.home", .severity = WARREN_BAD,
		.brief = "The home relay is connected.",
		.help = "Peers begin there, whatever path they find later.",
		.run = derp_check_home,
	}, {
		.id = "derp.health", .severity = WARREN_WARN,
		.brief = "No relay in use says that it is not well.",
		.help = "A relay's own words, which clients are to pass on.",
		.run = derp_check_health,
	},
};

static int take_conf(struct derp_client *client, struct warren_ctx *ctx,
		     const struct warren_conf *conf, struct warren_err *err)
{
	struct warren_ca_file ca;
	int result = warren_ca_file_open_wait(ctx, conf, &ca, err);

	if (result)
		return result;
	warren_ca_file_close(&client->ca);
	client->ca = ca;
	client->conf = conf;
	return 0;
}

static int derp_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		      struct warren_err *err)
{
	struct derp_client *client = warren_zalloc(ctx, sizeof(*client));
	int result;

	if (!client)
		return warren_fail(err, NULL, "out of memory");
	result = take_conf(client, ctx, conf, err);
	if (result == 0)
		result = derp_client_init(client, ctx, err);
	if (result) {
		warren_ca_file_close(&client->ca);
		return result;
	}
	warren_self_set(ctx, client);
	return warren_offer(ctx, "relay-client", &derp_ops, client);
}

static int derp_reload(struct warren_ctx *ctx, const struct warren_conf *old,
		       const struct warren_conf *now, struct warren_err *err)
{
	static const char *const matter[] = { "proxy", "proxy-auth", "ca-file", "tls" };
	struct derp_client *client = warren_self(ctx);
	bool same = true;
	int result = take_conf(client, ctx, now, err);

	if (result)
		return result;
	for (size_t i = 0; i < sizeof(matter) / sizeof(matter[0]); i++)
		same = same && warren_conf_equal(old, now, matter[i]);
	if (!same)
		derp_client_reconnect(client, "the settings have changed");
	return 0;
}

static void derp_fini(struct warren_ctx *ctx)
{
	struct derp_client *client = warren_self(ctx);

	warren_ca_file_close(&client->ca);
}

WARREN_PLUGIN(derp, "derp",
	.version = "0.1",
	.license = "ISC",
	.brief = "Relay client: packets to peers that are not reached directly.",
	.help = "Speaks DERP over TLS with the relays of the network map. What it carries is "
		"encrypted between the peers.",
	.options = WARREN_TABLE(options),
	.commands = WARREN_TABLE(commands),
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.checks = WARREN_TABLE(checks),
	.privops = WARREN_PRIVOP(SOCKET),
	.start = derp_start,
	.reload = derp_reload,
	.fini = derp_fini,
	.status = derp_status,
);
