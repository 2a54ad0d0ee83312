/*
 * The head of `warren status`: the table and the keys of the stock client (ipn/ipnstate, and
 * cmd/tailscale/cli/status.go of version 1.102), made from the map and the data plane's counters.
 * What is not known here (relays chosen, file sharing) has the stock client's word for that.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <warren/net.h>
#include <warren/service/dataplane.h>
#include <warren/service/paths.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "commands.h"
#include "status_view.h"

#define CTL_STOPPED_TEXT "Warren is stopped."
#define NO_TIME "0001-01-01T00:00:00Z"
enum {
	ACTIVE_USEC = 120 * 1000000,	/* ipnstate: active means traffic in the last two minutes */
	TIME_TEXT = 40,
};

struct row {
	const struct warren_node *node;
	const struct warren_peer_status *status;	/* size 0: the data plane knows none */
};

static const struct warren_peer_status no_status;

/* RFC 3339 with as many digits as there are; @usec since 1970; 0: never. */
static const char *time_text(int64_t usec, char out[TIME_TEXT])
{
	time_t seconds = usec / 1000000;
	char fraction[16];
	struct tm tm;
	size_t len;

	if (usec <= 0 || !gmtime_r(&seconds, &tm))
		return NO_TIME;
	snprintf(fraction, sizeof(fraction), ".%06u", (unsigned)(usec % 1000000));
	len = strlen(fraction);
	while (len > 0 && fraction[len - 1] == '0')
		len--;
	fraction[len > 1 ? len : 0] = '\0';
	len = strftime(out, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + len, TIME_TEXT - len, "%sZ", fraction);
	return out;
}

static size_t suffix_len(const struct warren_netmap *map, const char **suffix)
{
	const char *dot = map && map->self && map->self->name ? strchr(map->self->name, '.') : NULL;
	size_t len = dot ? strlen(dot + 1) : 0;

	*suffix = dot ? dot + 1 : "";
	return len > 0 && dot[len] == '.' ? len - 1 : len;
}

/* The name without what all names of the network end in. */
static void add_name(const struct ctl_view *view, const struct warren_node *node, struct str *out)
{
	const char *suffix, *name = node->name ? node->name : "";
	size_t len = suffix_len(view->map, &suffix), n = strlen(name);

	if (n > 0 && name[n - 1] == '.')
		n--;
	if (len > 0 && n > len + 1 && name[n - len - 1] == '.' &&
	    strncmp(name + n - len, suffix, len) == 0)
		n -= len + 1;
	if (n > 0)
		str_addn(out, name, n);
	else
		str_addf(out, "(\"%s\")", node->hostname ? node->hostname : "");
}

const struct warren_user *ctl_user_find(const struct warren_netmap *map, int64_t id)
{
	for (uint32_t i = 0; map && i < map->n_users; i++)
		if (map->users[i].id == id)
			return &map->users[i];
	return NULL;
}

static void add_owner(const struct ctl_view *view, const struct warren_node *node, struct str *out)
{
	const struct warren_user *user = ctl_user_find(view->map, node->user);
	const char *at;

	if (node->n_tags > 0) {
		str_add(out, "tagged-devices");
	} else if (!user || !user->login) {
		str_addf(out, "%lld", (long long)node->user);
	} else {
		at = strchr(user->login, '@');
		str_addn(out, user->login, at ? (size_t)(at + 1 - user->login) :
			 strlen(user->login));
	}
}

static const char *region_code(const struct ctl_view *view, uint32_t id)
{
	for (uint32_t i = 0; id && view->map && i < view->map->n_regions; i++)
		if (view->map->regions[i].id == id)
			return view->map->regions[i].code;
	return "";
}

static bool offers_exit(const struct warren_node *node)
{
	return node->exit_v4 && node->exit_v6;
}

bool ctl_routes_unused(const struct warren_netmap *map)
{
	for (uint32_t i = 0; map && map->addresses_only && i < map->n_peers; i++)
		if (map->peers[i]->n_primary_routes > 0)
			return true;
	return false;
}

static bool is_active(const struct ctl_view *view, const struct warren_peer_status *p)
{
	uint64_t last = p->last_tx > p->last_rx ? p->last_tx : p->last_rx;

	return last > 0 && view->now - last < ACTIVE_USEC;
}

