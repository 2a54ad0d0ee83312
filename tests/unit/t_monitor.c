/*
 * The monitor without root: the register of things, the journal on disk, the configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "monitor/config.h"
#include "monitor/journal.h"
#include "monitor/overlay.h"
#include "monitor/thing.h"

struct bench {
	char path[64];
	int dir;
	struct mon_things things;
	struct mon_journal journal;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	str_copy(b->path, sizeof(b->path), "/tmp/warren-monitor.XXXXXX");
	if (!mkdtemp(b->path))
		return -1;
	b->dir = open(b->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mon_things_init(&b->things);
	*state = b;
	return mon_journal_open(&b->journal, b->dir, &b->things, NULL);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	mon_journal_close(&b->journal);
	mon_things_free(&b->things);
	unlinkat(b->dir, "journal", 0);
	close(b->dir);
	rmdir(b->path);
	free(b);
	return 0;
}

static union mon_what a_route(uint8_t host, uint32_t type)
{
	return (union mon_what){ .route = { .verb = WARREN_ROUTE_ADD, .table = 52, .type = type,
					    .dst = { { 4, { 10, 0, 0, host } }, 32 } } };
}

static struct mon_thing *add_route(struct bench *b, uint8_t host)
{
	union mon_what what = a_route(host, WARREN_ROUTE_THROW);
	struct mon_thing *thing = mon_thing_new(&b->things, MON_ROUTE, "router", &what);

	assert_non_null(thing);
	mon_journal_add(&b->journal, thing);
	return thing;
}

/* What a daemon that starts now would find. */
static void load(struct bench *b, struct mon_things *things, enum mon_journal_place *place)
{
	mon_things_init(things);
	assert_int_equal(mon_journal_load(b->dir, things, place, NULL), 0);
}

static bool has_route(const struct mon_things *things, uint8_t host)
{
	union mon_what what = a_route(host, WARREN_ROUTE_THROW);

	return mon_thing_find(things, MON_ROUTE, &what) != NULL;
}

static void test_register_knows_what_the_kernel_tells_apart(void **state)
{
	struct bench *b = *state;
	union mon_what what = a_route(1, WARREN_ROUTE_THROW);
	struct mon_thing *thing = mon_thing_new(&b->things, MON_ROUTE, "router", &what);

	assert_ptr_equal(mon_thing_find(&b->things, MON_ROUTE, &what), thing);
	what.route.type = WARREN_ROUTE_BLACKHOLE;	/* the same place in the table */
	assert_ptr_equal(mon_thing_find(&b->things, MON_ROUTE, &what), thing);
	what.route.metric = 5;
	assert_null(mon_thing_find(&b->things, MON_ROUTE, &what));
	assert_ptr_equal(mon_thing_by_id(&b->things, MON_ROUTE, thing->id), thing);
	assert_null(mon_thing_by_id(&b->things, MON_TUN, thing->id));
	mon_thing_free(&b->things, thing);
	what.route.metric = 0;
	assert_null(mon_thing_find(&b->things, MON_ROUTE, &what));
}

static void test_journal_names_what_is_there(void **state)
{
	struct bench *b = *state;
	enum mon_journal_place place;
	struct mon_things found;
	struct mon_thing *second;

	add_route(b, 1);
	second = add_route(b, 2);
	add_route(b, 3);
	assert_int_equal(mon_journal_flush(&b->journal, NULL), 0);
	mon_journal_del(&b->journal, second);
	load(b, &found, &place);
	assert_int_equal(place, MON_JOURNAL_HERE);
	assert_int_equal(found.count, 2);
	assert_true(has_route(&found, 1) && has_route(&found, 3) && !has_route(&found, 2));
	assert_string_equal(list_first(&found.all, struct mon_thing, node)->owner, "router");
	mon_things_free(&found);
}

static void test_journal_is_written_before_flush_returns_only(void **state)
{
	struct bench *b = *state;
	enum mon_journal_place place;
	struct mon_things found;

	add_route(b, 1);
	load(b, &found, &place);
	assert_int_equal(found.count, 0);
	mon_things_free(&found);
}

