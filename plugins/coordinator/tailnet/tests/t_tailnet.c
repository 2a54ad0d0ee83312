/*
 * Joining: keys, logins, tags, names, addresses; each answer is there after the disk, and again
 * after a restart.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/util.h"
#include "world.h"

static struct world w;
static struct reply r;
static char secret[TAILNET_SECRET];

static int begin(void **state)
{
	(void)state;
	world_begin(&w);
	w.tags = "tag:web tag:db";
	w.owner = "wells";
	world_open(&w);
	return 0;
}

static int end(void **state)
{
	(void)state;
	world_end(&w);
	return 0;
}

static void refused(const char *error)
{
	assert_true(r.came);
	assert_int_equal(r.as, TAILNET_REFUSED);
	if (!strstr(r.error, error))
		fail_msg("\"%s\" does not say \"%s\"", r.error, error);
}

static void assert_addr(const struct warren_addr *addr, const char *wanted)
{
	char text[ADDR_TEXT];

	assert_string_equal(addr_format(addr, text), wanted);
}

static void a_key_makes_a_node(void **state)
{
	const struct tailnet_node *node;
	char fqdn[TAILNET_FQDN];
	int64_t user = world_user(&w, "wells"), id;

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = user, .reusable = true }, secret);
	str_cut(&w.told, 0);
	id = world_join(&w, 1, 11, "Joe's Mac mini", secret);
	assert_string_equal(str_text(&w.told), "node 1 added 0\n");
	world_reopen(&w);
	node = world_node(&w, id);
	assert_addr(&node->v4, "100.64.0.1");
	assert_addr(&node->v6, "fd7a:115c:a1e0::1");
	assert_string_equal(tailnet_fqdn(w.tn, node, fqdn), "joes-mac-mini.tail.example.com.");
	assert_string_equal(node->hostname, "Joe's Mac mini");
	assert_int_equal(node->user, user);
	assert_int_equal(node->soft.capver, 113);
	assert_true(node->authorized && node->automatic && !node->interactive);
	assert_ptr_equal(tailnet_node_by_name(w.tn, "joes-mac-mini"), node);
	assert_ptr_equal(tailnet_node_by_addr(w.tn, &node->v6), node);
	assert_ptr_equal(tailnet_node_by_key(w.tn, node->node_key), node);
	/* The next ones: other addresses, numbered names. */
	id = world_join(&w, 2, 12, "joes mac mini", secret);
	assert_string_equal(world_node(&w, id)->name, "joes-mac-mini-1");
	assert_addr(&world_node(&w, id)->v4, "100.64.0.2");
	id = world_join(&w, 3, 13, "Joes-Mac-Mini", secret);
	assert_string_equal(world_node(&w, id)->name, "joes-mac-mini-2");
}

static void nothing_is_told_before_it_is_stored(void **state)
{
	struct tailnet_register reg = world_reg(1, 11, "a");

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells") }, secret);
	reg.auth_key = secret;
	str_cut(&w.told, 0);
	world_start(&w, &reg, &r);
	world_loop(&w);
	assert_false(r.came);
	assert_null(tailnet_node_by_key(w.tn, reg.node_key));
	assert_string_equal(str_text(&w.told), "");
	world_turn(&w);
	assert_int_equal(r.as, TAILNET_REGISTERED);
	assert_string_equal(str_text(&w.told), "node 1 added 0\n");
}

static void keys_are_checked(void **state)
{
	int64_t user = world_user(&w, "wells");
	struct tailnet_register reg = world_reg(1, 11, "a");

	(void)state;
	reg.auth_key = "wkey-auth-nonsense";
	world_register(&w, &reg, &r);
	refused("invalid pre auth key");
	world_key(&w, (struct tailnet_act){ .user = user, .time = w.wall + 1000 }, secret);
	reg.auth_key = secret;
	world_pass(&w, 1000);
	world_register(&w, &reg, &r);
	refused("authkey expired");
	world_key(&w, (struct tailnet_act){ .user = user }, secret);
	assert_int_equal(world_do(&w, (struct tailnet_act){ .verb = TAILNET_KEY_REVOKE, .key = 2 },
				  NULL), 0);
	world_register(&w, &reg, &r);
	refused("authkey revoked");
	world_key(&w, (struct tailnet_act){ .user = user }, secret);
	world_join(&w, 1, 11, "a", secret);
	reg = world_reg(2, 12, "b");
	reg.auth_key = secret;
	world_register(&w, &reg, &r);
	refused("authkey already used");
	world_reopen(&w);
	world_register(&w, &reg, &r);
	refused("authkey already used");
	assert_int_equal(world_do(&w, (struct tailnet_act){ .verb = TAILNET_KEY_CREATE }, &r),
			 -EINVAL);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_KEY_CREATE, .user = user, .time = w.wall }, &r), -EINVAL);
}

