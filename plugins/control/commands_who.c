/*
 * ip, whois: questions about the map.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include <warren/net.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "commands.h"
#include "status_view.h"

static bool has_address(const struct warren_node *node, const struct warren_addr *addr)
{
	for (uint32_t i = 0; i < node->n_addresses; i++)
		if (addr_equal(&node->addresses[i].addr, addr))
			return true;
	return false;
}

/* "gw.example.com" is called gw, gw.example.com or gw.example.com. */
static bool has_name(const struct warren_node *node, const char *name)
{
	const char *full = node->name ? node->name : "";
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	return len > 0 && strncasecmp(full, name, len) == 0 &&
	       (full[len] == '\0' || full[len] == '.');
}

static const struct warren_node *find(const struct warren_netmap *map, const char *name,
				      const struct warren_addr *addr)
{
	if (!map || !map->self)
		return NULL;
	if (addr ? has_address(map->self, addr) : has_name(map->self, name))
		return map->self;
	for (uint32_t i = 0; i < map->n_peers; i++)
		if (addr ? has_address(map->peers[i], addr) : has_name(map->peers[i], name))
			return map->peers[i];
	return NULL;
}

static int print_addresses(const struct warren_node *node, const struct warren_conf *args,
			   struct warren_reply *reply, struct warren_err *err)
{
	bool four = warren_conf_bool(args, "4"), six = warren_conf_bool(args, "6");
	bool one = warren_conf_bool(args, "1"), any = false;
	char text[ADDR_TEXT];

	warren_reply_open(reply, "addresses", '[');
	for (uint32_t i = 0; i < node->n_addresses && !(one && any); i++) {
		const struct warren_addr *addr = &node->addresses[i].addr;

		if ((four && addr->family != 4) || (six && addr->family != 6))
			continue;
		any = true;
		warren_reply_str(reply, NULL, "%s", addr_format(addr, text));
		warren_reply_text(reply, "%s", text);
	}
	warren_reply_close(reply);
	return any ? 0 : warren_fail(err, NULL, "no Warren IPv%c address", six ? '6' : '4');
}

/* Of this node or of the named peer, as with the stock client. */
static int assert_address(const struct warren_node *node, const struct warren_conf *args,
			  struct warren_err *err)
{
	const struct warren_addr wanted = warren_conf_addr(args, "assert");
	AUTO(str_free) struct str list = STR_INIT;
	char text[ADDR_TEXT];

	if (has_address(node, &wanted))
		return 0;
	for (uint32_t i = 0; i < node->n_addresses; i++)
		str_addf(&list, "%s%s", i > 0 ? " " : "",
			 addr_format(&node->addresses[i].addr, text));
	return warren_fail(err, NULL, "assertion failed: IP \"%s\" not found among [%s]",
			   addr_format(&wanted, text), str_text(&list));
}

int ctl_run_ip(struct warren_ctx *ctx, const struct warren_conf *args, struct warren_reply *reply,
	       struct warren_err *err)
{
	struct ctl_session *session = ctl_session_of(ctx);
	const struct warren_netmap *map = ctl_session_known(session);
	const char *name = warren_conf_str(args, "peer");
	const struct warren_node *node;
	struct ctl_session_info info;
	struct warren_addr addr;
	int result;

	ctl_session_info(session, &info);
	if (warren_conf_bool(args, "4") + warren_conf_bool(args, "6") +
	    warren_conf_bool(args, "1") > 1) {
		result = warren_fail(err, NULL, "-1, -4, and -6 are mutually exclusive");
	} else if (!map || !map->self) {
		result = warren_fail(err, NULL, "no current addresses; state: %s",
				     ctl_state_name(info.state));
	} else {
		node = !name ? map->self :
		       find(map, name, addr_parse(name, &addr) == 0 ? &addr : NULL);
		result = !node ? warren_fail(err, NULL, "no peer \"%s\" in the network", name) :
			 warren_conf_has(args, "assert") ? assert_address(node, args, err) :
			 print_addresses(node, args, reply, err);
	}
	warren_obj_unref(map);
	return result;
}