static bool is_direct(const struct warren_peer_status *p)
{
	/* With a copy by relay the address is in doubt. */
	return p->path.kind == WARREN_PATH_UDP && p->path.address.addr.family != 0 &&
	       !p->path.copy_region;
}

static bool is_peer_relayed(const struct warren_peer_status *p)
{
	return p->path.kind == WARREN_PATH_GENEVE && !p->path.copy_region;
}

/* Before there is a map, what stands for this node has no id. */
static bool is_self(const struct ctl_view *view, const struct warren_node *node)
{
	return node->id == 0 || (view->map && node == view->map->self);
}

/* All of this host's traffic goes through it. */
static bool is_used(const struct ctl_view *view, const struct warren_node *node)
{
	return view->map && view->map->exit_chosen && node->id != 0 &&
	       view->map->exit_node == node->id;
}

static bool is_online(const struct ctl_view *view, const struct warren_node *node)
{
	return is_self(view, node) ? view->connected : node->online != WARREN_TRI_NO;
}

/*
 * ---- Text ----
 */

static void add_seen(const struct ctl_view *view, const struct warren_node *node, struct str *out)
{
	int64_t ago = view->realtime / 1000000 - node->last_seen;

	if (node->last_seen <= 0)
		return;
	if (ago < 3600)
		str_addf(out, ", last seen %lldm ago", ago < 60 ? 1LL : (long long)ago / 60);
	else if (ago < 86400)
		str_addf(out, ", last seen %lldh ago", (long long)ago / 3600);
	else
		str_addf(out, ", last seen %lldd ago", (long long)ago / 86400);
}

static void add_state(const struct ctl_view *view, const struct warren_node *node,
		      const struct warren_peer_status *p, struct str *out)
{
	bool traffic = p->tx_bytes != 0 || p->rx_bytes != 0, active = is_active(view, p);
	bool online = is_online(view, node), used = is_used(view, node);
	const char *code = region_code(view, node->home_region);
	char address[ADDRPORT_TEXT];

	if (active)
		str_add(out, "active; ");
	if (offers_exit(node))
		str_addf(out, "%s%sexit node", active ? "" : "idle; ", used ? "" : "offers ");
	else if (!active && traffic)
		str_add(out, "idle");
	else if (!active)
		str_add(out, online ? "-" : "offline");
	if (active && offers_exit(node))
		str_add(out, "; ");
	if (active && is_direct(p))
		str_addf(out, "direct %s", addrport_format(&p->path.address, address));
	else if (active && is_peer_relayed(p))
		str_addf(out, "peer-relay %s:vni:%u", addrport_format(&p->path.address, address),
			 p->path.vni);
	else if (active)
		str_addf(out, "relay \"%s\"", code);
	if (!online && (active || traffic || offers_exit(node)))
		str_add(out, "; offline");
	if (!online)
		add_seen(view, node, out);
	if (traffic)
		str_addf(out, ", tx %llu rx %llu", (unsigned long long)p->tx_bytes,
			 (unsigned long long)p->rx_bytes);
}

/* The last column is padded like the others, as the stock client does: scripts cut by position. */
#define ROW "%s\t%s\t%s\t%s\t%-*s  "

/* @reply NULL: only finds out how wide the last column is. */
static void write_row(const struct ctl_view *view, const struct row *row, int *width,
		      struct warren_reply *reply)
{
	const struct warren_node *node = row->node;
	const struct warren_peer_status *p = row->status;
	AUTO(str_free) struct str name = STR_INIT;
	AUTO(str_free) struct str owner = STR_INIT;
	AUTO(str_free) struct str state = STR_INIT;
	char address[ADDR_TEXT] = "";

	if (view->active && node != view->map->self && !is_active(view, p))
		return;
	add_state(view, node, p, &state);
	if ((int)state.len > *width)
		*width = (int)state.len;
	if (!reply)
		return;
	add_name(view, node, &name);
	add_owner(view, node, &owner);
	if (node->n_addresses > 0)
		addr_format(&node->addresses[0].addr, address);
	warren_reply_text(reply, ROW, address, str_text(&name), str_text(&owner),
			  node->os ? node->os : "", *width, str_text(&state));
}

