/*
 * TUN: the interface and its queues.
 *
 * The monitor holds a copy of each queue, so the interface outlives an engine that dies. Until the
 * next one asks, all queues but the first are detached: the kernel then puts packets into a queue
 * that nobody reads, where they are dropped, instead of sending them elsewhere. An interface
 * without an owner may be attached to by any local user; owner root, set before it is up, and a
 * count of the queues close that door.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "monitor/monitor.h"
#include "monitor/netns.h"
#include "monitor/op.h"
#include "monitor/undo.h"
#include "priv/check.h"

/* Declared by <net/if.h>, which cannot be included together with <linux/if.h>. */
unsigned int if_nametoindex(const char *name);

int mon_tun_queue(const struct warren_priv_tun *req, struct warren_err *err)
{
	AUTO(auto_close) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI };

	if (fd == -1)
		return wpriv_refuse(err, -errno, "cannot open /dev/net/tun: %s%s", strerror(errno),
				    errno == ENOENT
					    ? ": load the module tun, or give the container "
					      "this device"
					    : "");
	if (req->flags & WARREN_TUN_VNET_HDR)
		ifr.ifr_flags |= IFF_VNET_HDR;
	if (req->flags & WARREN_TUN_MULTI_QUEUE)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	str_copy(ifr.ifr_name, sizeof(ifr.ifr_name), req->ifname);
	if (ioctl(fd, TUNSETIFF, &ifr) == -1)
		return wpriv_refuse(err, -errno, "cannot make interface %s: %s", req->ifname,
				    strerror(errno));
	if (ioctl(fd, TUNSETOWNER, 0UL) == -1)
		return wpriv_refuse(err, -errno, "cannot own interface %s: %s", req->ifname,
				    strerror(errno));
	return TAKE_FD(fd);
}

static void close_queues(int *fds, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		auto_close(&fds[i]);
}

/* Opens all queues and finds the interface's index; on failure nothing is left open. */
static int open_queues(struct mon *mon, struct mon_tun *tun, int *fds, struct warren_err *err)
{
	uint32_t n = 0;
	int queues, result;

	while (n < tun->req.queues) {
		fds[n] = mon_tun_queue(&tun->req, err);
		if (fds[n] < 0) {
			result = fds[n];
			goto fail;
		}
		n++;
	}
	tun->index = (int)if_nametoindex(tun->req.ifname);
	if (tun->index == 0) {
		result = wpriv_refuse(err, -ENODEV, "interface %s vanished", tun->req.ifname);
		goto fail;
	}
	queues = mon_netlink_tun_queues(&mon->netlink, tun->index);
	if (queues >= 0 && queues != (int)n) {
		result = wpriv_refuse(err, -EBUSY, "somebody else has attached to interface %s",
				      tun->req.ifname);
		goto fail;
	}
	return 0;
fail:
	close_queues(fds, n);
	return result;
}

static int set_up(struct mon *mon, const struct mon_tun *tun, struct warren_err *err)
{
	AUTO(err_free) struct warren_err why = ERR_INIT;
	int result;

	/* Nobody answers router solicitations there. Without IPv6 it fails, and is not needed. */
	(void)mon_netlink_no_autoconf(&mon->netlink, tun->index);
	if (tun->req.mtu == 0)
		return 0;
	result = mon_netlink_link(&mon->netlink, tun->index, tun->req.mtu, 0, &why);
	if (result)
		return wpriv_refuse(err, result, "cannot set MTU %u of %s: %s", tun->req.mtu,
				    tun->req.ifname, err_first(&why));
	return 0;
}

static int make(struct mon *mon, const struct mon_request *req, struct mon_thing **made,
		struct warren_err *err)
{
	const struct warren_priv_tun *item = req->items;
	union mon_what what = { .tun = { .req = *item } };
	struct mon_thing *thing;
	int result;

	if (if_nametoindex(item->ifname) != 0)
		return wpriv_refuse(err, -EEXIST,
				    "there is an interface %s already, and it is not ours: "
				    "remove it (ip link del %s) or choose another name",
				    item->ifname, item->ifname);
	thing = mon_thing_new(&mon->things, MON_TUN, req->owner, &what);
	if (!thing)
		return wpriv_refuse(err, -ENOMEM, "no room for another interface");
	mon_journal_add(&mon->journal, thing);
	result = mon_journal_flush(&mon->journal, err);
	if (result) {
		mon_thing_free(&mon->things, thing);
		return result;
	}
	result = open_queues(mon, &thing->what.tun, thing->fds, err);
	if (result == 0) {
		thing->n_fds = item->queues;
		result = set_up(mon, &thing->what.tun, err);
	}
	if (result) {
		mon_undo(mon, thing);
		return result;
	}
	*made = thing;
	return 0;
}

static int attach(struct mon_thing *thing, bool attached)
{
	struct ifreq ifr = {
		.ifr_flags = (short)(attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE),
	};

	if (!(thing->what.tun.req.flags & WARREN_TUN_MULTI_QUEUE))
		return 0;
	for (uint32_t i = 1; i < thing->n_fds; i++) {
		/* EINVAL: it is in that state already, as after an engine that died twice. */
		if (ioctl(thing->fds[i], TUNSETQUEUE, &ifr) == -1 && errno != EINVAL)
			return -errno;
	}
	return 0;
}

void mon_tun_hold(struct mon_thing *thing)
{
	int result = attach(thing, false);

	if (result)
		mon_log(LOG_WARNING, "cannot detach queues of %s: %s", thing->what.tun.req.ifname,
			strerror(-result));
}

/* The interface that was held for this request, its queues attached again; NULL: there is none. */
static struct mon_thing *claim(struct mon *mon, const struct warren_priv_tun *item)
{
	struct mon_thing *thing = mon_thing_tun(&mon->things, item->ifname);

	if (!thing || thing->claimed)
		return NULL;
	if (thing->what.tun.req.flags == item->flags && thing->n_fds == item->queues &&
	    (int)if_nametoindex(item->ifname) == thing->what.tun.index &&
	    attach(thing, true) == 0) {
		thing->claimed = true;
		thing->what.tun.req.mtu = item->mtu;
		if (set_up(mon, &thing->what.tun, NULL) == 0)
			return thing;
	}
	mon_undo(mon, thing);
	return NULL;
}

int mon_op_tun(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
	       struct warren_err *err)
{
	const struct warren_priv_tun *item = req->items;
	struct mon_thing *thing;
	int result;

	if (item->namespace_ == WARREN_NS_SERVICE)
		return mon_netns_tun(mon, req, reply, err);
	thing = claim(mon, item);
	if (!thing && mon_thing_tun(&mon->things, item->ifname))
		return wpriv_refuse(err, -EBUSY, "interface %s is open already", item->ifname);
	if (!thing) {
		result = make(mon, req, &thing, err);
		if (result)
			return result;
	} else {
		mon_log(LOG_NOTICE, "interface %s was kept and is handed out again", item->ifname);
	}
	str_copy(thing->owner, sizeof(thing->owner), req->owner);
	memcpy(reply->fds, thing->fds, sizeof(reply->fds));
	reply->n_fds = thing->n_fds;
	reply->handle = thing->id;
	reply->value = thing->what.tun.index;
	return 0;
}
