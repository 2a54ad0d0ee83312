/*
 * The settings that `up`, `login` and `set` take: each flag is a key of some plugin's section. A
 * flag whose plugin is not here is refused, unless what it says is so anyway.
 */
#include "commands_settings.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

static const struct setting {
	const char *flag, *key;
	enum { TEXT, LIST, TAGS, FLAG } kind;
	const char *without;		/* what is so where nobody has the key */
} settings[] = {
	{ "hostname", "node.hostname", TEXT, NULL },
	{ "operator", "node.operator", TEXT, NULL },
	{ "accept-routes", "router.accept", FLAG, "false" },
	{ "accept-dns", "dns.accept", FLAG, "false" },
	{ "advertise-exit-node", "control.advertise-exit-node", FLAG, "false" },
	{ "advertise-routes", "router.advertise", LIST, "" },
	{ "advertise-tags", "control.tags", TAGS, NULL },
	{ "exit-node", "exitnode.use", TEXT, "" },
	{ "exit-node-allow-lan-access", "exitnode.allow-lan-access", FLAG, "false" },
	{ "netfilter-mode", "router.firewall", TEXT, "off" },
	{ "shields-up", "control.shields-up", FLAG, NULL },
	{ "snat-subnet-routes", "router.snat", FLAG, "false" },
	{ "ssh", "ssh.enabled", FLAG, "false" },
	{ "stateful-filtering", "router.stateful-filtering", FLAG, "false" },
};
_Static_assert(ARRAY_SIZE(settings) == CTL_SETTINGS, "the header says how many");

/* A JSON list of "a,b"; each with @prefix, if it does not begin with it. */
static void add_list(struct str *out, const char *text, const char *prefix)
{
	AUTO(str_free) struct str one = STR_INIT;
	const char *separator = "";

	str_addc(out, '[');
	while (*text) {
		size_t len = strcspn(text, ",");

		if (len > 0) {
			str_cut(&one, 0);
			if (strncmp(text, prefix, strlen(prefix)) != 0)
				str_add(&one, prefix);
			str_addn(&one, text, len);
			str_add(out, separator);
			str_add_json(out, str_text(&one), one.len);
			separator = ",";
		}
		text += len + (text[len] == ',');
	}
	str_addc(out, ']');
}

/* The value that the command line gives, as it is typed. */
static const char *value_of(const struct setting *s, const struct warren_conf *args)
{
	if (s->kind == FLAG)
		return warren_conf_bool(args, s->flag) ? "true" : "false";
	return warren_conf_str(args, s->flag);
}

/* As JSON; false: the setting goes. */
static bool value_json(const struct setting *s, const char *value, struct str *out)
{
	switch (s->kind) {
	case TEXT:
		if (value[0])
			str_add_json(out, value, strlen(value));
		return value[0];
	case LIST:
		add_list(out, value, "");
		return true;
	case TAGS:
		add_list(out, value, "tag:");
		return true;
	case FLAG:
		str_add(out, value);
		return true;
	}
	return false;
}

static int refuse(const struct setting *s, struct warren_ctx *core, struct warren_err *err)
{
	AUTO(str_free) struct str section = STR_INIT;

	str_addn(&section, s->key, strcspn(s->key, "."));
	if (warren_key_known(core, str_text(&section)))
		return warren_fail(err, NULL, "--%s needs an option `%s`, which the plugin `%s` of "
				   "this installation does not have", s->flag,
				   s->key + section.len + 1, str_text(&section));
	return warren_fail(err, NULL, "--%s needs the plugin `%s`, which is not installed", s->flag,
			   str_text(&section));
}

int ctl_settings_read(struct warren_ctx *core, const struct warren_conf *args, bool reset,
		      ctl_setting_fn *change, void *arg, struct warren_err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		AUTO(str_free) struct str json = STR_INIT;
		const struct setting *s = &settings[i];
		bool given = warren_conf_has(args, s->flag);
		const char *value = given ? value_of(s, args) : NULL;

		/* Who may give commands is no matter of how the network is used. */
		if (!given && (!reset || str_equal(s->flag, "operator")))
			continue;
		if (!warren_key_known(core, s->key)) {
			if (given && (!s->without || !str_equal(value, s->without)))
				return refuse(s, core, err);
			continue;
		}
		change(arg, s->key, given && value_json(s, value, &json) ? str_text(&json) : NULL);
	}
	return 0;
}