static void containers_come_back_with_a_used_key(void **state)
{
	int64_t user = world_user(&w, "wells"), id;
	struct tailnet_register reg = world_reg(1, 11, "a");

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = user }, secret);
	id = world_join(&w, 1, 11, "a", secret);
	assert_int_equal(world_join(&w, 1, 11, "a", secret), id);
	/* Revoked, deleted: the same. */
	world_do(&w, (struct tailnet_act){ .verb = TAILNET_KEY_REVOKE, .key = 1 }, NULL);
	assert_int_equal(world_join(&w, 1, 11, "a", secret), id);
	world_do(&w, (struct tailnet_act){ .verb = TAILNET_KEY_DELETE, .key = 1 }, NULL);
	assert_int_equal(world_node(&w, id)->auth_key, 0);
	assert_int_equal(world_join(&w, 1, 11, "a", secret), id);
	/* A new node key is a new login, which the key is not good for any more. */
	reg = world_reg(1, 12, "a");
	reg.auth_key = secret;
	world_register(&w, &reg, &r);
	refused("invalid pre auth key");
	/* So is another user's key: a second node of the machine. */
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "other") }, secret);
	reg.auth_key = secret;
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_REGISTERED);
	assert_int_not_equal(r.node, id);
}

static void a_restart_touches_nothing(void **state)
{
	struct tailnet_register reg = world_reg(1, 11, "a");
	int64_t id, expiry;

	(void)state;
	w.config.key_expiry = 1000000000;
	world_reopen(&w);
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells") }, secret);
	id = world_join(&w, 1, 11, "a", secret);
	expiry = world_node(&w, id)->expiry;
	assert_int_equal(expiry, w.wall + 1000000000);
	world_pass(&w, 5000000);
	reg.capver = 120;
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_REGISTERED);
	assert_int_equal(r.node, id);
	assert_int_equal(world_node(&w, id)->soft.capver, 120);
	assert_int_equal(world_node(&w, id)->expiry, expiry);
	reg.has_expiry = true;
	reg.expiry = w.wall + 5;
	world_register(&w, &reg, &r);
	refused("extending key is not allowed");
	/* Somebody else's node key. */
	reg = world_reg(9, 11, "a");
	world_register(&w, &reg, &r);
	refused("node exists with a different machine key");
	reg.auth_key = secret;
	world_register(&w, &reg, &r);
	refused("node exists with a different machine key");
}

static void logging_out_and_in_again(void **state)
{
	struct tailnet_register reg = world_reg(1, 11, "a");
	int64_t id;

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells"), .reusable = true },
		  secret);
	id = world_join(&w, 1, 11, "a", secret);
	reg.has_expiry = true;
	reg.expiry = 123000000;		/* 1970, as clients send it */
	reg.auth_key = secret;
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_LOGGED_OUT);
	assert_int_equal(world_node(&w, id)->expiry, w.wall);
	assert_true(world_node(&w, id)->live.expired);
	reg.has_expiry = false;
	reg.auth_key = NULL;
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_KEY_EXPIRED);
	/* A new key: the same node, the same name and addresses. */
	assert_int_equal(world_join(&w, 1, 12, "a", secret), id);
	assert_false(world_node(&w, id)->live.expired);
	assert_addr(&world_node(&w, id)->v4, "100.64.0.1");
	assert_null(tailnet_node_by_key(w.tn, reg.node_key));
	world_reopen(&w);
	assert_int_equal(world_node(&w, id)->node_key[0], 12);
}

