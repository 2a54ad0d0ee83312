/*
 * NFT: the packet filter that the engine wants, and its life among others.
 *
 * The request is the whole of what is wanted; it replaces our table in one batch. Then the chains
 * of others are looked through, and again each time somebody else has changed rules: our rule is
 * put where it is missing. A chain is written to the journal before it gets one, so that it is
 * found again after a crash; the table needs no entry for that, the kernel removes it with our
 * socket. The kernel's notifications end with the change's author, so our own changes are told
 * from others'.
 * Source: firewall-cooperation.md 3, 6, 7.
 */
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "monitor/monitor.h"
#include "monitor/op.h"
#include "monitor/undo.h"
#include "priv/check.h"

enum {
	/* microseconds */
	SETTLE = 10000,			/* between a foreign change and the look */
	PAUSE = 50000,			/* between two looks, while changes follow each other */
	WINDOW = 60000000,
	DUEL_PAUSE = 2000000,		/* between two looks, when somebody keeps at it */

	REPAIRS_MAX = 20,		/* in a window; then DUEL_PAUSE */
	TRIES = 5,			/* while rules change during the look */
	EVENT_BUFFER = 8 << 20,
	LEGACY_MAX = 2,
	LEGACY_PERIOD = 10000000,	/* between looks */
};

static struct nft_marks marks_of(const struct mon *mon)
{
	const struct wpriv_limits *limits = &mon->config->limits;

	return (struct nft_marks){ limits->mark_subnet, limits->mark_mask };
}

/*
 * ---- Ports ----
 */

static void add_port(struct nft_port *ports, size_t *n, uint8_t protocol, uint16_t port)
{
	for (size_t i = 0; i < *n; i++) {
		if (ports[i].protocol == protocol && ports[i].port == port)
			return;
	}
	if (*n < MON_NFT_PORTS)
		ports[(*n)++] = (struct nft_port){ protocol, port };
}

/* Those that the operator names, and those of our own sockets that are for everybody. */
static size_t list_ports(const struct mon *mon, const struct warren_priv_nft *items, size_t n_items,
			 struct nft_port *ports)
{
	const struct mon_thing *thing;
	size_t n = 0;

	list_for_each(thing, &mon->things.all, node) {
		const struct mon_socket *socket = &thing->what.socket;

		if (thing->kind == MON_SOCKET && socket->req.flags & WARREN_SOCK_OPEN)
			add_port(ports, &n, IPPROTO_UDP, socket->port);
	}
	for (size_t i = 0; i < n_items; i++) {
		if (items[i].kind == WARREN_NFT_OPEN)
			add_port(ports, &n, items[i].protocol, items[i].port);
	}
	return n;
}

/* A port is opened only if the operator wrote it: "udp/3478". */
static int check_open(const struct mon_request *req, struct warren_err *err)
{
	const struct warren_priv_nft *items = req->items;

	for (size_t i = 0; i < req->count; i++) {
		const struct ytree_node *node;
		char text[16];

		if (items[i].kind != WARREN_NFT_OPEN)
			continue;
		snprintf(text, sizeof(text), "%s/%u",
			 items[i].protocol == IPPROTO_TCP ? "tcp" : "udp", items[i].port);
		node = mon_config_scalar(req->config, "router.firewall.open", items[i].index, NULL,
					 NULL);
		if (!node || !str_equal(node->text, text))
			return wpriv_refuse(err, -EPERM, "%s does not stand in router.firewall.open"
					    " of the files", text);
	}
	return 0;
}

/* The stock range where it cannot be read. */
static void read_own_ports(struct nft_want *want)
{
	AUTO(auto_close) int fd = open("/proc/sys/net/ipv4/ip_local_port_range",
				       O_RDONLY | O_CLOEXEC);
	char text[32] = "";

	want->own_first = 32768;
	want->own_last = 60999;
	if (fd != -1 && read(fd, text, sizeof(text) - 1) > 0)
		(void)sscanf(text, "%hu %hu", &want->own_first, &want->own_last);
}