/*
 * ---- whois ----
 */

static void add_list(const struct warren_prefix *list, uint32_t n, struct str *out)
{
	char text[PREFIX_TEXT];

	for (uint32_t i = 0; i < n; i++)
		str_addf(out, "%s%s", i > 0 ? " " : "", prefix_format(&list[i], text));
}

static void write_prefixes(const char *key, const struct warren_prefix *list, uint32_t n,
			   struct warren_reply *reply)
{
	warren_reply_open(reply, key, '[');
	ctl_write_prefixes(list, n, reply);
	warren_reply_close(reply);
}

static void write_node(const struct warren_node *node, struct warren_reply *reply)
{
	char key[WARREN_KEYTEXT_MAX], text[ADDRPORT_TEXT];

	warren_reply_open(reply, "Node", '{');
	warren_reply_int(reply, "ID", node->id);
	warren_reply_str(reply, "StableID", "%s", node->stable_id ? node->stable_id : "");
	warren_reply_str(reply, "Name", "%s", node->name ? node->name : "");
	warren_reply_int(reply, "User", node->user);
	warren_reply_str(reply, "Key", "%s",
			 warren_keytext_format(WARREN_KEYTEXT_NODE, node->key.bytes, key));
	warren_reply_str(reply, "Machine", "%s", warren_keytext_format(WARREN_KEYTEXT_MACHINE,
			 node->machine_key.bytes, key));
	warren_reply_str(reply, "DiscoKey", "%s", warren_keytext_format(WARREN_KEYTEXT_DISCO,
			 node->disco_key.bytes, key));
	write_prefixes("Addresses", node->addresses, node->n_addresses, reply);
	ctl_write_allowed(node, reply);
	if (node->n_tags > 0) {
		warren_reply_open(reply, "Tags", '[');
		for (uint32_t i = 0; i < node->n_tags; i++)
			warren_reply_str(reply, NULL, "%s", node->tags[i]);
		warren_reply_close(reply);
	}
	warren_reply_open(reply, "Endpoints", '[');
	for (uint32_t i = 0; i < node->n_endpoints; i++)
		warren_reply_str(reply, NULL, "%s", addrport_format(&node->endpoints[i], text));
	warren_reply_close(reply);
	warren_reply_int(reply, "HomeDERP", node->home_region);
	warren_reply_open(reply, "Hostinfo", '{');
	warren_reply_str(reply, "OS", "%s", node->os ? node->os : "");
	warren_reply_str(reply, "Hostname", "%s", node->hostname ? node->hostname : "");
	warren_reply_close(reply);
	warren_reply_int(reply, "Cap", node->cap_version);
	if (node->online != WARREN_TRI_UNKNOWN)
		warren_reply_bool(reply, "Online", node->online == WARREN_TRI_YES);
	warren_reply_bool(reply, "MachineAuthorized", node->machine_authorized);
	warren_reply_str(reply, "ComputedName", "%.*s", (int)strcspn(node->name ? node->name : "",
			 "."), node->name ? node->name : "");
	warren_reply_close(reply);
}

/* Grants of the policy from @node to this one, added up. */
static void each_grant(const struct warren_netmap *map, const struct warren_node *node,
		       void (*fn)(const struct warren_cap *, struct warren_reply *),
		       struct warren_reply *reply)
{
	for (uint32_t i = 0; i < map->n_filter; i++) {
		const struct warren_filter_rule *rule = &map->filter[i];

		for (uint32_t g = 0; g < rule->n_grants; g++) {
			if (!warren_netmap_granted(map, rule, &rule->grants[g], node))
				continue;
			for (uint32_t c = 0; c < rule->grants[g].n_caps; c++)
				fn(&rule->grants[g].caps[c], reply);
		}
	}
}