static void test_last_line_counts(void **state)
{
	struct bench *b = *state;
	struct mon_thing *thing = add_route(b, 1);
	enum mon_journal_place place;
	struct mon_things found;

	thing->what.route.type = WARREN_ROUTE_BLACKHOLE;
	mon_journal_add(&b->journal, thing);
	assert_int_equal(mon_journal_flush(&b->journal, NULL), 0);
	load(b, &found, &place);
	assert_int_equal(found.count, 1);
	assert_int_equal(list_first(&found.all, struct mon_thing, node)->what.route.type,
			 WARREN_ROUTE_BLACKHOLE);
	mon_things_free(&found);
}

/* Every length that a crash can leave behind reads as a prefix of what was done. */
static void test_torn_at_every_byte(void **state)
{
	struct bench *b = *state;
	void *data;
	size_t len, last = 0;

	add_route(b, 1);
	add_route(b, 2);
	assert_int_equal(mon_journal_flush(&b->journal, NULL), 0);
	assert_int_equal(file_read_at(b->dir, "journal", 1 << 20, &data, &len), 0);
	for (size_t cut = 0; cut <= len; cut++) {
		enum mon_journal_place place;
		struct mon_things found;
		int result;

		assert_int_equal(file_replace_at(b->dir, "journal", 0600, data, cut), 0);
		mon_things_init(&found);
		result = mon_journal_load(b->dir, &found, &place, NULL);
		assert_true(result == 0 || result == -ENOENT);
		assert_true(found.count >= last && found.count <= 2);
		last = found.count;
		mon_things_free(&found);
	}
	assert_int_equal(last, 2);
	free(data);
}

static void replace_in_journal(struct bench *b, const char *old, const char *new)
{
	void *data;
	size_t len;
	char *at;

	assert_int_equal(file_read_at(b->dir, "journal", 1 << 20, &data, &len), 0);
	at = strstr(data, old);
	assert_non_null(at);
	memcpy(at, new, strlen(new));
	assert_int_equal(file_replace_at(b->dir, "journal", 0600, data, len), 0);
	free(data);
}

static void test_changed_line_is_not_believed(void **state)
{
	struct bench *b = *state;
	enum mon_journal_place place;
	struct mon_things found;

	add_route(b, 1);
	add_route(b, 2);
	assert_int_equal(mon_journal_flush(&b->journal, NULL), 0);
	replace_in_journal(b, "+ 2 5 router", "+ 2 5 rooter");
	load(b, &found, &place);
	assert_int_equal(found.count, 1);
	mon_things_free(&found);
}

static void test_full_disk(void **state)
{
	struct bench *b = *state;
	AUTO(err_free) struct warren_err err = ERR_INIT;
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), good = b->journal.fd;
	enum mon_journal_place place;
	struct mon_things found;
	struct mon_thing *thing;

	assert_true(full >= 0);
	add_route(b, 1);
	assert_int_equal(mon_journal_flush(&b->journal, NULL), 0);
	b->journal.fd = full;
	thing = add_route(b, 2);
	assert_int_equal(mon_journal_flush(&b->journal, &err), -ENOSPC);
	assert_non_null(strstr(err_first(&err), "nothing was changed"));
	assert_non_null(strstr(err_first(&err), "make room"));
	thing->journaled = false;
	mon_thing_free(&b->things, thing);
	close(good);
	/* As soon as there is room, the file is written anew. */
	b->journal.stale = true;
	add_route(b, 3);
	assert_int_equal(mon_journal_flush(&b->journal, NULL), 0);
	load(b, &found, &place);
	assert_true(has_route(&found, 1) && !has_route(&found, 2) && has_route(&found, 3));
	mon_things_free(&found);
}