static int apply(struct mon *mon, const struct warren_priv_nft *items, size_t n_items, bool replace,
		 struct warren_err *err)
{
	struct nft_port ports[MON_NFT_PORTS];
	struct nft_want want = {
		.items = items, .n_items = n_items, .ports = ports,
		.n_ports = list_ports(mon, items, n_items, ports), .marks = marks_of(mon),
		.bypass = mon->config->limits.mark_bypass,
	};
	int result;

	read_own_ports(&want);
	result = nft_table_apply(&mon->nft.kernel, &want, replace, err);
	if (result)
		return result;
	memcpy(mon->nft.ports, ports, sizeof(ports));
	mon->nft.n_ports = want.n_ports;
	mon->nft.stale = false;
	return 0;
}

/* Sockets came or went: the table follows if that is to be seen in it. */
static void follow_ports(struct mon *mon)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	struct mon_nft *nft = &mon->nft;
	struct nft_port ports[MON_NFT_PORTS];
	size_t n;

	nft->stale = false;
	if (!nft->items)
		return;
	n = list_ports(mon, nft->items, nft->n_items, ports);
	if (n == nft->n_ports && memcmp(ports, nft->ports, n * sizeof(ports[0])) == 0)
		return;
	if (apply(mon, nft->items, nft->n_items, true, &err))
		mon_log(LOG_WARNING, "a port cannot be opened: %s", err_first(&err));
}

/*
 * ---- The chains of others ----
 */

static struct mon_thing *find_mark(const struct mon *mon, const struct nft_place *place)
{
	struct mon_thing *thing;

	list_for_each(thing, &mon->things.all, node) {
		if (thing->kind == MON_MARK &&
		    thing->what.mark.place.family == place->family &&
		    strcmp(thing->what.mark.place.table, place->table) == 0 &&
		    strcmp(thing->what.mark.place.chain, place->chain) == 0)
			return thing;
	}
	return NULL;
}

static const char *owner_of_table(const struct mon *mon)
{
	const union mon_what none = { .route = { .verb = 0 } };
	const struct mon_thing *thing = mon_thing_find(&mon->things, MON_NFT, &none);

	return thing ? thing->owner : "";
}

/* In the journal first, then in the chain. */
static int insert(struct mon *mon, const struct nft_foreign *foreign,
		  const struct nft_foreign_chain *chain, bool *again)
{
	union mon_what what = { .mark = { .place = chain->place, .marks = marks_of(mon) } };
	struct mon_thing *thing = find_mark(mon, &chain->place);
	bool fresh = !thing;
	int result = 0;

	*again = !fresh;
	if (fresh) {
		thing = mon_thing_new(&mon->things, MON_MARK, owner_of_table(mon), &what);
		if (!thing)
			return -ENOMEM;
		mon_journal_add(&mon->journal, thing);
		result = mon_journal_flush(&mon->journal, NULL);
	}
	if (!result)
		result = nft_foreign_insert(&mon->nft.kernel, foreign, chain, &what.mark.marks);
	if (result && fresh) {
		mon_journal_del(&mon->journal, thing);
		mon_thing_free(&mon->things, thing);
	}
	return result;
}

/* Chains that have gone take our rules with them. */
static void forget_gone(struct mon *mon, const struct nft_foreign *foreign)
{
	struct mon_thing *thing, *next;

	list_for_each_safe(thing, next, &mon->things.all, node) {
		bool there = false;

		if (thing->kind != MON_MARK)
			continue;
		for (size_t i = 0; i < foreign->n && !there; i++)
			there = foreign->chains[i].mark_rule &&
				find_mark(mon, &foreign->chains[i].place) == thing;
		if (there)
			continue;
		mon_journal_del(&mon->journal, thing);
		mon_thing_free(&mon->things, thing);
	}
}

struct tally {
	uint32_t fresh, again;
};