static void logins_wait_for_their_user(void **state)
{
	struct tailnet_register reg = world_reg(1, 11, "phone"), other;
	int64_t user = world_user(&w, "wells");
	struct reply wait, again;
	char code[TAILNET_CODE];

	(void)state;
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_LOGIN);
	assert_int_equal(strlen(r.code), 24);
	memcpy(code, r.code, sizeof(code));
	/* Asked again: the same code. */
	world_register(&w, &reg, &r);
	assert_string_equal(r.code, code);
	reg.code = code;
	world_start(&w, &reg, &wait);
	world_turn(&w);
	assert_false(wait.came);
	assert_int_equal(tailnet_pending(w.tn, code)->followers, 1);
	assert_string_equal(tailnet_pending(w.tn, code)->hostname, "phone");
	/* Another machine that learnt the URL gets one of its own. */
	other = world_reg(2, 12, "thief");
	other.code = code;
	world_register(&w, &other, &r);
	assert_int_equal(r.as, TAILNET_LOGIN);
	assert_string_not_equal(r.code, code);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_LOGIN_APPROVE, .code = "000000000000000000000000", .user = user },
		&r), -ENOENT);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_LOGIN_APPROVE, .code = code, .user = user }, &r), 0);
	assert_true(wait.came);
	assert_int_equal(wait.as, TAILNET_REGISTERED);
	assert_int_equal(wait.node, r.node);
	assert_int_equal(wait.user, user);
	assert_true(world_node(&w, r.node)->interactive);
	assert_null(tailnet_pending(w.tn, code));
	/* Who was away when it was approved asks once more, and is in. */
	world_register(&w, &reg, &again);
	assert_int_equal(again.as, TAILNET_REGISTERED);
}

static void logins_end(void **state)
{
	struct tailnet_register reg = world_reg(1, 11, "phone");
	struct reply wait;
	char code[TAILNET_CODE];

	(void)state;
	world_register(&w, &reg, &r);
	memcpy(code, r.code, sizeof(code));
	reg.code = code;
	world_start(&w, &reg, &wait);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_LOGIN_REJECT, .code = code }, NULL), 0);
	assert_int_equal(wait.as, TAILNET_REFUSED);
	assert_string_equal(wait.error, "the login was rejected");
	/* By time: the client gets a fresh URL. */
	world_register(&w, &reg, &r);
	memcpy(code, r.code, sizeof(code));
	world_start(&w, &reg, &wait);
	world_pass(&w, INT64_C(899) * 1000000);
	assert_false(wait.came);
	world_pass(&w, INT64_C(2) * 1000000);
	assert_int_equal(wait.as, TAILNET_LOGIN);
	assert_string_not_equal(wait.code, code);
	/* By the limit: the oldest goes. */
	memcpy(code, wait.code, sizeof(code));
	reg.code = code;
	struct tailnet_request *request = world_start(&w, &reg, &wait);
	reg.code = NULL;
	reg.code_broken = true;
	world_register(&w, &reg, &r);
	refused("invalid registration ID");
	reg.code_broken = false;
	for (int i = 0; i < 1024; i++) {
		reg.node_key[1] = (uint8_t)i;
		reg.node_key[2] = (uint8_t)(i >> 8) | 0x80;
		world_register(&w, &reg, &r);
		assert_int_equal(r.as, TAILNET_LOGIN);
	}
	/* It has a client that waits, the others do not. */
	assert_false(wait.came);
	assert_non_null(tailnet_pending(w.tn, code));
	tailnet_cancel(w.tn, request);
	reg.node_key[3] = 0xff;
	world_register(&w, &reg, &r);
	assert_null(tailnet_pending(w.tn, code));
	assert_false(wait.came);
}

static void wait_from(const char *from, uint8_t node, char code[TAILNET_CODE])
{
	struct tailnet_register reg = world_reg(1, node, "phone");

	world_addr(from, &reg.from);
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_LOGIN);
	memcpy(code, r.code, TAILNET_CODE);
}

/* Whoever asks often pushes out his own, never somebody else's. */
static void one_address_has_a_share_of_the_logins(void **state)
{
	char victim[TAILNET_CODE], first[TAILNET_CODE], six[TAILNET_CODE], code[TAILNET_CODE];

	(void)state;
	wait_from("192.0.2.1", 1, victim);
	wait_from("2001:db8::1", 2, six);
	wait_from("192.0.2.2", 3, first);
	for (uint8_t i = 1; i < 64; i++)
		wait_from("192.0.2.2", 3 + i, code);
	assert_non_null(tailnet_pending(w.tn, first));
	wait_from("192.0.2.2", 70, code);
	assert_null(tailnet_pending(w.tn, first));
	assert_non_null(tailnet_pending(w.tn, code));
	/* Of IPv6 a /64 is one source. */
	for (uint8_t i = 0; i < 63; i++)
		wait_from("2001:db8::2", 80 + i, code);
	assert_non_null(tailnet_pending(w.tn, six));
	wait_from("2001:db8::3", 150, code);
	assert_null(tailnet_pending(w.tn, six));
	assert_non_null(tailnet_pending(w.tn, victim));
}