static void test_history_is_dropped(void **state)
{
	struct bench *b = *state;
	enum mon_journal_place place;
	struct mon_things found;
	struct stat st;

	for (int i = 0; i < 3000; i++) {
		struct mon_thing *thing = add_route(b, (uint8_t)i);

		assert_int_equal(mon_journal_flush(&b->journal, NULL), 0);
		if (i == 0)
			continue;
		mon_journal_del(&b->journal, thing);
		mon_thing_free(&b->things, thing);
		if (i % 256 == 255)
			i++;	/* the key of the first one stays */
	}
	assert_int_equal(fstatat(b->dir, "journal", &st, 0), 0);
	assert_true(st.st_size < 300 << 10);
	load(b, &found, &place);
	assert_int_equal(found.count, 1);
	mon_things_free(&found);
}

static void test_other_version_is_refused(void **state)
{
	static const char line[] = "warren-journal 9 boot 1";
	static const uint64_t no_secret[2];
	struct bench *b = *state;
	AUTO(err_free) struct warren_err err = ERR_INIT;
	AUTO(str_free) struct str text = STR_INIT;
	enum mon_journal_place place;

	str_addf(&text, "%s %016llx\n", line,
		 (unsigned long long)hash_siphash(no_secret, line, strlen(line)));
	assert_int_equal(file_replace_at(b->dir, "journal", 0600, text.s, text.len), 0);
	assert_int_equal(mon_journal_load(b->dir, &b->things, &place, &err), -EINVAL);
	assert_non_null(strstr(err_first(&err), "another version"));
}

static void test_other_boot(void **state)
{
	static const uint64_t no_secret[2];
	struct bench *b = *state;
	AUTO(str_free) struct str text = STR_INIT;
	enum mon_journal_place place;
	struct mon_things found;

	str_addf(&text, "warren-journal 3 another-boot 1");
	str_addf(&text, " %016llx\n",
		 (unsigned long long)hash_siphash(no_secret, text.s, text.len));
	assert_int_equal(file_replace_at(b->dir, "journal", 0600, text.s, text.len), 0);
	load(b, &found, &place);
	assert_int_equal(place, MON_JOURNAL_OTHER_BOOT);
	mon_things_free(&found);
}

/*
 * ---- Configuration ----
 */

static void test_user(void **state)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	uid_t uid;
	gid_t gid;

	(void)state;
	assert_int_equal(mon_config_user("64321:64322", &uid, &gid, &err), 0);
	assert_int_equal(uid, 64321);
	assert_int_equal(gid, 64322);
	assert_int_equal(mon_config_user("daemon", &uid, &gid, &err), 0);
	assert_true(uid != 0);
	assert_int_equal(mon_config_user("0:5", &uid, &gid, NULL), -EPERM);
	assert_int_equal(mon_config_user("5:0", &uid, &gid, NULL), -EPERM);
	assert_int_equal(mon_config_user("root", &uid, &gid, &err), -EPERM);
	assert_non_null(strstr(err_first(&err), "--no-privsep"));
	assert_int_equal(mon_config_user("4294967295:1", &uid, &gid, NULL), -ENOENT);
	assert_int_equal(mon_config_user("1:2:3", &uid, &gid, NULL), -ENOENT);
	assert_int_equal(mon_config_user("no-such-user", &uid, &gid, NULL), -ENOENT);
}

struct files {
	char folder[64], file[96];
};

static struct mon_config *load_text(struct files *f, const char *text, struct warren_err *err)
{
	struct mon_config_from from = { .file = f->file,
					.required = true,
					.state = "/nonexistent" };
	int fd = open(f->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_write_fd(fd, text, strlen(text)), 0);
	close(fd);
	return mon_config_load(&from, 3, err);
}

