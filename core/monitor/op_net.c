/*
 * ADDR, ROUTE, RULE: transactions.
 *
 * A transaction is planned first, against the register and without touching anything; then what
 * it adds is written to the journal in one go; then the steps are done in order. When one fails,
 * those before it are taken back in reverse order, so the whole is applied or nothing.
 *
 * An item that is there already with the same content is asked of the kernel all the same: after
 * an engine's death, or when somebody has flushed, the register knows more than the kernel.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "monitor/monitor.h"
#include "monitor/op.h"
#include "monitor/undo.h"
#include "priv/check.h"

enum step_kind { STEP_NONE, STEP_ADD, STEP_AGAIN, STEP_REPLACE, STEP_DEL, STEP_LINK };

struct step {
	enum step_kind kind;
	struct mon_thing *thing;
	union {				/* what to go back to */
		struct warren_priv_route route;	/* REPLACE */
		struct { uint32_t mtu, up; } link;
	} old;
};

struct transaction {
	struct mon *mon;
	const struct mon_request *req;
	struct step *steps;
	size_t count;			/* planned */
};

static size_t item_size(uint32_t op)
{
	return op == WARREN_OP_ADDR ? sizeof(struct warren_priv_addr) :
	       op == WARREN_OP_ROUTE ? sizeof(struct warren_priv_route) :
				       sizeof(struct warren_priv_rule);
}

static const void *item_at(const struct transaction *t, size_t i)
{
	return (const char *)t->req->items + i * item_size(t->req->op);
}

static const char *describe(uint32_t op, const void *item, struct str *out)
{
	const struct warren_priv_addr *addr = item;
	const struct warren_priv_route *route = item;
	const struct warren_priv_rule *rule = item;
	char text[PREFIX_TEXT];

	if (op == WARREN_OP_ADDR && addr->verb == WARREN_LINK_SET)
		str_addf(out, "interface %s", addr->ifname);
	else if (op == WARREN_OP_ADDR)
		str_addf(out, "address %s on %s", prefix_format(&addr->prefix, text), addr->ifname);
	else if (op == WARREN_OP_ROUTE)
		str_addf(out, "route %s in table %u", prefix_format(&route->dst, text),
			 route->table);
	else
		str_addf(out, "IPv%u rule %u", rule->family, rule->pref);
	return str_text(out);
}

/*
 * ---- The kernel's part ----
 */

static int tun_index(const struct mon *mon, const char *ifname, struct warren_err *err)
{
	const struct mon_thing *tun = mon_thing_tun(&mon->things, ifname);

	if (!tun)
		return wpriv_refuse(err, -ENODEV, "%s is not an interface that we made", ifname);
	return tun->what.tun.index;
}

int mon_net_change(struct mon *mon, enum mon_change how, uint32_t kind,
		   const union mon_what *what, struct warren_err *err)
{
	const char *ifname = NULL;
	int index = 0;

	if (kind == MON_RULE)
		return mon_netlink_rule(&mon->netlink, how, &what->rule, err);
	if (kind == MON_ADDR)
		ifname = what->addr.ifname;
	else if (how != MON_DEL && what->route.type == WARREN_ROUTE_UNICAST)
		ifname = what->route.ifname;
	if (ifname) {
		index = tun_index(mon, ifname, err);
		if (index < 0)
			return index;
	}
	if (kind == MON_ADDR)
		return mon_netlink_addr(&mon->netlink, how, index, &what->addr, err);
	return mon_netlink_route(&mon->netlink, how, index, &what->route, err);
}

bool mon_net_gone(int result)
{
	return result == -ESRCH || result == -ENOENT || result == -EADDRNOTAVAIL ||
	       result == -ENODEV;
}

static int set_link(struct mon *mon, struct mon_thing *tun, uint32_t mtu, uint32_t up,
		    struct warren_err *err)
{
	int result = mon_netlink_link(&mon->netlink, tun->what.tun.index, mtu, up, err);

	if (result)
		return result;
	if (mtu != 0)
		tun->what.tun.req.mtu = mtu;
	if (up != 0)
		tun->what.tun.up = up;
	return 0;
}

/*
 * ---- Planning ----
 */

static int plan_del(struct transaction *t, struct step *step, struct mon_thing *found,
		    struct warren_err *err)
{
	if (!found || strcmp(found->owner, t->req->owner) != 0)
		return wpriv_refuse(err, -ENOENT, "it is not one that %s has added", t->req->owner);
	*step = (struct step){ .kind = t->mon->engine.stopping && found->shuts ? STEP_NONE :
										 STEP_DEL,
			       .thing = found };
	return 0;
}

