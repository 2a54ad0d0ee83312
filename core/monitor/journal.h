/*
 * monitor/journal.h - what has to be undone, on disk before it is done
 *
 * <state>/monitor/journal is a file of lines, appended to: "+ id kind owner bytes sum" before a
 * change to the kernel, "- id sum" after it was taken back. The first line names the boot and the
 * network namespace that the rest is about. A line whose sum is wrong, as a crash or a full disk
 * leaves it, ends the reading: what comes after it was never done.
 */
#ifndef WARREN_MONITOR_JOURNAL_H
#define WARREN_MONITOR_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "monitor/thing.h"

struct warren_err;

struct mon_journal {
	int dir, fd;
	const struct mon_things *things;
	struct str pending;		/* lines that are not written yet */
	size_t size;			/* of the file */
	bool stale;			/* a "-" could not be written: rewrite when there is room */
};

enum mon_journal_place {
	MON_JOURNAL_HERE,		/* same boot, same network namespace */
	MON_JOURNAL_OTHER_BOOT,		/* the kernel's part is gone already */
	MON_JOURNAL_OTHER_NETNS,	/* the network's part is out of reach */
};
/*
 * Reads what an earlier daemon left in the folder @dir into @things. -ENOENT: nothing was. A
 * journal of an unknown version is an error with a sentence.
 */
int mon_journal_load(int dir, struct mon_things *things, enum mon_journal_place *place,
		     struct warren_err *err);

/* Begins a new file that names what is in @things, which later calls refer to. */
int mon_journal_open(struct mon_journal *journal, int dir, const struct mon_things *things,
		     struct warren_err *err);
void mon_journal_close(struct mon_journal *journal);

/* Remembers that @thing is about to be made; nothing is on disk before mon_journal_flush(). */
void mon_journal_add(struct mon_journal *journal, struct mon_thing *thing);
/* Writes and syncs. On failure (a full disk) the additions since the last flush are forgotten. */
int mon_journal_flush(struct mon_journal *journal, struct warren_err *err);
/* @thing is undone. A failure to write is no error: undoing it twice does no harm. */
void mon_journal_del(struct mon_journal *journal, struct mon_thing *thing);

#endif