static int write_not_running(const struct ctl_view *view, struct warren_reply *reply)
{
	switch (view->state) {
	case CTL_STOPPED:
		warren_reply_text(reply, CTL_STOPPED_TEXT);
		return 1;
	case CTL_NEEDS_LOGIN:
		warren_reply_text(reply, "Logged out.");
		if (view->auth_url)
			warren_reply_text(reply, "Log in at: %s", view->auth_url);
		return 1;
	case CTL_NEEDS_MACHINE_AUTH:
		warren_reply_text(reply, "Machine is not yet approved by tailnet admin.");
		return 1;
	case CTL_RUNNING:
	case CTL_STARTING:
		if (view->map && view->map->self)
			return 0;
		break;
	case CTL_NO_STATE:
		break;
	}
	warren_reply_text(reply, "unexpected state: %s", ctl_state_name(view->state));
	if (view->error)
		warren_reply_text(reply, "\n# Health check:\n#     - %s", view->error);
	return 1;
}

/* @fn(@reply, sentence) for each thing that is wrong; the server's in the stock client's words. */
static void each_health(const struct ctl_view *view,
			void (*fn)(struct warren_reply *reply, const char *sentence),
			struct warren_reply *reply)
{
	const struct warren_netmap *map = view->map;

	if (view->state == CTL_STOPPED)
		fn(reply, CTL_STOPPED_TEXT);
	for (uint32_t i = 0; map && i < map->n_health; i++) {
		AUTO(str_free) struct str text = STR_INIT;

		str_addf(&text, "Coordination server reports an issue: The coordination server is "
			 "reporting a health issue: %s", map->health[i]);
		fn(reply, str_text(&text));
	}
	if (view->error)
		fn(reply, view->error);
	if (ctl_routes_unused(map))
		fn(reply, CTL_ROUTES_UNUSED);
}

static void health_line(struct warren_reply *reply, const char *sentence)
{
	warren_reply_text(reply, "#     - %s", sentence);
}

static void health_element(struct warren_reply *reply, const char *sentence)
{
	warren_reply_str(reply, NULL, "%s", sentence);
}

static void write_health(const struct ctl_view *view, struct warren_reply *reply)
{
	const struct warren_netmap *map = view->map;

	if (map->n_health == 0 && !view->error && !ctl_routes_unused(map))
		return;
	warren_reply_text(reply, "\n# Health check:");
	each_health(view, health_line, reply);
}

static int by_name(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return strcmp(x->node->name ? x->node->name : "", y->node->name ? y->node->name : "");
}

static int by_key(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return memcmp(x->node->key.bytes, y->node->key.bytes, sizeof(x->node->key.bytes));
}

/* The peers' rows, sorted, for free(); NULL: no memory. */
static struct row *sorted(const struct ctl_view *view, int (*order)(const void *, const void *))
{
	struct row *rows = calloc((size_t)view->map->n_peers + 1, sizeof(*rows));

	if (!rows)
		return NULL;
	for (uint32_t i = 0; i < view->map->n_peers; i++)
		rows[i] = (struct row){ view->map->peers[i], &view->statuses[i] };
	qsort(rows, view->map->n_peers, sizeof(*rows), order);
	return rows;
}

static void write_rows(const struct ctl_view *view, const struct row *peers, int *width,
		       struct warren_reply *reply)
{
	const struct row self = { view->map->self, &no_status };

	if (view->self)
		write_row(view, &self, width, reply);
	for (uint32_t i = 0; peers && i < view->map->n_peers; i++)
		write_row(view, &peers[i], width, reply);
}

int ctl_view_text(const struct ctl_view *view, struct warren_reply *reply)
{
	AUTO(auto_free) struct row *peers = NULL;
	int exit = write_not_running(view, reply);
	int width = view->header ? (int)strlen("Status") : 0;

	if (exit)
		return exit;
	peers = view->statuses ? sorted(view, by_name) : NULL;
	write_rows(view, peers, &width, NULL);
	if (view->header)
		warren_reply_text(reply, ROW "\n" ROW, "IP", "Hostname", "Owner", "OS", width,
				  "Status", "--", "--------", "-----", "--", width, "------");
	write_rows(view, peers, &width, reply);
	write_health(view, reply);
	return 0;
}

/*
 * ---- JSON ----
 */

static void write_addresses(const struct warren_node *node, const char *key,
			    struct warren_reply *reply)
{
	char text[ADDR_TEXT];