/* One look. -ERESTART: rules changed meanwhile. */
static int look(struct mon *mon, struct nft_foreign *foreign, struct tally *tally)
{
	const struct warren_priv_nft *table = &mon->nft.items[0];
	const struct nft_want want = {
		.items = mon->nft.items, .n_items = mon->nft.n_items, .marks = marks_of(mon),
	};
	char own[NFT_TABLE_NAME];
	int result;

	nft_table_name(table->ifname, own);
	result = nft_foreign_look(&mon->nft.kernel, own, &want, foreign);
	for (size_t i = 0; !result && i < foreign->n; i++) {
		struct nft_foreign_chain *chain = &foreign->chains[i];
		bool again;
		int inserted;

		if (chain->mark_rule || !chain->wanted)
			continue;
		inserted = insert(mon, foreign, chain, &again);
		if (inserted == -ERESTART)
			return inserted;
		if (inserted) {
			mon_log(LOG_WARNING, "chain %s of table %s, which drops packets, takes no "
				"rule of ours: %s", chain->place.chain, chain->place.table,
				strerror(-inserted));
			continue;
		}
		chain->mark_rule = true;
		chain->told.state = WARREN_NFT_PASSES;
		*(again ? &tally->again : &tally->fresh) += 1;
		/* Our own change has made the number stale. */
		return -ERESTART;
	}
	return result;
}

static void signal_news(const struct mon_nft *nft)
{
	const uint64_t one = 1;

	/* It cannot be full: it was made for a counter of 64 bits. */
	if (nft->signal != -1 && write(nft->signal, &one, sizeof(one)) == -1)
		mon_log(LOG_WARNING, "cannot tell the engine about rules: %s", strerror(errno));
}

static void tell(struct mon *mon, const struct nft_foreign *foreign)
{
	struct mon_nft *nft = &mon->nft;
	struct warren_nft_chain *told = calloc(foreign->n + 1, sizeof(*told));
	bool same = told && foreign->n == nft->n_told && nft->repairs == nft->told_repairs;

	if (!told)
		return;
	for (size_t i = 0; i < foreign->n; i++) {
		told[i] = foreign->chains[i].told;
		same = same && memcmp(&told[i], &nft->told[i], sizeof(*told)) == 0;
	}
	free(nft->told);
	nft->told = told;
	nft->n_told = foreign->n;
	nft->told_repairs = nft->repairs;
	if (!same)
		signal_news(nft);
}

static void count_repairs(struct mon *mon, uint64_t now, uint32_t n)
{
	struct mon_nft *nft = &mon->nft;

	if (now - nft->window > WINDOW) {
		nft->window = now;
		nft->in_window = 0;
	}
	nft->repairs += n;
	if (nft->in_window < REPAIRS_MAX)
		mon_log(LOG_WARNING, "%s has removed our rule from %u chains of its packet filter: "
			"put back", nft->who[0] ? nft->who : "another program", n);
	if (++nft->in_window == REPAIRS_MAX)
		mon_log(LOG_ERR, "%s keeps removing our rule: from now on it is put back every 2 s",
			nft->who[0] ? nft->who : "another program");
}

static void check(struct mon *mon, uint64_t now)
{
	struct nft_foreign foreign = { .n = 0 };
	struct tally tally = { 0, 0 };
	int result = -ERESTART;

	/* Each rule that is put in costs a round: it goes where it was seen missing. */
	for (size_t tries = 0, before = 0; result == -ERESTART && tries < TRIES;
	     tries = tally.fresh + tally.again > before ? 0 : tries + 1) {
		before = tally.fresh + tally.again;
		nft_foreign_free(&foreign);
		result = look(mon, &foreign, &tally);
	}
	mon->nft.last = now;
	if (tally.again > 0)
		count_repairs(mon, now, tally.again);
	if (result) {
		/* Somebody is in the middle of it, or memory is short. */
		mon->nft.due = now + PAUSE;
	} else {
		forget_gone(mon, &foreign);
		tell(mon, &foreign);
	}
	nft_foreign_free(&foreign);
	if (tally.fresh > 0)
		mon_log(LOG_NOTICE, "%u chains of others drop packets: what we approve passes by "
			"a rule in each", tally.fresh);
}

/*
 * ---- Events ----
 */

