/*
 * The golden cases of the plugins, plugins/NAME/tests/conf, against the tables of the plugins that
 * were built; and the sample of all of them, which must be accepted as it is and with every option
 * uncommented. `check` callbacks see secrets without bytes in the latter, as in `config check` by a
 * user who may not read them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "cases.h"
#include "engine/describe.h"
#include "engine/plugin_load.h"

enum { MAX_SECTIONS = 64 };

struct sections {
	struct wcore_conf_schema list[MAX_SECTIONS];
	size_t count;
};

static bool load_sections(struct sections *s, const char *dir)
{
	AUTO(auto_free) char **names = wcore_plugin_scan(dir);
	size_t n_core;
	const struct wcore_conf_schema *core = wcore_core_schemas(&n_core);
	struct warren_err err = ERR_INIT;
	bool ok = names;

	memcpy(s->list, core, n_core * sizeof(*core));
	s->count = n_core;
	for (size_t i = 0; ok && names[i] && s->count < MAX_SECTIONS; i++) {
		const struct wcore_plugin *plugin =
			wcore_plugin_load(names[i], dir, getuid(), &err);

		if (!plugin) {
			printf("%s\n", err_first(&err));
			ok = false;
			break;
		}
		s->list[s->count++] = (struct wcore_conf_schema){
			.name = plugin->desc.name, .brief = plugin->desc.brief,
			.help = plugin->desc.help, .options = plugin->desc.options,
			.check = plugin->desc.check,
		};
	}
	err_free(&err);
	return ok;
}

/* Takes away each "#" at the start of a line that has no space behind it. */
static void uncomment(const char *text, struct str *out)
{
	bool start = true;

	for (; *text; text++) {
		if (start && *text == '#' && text[1] != ' ')
			continue;
		start = *text == '\n' || (start && *text == ' ');
		str_addc(out, *text);
	}
}

static bool is_accepted(const struct sections *s, const char *text)
{
	const struct wcore_conf_source source = {
		.name = "sample", .bytes = text, .len = strlen(text),
	};
	AUTO(str_free) struct str told = STR_INIT;
	struct warren_err err = ERR_INIT;
	struct wcore_config *cfg = wcore_config_parse(&source, 1, &err);
	bool ok = cfg && wcore_config_bind(cfg, s->list, s->count, 0, NULL, NULL, &err) == 0;

	err_print(&err, &told);
	if (!ok)
		printf("%s\nFAIL sample: give these rows a fitting `example`\n%s", text,
		       str_text(&told));
	err_free(&err);
	wcore_config_unref(cfg);
	return ok;
}

static bool check_samples(const struct sections *s)
{
	AUTO(str_free) struct str sample = STR_INIT, all = STR_INIT;
	size_t n_roles;
	const struct wcore_describe_role *roles = wcore_describe_roles(&n_roles);
	bool ok;

	wcore_describe_example(s->list, s->count, NULL, &sample);
	uncomment(str_text(&sample), &all);
	ok = is_accepted(s, str_text(&sample)) && is_accepted(s, str_text(&all));
	for (size_t i = 0; i < n_roles; i++) {
		str_cut(&sample, 0);
		/* A role whose plugins were not all built is not offered. */
		if (wcore_describe_example(s->list, s->count, roles[i].name, &sample) == 0)
			ok &= is_accepted(s, str_text(&sample));
	}
	return ok;
}

int main(void)
{
	const char *source = getenv("WARREN_SRCDIR"), *build = getenv("WARREN_BUILDDIR");
	AUTO(str_free) struct str dir = STR_INIT;
	struct sections s = { .count = 0 };
	struct golden g = { .schemas = s.list };
	bool ok;

	str_addf(&dir, "%s/plugins/.libs", build ? build : ".");
	if (access(str_text(&dir), R_OK) == -1) {
		printf("no plugin was built as a module, so there are no tables to test\n");
		return 77;
	}
	if (!load_sections(&s, str_text(&dir)))
		return 1;
	ok = check_samples(&s);
	g.n_schemas = s.count;
	for (size_t i = 0; i < s.count; i++) {
		str_cut(&dir, 0);
		str_addf(&dir, "%s/plugins/%s/tests/conf", source ? source : ".", s.list[i].name);
		g.dir = str_text(&dir);
		golden_run(&g);
	}
	printf("%zu sections, %u cases, %u failed\n", s.count, g.cases, g.failed);
	return ok && g.failed == 0 ? 0 : 1;
}