static void files_open(struct files *f)
{
	str_copy(f->folder, sizeof(f->folder), "/tmp/warren-monitor.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->file, sizeof(f->file), "%s/warren.yaml", f->folder);
}

static void files_close(struct files *f)
{
	unlink(f->file);
	rmdir(f->folder);
}

/*
 * ---- The overlay ----
 */

/* What becomes of the overlay @old when uid @uid sets @edit beside the files' @text. */
static int overlay(const char *text, const char *old, const char *edit, uid_t uid, bool override_,
		   struct str *out, struct warren_err *err)
{
	const struct mon_overlay_edit wish = { edit, strlen(edit), uid, override_ };
	struct ytree *tree = ytree_new();
	struct ytree_node *files;
	int result;

	assert_int_equal(ytree_parse(tree, "warren.yaml", text, strlen(text), 0, &files, err), 0);
	str_cut(out, 0);
	result = mon_overlay_compose(tree, files, old, old ? strlen(old) : 0, &wish, out, err);
	ytree_free(tree);
	return result;
}

#define OVERLAY_HEAD "# Written by warrend, for commands like `warren set`.\n"

static void test_overlay_compose(void **state)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	AUTO(str_free) struct str first = STR_INIT;
	AUTO(str_free) struct str out = STR_INIT;
	const char *old;

	(void)state;
	assert_int_equal(overlay("", NULL, "{\"control\":{\"url\":\"http://a # uid 0\",\"tags\":"
				 "[\"tag:x\",\"tag:y\"],\"up\":true}}", 1000, false, &first,
				 &err), 0);
	assert_string_equal(str_text(&first), OVERLAY_HEAD
			    "\"control\":\n"
			    "  \"url\": \"http://a # uid 0\" # uid 1000\n"
			    "  \"tags\": [\"tag:x\", \"tag:y\"] # uid 1000\n"
			    "  \"up\": true # uid 1000\n");
	old = str_text(&first);
	assert_int_equal(mon_overlay_uid(old, first.len, 3), 1000);
	assert_int_equal(mon_overlay_uid(old, first.len, 1), MON_NO_UID);
	assert_int_equal(mon_overlay_uid(old, first.len, 6), MON_NO_UID);
	/* Others' values keep their owner; what is removed is gone. */
	assert_int_equal(overlay("", old, "{control: {up: false, tags: null}}", 0, false, &out,
				 &err), 0);
	assert_string_equal(str_text(&out), OVERLAY_HEAD
			    "\"control\":\n"
			    "  \"url\": \"http://a # uid 0\" # uid 1000\n"
			    "  \"up\": false # uid 0\n");
	/* A section without values would switch its plugin on. */
	assert_int_equal(overlay("", old, "{control: {up: null, tags: null, url: null}}", 0, false,
				 &out, &err), 0);
	assert_string_equal(str_text(&out), OVERLAY_HEAD);
}

static void test_overlay_files_win(void **state)
{
	static const char files[] = "node: {hostname: gw}\ncontrol:\n  url: http://a\n"
				    "  tags: [tag:x]\n";
	AUTO(err_free) struct warren_err err = ERR_INIT;
	AUTO(str_free) struct str out = STR_INIT;

	(void)state;
	/* The same as the files: nothing to write, and an override of before ends. */
	assert_int_equal(overlay(files, "control: {url: http://b}\n",
				 "{control: {url: \"http://a\", tags: [\"tag:x\"]}}", 0, false,
				 &out, &err), 0);
	assert_string_equal(str_text(&out), OVERLAY_HEAD);
	assert_int_equal(overlay(files, NULL, "{control: {url: \"http://b\"}}", 0, true, &out,
				 &err), 0);
	assert_non_null(strstr(str_text(&out), "\"http://b\" # uid 0"));
	assert_int_equal(overlay(files, NULL, "{control: {up: false, url: \"http://b\"}}", 0, false,
				 &out, &err), -EEXIST);
	assert_non_null(strstr(err_first(&err), "control.url is set here"));
	assert_int_equal(err_nth(&err, 0)->line, 3);
}