	if (!node || node->n_addresses == 0) {
		warren_reply_null(reply, key);
		return;
	}
	warren_reply_open(reply, key, '[');
	for (uint32_t i = 0; i < node->n_addresses; i++)
		warren_reply_str(reply, NULL, "%s", addr_format(&node->addresses[i].addr, text));
	warren_reply_close(reply);
}

static void write_prefixes(const struct warren_prefix *list, uint32_t n, const char *key,
			   struct warren_reply *reply)
{
	if (n == 0)
		return;
	warren_reply_open(reply, key, '[');
	ctl_write_prefixes(list, n, reply);
	warren_reply_close(reply);
}

void ctl_write_prefixes(const struct warren_prefix *list, uint32_t n, struct warren_reply *reply)
{
	char text[PREFIX_TEXT];

	for (uint32_t i = 0; i < n; i++)
		warren_reply_str(reply, NULL, "%s", prefix_format(&list[i], text));
}

void ctl_write_allowed(const struct warren_node *node, struct warren_reply *reply)
{
	warren_reply_open(reply, "AllowedIPs", '[');
	ctl_write_prefixes(node->allowed_ips, node->n_allowed_ips, reply);
	if (node->exit_v4)
		warren_reply_str(reply, NULL, "0.0.0.0/0");
	if (node->exit_v6)
		warren_reply_str(reply, NULL, "::/0");
	warren_reply_close(reply);
}

static void write_peerapi(const struct warren_node *node, struct warren_reply *reply)
{
	char text[ADDR_TEXT];
	bool any = false;

	for (uint32_t i = 0; i < node->n_addresses; i++) {
		bool six = node->addresses[i].addr.family == 6;

		for (uint32_t k = 0; k < node->n_services; k++) {
			if (strcmp(node->services[k].proto, six ? "peerapi6" : "peerapi4") != 0)
				continue;
			if (!any)
				warren_reply_open(reply, "PeerAPIURL", '[');
			any = true;
			warren_reply_str(reply, NULL, "http://%s%s%s:%u", six ? "[" : "",
					 addr_format(&node->addresses[i].addr, text),
					 six ? "]" : "", node->services[k].port);
		}
	}
	if (any)
		warren_reply_close(reply);
	else
		warren_reply_null(reply, "PeerAPIURL");
}

static void write_host_keys(const struct warren_node *node, struct warren_reply *reply)
{
	if (node->n_ssh_host_keys == 0)
		return;
	warren_reply_open(reply, "sshHostKeys", '[');
	for (uint32_t i = 0; i < node->n_ssh_host_keys; i++)
		warren_reply_str(reply, NULL, "%s", node->ssh_host_keys[i]);
	warren_reply_close(reply);
}

static void write_caps(const struct warren_node *node, bool list, struct warren_reply *reply)
{
	if (node->n_caps == 0)
		return;
	if (list) {
		warren_reply_open(reply, "Capabilities", '[');
		for (uint32_t i = 0; i < node->n_caps; i++)
			warren_reply_str(reply, NULL, "%s", node->caps[i].name);
		warren_reply_close(reply);
	}
	ctl_write_caps(node->caps, node->n_caps, reply);
}