static void grant_json(const struct warren_cap *cap, struct warren_reply *reply)
{
	if (cap->n_values == 0) {
		warren_reply_null(reply, cap->name);
		return;
	}
	warren_reply_open(reply, cap->name, '[');
	for (uint32_t k = 0; k < cap->n_values; k++)
		warren_reply_str(reply, NULL, "%s", cap->values[k]);
	warren_reply_close(reply);
}

static void grant_text(const struct warren_cap *cap, struct warren_reply *reply)
{
	warren_reply_text(reply, "  - %s%s", cap->name, cap->n_values > 0 ? ":" : "");
	for (uint32_t k = 0; k < cap->n_values; k++)
		warren_reply_text(reply, "      %s", cap->values[k]);
}

static void write_json(const struct warren_netmap *map, const struct warren_node *node,
		       struct warren_reply *reply)
{
	const struct warren_user *user = ctl_user_find(map, node->user);

	write_node(node, reply);
	if (user)
		ctl_write_user(user, false, reply);
	else
		warren_reply_null(reply, "UserProfile");
	warren_reply_open(reply, "CapMap", '{');
	each_grant(map, node, grant_json, reply);
	warren_reply_close(reply);
}

static bool any_grant(const struct warren_netmap *map, const struct warren_node *node)
{
	for (uint32_t i = 0; i < map->n_filter; i++)
		for (uint32_t g = 0; g < map->filter[i].n_grants; g++)
			if (map->filter[i].grants[g].n_caps > 0 &&
			    warren_netmap_granted(map, &map->filter[i], &map->filter[i].grants[g],
						  node))
				return true;
	return false;
}

static void write_text(const struct warren_netmap *map, const struct warren_node *node,
		       struct warren_reply *reply)
{
	const struct warren_user *user = ctl_user_find(map, node->user);
	const char *name = node->name ? node->name : "";
	AUTO(str_free) struct str addresses = STR_INIT;
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	add_list(node->addresses, node->n_addresses, &addresses);
	warren_reply_text(reply, "Machine:");
	warren_reply_text(reply, "  Name:          %.*s", (int)len, name);
	warren_reply_text(reply, "  ID:            %s", node->stable_id ? node->stable_id : "");
	warren_reply_text(reply, "  Addresses:     [%s]", str_text(&addresses));
	if (node->n_tags > 0) {
		AUTO(str_free) struct str tags = STR_INIT;

		for (uint32_t i = 0; i < node->n_tags; i++)
			str_addf(&tags, "%s%s", i > 0 ? ", " : "", node->tags[i]);
		warren_reply_text(reply, "  Tags:          %s", str_text(&tags));
	} else {
		warren_reply_text(reply, "User:");
		warren_reply_text(reply, "  Name:     %s", user && user->login ? user->login : "");
		warren_reply_text(reply, "  ID:       %lld", (long long)node->user);
	}
	if (any_grant(map, node)) {
		warren_reply_text(reply, "Capabilities:");
		each_grant(map, node, grant_text, reply);
	}
}

int ctl_run_whois(struct warren_ctx *ctx, const struct warren_conf *args,
		  struct warren_reply *reply, struct warren_err *err)
{
	const char *text = warren_conf_str(args, "address");
	const struct warren_netmap *map;
	const struct warren_node *node;
	struct warren_addrport ap = { .port = 0 };

	if (!text)
		return warren_fail(err, NULL, "missing argument, expected one peer");
	if (addr_parse(text, &ap.addr) != 0 && addrport_parse(text, &ap) != 0)
		return warren_fail(err, NULL, "invalid 'addr' parameter: \"%s\" is no address",
				   text);
	map = ctl_session_known(ctl_session_of(ctx));
	node = find(map, NULL, &ap.addr);
	if (node && warren_reply_json(reply))
		write_json(map, node, reply);
	else if (node)
		write_text(map, node, reply);
	else
		warren_fail(err, NULL, "peer not found");
	warren_obj_unref(map);
	return node ? 0 : -ENOENT;
}