static bool same_route(const struct warren_priv_route *a, const struct warren_priv_route *b)
{
	return a->type == b->type && a->stays == b->stays && strcmp(a->ifname, b->ifname) == 0 &&
	       addr_equal(&a->source, &b->source);
}

static int check_tun(struct mon *mon, uint32_t kind, const union mon_what *what,
		     struct warren_err *err)
{
	const struct mon_thing *tun;

	if (kind == MON_RULE || (kind == MON_ROUTE && what->route.type != WARREN_ROUTE_UNICAST))
		return 0;
	tun = mon_thing_tun(&mon->things, kind == MON_ADDR ? what->addr.ifname :
							     what->route.ifname);
	if (tun && tun->claimed)
		return 0;
	return wpriv_refuse(err, -ENODEV, "the interface is not one that we made");
}

static int plan_add(struct transaction *t, struct step *step, uint32_t kind,
		    struct mon_thing *found, const union mon_what *what, struct warren_err *err)
{
	int result = check_tun(t->mon, kind, what, err);

	if (result)
		return result;
	if (found && found->claimed && strcmp(found->owner, t->req->owner) != 0)
		return wpriv_refuse(err, -EEXIST, "plugin %s has added it already", found->owner);
	if (found && kind == MON_ROUTE && !same_route(&found->what.route, &what->route)) {
		*step = (struct step){ .kind = STEP_REPLACE, .thing = found,
				       .old.route = found->what.route };
		/* The new content from here on, so that the journal gets it. */
		found->what.route = what->route;
		mon_journal_add(&t->mon->journal, found);
		return 0;
	}
	if (found) {
		*step = (struct step){ .kind = STEP_AGAIN, .thing = found };
		return 0;
	}
	found = mon_thing_new(&t->mon->things, kind, t->req->owner, what);
	if (!found)
		return wpriv_refuse(err, -ENOMEM, "no room for more than %d of all kinds",
				    MON_THINGS_MAX);
	mon_journal_add(&t->mon->journal, found);
	*step = (struct step){ .kind = STEP_ADD, .thing = found };
	return 0;
}

static int plan_link(struct transaction *t, struct step *step, const char *ifname,
		     struct warren_err *err)
{
	struct mon_thing *tun = mon_thing_tun(&t->mon->things, ifname);

	if (!tun || !tun->claimed)
		return wpriv_refuse(err, -ENODEV, "%s is not an interface that we made", ifname);
	*step = (struct step){ .kind = STEP_LINK, .thing = tun,
			       .old.link = { tun->what.tun.req.mtu, tun->what.tun.up } };
	return 0;
}

static int plan(struct transaction *t, size_t i, struct warren_err *err)
{
	union mon_what what = { 0 };
	struct step *step = &t->steps[i];
	struct mon_thing *found;
	uint32_t kind, verb;
	int result;

	memcpy(&what, item_at(t, i), item_size(t->req->op));
	/* All three begin with their verb. */
	verb = what.addr.verb;
	switch (t->req->op) {
	case WARREN_OP_ADDR:
		if (verb == WARREN_LINK_SET)
			return plan_link(t, step, what.addr.ifname, err);
		kind = MON_ADDR;
		break;
	case WARREN_OP_ROUTE:
		kind = MON_ROUTE;
		break;
	default:
		kind = MON_RULE;
		break;
	}
	found = mon_thing_find(&t->mon->things, kind, &what);
	if (found && found->step != 0) {
		/* Removed and added again, as who compares two states may put it: a replacement. */
		if (t->steps[found->step - 1].kind != STEP_DEL)
			return wpriv_refuse(err, -EINVAL, "it occurs twice in one transaction");
		t->steps[found->step - 1].kind = STEP_NONE;
	}
	if (verb == (kind == MON_ADDR ? (uint32_t)WARREN_ADDR_DEL : (uint32_t)WARREN_ROUTE_DEL))
		result = plan_del(t, step, found, err);
	else
		result = plan_add(t, step, kind, found, &what, err);
	if (!result)
		step->thing->step = (uint32_t)i + 1;
	return result;
}

/*
 * ---- Doing ----
 */

static int apply(struct transaction *t, size_t i, struct warren_err *err)
{
	const struct warren_priv_addr *addr = item_at(t, i);
	struct step *step = &t->steps[i];
	struct mon *mon = t->mon;
	int result = 0;

	switch (step->kind) {
	case STEP_NONE:
		return 0;
	case STEP_ADD:
		return mon_net_change(mon, MON_ADD, step->thing->kind, &step->thing->what, err);
	case STEP_AGAIN:
		result = mon_net_change(mon, MON_ADD, step->thing->kind, &step->thing->what, NULL);
		if (result == -EEXIST)
			return 0;
		return result ? wpriv_refuse(err, result, "%s", strerror(-result)) : 0;
	case STEP_REPLACE:
		return mon_net_change(mon, MON_REPLACE, MON_ROUTE, &step->thing->what, err);
	case STEP_DEL:
		result = mon_net_change(mon, MON_DEL, step->thing->kind, &step->thing->what, NULL);
		if (result == 0 || mon_net_gone(result))
			return 0;
		return wpriv_refuse(err, result, "%s", strerror(-result));
	case STEP_LINK:
		return set_link(mon, step->thing, addr->mtu, addr->up, err);
	}
	return result;
}

