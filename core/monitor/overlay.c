/*
 * The overlay: from a client's wish to a file.
 *
 * The engine is not believed who asks: it passes the client's socket, which must be one that was
 * accepted on our control socket, and the kernel says whose it is. (A socket that the engine itself
 * connected to some service of root would bear root's credentials, so the socket file that it
 * belongs to is compared.) `system:`, `coordinator:` and references to secrets are refused here
 * whoever asks; types and unknown keys are found by the engine, which tries the whole as a reload.
 */
#include "monitor/overlay.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/un.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/util.h"
#include "monitor/engine.h"
#include "monitor/log.h"
#include "monitor/monitor.h"
#include "priv/channel.h"
#include "priv/check.h"

static const char current[] = "overlay.yaml", next[] = "overlay.next";
static const char uid_mark[] = " # uid ";

/*
 * ---- Who set it ----
 */

uid_t mon_overlay_uid(const char *text, size_t len, uint32_t line)
{
	const char *end = text + len, *eol = NULL;
	char copy[32], rest;
	unsigned uid;

	for (; line > 0 && text < end; line--) {
		if (eol)
			text = eol + 1;
		eol = memchr(text, '\n', (size_t)(end - text));
		if (!eol)
			eol = end;
	}
	if (line > 0 || !eol)
		return MON_NO_UID;
	/* The mark is the last thing in its line; inside a value it would be before a quote. */
	for (const char *at = eol; at > text; at--) {
		size_t n = (size_t)(eol - at);

		if (n > sizeof(copy) - 1)
			break;
		if (n < sizeof(uid_mark) || memcmp(at, uid_mark, sizeof(uid_mark) - 1) != 0)
			continue;
		memcpy(copy, at + sizeof(uid_mark) - 1, n - (sizeof(uid_mark) - 1));
		copy[n - (sizeof(uid_mark) - 1)] = '\0';
		return sscanf(copy, "%9u%c", &uid, &rest) == 1 ? (uid_t)uid : MON_NO_UID;
	}
	return MON_NO_UID;
}

