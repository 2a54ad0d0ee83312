/*
 * `warren file cp`: files to a peer, one after the other, in the words of the stock client.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/util.h"
#include "taildrop.h"

struct cp {
	struct list link;
	struct taildrop *td;
	struct warren_reply *reply;	/* NULL: the client hung up */
	const struct warren_conf *args;
	uint32_t at, n;			/* the file under way; how many there are */
	int64_t node;
	char peer[DROP_NAME], name[DROP_NAME];
	struct drop_sending *sending;
	struct warren_timer *tick;
	uint64_t every, moved_at;
	int64_t moved, size;
	bool warned;
};

static void cp_free(struct cp *cp)
{
	drop_send_cancel(cp->sending);
	list_del(&cp->link);
	warren_release(cp->tick);
	warren_release(cp);
}

static void cp_over(struct cp *cp, int exit, const char *error)
{
	struct warren_reply *reply = cp->reply;

	cp_free(cp);
	warren_reply_end(reply, exit, error);
}

static void cancelled(struct warren_reply *reply, void *arg)
{
	(void)reply;
	cp_free(arg);
}

static const char *word(const struct cp *cp, uint32_t i)
{
	return warren_conf_str(warren_conf_at(cp->args, "files", i), NULL);
}

static void next_file(struct cp *cp);

static void sent(int result, const char *why, void *arg)
{
	struct cp *cp = arg;
	char error[1200];

	if (result) {
		cp->sending = NULL;	/* it is gone */
		snprintf(error, sizeof(error), "can't send \"%s\" to %s: %.400s", cp->name,
			 cp->peer, why);
		cp_over(cp, 1, error);
		return;
	}
	cp->sending = NULL;
	if (cp->every && cp->size >= 0)
		warren_reply_transfer(cp->reply, cp->name, cp->size, cp->size);
	if (warren_conf_bool(cp->args, "verbose"))
		warren_reply_note(cp->reply, "sent \"%s\"", cp->name);
	if (warren_reply_json(cp->reply)) {
		warren_reply_open(cp->reply, NULL, '{');
		warren_reply_str(cp->reply, "name", "%s", cp->name);
		warren_reply_str(cp->reply, "peer", "%s", cp->peer);
		warren_reply_close(cp->reply);
	}
	cp->at++;
	next_file(cp);
}

static void tick(struct warren_ctx *ctx, void *arg)
{
	struct cp *cp = arg;
	int64_t done, total;

	(void)ctx;
	if (!cp->sending)
		return;
	drop_send_progress(cp->sending, &done, &total);
	if (done != cp->moved) {
		cp->moved = done;
		cp->moved_at = warren_now();
	} else if (!cp->warned && done == 0 && warren_now() - cp->moved_at > 3 * SECOND) {
		cp->warned = true;
		warren_reply_note(cp->reply, "# warning: %s is not replying; trying anyway",
				  cp->peer);
	}
	if (cp->every)
		warren_reply_transfer(cp->reply, cp->name, done, total);
	warren_timer_set(cp->tick, cp->every ? cp->every : SECOND / 4);
}

static const char *name_of(const struct cp *cp, const char *path)
{
	const char *given = warren_conf_str(cp->args, "name"), *slash = strrchr(path, '/');

	if (given && given[0])
		return given;
	return strcmp(path, "-") == 0 ? "stdin" : slash ? slash + 1 : path;
}

static void start_file(struct cp *cp, const struct warren_node *node, struct warren_err *err)
{
	const struct drop_send send = {
		.node = node, .name = cp->name, .done = sent, .arg = cp,
		.fd = warren_reply_take_fd(cp->reply, "files"),
	};
	char ip[ADDR_TEXT];
	int64_t done;

	if (send.fd < 0) {
		warren_fail(err, NULL, "%s was not opened", word(cp, cp->at));
		return;
	}
	if (warren_conf_bool(cp->args, "verbose"))
		warren_reply_note(cp->reply, "sending \"%s\" to %s/%s/%s ...", cp->name, cp->peer,
				  addr_format(&node->addresses[0].addr, ip),
				  node->stable_id ? node->stable_id : "");
	cp->moved = 0;
	cp->moved_at = warren_now();
	cp->sending = drop_send_take(cp->td, &send, err);
	if (!cp->sending)
		return;
	drop_send_progress(cp->sending, &done, &cp->size);
	warren_timer_set(cp->tick, cp->every ? 0 : SECOND / 4);
}

static void next_file(struct cp *cp)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	struct taildrop *td = cp->td;
	const struct warren_netmap *map;
	const struct warren_node *node;

	if (cp->at == cp->n) {
		cp_over(cp, 0, NULL);
		return;
	}
	map = td->netmap->current(td->netmap_self);
	node = warren_netmap_peer(map, cp->node);
	snprintf(cp->name, sizeof(cp->name), "%.250s", name_of(cp, word(cp, cp->at)));
	if (!node || node->n_addresses == 0)
		warren_fail(&err, NULL, "%s is not in the network any more", cp->peer);
	else if (strcmp(cp->name, ".") == 0 || strcmp(cp->name, "..") == 0 || !cp->name[0])
		warren_fail(&err, NULL, "directories not supported");
	else if (!drop_name_ok(cp->name, map->self && map->self->stable_id ?
			       map->self->stable_id : ""))
		warren_fail(&err, NULL, "\"%s\" is no name that a peer takes: --name gives another",
			    cp->name);
	else
		start_file(cp, node, &err);
	warren_obj_unref(map);
	if (err_any(&err))
		cp_over(cp, 1, err_first(&err));
}

/*
 * ---- Targets ----
 */