/* Registers with tags asked for. */
static void ask(uint8_t m, uint8_t k, const char *key, const char *tag)
{
	struct tailnet_register reg = world_reg(m, k, "n");

	reg.auth_key = key;
	reg.tags = &tag;
	reg.n_tags = tag ? 1 : 0;
	world_register(&w, &reg, &r);
}

/* An interactive login of @user, with tags asked for. */
static void login(uint8_t m, uint8_t k, int64_t user, const char *tag)
{
	struct tailnet_act act = { .verb = TAILNET_LOGIN_APPROVE, .user = user };
	char code[TAILNET_CODE];

	ask(m, k, NULL, tag);
	assert_int_equal(r.as, TAILNET_LOGIN);
	memcpy(code, r.code, sizeof(code));
	act.code = code;
	world_do(&w, act, &r);
}

static void tags_of_keys(void **state)
{
	const char *tag = "tag:web";
	int64_t user = world_user(&w, "wells"), id;
	char plain[TAILNET_SECRET];

	(void)state;
	world_key(&w, (struct tailnet_act){ .strings = &tag, .n_strings = 1, .reusable = true },
		  secret);
	world_key(&w, (struct tailnet_act){ .user = user, .reusable = true }, plain);
	ask(1, 11, secret, "tag:db");
	refused("requested tags [tag:db] are invalid or not permitted");
	ask(1, 11, plain, "tag:web");
	refused("requested tags [tag:web]");
	ask(1, 11, secret, "tag:web");	/* what the key has may be asked for */
	assert_int_equal(r.as, TAILNET_REGISTERED);
	id = r.node;
	assert_int_equal(world_node(&w, id)->user, 0);
	assert_int_equal(world_node(&w, id)->expiry, 0);
	assert_string_equal(world_node(&w, id)->tags->at[0], "tag:web");
	/* The operator's tags stay, whatever a key or the client says later. */
	tag = "tag:db";
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_NODE_TAG, .node = id, .strings = &tag, .n_strings = 1 }, &r), 0);
	ask(1, 12, secret, "tag:web");
	assert_int_equal(r.node, id);
	assert_string_equal(world_node(&w, id)->tags->at[0], "tag:db");
	ask(1, 13, plain, NULL);	/* a user's key leaves it tagged */
	assert_int_equal(r.node, id);
	assert_string_equal(world_node(&w, id)->tags->at[0], "tag:db");
	/* A user's node and a tagged key. */
	id = world_join(&w, 2, 21, "own", plain);
	assert_int_equal(world_node(&w, id)->user, user);
	ask(2, 22, secret, NULL);
	assert_int_equal(r.node, id);
	assert_int_equal(world_node(&w, id)->user, 0);
	world_reopen(&w);
	assert_int_equal(world_node(&w, id)->user, 0);
	assert_string_equal(world_node(&w, id)->tags->at[0], "tag:web");
}

static void tags_of_logins(void **state)
{
	int64_t wells = world_user(&w, "wells"), other = world_user(&w, "other"), id;

	(void)state;
	w.config.key_expiry = 1000000000;
	assert_int_equal(tailnet_configure(w.tn, &w.config, w.why), 0);
	login(1, 11, other, "tag:web");	/* may not give it */
	assert_int_equal(r.result, -EACCES);
	login(1, 12, wells, "tag:none");	/* not in the policy */
	assert_int_equal(r.result, -EACCES);
	login(1, 13, wells, "tag:web");
	assert_int_equal(r.result, 0);
	id = r.node;
	assert_int_equal(world_node(&w, id)->user, 0);
	/* The same tags again, by somebody who holds them only through the node. */
	login(1, 14, other, "tag:web");
	assert_int_equal(r.result, 0);
	assert_int_equal(r.node, id);
	/* None: back to the user, with an expiry. */
	login(1, 15, wells, NULL);
	assert_int_equal(r.node, id);
	assert_int_equal(world_node(&w, id)->user, wells);
	assert_null(world_node(&w, id)->tags);
	assert_int_equal(world_node(&w, id)->expiry, w.wall + 1000000000);
	/* Another user on the same machine has a node of his own. */
	login(1, 16, other, NULL);
	assert_int_equal(r.result, 0);
	assert_int_not_equal(r.node, id);
	/* One tagged and one owned: whose is it? */
	login(1, 17, wells, "tag:web");
	assert_int_equal(r.node, id);
	login(1, 18, wells, NULL);
	assert_int_equal(r.result, -EEXIST);
}

