/*
 * The journal.
 *
 * Changes of one transaction are written and synced together. The file is rewritten (temporary
 * file, rename) when most of it is history. It lies in a folder that only root can enter, but the
 * reader still trusts nothing in it: a half-written line is the normal end of a crash.
 */
#include "monitor/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/util.h"
#include "priv/check.h"

#define JOURNAL "journal"

enum {
	JOURNAL_VERSION = 3,
	JOURNAL_LIMIT = 64 << 20,
	COMPACT_ABOVE = 256 << 10,
	BYTES_PER_THING = 512,		/* more than a line of any kind but sockets and paths */
	HEX_MAX = 2 * sizeof(union mon_what) + 1,
};

struct place {
	char boot[64];
	uint64_t netns;
};

static int read_place(struct place *place)
{
	AUTO(auto_close) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	*place = (struct place){ .boot = "" };
	if (fd == -1 || stat("/proc/self/ns/net", &st) == -1)
		return -errno;
	n = read(fd, place->boot, sizeof(place->boot) - 1);
	if (n == -1)
		return -errno;
	place->boot[strcspn(place->boot, "\n")] = '\0';
	place->netns = st.st_ino;
	return 0;
}

/* Ends the line that began at @start with the sum of its bytes. */
static void seal_line(struct str *text, size_t start)
{
	static const uint64_t no_secret[2];

	if (!text->failed)
		str_addf(text, " %016" PRIx64 "\n", hash_siphash(no_secret, text->s + start,
								 text->len - start));
}

static void add_header(struct str *text, const struct place *place)
{
	size_t start = text->len;

	str_addf(text, "warren-journal %d %s %" PRIu64, JOURNAL_VERSION, place->boot, place->netns);
	seal_line(text, start);
}

static void add_thing(struct str *text, const struct mon_thing *thing)
{
	size_t start = text->len;
	char hex[HEX_MAX];

	hex_encode(hex, &thing->what, mon_kind_size(thing->kind));
	/* The monitor's own things have no owner. */
	str_addf(text, "+ %u %u %s %s", thing->id, thing->kind,
		 thing->owner[0] ? thing->owner : "-", hex);
	seal_line(text, start);
}

