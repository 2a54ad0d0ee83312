/*
 * `warren ssh`: becomes the ssh(1) of this host, with the host keys of the network map.
 *
 * Runs in the client, as whoever typed it. The daemon is asked for its status and nothing of what
 * it answers is run: names, addresses and keys become words of ssh's command line and lines of a
 * file, if they look like what they are.
 */
#include "engine/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/cmd.h"
#include "engine/reply.h"

enum { OPTIONS = 16, KNOWN_MAX = 64 << 20 };

static const char known_name[] = "ssh_known_hosts";

/* Letters, digits and what else host names, addresses and keys have: nothing that ends a word. */
static bool is_plain(const char *text, const char *more)
{
	for (; *text; text++) {
		if (!(*text >= 'a' && *text <= 'z') && !(*text >= 'A' && *text <= 'Z') &&
		    !(*text >= '0' && *text <= '9') && !strchr(more, *text))
			return false;
	}
	return true;
}

static const char *name_of(const json_t *peer)
{
	const char *name = json_string_value(json_object_get(peer, "DNSName"));

	return name && name[0] && name[0] != '-' && is_plain(name, ".-_") ? name : NULL;
}

static const char *address_at(const json_t *peer, size_t i)
{
	const char *text = json_string_value(
		json_array_get(json_object_get(peer, "TailscaleIPs"), i));
	struct warren_addr addr;

	return text && addr_parse(text, &addr) == 0 ? text : NULL;
}

static const char *key_at(const json_t *peer, size_t i)
{
	const char *key = json_string_value(
		json_array_get(json_object_get(peer, "sshHostKeys"), i));

	return key && key[0] && is_plain(key, " +/=@.-_") ? key : NULL;
}

/* By an address, the whole name, with or without the dot at its end, or its first label. */
static bool is_called(const json_t *peer, const char *host)
{
	const char *name = name_of(peer), *text;
	size_t len = strlen(host), label = name ? strcspn(name, ".") : 0;

	for (size_t i = 0; (text = address_at(peer, i)); i++) {
		if (strcasecmp(text, host) == 0)
			return true;
	}
	if (!name || len == 0)
		return false;
	if (len == label && strncasecmp(name, host, len) == 0)
		return true;
	return strncasecmp(name, host, len) == 0 &&
	       (name[len] == '\0' || strcmp(name + len, ".") == 0);
}

static const json_t *find_peer(json_t *status, const char *host)
{
	const char *key;
	json_t *peer;

	json_object_foreach(json_object_get(status, "Peer"), key, peer) {
		if (is_called(peer, host))
			return peer;
	}
	return NULL;
}

/*
 * ---- Host keys ----
 */

static void add_keys(struct str *out, const json_t *peer)
{
	const char *name = name_of(peer), *text;

	for (size_t k = 0; k < json_array_size(json_object_get(peer, "sshHostKeys")); k++) {
		const char *key = key_at(peer, k);

		if (!key)
			continue;
		if (name)
			str_addf(out, "%s %s\n", name, key);
		for (size_t i = 0; (text = address_at(peer, i)); i++)
			str_addf(out, "%s %s\n", text, key);
	}
}

