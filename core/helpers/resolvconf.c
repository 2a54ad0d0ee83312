/*
 * The program resolvconf, to which others give what they know about resolvers, each under a name:
 * Debian's own or openresolv, which has a way to say that ours alone counts.
 *
 * Debian's has none: it would name resolvers of others beside ours, or only one at a loopback
 * address. It calls what is in a folder of its own after each change, by name, so our program
 * stands there under another name as long as we are heard, as the first, before those that tell
 * other programs, and leaves nobody's words but ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "helpers/hostdns.h"

#define RECORDS "/run/resolvconf/interface"	/* Debian's */
#define MADE "/run/resolvconf"
#define HOOKS "/etc/resolvconf/update-libc.d"

/* The second one says that the folder is ours too. */
static const char *const hooks[] = { "000warren", "000warren-alone" };

enum flavour { FLAVOUR_NONE, FLAVOUR_DEBIAN, FLAVOUR_OPENRESOLV };
enum { DEBIAN_UNKNOWN = 99 };		/* exit status of Debian's for what it does not know */

static const char *find_program(void)
{
	static const char *const places[] = { "/usr/sbin/resolvconf", "/sbin/resolvconf",
					      "/usr/bin/resolvconf" };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (access(places[i], X_OK) == 0)
			return places[i];
	}
	return NULL;
}

/* Others of that name, like systemd's, are known by what they say of themselves, too. */
static enum flavour flavour_of(const char *program)
{
	const char *const argv[] = { program, "--version", NULL };
	AUTO(str_free) struct str out = STR_INIT;
	int status = program ? hostdns_run(argv, NULL, &out) : -ENOENT;

	if (status == DEBIAN_UNKNOWN || str_starts(str_text(&out), "Debian resolvconf"))
		return FLAVOUR_DEBIAN;
	return status == 0 && str_starts(str_text(&out), "openresolv") ? FLAVOUR_OPENRESOLV :
									 FLAVOUR_NONE;
}

/*
 * ---- What is there ----
 */

/* -ENOENT: this one cannot list them. */
static int list_records(const char *program, const char *name, struct resolvconf_records *out)
{
	const char *const argv[] = { program, "-l", NULL };
	AUTO(str_free) struct str text = STR_INIT;
	AUTO(auto_free) char *copy = NULL;
	int status = hostdns_run(argv, NULL, &text);

	if (status < 0 || status == DEBIAN_UNKNOWN)
		return -ENOENT;
	copy = str_take(&text);
	if (!copy)
		return -ENOMEM;
	resolvconf_records(copy, name, out);
	return 0;
}

/* Whom the file names first: us, or a resolver of this host, which resolvconf tells of us. */
static bool leads_here(void)
{
	AUTO(auto_free) char *text = NULL;
	char *at, *line;
	size_t len;

	if (file_read_at(AT_FDCWD, "/etc/resolv.conf", HOSTDNS_TEXT_MAX, (void **)&text, &len))
		return false;
	at = text;
	while ((line = hostdns_line(&at))) {
		const char *address = hostdns_words(line, "nameserver");

		if (address)
			return hostdns_is_service(address) || str_starts(address, "127.") ||
			       str_starts(address, "::1");
	}
	return false;
}

int resolvconf_read(const char *name, struct hostdns_base *base, bool *ours, struct str *why)
{
	struct resolvconf_records records = { .base = { STR_INIT, STR_INIT } };
	const char *program = find_program();
	int result = flavour_of(program) == FLAVOUR_NONE ? -ENOENT :
							   list_records(program, name, &records);

	if (result == -ENOMEM)
		hostdns_fail(why, result, "no memory");
	hostdns_base_leave_out_loops(&records.base);
	*base = records.base;
	*ours = records.ours && leads_here();
	return result;
}

/*
 * ---- Debian's: ours alone ----
 */

static void hook_path(size_t i, struct str *out)
{
	str_addf(out, "%s/%s", HOOKS, hooks[i]);
}

static void remove_hook(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		AUTO(str_free) struct str path = STR_INIT;

		hook_path(i, &path);
		if (unlink(str_text(&path)) == 0 && i == 1)
			(void)rmdir(HOOKS);
	}
}

static int add_hook(struct str *why)
{
	AUTO(str_free) struct str path = STR_INIT;
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct stat st;
	size_t which = 0;

	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		str_cut(&path, 0);
		hook_path(i, &path);
		if (lstat(str_text(&path), &st) == 0)
			which = i;
	}
	if (mkdir(HOOKS, 0755) == 0)
		which = 1;
	str_cut(&path, 0);
	hook_path(which, &path);
	(void)unlink(str_text(&path));	/* of an earlier version it may lead elsewhere */
	if (len <= 0)
		return hostdns_fail(why, -EIO, "cannot find out where warren-hostdns is");
	self[len] = '\0';
	if (symlink(self, str_text(&path)) == -1)
		return hostdns_fail(why, -errno, "cannot make %s: %s", str_text(&path),
				    strerror(errno));
	return 0;
}

bool resolvconf_is_hook(const char *program)
{
	const char *slash = strrchr(program, '/');

	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		if (str_equal(slash ? slash + 1 : program, hooks[i]))
			return true;
	}
	return false;
}