static int rewrite(struct mon_journal *journal)
{
	AUTO(str_free) struct str text = STR_INIT;
	struct mon_thing *thing;
	struct place place;
	int result = read_place(&place);
	int fd;

	if (result)
		return result;
	add_header(&text, &place);
	list_for_each(thing, &journal->things->all, node) {
		if (thing->journaled)
			add_thing(&text, thing);
	}
	if (text.failed)
		return -ENOMEM;
	result = file_replace_at(journal->dir, JOURNAL, 0600, text.s, text.len);
	if (result)
		return result;
	fd = openat(journal->dir, JOURNAL, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (fd == -1)
		return -errno;
	auto_close(&journal->fd);
	journal->fd = fd;
	journal->size = text.len;
	journal->stale = false;
	return 0;
}

int mon_journal_open(struct mon_journal *journal, int dir, const struct mon_things *things,
		     struct warren_err *err)
{
	int result;

	*journal = (struct mon_journal){ .dir = dir, .fd = -1, .things = things };
	result = rewrite(journal);
	if (result)
		return wpriv_refuse(err, result,
				    "cannot write the journal in the state folder: %s%s",
				    strerror(-result), result == -ENOSPC ? ": make room" : "");
	return 0;
}

void mon_journal_close(struct mon_journal *journal)
{
	str_free(&journal->pending);
	auto_close(&journal->fd);
	journal->fd = -1;
}

void mon_journal_add(struct mon_journal *journal, struct mon_thing *thing)
{
	thing->journaled = true;
	add_thing(&journal->pending, thing);
}

static int append(struct mon_journal *journal)
{
	int result;

	if (journal->pending.failed)
		return -ENOMEM;
	if (journal->pending.len == 0)
		return 0;
	result = file_write_fd(journal->fd, journal->pending.s, journal->pending.len);
	if (result == 0 && fdatasync(journal->fd) == -1)
		result = -errno;
	if (result) {
		/* Without its torn end, the file says the truth again. */
		if (ftruncate(journal->fd, (off_t)journal->size) == -1)
			journal->stale = true;
		return result;
	}
	journal->size += journal->pending.len;
	return 0;
}

int mon_journal_flush(struct mon_journal *journal, struct warren_err *err)
{
	size_t live = (size_t)journal->things->count * BYTES_PER_THING;
	int result;

	if (journal->stale || (journal->size > COMPACT_ABOVE && journal->size / 2 > live))
		result = rewrite(journal);
	else
		result = append(journal);
	str_free(&journal->pending);
	if (result)
		return wpriv_refuse(err, result,
				    "nothing was changed: the journal in the state folder "
				    "cannot be written: %s%s",
				    strerror(-result),
				    result == -ENOSPC ? ": make room there" : "");
	return 0;
}

void mon_journal_del(struct mon_journal *journal, struct mon_thing *thing)
{
	AUTO(str_free) struct str line = STR_INIT;

	if (!thing->journaled)
		return;
	thing->journaled = false;
	str_addf(&line, "- %u", thing->id);
	seal_line(&line, 0);
	/* No sync: after a power failure the kernel has forgotten all of it anyway. */
	if (line.failed || file_write_fd(journal->fd, line.s, line.len)) {
		journal->stale = true;
		return;
	}
	journal->size += line.len;
}

/*
 * ---- Reading ----
 */

/* Cuts the next line with a right sum out of *@at, without the sum; NULL at the end. */
static char *next_line(char **at)
{
	static const uint64_t no_secret[2];
	char *line = *at, *end = strchr(line, '\n'), *sum;
	char expected[17];

	if (!end)
		return NULL;
	*end = '\0';
	*at = end + 1;
	sum = strrchr(line, ' ');
	if (!sum)
		return NULL;
	snprintf(expected, sizeof(expected), "%016" PRIx64,
		 hash_siphash(no_secret, line, (size_t)(sum - line)));
	if (strcmp(sum + 1, expected) != 0)
		return NULL;
	*sum = '\0';
	return line;
}

static int load_thing(struct mon_things *things, const char *line)
{
	char owner[WPRIV_OWNER], hex[HEX_MAX];
	union mon_what what = { 0 };
	struct mon_thing *thing;
	uint32_t id, kind;

	_Static_assert(WPRIV_OWNER == 32, "the width in the format below");
	if (sscanf(line, "+ %u %u %31s", &id, &kind, owner) != 3 || mon_kind_size(kind) == 0)
		return -EINVAL;
	if (!str_copy(hex, sizeof(hex), strrchr(line, ' ') + 1) ||
	    hex_decode(&what, mon_kind_size(kind), hex))
		return -EINVAL;
	/* A route that replaced another one, a sysctl set twice: the later line counts. */
	thing = mon_thing_find(things, kind, &what);
	if (thing)
		memcpy(&thing->what, &what, mon_kind_size(kind));
	else
		thing = mon_thing_new(things, kind, owner, &what);
	if (!thing)
		return -ENOMEM;
	thing->id = id;
	thing->journaled = true;
	thing->claimed = false;
	return 0;
}

static void unload_thing(struct mon_things *things, uint32_t id)
{
	struct mon_thing *thing, *next;

	list_for_each_safe(thing, next, &things->all, node) {
		if (thing->id == id)
			mon_thing_free(things, thing);
	}
}

static int read_header(const char *line, enum mon_journal_place *where, struct warren_err *err)
{
	struct place place, now;
	int version, result = read_place(&now);

	if (result)
		return wpriv_refuse(err, result, "cannot read /proc: %s", strerror(-result));
	if (sscanf(line, "warren-journal %d %63s %" SCNu64, &version, place.boot,
		   &place.netns) != 3 || version != JOURNAL_VERSION)
		return wpriv_refuse(err, -EINVAL, "the journal in the state folder was written by "
				    "another version: run that version's \"warrend --cleanup\" or "
				    "reboot, then remove monitor/journal");
	if (strcmp(place.boot, now.boot) != 0)
		*where = MON_JOURNAL_OTHER_BOOT;
	else if (place.netns != now.netns)
		*where = MON_JOURNAL_OTHER_NETNS;
	else
		*where = MON_JOURNAL_HERE;
	return 0;
}

int mon_journal_load(int dir, struct mon_things *things, enum mon_journal_place *place,
		     struct warren_err *err)
{
	AUTO(auto_free) char *data = NULL;
	char *at, *line;
	size_t len;
	int result = file_read_at(dir, JOURNAL, JOURNAL_LIMIT, (void **)&data, &len);

	if (result == -ENOENT)
		return result;
	if (result)
		return wpriv_refuse(err, result, "cannot read the journal in the state folder: %s",
				    strerror(-result));
	at = data;
	line = next_line(&at);
	if (!line)	/* replaced by rename: a torn first line was never the journal */
		return -ENOENT;
	result = read_header(line, place, err);
	while (result == 0 && (line = next_line(&at))) {
		uint32_t id;

		if (line[0] == '+')
			result = load_thing(things, line);
		else if (sscanf(line, "- %u", &id) == 1)
			unload_thing(things, id);
		if (result)
			return wpriv_refuse(err, result,
					    "cannot use the journal in the state folder: "
					    "%s",
					    strerror(-result));
	}
	return result;
}
