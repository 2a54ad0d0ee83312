/*
 * SYSCTL: a few switches of the network stack, with the value they had.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "monitor/monitor.h"
#include "monitor/op.h"
#include "priv/check.h"

enum { PATH_BYTES = 96 };

static void path_of(const struct warren_priv_sysctl *req, char out[PATH_BYTES])
{
	static const struct { const char *family, *leaf; } names[] = {
		[WARREN_SYSCTL_IP4_FORWARD] = { "ipv4", "ip_forward" },
		[WARREN_SYSCTL_IP6_FORWARD] = { "ipv6", "forwarding" },
		[WARREN_SYSCTL_RP_FILTER] = { "ipv4", "rp_filter" },
		[WARREN_SYSCTL_SRC_VALID_MARK] = { "ipv4", "src_valid_mark" },
		[WARREN_SYSCTL_IP6_DISABLE] = { "ipv6", "disable_ipv6" },
		[WARREN_SYSCTL_ACCEPT_RA] = { "ipv6", "accept_ra" },
	};

	if (req->ifname[0] == '\0')
		snprintf(out, PATH_BYTES, "/proc/sys/net/%s/%s", names[req->name].family,
			 names[req->name].leaf);
	else
		snprintf(out, PATH_BYTES, "/proc/sys/net/%s/conf/%s/%s", names[req->name].family,
			 req->ifname, names[req->name].leaf);
}

static int read_value(const char *path, int32_t *value)
{
	AUTO(auto_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[16] = "";

	if (fd == -1 || read(fd, text, sizeof(text) - 1) == -1)
		return -errno;
	*value = (int32_t)strtol(text, NULL, 10);
	return 0;
}

static int write_value(const char *path, int32_t value)
{
	AUTO(auto_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", value);

	if (fd == -1 || write(fd, text, (size_t)len) == -1)
		return -errno;
	return 0;
}

void mon_sysctl_restore(const struct mon_sysctl *sysctl)
{
	char path[PATH_BYTES];
	int32_t now;

	path_of(&sysctl->req, path);
	/* Changed by somebody else since, or gone with its interface: not ours any more. */
	if (read_value(path, &now) || now != (int32_t)sysctl->req.value ||
	    now == sysctl->previous)
		return;
	if (write_value(path, sysctl->previous))
		mon_log(LOG_WARNING, "cannot set %s back to %d", path, sysctl->previous);
}

static int set_one(struct mon *mon, const char *owner, const struct warren_priv_sysctl *item,
		   struct mon_thing **set, struct warren_err *err)
{
	union mon_what what = { .sysctl = { .req = *item } };
	struct mon_thing *thing;
	char path[PATH_BYTES];
	bool fresh;
	int result;

	path_of(item, path);
	result = read_value(path, &what.sysctl.previous);
	if (result)
		return wpriv_refuse(err, result, "cannot read %s: %s", path, strerror(-result));
	thing = mon_thing_find(&mon->things, MON_SYSCTL, &what);
	fresh = !thing;
	if (fresh) {
		thing = mon_thing_new(&mon->things, MON_SYSCTL, owner, &what);
		if (!thing)
			return wpriv_refuse(err, -ENOMEM, "no room for another sysctl");
	} else if (thing->claimed && strcmp(thing->owner, owner) != 0) {
		return wpriv_refuse(err, -EBUSY, "%s is set by plugin %s", path, thing->owner);
	}
	/* Who asks again may want another value; what there was before us stays known. */
	thing->what.sysctl.req.value = item->value;
	mon_journal_add(&mon->journal, thing);
	result = mon_journal_flush(&mon->journal, err);
	if (!result) {
		result = write_value(path, (int32_t)item->value);
		if (result)
			wpriv_refuse(err, result, "cannot write %s: %s", path, strerror(-result));
	}
	if (result && fresh) {
		mon_journal_del(&mon->journal, thing);
		mon_thing_free(&mon->things, thing);
	}
	if (!result) {
		thing->claimed = true;
		str_copy(thing->owner, sizeof(thing->owner), owner);
		*set = thing;
	}
	return result;
}

/* A router does not listen to other routers, unless it is told to twice. */
static void keep_listening(struct mon *mon, const char *owner)
{
	DIR *dir = opendir("/proc/sys/net/ipv6/conf");
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct warren_priv_sysctl item = { .name = WARREN_SYSCTL_ACCEPT_RA, .value = 2 };
		struct mon_thing *thing;
		char path[PATH_BYTES];
		int32_t value;

		if (entry->d_name[0] == '.' || str_equal(entry->d_name, "all") ||
		    str_equal(entry->d_name, "default") ||
		    !str_copy(item.ifname, sizeof(item.ifname), entry->d_name))
			continue;
		path_of(&item, path);
		if (read_value(path, &value) == 0 && value == 1)
			(void)set_one(mon, owner, &item, &thing, NULL);
	}
	if (dir)
		closedir(dir);
}

bool mon_sysctl_is_ip6_forward(const struct mon_sysctl *sysctl)
{
	return sysctl->req.name == WARREN_SYSCTL_IP6_FORWARD &&
	       str_equal(sysctl->req.ifname, "all");
}

int mon_op_sysctl(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		  struct warren_err *err)
{
	struct mon_sysctl sysctl = { .previous = 0 };
	struct mon_thing *thing;
	int result;

	memcpy(&sysctl.req, req->items, sizeof(sysctl.req));
	if (mon_sysctl_is_ip6_forward(&sysctl) && sysctl.req.value == 1)
		keep_listening(mon, req->owner);
	result = set_one(mon, req->owner, &sysctl.req, &thing, err);
	if (!result)
		reply->handle = thing->id;
	return result;
}