/* Or whoever runs us without its rights, from a build tree. */
static bool is_root(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/*
 * ---- Composing ----
 */

struct compose {
	const struct ytree *tree;	/* of the files */
	const char *old;
	size_t old_len;
	uint8_t old_file;
	const struct mon_overlay_edit *edit;
	struct str *out;
	struct warren_err *err;
};

static struct ytree_node *child(const struct ytree_node *map, const char *key)
{
	return (struct ytree_node *)(map && map->kind == YTREE_MAP ? ytree_get(map, key) : NULL);
}

/*
 * Judges what is to be laid over @files. A value that the files have already is turned into a
 * removal, so that the overlay says only what differs.
 */
static int judge(struct compose *c, struct ytree_node *map, const struct ytree_node *files,
		 const char *path)
{
	int result = 0;

	for (struct ytree_node *node = map->first; node; node = node->next) {
		const struct ytree_node *base = child(files, node->key);
		AUTO(str_free) struct str shown = STR_INIT;
		struct err_at at;

		str_add(&shown, path);
		ytree_path_add(&shown, node->key);
		if (strcmp(node->key, "file") == 0 || strcmp(node->key, "credential") == 0) {
			result = wpriv_refuse(c->err, -EPERM, "%s: a secret is not set by a "
					      "command; write it to a file in /etc",
					      str_text(&shown));
		} else if (str_equal(str_text(&shown), "node.operator") && !is_root(c->edit->uid)) {
			result = wpriv_refuse(c->err, -EPERM, "node.operator: only root says who "
					      "the operator is");
		} else if (node->kind == YTREE_MAP && (!base || base->kind != YTREE_SCALAR)) {
			int below = judge(c, node, base, str_text(&shown));

			result = below ? below : result;
		} else if (node->kind == YTREE_NULL || !base || base->kind == YTREE_NULL) {
			continue;
		} else if (ytree_same(node, base)) {
			node->kind = YTREE_NULL;
			node->explicit_null = true;
		} else if (!c->edit->override_) {
			at = ytree_place(c->tree, base);
			err_add(c->err, &at, "%s is set here: change it in this file, or give "
				"--override to set it beside the file", str_text(&shown));
			result = -EEXIST;
		}
	}
	return result;
}

static bool is_plain(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._";

	return *text && text[strspn(text, letters)] == '\0';
}

static void add_scalar(struct compose *c, const struct ytree_node *node)
{
	if (!node->quoted && is_plain(node->text))
		str_add(c->out, node->text);
	else
		str_add_json(c->out, node->text, strlen(node->text));
}

static int add_value(struct compose *c, const struct ytree_node *node)
{
	uid_t uid = c->edit->uid;

	if (node->kind == YTREE_SCALAR) {
		add_scalar(c, node);
	} else {
		str_addc(c->out, '[');
		for (const struct ytree_node *e = node->first; e; e = e->next) {
			if (e->kind != YTREE_SCALAR)
				return wpriv_refuse(c->err, -EINVAL, "%s: a list that a command "
						    "sets holds plain values", node->key);
			add_scalar(c, e);
			if (e->next)
				str_add(c->out, ", ");
		}
		str_addc(c->out, ']');
	}
	if (node->file == c->old_file)
		uid = mon_overlay_uid(c->old, c->old_len, node->line);
	if (uid != MON_NO_UID)
		str_addf(c->out, "%s%u", uid_mark, (unsigned)uid);
	str_addc(c->out, '\n');
	return 0;
}

static bool has_values(const struct ytree_node *node)
{
	if (node->kind != YTREE_MAP)
		return node->kind != YTREE_NULL;
	for (node = node->first; node; node = node->next) {
		if (has_values(node))
			return true;
	}
	return false;
}

static int add_map(struct compose *c, const struct ytree_node *map, uint32_t depth)
{
	int result = 0;

	for (const struct ytree_node *node = map->first; node && !result; node = node->next) {
		/* A section without values would switch its plugin on. */
		if (!has_values(node))
			continue;
		str_addf(c->out, "%*s", (int)depth * 2, "");
		str_add_json(c->out, node->key, strlen(node->key));
		if (node->kind == YTREE_MAP) {
			str_add(c->out, ":\n");
			result = add_map(c, node, depth + 1);
		} else {
			str_add(c->out, ": ");
			result = add_value(c, node);
		}
	}
	return result;
}

static int compose(struct compose *c, struct ytree *own, const struct ytree_node *files)
{
	const struct mon_overlay_edit *edit = c->edit;
	struct ytree_node *base = NULL, *over;
	struct warren_err *err = c->err;
	int result;

	if (c->old) {
		c->old_file = (uint8_t)own->n_files;
		result = ytree_parse(own, current, c->old, c->old_len, YTREE_OVERLAY, &base, err);
		if (result)
			return result;
	}
	result = ytree_parse(own, "the command", edit->text, edit->len, YTREE_OVERLAY, &over, err);
	if (result)
		return result;
	if (over->kind != YTREE_MAP)
		return wpriv_refuse(err, -EINVAL, "nothing to set was named");
	result = judge(c, over, files, "");
	if (result)
		return result;
	base = ytree_merge(base, over);
	if (!base)
		return wpriv_refuse(err, -ENOMEM, "out of memory");
	str_add(c->out, "# Written by warrend, for commands like `warren set`.\n");
	result = base->kind == YTREE_MAP ? add_map(c, base, 0) : 0;
	if (!result && c->out->failed)
		result = wpriv_refuse(err, -ENOMEM, "out of memory");
	return result;
}

int mon_overlay_compose(const struct ytree *tree, const struct ytree_node *files, const char *old,
			size_t old_len, const struct mon_overlay_edit *edit, struct str *out,
			struct warren_err *err)
{
	struct compose c = { .tree = tree, .old = old, .old_len = old_len,
			     .old_file = UINT8_MAX, .edit = edit, .out = out, .err = err };
	/* Of its own: the files' indices in @tree are those of the configuration. */
	struct ytree *own = ytree_new();
	int result;

	if (!own)
		return wpriv_refuse(err, -ENOMEM, "out of memory");
	result = compose(&c, own, files);
	ytree_free(own);
	return result;
}

/*
 * ---- The conversation ----
 */

/* The uid at the other end of @fd, a connection to our control socket; or -errno. */
static int ask_peer(const struct mon *mon, int fd, uid_t *uid, struct warren_err *err)
{
	AUTO(auto_close) int file = ioctl(fd, SIOCUNIXFILE);
	struct sockaddr_un sun;
	socklen_t len = sizeof(sun);
	struct stat ours, theirs;
	struct ucred peer;

	if (file == -1 || fstat(file, &theirs) == -1 || stat(mon->options->socket, &ours) == -1 ||
	    ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino ||
	    getpeername(fd, (struct sockaddr *)&sun, &len) == -1)
		return wpriv_refuse(err, -EPERM, "whoever asks is no client of the control socket "
				    "any more");
	len = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1)
		return wpriv_refuse(err, -EPERM, "cannot learn who asks: %s", strerror(errno));
	*uid = peer.uid;
	return 0;
}