static void names_follow_the_hostname_until_somebody_chooses(void **state)
{
	struct tailnet_update update = { .hostinfo = "{\"Hostname\":\"b\"}", .hostname = "b" };
	int64_t user = world_user(&w, "wells"), id, second;

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = user, .reusable = true }, secret);
	id = world_join(&w, 1, 11, "a", secret);
	second = world_join(&w, 2, 12, "c", secret);
	assert_int_equal(tailnet_update(w.tn, id, &update, NULL, NULL), 0);
	world_turn(&w);
	assert_string_equal(world_node(&w, id)->name, "b");
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_NODE_RENAME, .node = second, .text = "b" }, &r), -EEXIST);
	assert_string_equal(r.error, "there is a node b already");
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_NODE_RENAME, .node = id, .text = "No_Label" }, &r), -EINVAL);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_NODE_RENAME, .node = id, .text = "chosen" }, &r), 0);
	update.hostname = "d";
	tailnet_update(w.tn, id, &update, NULL, NULL);
	world_turn(&w);
	assert_string_equal(world_node(&w, id)->name, "chosen");
	assert_string_equal(world_node(&w, id)->hostname, "d");
	/* Automatic again. */
	world_do(&w, (struct tailnet_act){ .verb = TAILNET_NODE_RENAME, .node = id }, NULL);
	world_reopen(&w);
	assert_string_equal(world_node(&w, id)->name, "d");
	/* Two at once want one name: the second gets the next, not an error. */
	world_act(&w, &(struct tailnet_act){
		.verb = TAILNET_NODE_RENAME, .node = id, .text = "x" }, &r);
	update.hostname = "x";
	tailnet_update(w.tn, second, &update, NULL, NULL);
	world_turn(&w);
	assert_string_equal(world_node(&w, id)->name, "x");
	assert_string_equal(world_node(&w, second)->name, "x-1");
}

static void many_devices_of_one_name(void **state)
{
	struct tailnet_act act = { .verb = TAILNET_NODE_DELETE };
	char wanted[32];
	int64_t ids[60];

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells"), .reusable = true },
		  secret);
	for (uint8_t i = 0; i < 60; i++) {
		ids[i] = world_join(&w, i + 1, i + 1, "localhost", secret);
		snprintf(wanted, sizeof(wanted), i ? "localhost-%d" : "localhost", i);
		assert_string_equal(world_node(&w, ids[i])->name, wanted);
	}
	/* What becomes free is taken first, wherever it is. */
	static const uint8_t gone[] = { 40, 17, 5, 0 };
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++) {
		act.node = ids[gone[i]];
		snprintf(wanted, sizeof(wanted), "%s", world_node(&w, act.node)->name);
		assert_int_equal(world_do(&w, act, NULL), 0);
		ids[gone[i]] = world_join(&w, 200 + (uint8_t)i, 200 + (uint8_t)i, "localhost",
					  secret);
		assert_string_equal(world_node(&w, ids[gone[i]])->name, wanted);
	}
	assert_string_equal(world_node(&w, world_join(&w, 100, 100, "localhost", secret))->name,
			    "localhost-60");
}

