/*
 * monitor/overlay.h - the file that commands write: <state>/monitor/overlay.yaml
 *
 * Only the monitor writes it, on behalf of a client of the control socket, whose uid it learns from
 * the client's own socket and keeps beside each value:
 *
 *	"control":
 *	  "url": "https://hq.example.com" # uid 1000
 *
 * A new overlay is laid down as overlay.next, tried by the engine as a reload, and renamed when
 * that went well. What was refused leaves the old one in place.
 */
#ifndef WARREN_MONITOR_OVERLAY_H
#define WARREN_MONITOR_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "yaml/tree.h"

struct mon;
struct wpriv_msg;

#define MON_NO_UID ((uid_t)-1)

struct mon_overlay_edit {
	const char *text;		/* YAML to lay on the overlay; null removes a key */
	size_t len;
	uid_t uid;			/* who asks */
	bool override_;			/* also where a file of /etc sets the key */
};

/*
 * The overlay @old (@old_len bytes, NULL: none) with @edit laid on it, appended to @out; @files is
 * what the files of /etc say (may be NULL), parsed into @tree. What says the same as the files is
 * left out. 0, or -errno with sentences that begin with the place in the file.
 */
int mon_overlay_compose(const struct ytree *tree, const struct ytree_node *files, const char *old,
			size_t old_len, const struct mon_overlay_edit *edit, struct str *out,
			struct warren_err *err);
/* Who set the value in line @line (from 1) of an overlay; MON_NO_UID: it does not say. */
uid_t mon_overlay_uid(const char *text, size_t len, uint32_t line);

/* ---- The conversation ---- */

/* An OVERLAY message. 0; -EBADMSG: it is none. What is refused is an answer. */
int mon_overlay_message(struct mon *mon, struct wpriv_msg *msg);
/* The reload that tried a new overlay has ended: keep it and tell the engine, or not. */
void mon_overlay_settle(struct mon *mon, bool keep);

#endif
