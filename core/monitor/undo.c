/*
 * Taking back.
 *
 * Newest first, so that routes go before the addresses and the interface that they need. What the
 * kernel does not have any more is as good as taken back.
 */
#include "monitor/undo.h"

#include <string.h>

#include "base/addr.h"
#include "base/util.h"
#include "monitor/monitor.h"
#include "monitor/netns.h"
#include "monitor/op.h"

/* With an interface go its addresses and routes: the kernel has dropped them. */
static void forget_interface(struct mon *mon, const char *ifname)
{
	struct mon_thing *thing, *next;

	list_for_each_safe(thing, next, &mon->things.all, node) {
		const char *name = thing->kind == MON_ADDR ? thing->what.addr.ifname :
				   thing->kind == MON_ROUTE ? thing->what.route.ifname :
				   thing->kind == MON_SYSCTL ? thing->what.sysctl.req.ifname : "";

		if (strcmp(name, ifname) == 0) {
			mon_journal_del(&mon->journal, thing);
			mon_thing_free(&mon->things, thing);
		}
	}
}

static void undo_net(struct mon *mon, const struct mon_thing *thing)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	int result = mon_net_change(mon, MON_DEL, thing->kind, &thing->what, &err);

	if (result && !mon_net_gone(result))
		mon_log(LOG_WARNING, "cannot remove a %s of %s: %s", mon_kind_name(thing->kind),
			thing->owner, err_first(&err));
}

void mon_undo(struct mon *mon, struct mon_thing *thing)
{
	switch ((enum mon_kind)thing->kind) {
	case MON_TUN:
		/* Without descriptors it comes from a journal, and died with its processes. */
		if (thing->n_fds > 0) {
			(void)mon_netlink_unlink(&mon->netlink, thing->what.tun.index);
			forget_interface(mon, thing->what.tun.req.ifname);
		}
		break;
	case MON_SOCKET:
		mon->nft.stale = true;	/* closing is all, but its port may be open */
		break;
	case MON_WATCH:
		mon_watch_end(mon, thing);
		break;
	case MON_ADDR:
	case MON_ROUTE:
	case MON_RULE:
		undo_net(mon, thing);
		break;
	case MON_SYSCTL:
		mon_sysctl_restore(&thing->what.sysctl);
		break;
	case MON_PATH:
		mon_path_remove(&thing->what.path);
		break;
	case MON_NFT:
		mon_nft_close_way(mon, &thing->what.nft);
		mon_nft_end(mon, &thing->what.nft);
		break;
	case MON_MARK:
		mon_nft_unmark(mon, &thing->what.mark);
		break;
	case MON_NETNS:
		mon_netns_end(thing);
		break;
	case MON_RESOLVER:
		mon_resolver_restore(mon, &thing->what.resolver);
		break;
	}
	mon_journal_del(&mon->journal, thing);
	mon_thing_free(&mon->things, thing);
}

/*
 * Undoes, newest first, the things that @test picks. Undoing an interface frees others, so the
 * walk starts again at the end each time; those that stay are marked by @test itself.
 */
static void undo_if(struct mon *mon, bool (*test)(const struct mon_thing *, const char *),
		    const char *arg)
{
	struct list *at = mon->things.all.prev;

	while (at != &mon->things.all) {
		struct mon_thing *thing = list_entry(at, struct mon_thing, node);
		bool interface = thing->kind == MON_TUN;

		at = at->prev;
		if (!test(thing, arg))
			continue;
		mon_undo(mon, thing);
		if (interface)
			at = mon->things.all.prev;
	}
}

static bool of_owner(const struct mon_thing *thing, const char *owner)
{
	return thing->claimed && strcmp(thing->owner, owner) == 0;
}

static bool of_owner_open(const struct mon_thing *thing, const char *owner)
{
	return of_owner(thing, owner) && !thing->shuts;
}

static bool unclaimed(const struct mon_thing *thing, const char *arg)
{
	(void)arg;
	return !thing->claimed;
}

static bool any(const struct mon_thing *thing, const char *arg)
{
	(void)thing;
	(void)arg;
	return true;
}

/* What the engine asked for; the control socket is the monitor's own and has no owner. */
static bool of_engine(const struct mon_thing *thing)
{
	return thing->owner[0] != '\0';
}

static bool dies_with_engine(const struct mon_thing *thing, const char *arg)
{
	(void)arg;
	return of_engine(thing) &&
	       (thing->kind == MON_WATCH || thing->kind == MON_NETNS ||
		((thing->kind == MON_PATH || thing->kind == MON_SOCKET) && thing->n_fds == 0));
}

/* An unreachable default route, which is there for nothing else. */
static bool is_shutter(const struct mon_thing *thing, uint32_t family)
{
	return thing->kind == MON_ROUTE && thing->what.route.type == WARREN_ROUTE_UNREACHABLE &&
	       thing->what.route.dst.bits == 0 && thing->what.route.dst.addr.family == family;
}

static bool opens(const struct mon_thing *thing, const char *arg)
{
	(void)arg;
	return !thing->shuts;
}

/*
 * Notes of each thing whether it has a part in what shuts the way; with @stopped only routes count
 * that are to stay after a stop. Returns whether anything has.
 */
static bool note_shut(struct mon *mon, bool stopped)
{
	bool shut[2] = { false, false };
	struct mon_thing *thing;

	list_for_each(thing, &mon->things.all, node) {
		bool counts = thing->kind == MON_ROUTE &&
			      (!stopped || thing->what.route.stays == 1);

		shut[0] = shut[0] || (counts && is_shutter(thing, 4));
		shut[1] = shut[1] || (counts && is_shutter(thing, 6));
	}
	list_for_each(thing, &mon->things.all, node) {
		if (thing->kind == MON_RULE)
			thing->shuts = shut[thing->what.rule.family == 6];
		else if (thing->kind == MON_ROUTE)
			thing->shuts = shut[thing->what.route.dst.addr.family == 6] &&
				       thing->what.route.type != WARREN_ROUTE_UNICAST;
	}
	return shut[0] || shut[1];
}

bool mon_undo_open(struct mon *mon, bool stopped)
{
	bool shut = note_shut(mon, stopped);

	undo_if(mon, opens, NULL);
	return shut;
}

void mon_undo_note_stays(struct mon *mon)
{
	struct mon_thing *thing;

	list_for_each(thing, &mon->things.all, node)
		thing->shuts = false;
	if (mon->engine.stopping)
		(void)note_shut(mon, true);
}

void mon_undo_owner(struct mon *mon, const char *owner)
{
	struct mon_thing *thing;

	list_for_each(thing, &mon->things.all, node) {
		bool kept = thing->n_fds > 0 &&
			    (thing->kind == MON_SOCKET || thing->kind == MON_PATH);

		if (kept && of_owner(thing, owner))
			thing->claimed = false;
	}
	mon_undo_note_stays(mon);
	undo_if(mon, of_owner_open, owner);
}

void mon_hold(struct mon *mon)
{
	struct mon_thing *thing;

	undo_if(mon, dies_with_engine, NULL);
	list_for_each(thing, &mon->things.all, node) {
		if (!of_engine(thing))
			continue;
		thing->claimed = false;
		if (thing->kind == MON_TUN)
			mon_tun_hold(thing);
	}
}

void mon_undo_unclaimed(struct mon *mon)
{
	undo_if(mon, unclaimed, NULL);
}

void mon_undo_all(struct mon *mon)
{
	undo_if(mon, any, NULL);
}