static int open_events(struct mon_nft *nft, struct warren_err *err)
{
	const int group = NFNLGRP_NFTABLES, size = EVENT_BUFFER;

	if (nft->events)
		return 0;
	nft->events = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!nft->events || mnl_socket_bind(nft->events, 0, MNL_SOCKET_AUTOPID) == -1 ||
	    mnl_socket_setsockopt(nft->events, NETLINK_ADD_MEMBERSHIP, (void *)&group,
				  sizeof(group)) == -1) {
		int result = -errno;

		if (nft->events)
			mnl_socket_close(nft->events);
		nft->events = NULL;
		return wpriv_refuse(err, result, "cannot watch nftables: %s", strerror(-result));
	}
	(void)setsockopt(mnl_socket_get_fd(nft->events), SOL_SOCKET, SO_RCVBUFFORCE, &size,
			 sizeof(size));
	return 0;
}

int mon_nft_fd(const struct mon *mon)
{
	return mon->nft.events ? mnl_socket_get_fd(mon->nft.events) : -1;
}

static int see_author(const struct nlattr *attr, void *arg)
{
	char *who = arg;

	if (mnl_attr_get_type(attr) == NFTA_GEN_PROC_NAME &&
	    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0) {
		AUTO(str_free) struct str clean = STR_INIT;
		const char *name = mnl_attr_get_str(attr);

		str_add_clean(&clean, name, strlen(name), 15);
		(void)str_copy(who, sizeof(((struct mon_nft *)0)->who), str_text(&clean));
	}
	return MNL_CB_OK;
}

/* Notes what matters; the last message of a change says that it is complete. */
static void see_event(struct mon_nft *nft, const struct nlmsghdr *nlh)
{
	if (nlh->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || nlh->nlmsg_pid == nft->kernel.port)
		return;
	switch (nlh->nlmsg_type & 0xff) {
	case NFT_MSG_NEWTABLE:
	case NFT_MSG_DELTABLE:
	case NFT_MSG_NEWCHAIN:
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_NEWRULE:
	case NFT_MSG_DELRULE:
		nft->foreign = true;
		break;
	case NFT_MSG_NEWGEN:
		if (!nft->foreign)
			break;
		nft->foreign = false;
		nft->who[0] = '\0';
		mnl_attr_parse(nlh, sizeof(struct nfgenmsg), see_author, nft->who);
		if (nft->due == 0)
			nft->due = mon_now() + SETTLE;
		break;
	default:
		break;
	}
}

void mon_nft_read(struct mon *mon)
{
	struct mon_nft *nft = &mon->nft;
	char buf[32768];

	for (int i = 0; i < 256; i++) {
		ssize_t n = mnl_socket_recvfrom(nft->events, buf, sizeof(buf));
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf;
		int len = (int)n;

		/* Notifications were lost: anything may have happened. */
		if (n == -1 && errno == ENOBUFS && nft->due == 0)
			nft->due = mon_now() + SETTLE;
		if (n == -1 && errno == ENOBUFS)
			continue;
		if (n <= 0)
			return;
		for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len))
			see_event(nft, nlh);
	}
}