/* Takes back one step that was done; what cannot be taken back is told. */
static void revert(struct transaction *t, struct step *step)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	struct mon *mon = t->mon;
	int result = 0;

	switch (step->kind) {
	case STEP_ADD:
		result = mon_net_change(mon, MON_DEL, step->thing->kind, &step->thing->what, &err);
		break;
	case STEP_NONE:
	case STEP_AGAIN:
		break;
	case STEP_REPLACE:
		result = mon_net_change(mon, MON_REPLACE, MON_ROUTE,
					&(union mon_what){ .route = step->old.route }, &err);
		break;
	case STEP_DEL:
		result = mon_net_change(mon, MON_ADD, step->thing->kind, &step->thing->what, &err);
		break;
	case STEP_LINK:
		result = set_link(mon, step->thing, step->old.link.mtu,
				  step->old.link.up ? step->old.link.up : 2, &err);
		break;
	}
	if (result && !mon_net_gone(result))
		mon_log(LOG_ERR, "cannot take back a %s after a failure: %s",
			mon_kind_name(step->thing->kind), err_first(&err));
}

static void settle_step(struct transaction *t, const struct step *step, bool done)
{
	struct mon_thing *thing = step->thing;

	switch (step->kind) {
	case STEP_NONE:
	case STEP_LINK:
		return;
	case STEP_REPLACE:
		if (!done) {
			thing->what.route = step->old.route;
			mon_journal_add(&t->mon->journal, thing);
			return;
		}
		break;
	case STEP_ADD:
	case STEP_DEL:
		if (done != (step->kind == STEP_ADD)) {
			mon_journal_del(&t->mon->journal, thing);
			mon_thing_free(&t->mon->things, thing);
			return;
		}
		break;
	case STEP_AGAIN:
		break;
	}
	if (done) {
		thing->claimed = true;
		str_copy(thing->owner, sizeof(thing->owner), t->req->owner);
	}
}

/* @done: the steps were applied; else all of them were taken back. */
static void settle(struct transaction *t, bool done)
{
	for (size_t i = 0; i < t->count; i++)
		t->steps[i].thing->step = 0;
	for (size_t i = t->count; i-- > 0;)
		settle_step(t, &t->steps[i], done);
	/* Only a replacement that was taken back leaves something to write. */
	(void)mon_journal_flush(&t->mon->journal, NULL);
}

/* Plans all items and writes the journal; *@at is the item at fault. */
static int prepare(struct transaction *t, size_t *at, struct warren_err *why)
{
	int result = 0;

	/* Once, and not for each item: there may be as many as there are things. */
	if (t->mon->engine.stopping)
		mon_undo_note_stays(t->mon);
	for (; t->count < t->req->count; t->count++) {
		*at = t->count;
		result = plan(t, t->count, why);
		if (result) {
			str_free(&t->mon->journal.pending);
			break;
		}
	}
	if (!result)
		result = mon_journal_flush(&t->mon->journal, why);
	for (size_t i = 0; result && i < t->count; i++) {
		/* What never got into the journal need not be taken out of it. */
		if (t->steps[i].kind == STEP_ADD)
			t->steps[i].thing->journaled = false;
	}
	return result;
}

int mon_op_net(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
	       struct warren_err *err)
{
	AUTO(auto_free) struct step *steps = calloc(req->count, sizeof(*steps));
	struct transaction t = { .mon = mon, .req = req, .steps = steps };
	AUTO(err_free) struct warren_err why = ERR_INIT;
	AUTO(str_free) struct str name = STR_INIT;
	size_t at = 0;
	int result;

	(void)reply;
	if (!steps)
		return wpriv_refuse(err, -ENOMEM, "no memory for %zu items", req->count);
	result = prepare(&t, &at, &why);
	if (!result) {
		for (at = 0; at < t.count && !result; at += !result)
			result = apply(&t, at, &why);
		for (size_t k = at; result && k-- > 0;)
			revert(&t, &steps[k]);
	}
	settle(&t, result == 0);
	if (result)
		wpriv_refuse(err, result, "%s: %s", describe(req->op, item_at(&t, at), &name),
			     err_first(&why));
	return result;
}