static void addresses_rest_before_somebody_else_gets_them(void **state)
{
	int64_t user = world_user(&w, "wells"), id;

	(void)state;
	prefix_parse("100.100.100.96/29", &w.config.v4);
	w.config.v6.addr.family = 0;
	world_reopen(&w);
	world_key(&w, (struct tailnet_act){ .user = user, .reusable = true }, secret);
	/* .97 ... .102, and .100 is the client's resolver. */
	for (uint8_t i = 1; i <= 5; i++)
		id = world_join(&w, i, i, "n", secret);
	assert_addr(&world_node(&w, id)->v4, "100.100.100.102");
	assert_int_equal(world_node(&w, id)->v6.family, 0);
	struct tailnet_register reg = world_reg(6, 6, "n");
	reg.auth_key = secret;
	world_register(&w, &reg, &r);
	refused("no free address left");
	assert_int_equal(r.result, -ENOSPC);
	assert_int_equal(world_do(&w, (struct tailnet_act){ .verb = TAILNET_NODE_DELETE,
							     .node = 2 }, NULL), 0);
	world_register(&w, &reg, &r);
	refused("no free address left");
	world_reopen(&w);			/* the quarantine is on disk */
	world_register(&w, &reg, &r);
	refused("no free address left");
	world_pass(&w, INT64_C(48) * 3600 * 1000000 + 200000);
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_REGISTERED);
	assert_addr(&world_node(&w, r.node)->v4, "100.100.100.98");
	/* By hand: from the pool, free, and the old one rests. */
	struct tailnet_act act = { .verb = TAILNET_NODE_ADDRESS, .node = r.node };
	world_addr("100.100.100.97", &act.addr);
	assert_int_equal(world_do(&w, act, &r), -EEXIST);
	world_addr("100.100.100.100", &act.addr);
	assert_int_equal(world_do(&w, act, &r), -EINVAL);
	world_do(&w, (struct tailnet_act){ .verb = TAILNET_NODE_DELETE, .node = 1 }, NULL);
	world_addr("100.100.100.97", &act.addr);
	assert_int_equal(world_do(&w, act, &r), 0);
	world_reopen(&w);
	assert_addr(&world_node(&w, act.node)->v4, "100.100.100.97");
	reg = world_reg(7, 7, "n");
	reg.auth_key = secret;
	world_register(&w, &reg, &r);
	refused("no free address left");
}

static void pinned_users_let_no_new_machine_in(void **state)
{
	int64_t user = world_user(&w, "wells"), id;
	struct tailnet_register reg = world_reg(2, 21, "new");
	uint8_t machine[32];

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = user, .reusable = true }, secret);
	id = world_join(&w, 1, 11, "old", secret);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_USER_PIN, .user = user, .flag = true }, NULL), 0);
	reg.auth_key = secret;
	world_register(&w, &reg, &r);
	refused("not one of those that may join for wells");
	/* The known one brings new keys, also when its node was deleted. */
	assert_int_equal(world_join(&w, 1, 12, "old", secret), id);
	world_do(&w, (struct tailnet_act){ .verb = TAILNET_NODE_DELETE, .node = id }, NULL);
	world_reopen(&w);
	assert_int_not_equal(world_join(&w, 1, 13, "old", secret), id);
	memset(machine, 2, sizeof(machine));
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_MACHINE_PIN, .user = user, .machine_key = machine, .flag = true },
		NULL), 0);
	world_reopen(&w);
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_REGISTERED);
	/* An approval may pin. */
	login(3, 31, user, NULL);
	assert_int_equal(r.result, -EACCES);
	ask(3, 31, NULL, NULL);
	char code[TAILNET_CODE];
	memcpy(code, r.code, sizeof(code));
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_LOGIN_APPROVE, .user = user, .code = code, .flag = true }, &r), 0);
	assert_true(tailnet_pinned(w.tn, world_node(&w, r.node)->machine, user));
}

static void users_come_and_go(void **state)
{
	const char *groups[] = { "dev" };
	struct tailnet_act act = {
		.verb = TAILNET_USER_LOGIN, .provider = "oidc", .subject = "https://i/1",
		.text = "wells", .display = "Wells", .strings = groups, .n_strings = 1,
	};
	int64_t local = world_user(&w, "wells"), id;

	(void)state;
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_USER_CREATE, .text = "wells" }, &r), -EEXIST);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_USER_CREATE, .text = "9" }, &r), -EINVAL);
	/* A provider's user may have the same name; he is who he is by subject. */
	assert_int_equal(world_do(&w, act, &r), 0);
	id = r.user;
	assert_int_not_equal(id, local);
	str_cut(&w.told, 0);
	assert_int_equal(world_do(&w, act, &r), 0);
	assert_int_equal(r.user, id);
	assert_string_equal(str_text(&w.told), "");
	act.text = "new.name@example.com";
	world_do(&w, act, &r);
	assert_int_equal(r.user, id);
	assert_string_equal(str_text(&w.told), "user 2 changed\n");
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_USER_RENAME, .user = id, .text = "x1" }, &r), -EPERM);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_USER_RENAME, .user = local, .text = "wells2" }, &r), 0);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_USER_ROLE, .user = id, .role = TAILNET_ADMIN }, &r), 0);
	world_reopen(&w);
	assert_string_equal(tailnet_user_by_subject(w.tn, "https://i/1")->login,
			    "new.name@example.com");
	assert_int_equal(tailnet_user(w.tn, id)->role, TAILNET_ADMIN);
	assert_string_equal(tailnet_user(w.tn, id)->groups->at[0], "dev");
	assert_null(tailnet_user_by_login(w.tn, "wells"));
	assert_string_equal(tailnet_user_by_login(w.tn, "wells2")->display, "wells2");
	/* Not while he owns something; then with his keys. */
	world_key(&w, (struct tailnet_act){ .user = id, .reusable = true }, secret);
	int64_t node = world_join(&w, 1, 11, "n", secret);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_USER_DELETE, .user = id }, &r), -ENOTEMPTY);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_NODE_MOVE, .node = node, .user = local }, &r), 0);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_USER_DELETE, .user = id }, &r), 0);
	world_reopen(&w);
	assert_null(tailnet_user(w.tn, id));
	assert_null(tailnet_key(w.tn, 1));
	assert_int_equal(world_node(&w, node)->user, local);
	assert_int_equal(world_node(&w, node)->auth_key, 0);
	assert_int_equal(world_user(&w, "another"), 3);	/* ids are never given again */
}

