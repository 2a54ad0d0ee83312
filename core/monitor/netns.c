/*
 * The service namespace.
 *
 * The interface gets no address: with one, packets from that address would be refused as martians,
 * and answers to the host would go to `lo`. Instead a rule sends all that comes in on it to a table
 * whose only route says "local", and the main table leads all that is sent back out.
 */
#include "monitor/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "monitor/monitor.h"
#include "monitor/netlink.h"
#include "monitor/op.h"
#include "priv/check.h"

enum { FD_QUEUE, FD_NAMESPACE, FDS };

static int open_namespace(struct warren_err *err)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd != -1 ? fd : wpriv_refuse(err, -errno, "cannot open /proc/self/ns/net: %s",
					    strerror(errno));
}

void mon_netns_leave(int back)
{
	if (setns(back, CLONE_NEWNET) == -1) {
		mon_log(LOG_ERR, "cannot come back from the service namespace: %s",
			strerror(errno));
		abort();
	}
	auto_close(&back);
}

static const struct mon_thing *find(const struct mon *mon)
{
	const struct mon_thing *thing;

	list_for_each(thing, &mon->things.all, node) {
		if (thing->kind == MON_NETNS)
			return thing;
	}
	return NULL;
}

int mon_netns_enter(struct mon *mon, const struct mon_request *req, struct warren_err *err)
{
	const struct mon_thing *thing = find(mon);
	int back;

	if (!thing || strcmp(thing->owner, req->owner) != 0)
		return wpriv_refuse(err, -ENOENT, "%s has no service namespace", req->owner);
	back = open_namespace(err);
	if (back < 0)
		return back;
	if (setns(thing->fds[FD_NAMESPACE], CLONE_NEWNET) == -1) {
		int result = wpriv_refuse(err, -errno, "cannot enter the service namespace: %s",
					  strerror(errno));

		auto_close(&back);
		return result;
	}
	return back;
}

static int write_proc(const char *path, const char *text, struct warren_err *err)
{
	AUTO(auto_close) int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd == -1 || write(fd, text, strlen(text)) == -1)
		return wpriv_refuse(err, -errno, "cannot write %s in the service namespace: %s",
				    path, strerror(errno));
	return 0;
}

static int lead_in(struct mon_netlink *nl, uint32_t family, const struct warren_priv_tun *tun,
		   int index, struct warren_err *err)
{
	struct warren_priv_rule rule = {
		.action = WARREN_RULE_TABLE, .family = family, .pref = MON_NETNS_TABLE,
		.table = MON_NETNS_TABLE,
	};
	struct warren_priv_route out = {
		.type = WARREN_ROUTE_UNICAST, .table = 254,
		.dst = { .addr = { .family = (uint8_t)family } },
	};
	int result;

	str_copy(rule.iif, sizeof(rule.iif), tun->ifname);
	result = mon_netlink_rule(nl, MON_ADD, &rule, err);
	if (!result)
		result = mon_netlink_all_local(nl, family, MON_NETNS_TABLE, err);
	return result ? result : mon_netlink_route(nl, MON_ADD, index, &out, err);
}

/* Inside. */
static int set_up_links(const struct warren_priv_tun *tun, int index, struct warren_err *err)
{
	struct mon_netlink nl;
	int result = mon_netlink_open(&nl, err);

	if (result)
		return result;
	(void)mon_netlink_no_autoconf(&nl, index);
	result = mon_netlink_link(&nl, (int)if_nametoindex("lo"), 0, 1, err);
	if (!result)
		result = mon_netlink_link(&nl, index, tun->mtu, 1, err);
	if (!result)
		result = lead_in(&nl, 4, tun, index, err);
	/* A kernel without IPv6 serves IPv4. */
	if (!result)
		(void)lead_in(&nl, 6, tun, index, NULL);
	mon_netlink_close(&nl);
	return result;
}

/* Inside. Fills @fds, which hold what was opened also after a failure. */
static int fill(const struct warren_priv_tun *tun, int fds[FDS], int *index,
		struct warren_err *err)
{
	char range[16];
	int result;

	fds[FD_NAMESPACE] = open_namespace(err);
	if (fds[FD_NAMESPACE] < 0)
		return fds[FD_NAMESPACE];
	snprintf(range, sizeof(range), "%d %d", MON_NETNS_PORT_LOW, MON_NETNS_PORT_HIGH);
	result = write_proc("/proc/sys/net/ipv4/ip_local_port_range", range, err);
	if (result)
		return result;
	/* Whatever the host has as its default: a service is an end, and its link is one's own. */
	(void)write_proc("/proc/sys/net/ipv4/conf/all/forwarding", "0", NULL);
	(void)write_proc("/proc/sys/net/ipv6/conf/default/disable_ipv6", "0", NULL);
	(void)write_proc("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0", NULL);
	fds[FD_QUEUE] = mon_tun_queue(tun, err);
	if (fds[FD_QUEUE] < 0)
		return fds[FD_QUEUE];
	*index = (int)if_nametoindex(tun->ifname);
	return set_up_links(tun, *index, err);
}

static int make(const struct warren_priv_tun *tun, int fds[FDS], int *index,
		struct warren_err *err)
{
	int back = open_namespace(err), result;

	if (back < 0)
		return back;
	if (unshare(CLONE_NEWNET) == -1) {
		result = wpriv_refuse(err, -errno, "cannot make a network namespace: %s%s",
				      strerror(errno), errno == EPERM ?
				      ": CAP_SYS_ADMIN is missing" : "");
		auto_close(&back);
		return result;
	}
	result = fill(tun, fds, index, err);
	mon_netns_leave(back);
	return result;
}

int mon_netns_tun(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		  struct warren_err *err)
{
	const struct warren_priv_tun *item = req->items;
	union mon_what what = { .netns = { .req = *item } };
	int fds[FDS] = { -1, -1 }, result;
	struct mon_thing *thing;

	if (find(mon))
		return wpriv_refuse(err, -EBUSY, "there is a service namespace already");
	result = make(item, fds, &what.netns.index, err);
	thing = result ? NULL : mon_thing_new(&mon->things, MON_NETNS, req->owner, &what);
	if (!result && !thing)
		result = wpriv_refuse(err, -ENOMEM, "no room for a service namespace");
	if (result) {
		for (int i = 0; i < FDS; i++)
			auto_close(&fds[i]);
		return result;
	}
	memcpy(thing->fds, fds, sizeof(fds));
	thing->n_fds = FDS;
	reply->fds[0] = fds[FD_QUEUE];
	reply->n_fds = 1;
	reply->handle = thing->id;
	reply->value = what.netns.index;
	return 0;
}

void mon_netns_end(const struct mon_thing *thing)
{
	struct mon_netlink nl;
	int back;

	if (thing->n_fds != FDS)
		return;
	back = open_namespace(NULL);
	if (back < 0)
		return;
	if (setns(thing->fds[FD_NAMESPACE], CLONE_NEWNET) == -1) {
		auto_close(&back);
		return;
	}
	if (mon_netlink_open(&nl, NULL) == 0) {
		(void)mon_netlink_unlink(&nl, thing->what.netns.index);
		mon_netlink_close(&nl);
	}
	mon_netns_leave(back);
}