static bool has_legacy(const char *path)
{
	AUTO(auto_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char names[256] = "";

	return fd != -1 && read(fd, names, sizeof(names) - 1) > 0 && strstr(names, "filter\n");
}

/* Rules of iptables-legacy are outside of nftables: that there are some is all that is seen. */
static void look_for_legacy(struct mon_nft *nft, uint64_t now)
{
	bool before4 = nft->legacy4, before6 = nft->legacy6;

	nft->legacy4 = has_legacy("/proc/net/ip_tables_names");
	nft->legacy6 = has_legacy("/proc/net/ip6_tables_names");
	nft->legacy_due = now + LEGACY_PERIOD;	/* nothing tells of them */
	if (before4 != nft->legacy4 || before6 != nft->legacy6)
		signal_news(nft);
}

uint64_t mon_nft_tick(struct mon *mon, uint64_t now)
{
	struct mon_nft *nft = &mon->nft;
	uint64_t pause = now - nft->window <= WINDOW && nft->in_window >= REPAIRS_MAX ? DUEL_PAUSE :
										       PAUSE;

	if (nft->stale)
		follow_ports(mon);
	if (!nft->items)
		return 0;
	if (now >= nft->legacy_due)
		look_for_legacy(nft, now);
	if (nft->due != 0 && nft->due < nft->last + pause)
		nft->due = nft->last + pause;
	if (nft->due != 0 && now >= nft->due) {
		nft->due = 0;
		check(mon, now);
	}
	return mon_sooner(nft->due, nft->legacy_due);
}

/*
 * ---- End ----
 */

void mon_nft_unmark(struct mon *mon, const struct mon_mark *mark)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	int result = nft_open(&mon->nft.kernel, &err);

	if (!result)
		result = nft_foreign_remove(&mon->nft.kernel, &mark->place, &mark->marks);
	if (result)
		mon_log(LOG_WARNING, "our rule in chain %s of table %s cannot be removed: %s; it "
			"lets nothing through any more", mark->place.chain, mark->place.table,
			strerror(-result));
}

static void unmark_all(struct mon *mon)
{
	struct mon_thing *thing, *next;

	list_for_each_safe(thing, next, &mon->things.all, node) {
		if (thing->kind == MON_MARK)
			mon_undo(mon, thing);
	}
}

void mon_nft_end(struct mon *mon, const struct warren_priv_nft *table)
{
	struct mon_nft *nft = &mon->nft;
	int result;

	if (!nft->items)
		return;	/* from a journal: the kernel has removed it */
	result = nft_table_remove(&nft->kernel, table->ifname);
	if (result && result != -ENOENT)
		mon_log(LOG_WARNING, "our table of packet filter rules cannot be removed: %s",
			strerror(-result));
	free(nft->items);
	free(nft->told);
	nft->items = NULL;
	nft->told = NULL;
	nft->n_items = nft->n_told = nft->n_ports = 0;
	nft->due = 0;
	if (nft->events)
		mnl_socket_close(nft->events);
	nft->events = NULL;
}

void mon_nft_close_way(struct mon *mon, const struct warren_priv_nft *table)
{
	struct mon_thing *tun = mon_thing_tun(&mon->things, table->ifname);

	if (mon->nft.items && tun && tun->n_fds > 0 &&
	    mon_netlink_link(&mon->netlink, tun->what.tun.index, 0, 2, NULL) == 0)
		tun->what.tun.up = 2;
}

void mon_nft_free(struct mon *mon)
{
	struct mon_nft *nft = &mon->nft;

	free(nft->items);
	free(nft->told);
	if (nft->events)
		mnl_socket_close(nft->events);
	auto_close(&nft->signal);
	nft_close(&nft->kernel);
	*nft = (struct mon_nft){ .signal = -1 };
}

/*
 * ---- Requests ----
 */

static int prepare(struct mon_nft *nft, struct warren_err *err)
{
	int result = nft_open(&nft->kernel, err);

	if (!result && nft->signal == -1) {
		nft->signal = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (nft->signal == -1)
			result = wpriv_refuse(err, -errno, "eventfd: %s", strerror(errno));
	}
	return result ? result : open_events(nft, err);
}

/* The entry of the table, claimed for @req; *@fresh: it was not there. */
static struct mon_thing *claim(struct mon *mon, const struct mon_request *req,
			       struct mon_thing *found, struct warren_err *err)
{
	union mon_what what = { .nft = *(const struct warren_priv_nft *)req->items };
	struct mon_thing *thing = found;

	if (!thing)
		thing = mon_thing_new(&mon->things, MON_NFT, req->owner, &what);
	if (!thing) {
		wpriv_refuse(err, -ENOMEM, "no room for another table");
		return NULL;
	}
	thing->what.nft = what.nft;
	mon_journal_add(&mon->journal, thing);
	if (mon_journal_flush(&mon->journal, err)) {
		if (!found)
			mon_thing_free(&mon->things, thing);
		return NULL;
	}
	return thing;
}