static void test_overlay_refuses(void **state)
{
	static const char *const edits[] = {
		"{system: {user: root}}", "{coordinator: {store: x}}",
		"{control: {auth-key: {file: /etc/shadow}}}",
		"{control: {auth-key: {credential: x}}}", "{control: {tags: [[a]]}}", "[1]", "",
		"{a: &x 1}",
	};
	AUTO(str_free) struct str out = STR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
		AUTO(err_free) struct warren_err err = ERR_INIT;

		assert_true(overlay("", NULL, edits[i], 0, true, &out, &err) < 0);
		assert_true(err_any(&err));
	}
}

static void test_system_section(void **state)
{
	static const char text[] =
		"system:\n"
		"  user: \"5:6\"\n"
		"  route-table: 77\n"
		"  main-table: yes\n"
		"  rule-priorities: \"100-200\"\n"
		"  marks: {mask: 0xf0, bypass: 0x20, subnet: 0x40}\n"
		"  interfaces: [a0, b*]\n"
		"  ports: [53, 5353]\n"
		"wg: {interface: mine0, port: 5000}\n";
	AUTO(err_free) struct warren_err err = ERR_INIT;
	struct mon_config *config;
	struct files f;

	(void)state;
	if (geteuid() != 0) {
		print_message("the monitor accepts files of root only: run as root\n");
		skip();
	}
	files_open(&f);
	config = load_text(&f, text, &err);
	assert_non_null(config);
	assert_string_equal(config->user, "5:6");
	assert_int_equal(config->limits.table, 77);
	assert_true(config->limits.main_table);
	assert_int_equal(config->limits.rule_low, 100);
	assert_int_equal(config->limits.rule_high, 200);
	assert_int_equal(config->limits.mark_mask, 0xf0);
	assert_int_equal(config->limits.mark_bypass, 0x20);
	assert_int_equal(config->limits.mark_subnet, 0x40);
	assert_true(wpriv_limits_interface(&config->limits, "a0"));
	assert_true(wpriv_limits_interface(&config->limits, "b17"));
	assert_true(wpriv_limits_interface(&config->limits, "mine0"));
	assert_false(wpriv_limits_interface(&config->limits, "warren0"));
	assert_true(wpriv_limits_port(&config->limits, 5353));
	assert_false(wpriv_limits_port(&config->limits, 5000));
	assert_string_equal(mon_config_scalar(config, "wg.port", 0, NULL, NULL)->text, "5000");
	assert_null(mon_config_scalar(config, "wg", 0, NULL, NULL));
	mon_config_free(config);
	files_close(&f);
}

static void test_errors_have_their_place(void **state)
{
	static const struct { const char *text, *words; } bad[] = {
		{ "system: {route-table: many}\n", "warren.yaml:1:23: system: \"many\"" },
		{ "system:\n  rule-priorities: 5270-5210\n", "warren.yaml:2:20: system: a range" },
		{ "system: {marks: {mask: 0xf0, bypass: 0x100}}\n", "outside the mask" },
		{ "system: {interfaces: [a-name-that-is-too-long]}\n", "1 to 15 bytes" },
		{ "system: {ports: [70000]}\n", "1 to 65535" },
		{ "wg: [\n", "warren.yaml:" },
	};
	struct files f;

	(void)state;
	if (geteuid() != 0) {
		print_message("the monitor accepts files of root only: run as root\n");
		skip();
	}
	files_open(&f);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO(err_free) struct warren_err err = ERR_INIT;

		assert_null(load_text(&f, bad[i].text, &err));
		if (!strstr(err_first(&err), bad[i].words))
			fail_msg("%s: %s", bad[i].words, err_first(&err));
	}
	files_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_register_knows_what_the_kernel_tells_apart,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_journal_names_what_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_journal_is_written_before_flush_returns_only,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_last_line_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_at_every_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changed_line_is_not_believed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_history_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_version_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_boot, setup, teardown),
		cmocka_unit_test(test_user),
		cmocka_unit_test(test_overlay_compose),
		cmocka_unit_test(test_overlay_files_win),
		cmocka_unit_test(test_overlay_refuses),
		cmocka_unit_test(test_system_section),
		cmocka_unit_test(test_errors_have_their_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