/* Root, and the user that root named. */
static int may_set(const struct mon *mon, uid_t uid, struct warren_err *err)
{
	uid_t named;

	if (is_root(uid))
		return 0;
	if (mon_config_operator(mon->config, &named) && named == uid)
		return 0;
	return wpriv_refuse(err, -EPERM, "uid %u may not change settings: only root and "
			    "node.operator may", (unsigned)uid);
}

static int try(struct mon *mon, const struct mon_overlay_edit *edit, uint32_t seq,
	       struct warren_err *err)
{
	AUTO(str_free) struct str text = STR_INIT;
	struct mon_config_from from = {
		.file = mon->options->config, .required = mon->options->config_given,
		.state = mon->options->state, .edit = edit, .overlay = &text,
	};
	struct mon_config *config = mon_config_load(&from, mon->generations + 1, err);
	int result;

	if (!config)
		return -EINVAL;
	result = file_replace_at(mon->state.monitor, next, 0600, str_text(&text), text.len);
	if (result) {
		mon_config_free(config);
		return wpriv_refuse(err, result, "cannot write %s/monitor/%s: %s",
				    mon->options->state, next, strerror(-result));
	}
	mon->overlay_seq = seq;
	mon_engine_try_take(mon, config, seq);
	return 0;
}

int mon_overlay_message(struct mon *mon, struct wpriv_msg *msg)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	AUTO(str_free) struct str why = STR_INIT;
	struct mon_overlay_edit edit = { .uid = MON_NO_UID };
	struct wpriv_overlay head;
	int result;

	if (msg->head.len < sizeof(head) || msg->n_fds != 1 || msg->head.seq == 0)
		return -EBADMSG;
	memcpy(&head, msg->data, sizeof(head));
	if (head.flags & ~(uint32_t)WPRIV_OVERLAY_OVERRIDE || head.reserved != 0)
		return -EBADMSG;
	edit.text = (const char *)msg->data + sizeof(head);
	edit.len = msg->head.len - sizeof(head);
	edit.override_ = head.flags & WPRIV_OVERLAY_OVERRIDE;
	if (mon->next || mon->engine.stopping)
		result = wpriv_refuse(&err, -EBUSY, "a reload is going on: try again");
	else if (edit.len > WPRIV_TEXT_MAX)
		result = wpriv_refuse(&err, -E2BIG, "that is too much for one command");
	else
		result = ask_peer(mon, msg->fds[0], &edit.uid, &err);
	if (!result)
		result = may_set(mon, edit.uid, &err);
	if (!result)
		result = try(mon, &edit, msg->head.seq, &err);
	if (!result)
		return 0;
	err_print(&err, &why);
	mon_log(LOG_INFO, "a change of settings for uid %u was refused:", (unsigned)edit.uid);
	mon_log_lines(LOG_INFO, str_text(&why));
	mon_engine_refuse(mon, msg->head.seq, result, str_text(&why));
	return 0;
}

/* The command is answered by that: what it was told to be set is set after a crash, too. */
static void tell_kept(struct mon *mon, uint32_t seq, int result)
{
	const struct wpriv_head head = { .type = WPRIV_OVERLAY_KEPT, .seq = seq,
					 .result = result };
	AUTO(str_free) struct str why = STR_INIT;
	struct wpriv_part part;

	if (result) {
		str_addf(&why, "cannot keep %s/monitor/%s: %s: the settings hold until the next "
			 "reload only", mon->options->state, current, strerror(-result));
		mon_log(LOG_ERR, "%s", str_text(&why));
	}
	part = (struct wpriv_part){ str_text(&why), why.len };
	mon_engine_send(mon, &head, &part, 1, NULL, 0, false);
}

void mon_overlay_settle(struct mon *mon, bool keep)
{
	uint32_t seq = mon->overlay_seq;
	int result = 0;

	if (seq == 0)
		return;
	mon->overlay_seq = 0;
	if (!keep) {
		(void)unlinkat(mon->state.monitor, next, 0);	/* the next try replaces it */
		return;
	}
	if (renameat(mon->state.monitor, next, mon->state.monitor, current) == -1)
		result = -errno;
	if (!result)
		result = file_sync_dir(mon->state.monitor);
	tell_kept(mon, seq, result);
}