/* The engine that asks takes over what was held for it. */
static void settle(struct mon *mon, struct mon_thing *thing, const char *owner)
{
	struct mon_thing *mark;

	thing->claimed = true;
	str_copy(thing->owner, sizeof(thing->owner), owner);
	list_for_each(mark, &mon->things.all, node) {
		if (mark->kind == MON_MARK) {
			mark->claimed = true;
			str_copy(mark->owner, sizeof(mark->owner), owner);
		}
	}
}

static int set_table(struct mon *mon, const struct mon_request *req, struct mon_thing *found,
		     struct warren_err *err)
{
	size_t size = req->count * sizeof(struct warren_priv_nft);
	struct warren_priv_nft *items = malloc(size);
	struct mon_nft *nft = &mon->nft;
	struct mon_thing *thing;
	int result;

	if (!items)
		return wpriv_refuse(err, -ENOMEM, "no memory for %zu items", req->count);
	memcpy(items, req->items, size);
	thing = claim(mon, req, found, err);
	result = thing ? prepare(nft, err) : -ENOSPC;
	if (!result)
		result = apply(mon, items, req->count, nft->items != NULL, err);
	if (result) {
		free(items);
		if (thing && !found)
			mon_undo(mon, thing);
		return result;
	}
	free(nft->items);
	nft->items = items;
	nft->n_items = req->count;
	settle(mon, thing, req->owner);
	if (items[0].mode < WARREN_NFT_APPEND)
		unmark_all(mon);
	check(mon, mon_now());
	return 0;
}

int mon_op_nft(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
	       struct warren_err *err)
{
	const struct warren_priv_nft *table = req->items;
	union mon_what what = { .nft = *table };
	struct mon_thing *found = mon_thing_find(&mon->things, MON_NFT, &what);
	int result = check_open(req, err);

	if (result)
		return result;
	if (found && found->claimed && strcmp(found->owner, req->owner) != 0)
		return wpriv_refuse(err, -EBUSY, "plugin %s has a table already", found->owner);
	if (found && (table->mode == WARREN_NFT_OFF ||
		      strcmp(found->what.nft.ifname, table->ifname) != 0)) {
		unmark_all(mon);
		mon_nft_end(mon, &found->what.nft);
		mon_journal_del(&mon->journal, found);
		mon_thing_free(&mon->things, found);
		found = NULL;
	}
	if (table->mode == WARREN_NFT_OFF)
		return 0;
	result = set_table(mon, req, found, err);
	if (result)
		return result;
	reply->fds[0] = mon->nft.signal;
	/* A monitor that is killed must not take the table before the engine lets the queue go. */
	reply->fds[1] = nft_owner_fd(&mon->nft.kernel);
	reply->n_fds = 2;
	return 0;
}

static void add_legacy(const struct mon *mon, struct warren_nft_chain *out, size_t *n,
		       uint32_t family)
{
	const struct nft_marks marks = marks_of(mon);

	out[*n] = (struct warren_nft_chain){ .state = WARREN_NFT_LEGACY, .family = family,
					     .hook = 2, .table = "filter", .chain = "FORWARD" };
	snprintf(out[*n].rule, sizeof(out[*n].rule), "--mark 0x%x/0x%x", marks.mark, marks.mask);
	(*n)++;
}

int mon_op_nft_read(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		    struct warren_err *err)
{
	struct mon_nft *nft = &mon->nft;
	struct warren_nft_chain *out = calloc(nft->n_told + LEGACY_MAX, sizeof(*out));
	size_t n = nft->n_told;

	(void)req;
	if (!out)
		return wpriv_refuse(err, -ENOMEM, "no memory for the answer");
	if (n > 0)
		memcpy(out, nft->told, n * sizeof(*out));
	look_for_legacy(nft, mon_now());
	if (nft->legacy4)
		add_legacy(mon, out, &n, 4);
	if (nft->legacy6)
		add_legacy(mon, out, &n, 6);
	reply->value = (int64_t)nft->repairs;
	reply->data = out;
	reply->len = n * sizeof(*out);
	return 0;
}