static void first_label(const struct warren_node *node, char *out, size_t size)
{
	const char *name = node->name ? node->name : "";

	snprintf(out, size, "%.*s", (int)strcspn(name, "."), name);
}

static void ago(int64_t seconds, char *out, size_t size)
{
	if (seconds < 3600)
		snprintf(out, size, "; last seen %lldm ago", (long long)(seconds / 60));
	else if (seconds < 48 * 3600)
		snprintf(out, size, "; last seen %lldh ago", (long long)(seconds / 3600));
	else
		snprintf(out, size, "; last seen %lldd ago", (long long)(seconds / 86400));
}

static void show_target(const struct warren_node *node, struct warren_reply *reply)
{
	char ip[ADDR_TEXT], name[DROP_NAME], seen[64] = "";
	const char *state = node->online == WARREN_TRI_YES ? "" :
			    node->online == WARREN_TRI_NO ? "offline" : "unknown-status";

	first_label(node, name, sizeof(name));
	if (*state && node->last_seen)
		ago(warren_realtime() / 1000000 - node->last_seen, seen, sizeof(seen));
	addr_format(&node->addresses[0].addr, ip);
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "address", "%s", ip);
	warren_reply_str(reply, "name", "%s", name);
	warren_reply_bool(reply, "online", node->online == WARREN_TRI_YES);
	warren_reply_close(reply);
	warren_reply_text(reply, "%s\t%s%s%s%s", ip, name, *state ? "\t" : "", state, seen);
}

static int targets(const struct taildrop *td, const struct warren_netmap *map,
		   struct warren_reply *reply)
{
	warren_reply_open(reply, "targets", '[');
	for (uint32_t i = 0; i < map->n_peers; i++) {
		const struct warren_node *node = map->peers[i];

		if (node->n_addresses > 0 && !drop_not_a_target(td, map, node))
			show_target(node, reply);
	}
	warren_reply_close(reply);
	return 0;
}

/* Without its colon and brackets. False: it has none, or is too long. */
static bool target_word(const char *text, char out[DROP_NAME])
{
	size_t len = text ? strlen(text) : 0;

	if (len < 2 || len >= DROP_NAME || text[len - 1] != ':')
		return false;
	memcpy(out, text, --len);
	out[len] = '\0';
	if (out[0] == '[' && len > 2 && out[len - 1] == ']') {
		memmove(out, out + 1, len - 2);
		out[len - 2] = '\0';
	}
	return true;
}

static int refuse(struct warren_err *err, int result, const char *target, const char *why)
{
	warren_fail(err, NULL, "can't send to %s: %s", target, why);
	return result;
}

static const struct warren_node *choose(const struct taildrop *td, const struct warren_netmap *map,
					const char *target, struct warren_reply *reply,
					struct warren_err *err)
{
	bool self;
	const struct warren_node *node = drop_find(map, target, &self);
	const char *why = node ? drop_not_a_target(td, map, node) : NULL;
	char text[200];

	if (!node || node->n_addresses == 0) {
		refuse(err, -ENOENT, target, "unknown target; not in your Tailnet");
		return NULL;
	}
	if (why) {
		snprintf(text, sizeof(text), "cannot send files: %s", why);
		refuse(err, -EACCES, target, text);
		return NULL;
	}
	if (node->online == WARREN_TRI_NO)
		warren_reply_note(reply, "# warning: %s is reportedly offline; trying anyway",
				  target);
	return node;
}

static int start(struct taildrop *td, const struct warren_conf *args,
		 const struct warren_netmap *map, struct warren_reply *reply,
		 struct warren_err *err)
{
	uint32_t n = warren_conf_count(args, "files");
	const char *last = warren_conf_str(args, "target");
	const struct warren_node *node;
	char target[DROP_NAME];
	struct cp *cp;

	if (!last || n == 0)
		return warren_fail(err, NULL, "usage: warren file cp <files...> <target>:");
	if (!target_word(last, target))
		return warren_fail(err, NULL, "final argument to 'warren file cp' must end in "
				   "colon");
	if (n > 1 && warren_conf_has(args, "name"))
		return warren_fail(err, NULL, "can't use --name= with multiple files");
	node = choose(td, map, target, reply, err);
	if (!node)
		return -ENOENT;
	cp = warren_zalloc(td->ctx, sizeof(*cp));
	if (!cp)
		return -ENOMEM;
	list_add_tail(&td->cps, &cp->link);
	cp->td = td;
	cp->reply = reply;
	cp->args = args;
	cp->n = n;
	cp->node = node->id;
	cp->every = (uint64_t)warren_conf_int(args, "update-interval");
	memcpy(cp->peer, target, sizeof(cp->peer));
	cp->tick = warren_timer_new(td->ctx, tick, cp);
	if (!cp->tick) {
		cp_free(cp);
		return -ENOMEM;
	}
	warren_reply_on_cancel(reply, cancelled, cp);
	next_file(cp);
	return WARREN_PENDING;
}

int drop_command_cp(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	struct taildrop *td = warren_self(ctx);
	const struct warren_netmap *map = td->netmap->current(td->netmap_self);
	int result;

	if (!map || !map->self) {
		warren_fail(err, NULL, "cannot send files: local Tailscale is not connected to the "
			    "tailnet");
		result = -ENOTCONN;
	} else if (warren_conf_bool(args, "targets")) {
		result = warren_conf_has(args, "target") ?
				 warren_fail(err, NULL, "invalid arguments with --targets") :
				 targets(td, map, reply);
	} else {
		result = start(td, args, map, reply, err);
	}
	warren_obj_unref(map);
	return result;
}

void drop_cp_end(struct taildrop *td)
{
	struct cp *cp, *next;

	list_for_each_safe(cp, next, &td->cps, link)
		cp_over(cp, 1, "taildrop is stopping");
}