void ctl_write_caps(const struct warren_cap *caps, uint32_t n, struct warren_reply *reply)
{
	warren_reply_open(reply, "CapMap", '{');
	for (uint32_t i = 0; i < n; i++) {
		if (caps[i].n_values == 0) {
			warren_reply_null(reply, caps[i].name);
			continue;
		}
		warren_reply_open(reply, caps[i].name, '[');
		for (uint32_t k = 0; k < caps[i].n_values; k++)
			warren_reply_str(reply, NULL, "%s", caps[i].values[k]);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
}

static void write_endpoints(const struct ctl_view *view, const struct warren_node *node,
			    const struct warren_peer_status *p, struct warren_reply *reply)
{
	bool self = is_self(view, node);
	char text[ADDRPORT_TEXT] = "";
	/* The server hears of ours, and need not tell us. */
	uint32_t home = self && view->home ? view->home : node->home_region;

	if (self && node->n_endpoints > 0) {
		warren_reply_open(reply, "Addrs", '[');
		for (uint32_t i = 0; i < node->n_endpoints; i++)
			warren_reply_str(reply, NULL, "%s",
					 addrport_format(&node->endpoints[i], text));
		warren_reply_close(reply);
	} else {
		warren_reply_null(reply, "Addrs");
	}
	text[0] = '\0';
	if (!self && is_direct(p))
		addrport_format(&p->path.address, text);
	warren_reply_str(reply, "CurAddr", "%s", text);
	warren_reply_str(reply, "Relay", "%s", region_code(view, home));
	text[0] = '\0';
	if (!self && is_peer_relayed(p))
		addrport_format(&p->path.address, text);
	if (*text)
		warren_reply_str(reply, "PeerRelay", "%s:vni:%u", text, p->path.vni);
	else
		warren_reply_str(reply, "PeerRelay", "%s", "");
	warren_reply_int(reply, "RxBytes", (int64_t)p->rx_bytes);
	warren_reply_int(reply, "TxBytes", (int64_t)p->tx_bytes);
}

static void write_times(const struct ctl_view *view, const struct warren_node *node,
			const struct warren_peer_status *p, struct warren_reply *reply)
{
	int64_t written = p->last_tx ? view->realtime - (int64_t)(view->now - p->last_tx) : 0;
	char text[TIME_TEXT];

	warren_reply_str(reply, "Created", "%s", time_text(node->created * 1000000, text));
	warren_reply_str(reply, "LastWrite", "%s", time_text(written, text));
	warren_reply_str(reply, "LastSeen", "%s", time_text(is_online(view, node) ? 0 :
			 node->last_seen * 1000000, text));
	warren_reply_str(reply, "LastHandshake", "%s", time_text(p->last_handshake_realtime, text));
}

/* Inside an open object. */
static void write_node(const struct ctl_view *view, const struct row *row,
		       struct warren_reply *reply)
{
	const struct warren_node *node = row->node;
	const struct warren_peer_status *p = row->status;
	bool self = is_self(view, node), known = node->id != 0;
	char key[WARREN_KEYTEXT_MAX];

	warren_reply_str(reply, "ID", "%s", node->stable_id ? node->stable_id : "");
	warren_reply_int(reply, "NodeID", node->id);
	warren_reply_str(reply, "PublicKey", "%s",
			 warren_keytext_format(WARREN_KEYTEXT_NODE, node->key.bytes, key));
	warren_reply_str(reply, "HostName", "%s", node->hostname ? node->hostname : "");
	warren_reply_str(reply, "DNSName", "%s", node->name ? node->name : "");
	warren_reply_str(reply, "OS", "%s", node->os ? node->os : "");
	warren_reply_int(reply, "UserID", node->user);
	write_addresses(node, "TailscaleIPs", reply);
	if (node->n_allowed_ips > 0 || node->exit_v4 || node->exit_v6)
		ctl_write_allowed(node, reply);
	write_prefixes(node->primary_routes, node->n_primary_routes, "PrimaryRoutes", reply);
	if (node->n_tags > 0) {
		warren_reply_open(reply, "Tags", '[');
		for (uint32_t i = 0; i < node->n_tags; i++)
			warren_reply_str(reply, NULL, "%s", node->tags[i]);
		warren_reply_close(reply);
	}
	write_endpoints(view, node, p, reply);
	write_times(view, node, p, reply);
	warren_reply_bool(reply, "Online", is_online(view, node));
	warren_reply_bool(reply, "ExitNode", is_used(view, node));
	warren_reply_bool(reply, "ExitNodeOption", !self && offers_exit(node));
	warren_reply_bool(reply, "Active", !self && is_active(view, p));
	if (self && view->state == CTL_STOPPED)
		warren_reply_null(reply, "PeerAPIURL");
	else
		write_peerapi(node, reply);
	warren_reply_int(reply, "TaildropTarget", 0);
	warren_reply_str(reply, "NoFileSharingReason", "%s", "");
	write_caps(node, self, reply);
	write_host_keys(node, reply);
	warren_reply_bool(reply, "InNetworkMap", known);
	warren_reply_bool(reply, "InMagicSock", !self && p->size != 0);
	warren_reply_bool(reply, "InEngine", !self && p->size != 0);
	if (node->expired)
		warren_reply_bool(reply, "Expired", true);
	if (node->key_expiry > 0)
		warren_reply_str(reply, "KeyExpiry", "%s",
				 time_text(node->key_expiry * 1000000, key));
}

/* This node before it is in a network. */
static void write_nobody(const struct ctl_view *view, struct warren_reply *reply)
{
	struct warren_node nobody = { .os = "linux" };
	const struct row row = { &nobody, &no_status };
	char host[65] = "";

	if (gethostname(host, sizeof(host) - 1) == -1)
		host[0] = '\0';
	nobody.hostname = host;
	write_node(view, &row, reply);
}

/* Only while one is used. */
static void write_exit_node(const struct ctl_view *view, struct warren_reply *reply)
{
	for (uint32_t i = 0; view->map && i < view->map->n_peers; i++) {
		const struct warren_node *node = view->map->peers[i];

		if (!is_used(view, node))
			continue;
		warren_reply_open(reply, "ExitNodeStatus", '{');
		warren_reply_str(reply, "ID", "%s", node->stable_id ? node->stable_id : "");
		warren_reply_bool(reply, "Online", is_online(view, node));
		write_prefixes(node->addresses, node->n_addresses, "TailscaleIPs", reply);
		warren_reply_close(reply);
	}
}

static void write_tailnet(const struct ctl_view *view, struct warren_reply *reply)
{
	const struct warren_netmap *map = view->map;
	const char *suffix;
	size_t len = suffix_len(map, &suffix);

	warren_reply_str(reply, "MagicDNSSuffix", "%.*s", (int)len, suffix);
	if (!map || !map->self) {
		warren_reply_null(reply, "CurrentTailnet");
	} else {
		warren_reply_open(reply, "CurrentTailnet", '{');
		warren_reply_str(reply, "Name", "%s", map->domain ? map->domain : "");
		warren_reply_str(reply, "MagicDNSSuffix", "%.*s", (int)len, suffix);
		warren_reply_bool(reply, "MagicDNSEnabled", map->dns->proxied);
		warren_reply_close(reply);
	}
	if (!map || map->dns->n_cert_domains == 0) {
		warren_reply_null(reply, "CertDomains");
		return;
	}
	warren_reply_open(reply, "CertDomains", '[');
	for (uint32_t i = 0; i < map->dns->n_cert_domains; i++)
		warren_reply_str(reply, NULL, "%s", map->dns->cert_domains[i]);
	warren_reply_close(reply);
}

static void write_records(const struct warren_netmap *map, struct warren_reply *reply)
{
	if (!map || map->dns->n_records == 0) {
		warren_reply_null(reply, "ExtraRecords");
		return;
	}
	warren_reply_open(reply, "ExtraRecords", '[');
	for (uint32_t i = 0; i < map->dns->n_records; i++) {
		const struct warren_dns_record *record = &map->dns->records[i];

		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "Name", "%s", record->name);
		if (record->type)
			warren_reply_str(reply, "Type", "%s", record->type);
		warren_reply_str(reply, "Value", "%s", record->value);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
}

static void write_people(const struct ctl_view *view, struct warren_reply *reply)
{
	const struct warren_netmap *map = view->map;
	AUTO(auto_free) struct row *peers = NULL;
	char key[WARREN_KEYTEXT_MAX];

	if (!map || !map->self) {
		warren_reply_null(reply, "Peer");
		warren_reply_null(reply, "User");
		return;
	}
	peers = view->statuses ? sorted(view, by_key) : NULL;
	if (!peers)
		warren_reply_null(reply, "Peer");
	else
		warren_reply_open(reply, "Peer", '{');
	for (uint32_t i = 0; peers && i < map->n_peers; i++) {
		if (view->active && !is_active(view, peers[i].status))
			continue;
		warren_reply_open(reply, warren_keytext_format(WARREN_KEYTEXT_NODE,
							       peers[i].node->key.bytes, key),
				  '{');
		write_node(view, &peers[i], reply);
		warren_reply_close(reply);
	}
	if (peers)
		warren_reply_close(reply);
	warren_reply_open(reply, "User", '{');
	for (uint32_t i = 0; i < map->n_users; i++)
		ctl_write_user(&map->users[i], true, reply);
	warren_reply_close(reply);
}

void ctl_write_user(const struct warren_user *user, bool by_id, struct warren_reply *reply)
{
	char id[24];

	snprintf(id, sizeof(id), "%lld", (long long)user->id);
	warren_reply_open(reply, by_id ? id : "UserProfile", '{');
	warren_reply_int(reply, "ID", user->id);
	warren_reply_str(reply, "LoginName", "%s", user->login ? user->login : "");
	warren_reply_str(reply, "DisplayName", "%s", user->name ? user->name : "");
	if (user->picture)
		warren_reply_str(reply, "ProfilePicURL", "%s", user->picture);
	warren_reply_close(reply);
}

void ctl_view_json(const struct ctl_view *view, struct warren_reply *reply)
{
	const struct warren_netmap *map = view->map;
	const struct warren_node *self = map ? map->self : NULL;
	const struct row row = { self, &no_status };

	warren_reply_str(reply, "Version", "%s", PACKAGE_VERSION);
	warren_reply_bool(reply, "TUN", true);
	warren_reply_str(reply, "BackendState", "%s", ctl_state_name(view->state));
	if (view->logged_in)
		warren_reply_bool(reply, "HaveNodeKey", true);
	warren_reply_str(reply, "AuthURL", "%s", view->auth_url ? view->auth_url : "");
	write_addresses(self, "TailscaleIPs", reply);
	warren_reply_open(reply, "Self", '{');
	if (self)
		write_node(view, &row, reply);
	else
		write_nobody(view, reply);
	warren_reply_close(reply);
	warren_reply_open(reply, "Health", '[');
	each_health(view, health_element, reply);
	warren_reply_close(reply);
	write_exit_node(view, reply);
	write_tailnet(view, reply);
	write_records(map, reply);
	write_people(view, reply);
	warren_reply_null(reply, "ClientVersion");
}

/*
 * ---- From the running plugin ----
 */

int ctl_view_gather(struct ctl_view *view, const struct warren_dataplane_ops *dataplane, void *self)
{
	const struct warren_netmap *map = view->map;
	uint32_t n = map ? map->n_peers : 0;

	view->statuses = calloc((size_t)n + 1, sizeof(*view->statuses));
	if (!view->statuses)
		return -ENOMEM;
	for (uint32_t i = 0; dataplane && i < n; i++) {
		struct warren_peer_status *status = &view->statuses[i];

		status->size = sizeof(*status);
		if (dataplane->peer(self, map->peers[i]->key.bytes, status) != 0)
			*status = no_status;
	}
	return 0;
}

static char *copy(const char *text, bool *failed)
{
	char *out = text ? strdup(text) : NULL;

	*failed = *failed || (text && !out);
	return out;
}

void ctl_overview_free(void *view_)
{
	struct ctl_view *view = view_;

	warren_obj_unref(view->map);
	free(view->statuses);
	free(view->auth_url);
	free(view->error);
	free(view);
}

static uint32_t home_region(struct warren_ctx *ctx)
{
	const struct warren_paths_ops *paths;
	const void *ops;
	void *self;

	if (warren_need(ctx, "paths", &ops, &self) < 0)
		return 0;
	paths = ops;
	return paths->home(self);
}

void *ctl_overview(struct warren_ctx *ctx, const struct warren_conf *args)
{
	struct ctl_session *session = ctl_session_of(ctx);
	struct ctl_view *view = calloc(1, sizeof(*view));
	struct ctl_session_info info;
	const void *dataplane = NULL;
	void *self = NULL;
	bool failed = false;

	if (!view)
		return NULL;
	ctl_session_info(session, &info);
	*view = (struct ctl_view){
		.state = info.state, .connected = info.connected, .logged_in = info.login != NULL,
		.auth_url = copy(info.auth_url, &failed), .error = copy(info.error, &failed),
		.map = ctl_session_known(session), .now = warren_now(),
		.realtime = warren_realtime(), .self = warren_conf_bool(args, "self"),
		.active = warren_conf_bool(args, "active"),
		.header = warren_conf_bool(args, "header"), .home = home_region(ctx),
	};
	if (warren_need(ctx, "dataplane", &dataplane, &self) < 0)
		dataplane = NULL;
	if (!failed && warren_conf_bool(args, "peers"))
		failed = ctl_view_gather(view, dataplane, self) < 0;
	if (!failed)
		return view;
	ctl_overview_free(view);
	return NULL;
}

int ctl_overview_write(const void *view, struct warren_reply *reply)
{
	if (!warren_reply_json(reply))
		return ctl_view_text(view, reply);
	ctl_view_json(view, reply);
	return 0;
}