static int write_alone(int dir, const char *record, struct str *why)
{
	AUTO(auto_free) char *file = NULL;
	AUTO(auto_free) char *words = NULL;
	AUTO(str_free) struct str text = STR_INIT;
	size_t len;
	int result = file_read_at(AT_FDCWD, record, HOSTDNS_TEXT_MAX, (void **)&words, &len);

	if (!result)
		result = file_read_at(dir, "resolv.conf", HOSTDNS_TEXT_MAX, (void **)&file, &len);
	if (!result) {
		resolvconf_compose(file, words, &text);
		result = text.failed ? -ENOMEM : file_replace_at(dir, "resolv.conf", 0644,
								 str_text(&text), text.len);
	}
	return result ? hostdns_fail(why, result, "cannot write " MADE "/resolv.conf: %s",
				     strerror(-result)) : 0;
}

int resolvconf_hook(struct str *why)
{
	AUTO(auto_close) int dir = open(MADE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	glob_t found = { .gl_pathc = 0 };
	int result = 0;

	if (dir == -1)
		return 0;
	if (glob(RECORDS "/" RESOLVCONF_OURS "*", 0, NULL, &found) == 0 && found.gl_pathc > 0)
		result = write_alone(dir, found.gl_pathv[0], why);
	globfree(&found);
	return result;
}

/*
 * ---- Saying it ----
 */

static int updates(const char *program, struct str *why)
{
	const char *const argv[] = { program, "--updates-are-enabled", NULL };
	AUTO(str_free) struct str out = STR_INIT;

	return hostdns_run(argv, NULL, &out) == 0 ? 0 :
	       hostdns_fail(why, -EAGAIN, "updates are switched off in resolvconf: `resolvconf "
			    "--enable-updates` switches them on");
}

static int add_record(const char *program, enum flavour flavour, const char *name,
		      const struct str *text, struct str *said)
{
	const char *const debian[] = { program, "-a", name, NULL };
	const char *const openresolv[] = { program, "-m", "0", "-x", "-a", name, NULL };
	const char *const again[] = { program, "-u", NULL };
	int status = hostdns_run(flavour == FLAVOUR_DEBIAN ? debian : openresolv, text, said);

	/* What has not changed is not written, though somebody may have written the file. */
	if (status >= 0 && !leads_here())
		status = hostdns_run(again, NULL, said);
	return status;
}

static int set(const char *program, enum flavour flavour, const char *name,
	       const struct str *text, struct str *why)
{
	AUTO(str_free) struct str said = STR_INIT;
	AUTO(str_free) struct str clean = STR_INIT;
	int status, result = flavour == FLAVOUR_DEBIAN ? updates(program, why) : 0;

	if (!result && flavour == FLAVOUR_DEBIAN)
		result = add_hook(why);
	if (result)
		return result;
	/* Its status is also that of others that it tells: what has come of it is what counts. */
	status = add_record(program, flavour, name, text, &said);
	if (status >= 0 && leads_here())
		return 0;
	str_add_clean(&clean, str_text(&said), strcspn(str_text(&said), "\n"), 160);
	return hostdns_fail(why, -EIO, "%s was told of us, but /etc/resolv.conf does not lead "
			    "here (exit status %d%s%s)", program, status, clean.len ? ": " : "",
			    str_text(&clean));
}

int resolvconf_set(const char *name, const struct str *text, struct str *why)
{
	struct resolvconf_records records = { .base = { STR_INIT, STR_INIT } };
	const char *program = find_program();
	enum flavour flavour = flavour_of(program);
	AUTO(str_free) struct str ignored = STR_INIT;
	int result;

	if (flavour == FLAVOUR_NONE)
		return hostdns_fail(why, -ENOENT, "there is no resolvconf any more");
	result = list_records(program, name, &records);
	hostdns_base_free(&records.base);
	if (!result && records.other[0])
		return hostdns_fail(why, -EBUSY, "another daemon has told resolvconf about "
				    "itself (%s): set dns.host to off in one of them; if none "
				    "runs, `resolvconf -d %s`", records.other, records.other);
	result = set(program, flavour, name, text, why);
	if (result)
		(void)resolvconf_undo(name, &ignored);
	return result;
}

int resolvconf_undo(const char *name, struct str *why)
{
	const char *program = find_program();
	enum flavour flavour = flavour_of(program);
	const char *const debian[] = { program, "-d", name, NULL };
	const char *const openresolv[] = { program, "-f", "-d", name, NULL };
	struct resolvconf_records records = { .base = { STR_INIT, STR_INIT } };
	AUTO(str_free) struct str said = STR_INIT;

	if (flavour != FLAVOUR_NONE)
		(void)hostdns_run(flavour == FLAVOUR_DEBIAN ? debian : openresolv, NULL, &said);
	remove_hook();
	if (flavour != FLAVOUR_NONE && list_records(program, name, &records) == 0 && records.ours)
		hostdns_fail(why, -EIO, "%s -d %s has left it there", program, name);
	hostdns_base_free(&records.base);
	return records.ours ? -EIO : 0;
}