static void devices_wait_for_approval(void **state)
{
	int64_t user = world_user(&w, "wells"), id;
	char pre[TAILNET_SECRET];

	(void)state;
	w.config.approval = true;
	tailnet_configure(w.tn, &w.config, w.why);
	world_key(&w, (struct tailnet_act){ .user = user, .reusable = true }, secret);
	world_key(&w, (struct tailnet_act){ .user = user, .preauthorized = true }, pre);
	id = world_join(&w, 1, 11, "n", secret);
	assert_false(world_node(&w, id)->authorized);
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_NODE_APPROVE, .node = id, .flag = true }, &r), 0);
	world_reopen(&w);
	assert_true(world_node(&w, id)->authorized);
	assert_int_equal(world_join(&w, 1, 12, "n", secret), id);
	assert_true(world_node(&w, id)->authorized);
	assert_true(world_node(&w, world_join(&w, 2, 21, "m", pre))->authorized);
}

static void configurations_are_checked(void **state)
{
	static const struct { const char *v4, *v6, *domain, *says; } rows[] = {
		{ "10.0.0.0/8", "fd7a:115c:a1e0::/48", "a.b", "100.64.0.0/10 only" },
		{ "100.64.0.0/9", "fd7a:115c:a1e0::/48", "a.b", "100.64.0.0/10 only" },
		{ "100.64.0.0/31", "fd7a:115c:a1e0::/48", "a.b", "no room" },
		{ "100.64.0.0/10", "fd00::/48", "a.b", "fd7a:115c:a1e0::/48 only" },
		{ "100.64.0.0/10", "fd7a:115c:a1e0::/48", "", "domain" },
		{ "100.64.0.0/10", "fd7a:115c:a1e0::/48", "a..b", "domain" },
		{ "100.64.0.0/10", "fd7a:115c:a1e0::/48", "A.b", "domain" },
		{ "fd7a:115c:a1e0::/48", "fd7a:115c:a1e0::/48", "a.b", "no IPv4 prefix" },
	};
	struct tailnet_config config;
	char why[TAILNET_WHY];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		config = (struct tailnet_config){ .base_domain = rows[i].domain };
		assert_int_equal(prefix_parse(rows[i].v4, &config.v4), 0);
		assert_int_equal(prefix_parse(rows[i].v6, &config.v6), 0);
		assert_int_equal(tailnet_config_check(&config, why), -EINVAL);
		if (!strstr(why, rows[i].says))
			fail_msg("row %zu: \"%s\"", i, why);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_makes_a_node),
		TEST(nothing_is_told_before_it_is_stored),
		TEST(keys_are_checked),
		TEST(containers_come_back_with_a_used_key),
		TEST(a_restart_touches_nothing),
		TEST(logging_out_and_in_again),
		TEST(logins_wait_for_their_user),
		TEST(logins_end),
		TEST(one_address_has_a_share_of_the_logins),
		TEST(tags_of_keys),
		TEST(tags_of_logins),
		TEST(names_follow_the_hostname_until_somebody_chooses),
		TEST(many_devices_of_one_name),
		TEST(addresses_rest_before_somebody_else_gets_them),
		TEST(pinned_users_let_no_new_machine_in),
		TEST(users_come_and_go),
		TEST(devices_wait_for_approval),
		cmocka_unit_test(configurations_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