/* The folder of the caller's configuration; made, if need be. -errno. */
static int open_folder(struct str *path)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	const struct passwd *user = home ? NULL : getpwuid(getuid());

	if (config && config[0] == '/')
		str_add(path, config);
	else if (home || user)
		str_addf(path, "%s/.config", home ? home : user->pw_dir);
	else
		return -ENOENT;
	if (path->failed)
		return -ENOMEM;
	if (mkdir(str_text(path), 0700) == -1 && errno != EEXIST)
		return -errno;
	str_add(path, "/warren");
	if (path->failed)
		return -ENOMEM;
	if (mkdir(str_text(path), 0700) == -1 && errno != EEXIST)
		return -errno;
	return open(str_text(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Written only when it changes: sessions that begin at once do not get in each other's way. */
static int keep_keys(json_t *status, struct str *path, struct warren_err *err)
{
	AUTO(str_free) struct str lines = STR_INIT;
	AUTO(auto_free) void *before = NULL;
	AUTO(auto_close) int folder = -1;
	const char *key;
	json_t *peer;
	size_t len;
	int result = 0;

	json_object_foreach(json_object_get(status, "Peer"), key, peer)
		add_keys(&lines, peer);
	folder = open_folder(path);
	if (folder < 0)
		return err_add(err, NULL, "cannot keep host keys in %s: %s",
			       path->len ? str_text(path) : "a home", strerror(-folder));
	if (file_read_at(folder, known_name, KNOWN_MAX, &before, &len) != 0 ||
	    len != lines.len || memcmp(before, str_text(&lines), len) != 0)
		result = lines.failed ? -ENOMEM :
			 file_replace_at(folder, known_name, 0600, str_text(&lines), lines.len);
	if (result < 0)
		return err_add(err, NULL, "cannot write %s/%s: %s", str_text(path), known_name,
			       strerror(-result));
	str_addf(path, "/%s", known_name);
	return path->failed ? -ENOMEM : 0;
}

/*
 * ---- The program ----
 */

/* The caller's configuration may have another way for everything; this is the way. */
static int become(const struct warren_conf *args, const json_t *peer, const char *known,
		  struct warren_err *err)
{
	uint32_t count = warren_conf_count(args, "argument"), n = 0;
	AUTO(auto_free) const char **argv = calloc(OPTIONS + count, sizeof(*argv));
	AUTO(str_free) struct str file = STR_INIT, alias = STR_INIT, at = STR_INIT;

	str_addf(&file, "-oUserKnownHostsFile=\"%s\"", known);
	str_addf(&alias, "-oHostKeyAlias=%s", peer && name_of(peer) ? name_of(peer) : "");
	str_addf(&at, "-oHostName=%s", peer && address_at(peer, 0) ? address_at(peer, 0) : "");
	if (!argv || file.failed || alias.failed || at.failed)
		return err_add(err, NULL, "out of memory");
	argv[n++] = "ssh";
	argv[n++] = "-oStrictHostKeyChecking=yes";
	if (peer) {
		argv[n++] = str_text(&file);
		argv[n++] = "-oUpdateHostKeys=no";
		argv[n++] = "-oCanonicalizeHostname=no";
	}
	if (peer && address_at(peer, 0)) {
		argv[n++] = str_text(&at);
		argv[n++] = "-oProxyCommand=none";
	}
	if (peer && name_of(peer))
		argv[n++] = str_text(&alias);
	argv[n++] = warren_conf_str(args, "host");
	for (uint32_t i = 0; i < count; i++)
		argv[n++] = warren_conf_str(warren_conf_at(args, "argument", i), NULL);
	fflush(NULL);
	execvp("ssh", (char *const *)argv);
	return err_add(err, NULL, "cannot run ssh: %s%s", strerror(errno), errno == ENOENT ?
		       "; Debian has it in the package openssh-client" : "");
}

int wcore_verb_ssh(struct warren_ctx *ctx, const struct warren_conf *args,
		   struct warren_reply *reply, struct warren_err *err)
{
	static const char *const words[] = { "status", "--json" };
	const struct wcore_env *env = wcore_reply_env(reply);
	const char *host = warren_conf_str(args, "host"), *user = strrchr(host, '@');
	AUTO(str_free) struct str text = STR_INIT, known = STR_INIT;
	const json_t *peer;
	json_t *status;
	int result;

	(void)ctx;
	if (host[0] == '-' || host[0] == '\0')
		return warren_fail(err, NULL, "\"%s\" is no host", host);
	result = env->ask(env, words, ARRAY_SIZE(words), &text, err);
	if (result < 0)
		return result;
	status = json_loadb(str_text(&text), text.len, 0, NULL);
	peer = status ? find_peer(status, user ? user + 1 : host) : NULL;
	result = status ? keep_keys(status, &known, err) :
			  err_add(err, NULL, "the daemon's status is no JSON");
	if (result == 0 && peer && !key_at(peer, 0))
		warren_reply_note(reply, "warren: %s tells of no host keys: it runs no SSH server "
				  "of this network", name_of(peer) ? name_of(peer) : host);
	if (result == 0)
		result = become(args, peer, str_text(&known), err);
	json_decref(status);
	return result;
}
