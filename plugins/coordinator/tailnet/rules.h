/*
 * tailnet/rules.h - the decision tables, as functions of nothing but their arguments
 *
 * Sources: coordinator.md 1.5 (order), 1.6 (matrix, re-use of keys), 1.7 (expiry), 1.10 (names),
 * 1.11 (election); control protocol 5.5, 7.6, 7.10.
 */
#ifndef WARREN_COORDINATOR_RULES_H
#define WARREN_COORDINATOR_RULES_H

#include "record.h"

/*
 * ---- POST /machine/register: what kind of request it is ----
 */

struct rules_request {
	bool known;			/* there is a node of this node key ... */
	bool same_machine;		/* ... and its machine key is that of the session */
	bool node_expired;
	bool has_expiry, expiry_past;	/* Expiry is not zero; is not after now */
	bool has_followup, has_auth_key;
};
enum rules_step {
	STEP_WRONG_MACHINE = 1,		/* refuse: the node key belongs to another machine */
	STEP_LOG_OUT,
	STEP_EXPIRED,			/* NodeKeyExpired */
	STEP_CURRENT,			/* the node as it is, untouched */
	STEP_NO_EXTENSION,		/* refuse: a client may not extend its key */
	STEP_FOLLOW, STEP_AUTH_KEY, STEP_INTERACTIVE,
};
enum rules_step rules_step(const struct rules_request *request);

/*
 * ---- Same device again: which node a login is about ----
 */

struct rules_match {
	/* The nodes of this machine key. */
	bool own;			/* one of the user who logs in */
	uint32_t owned;			/* of any user, that one included */
	bool tagged;			/* the one that is owned by tags */
	/* The login. */
	bool by_key;			/* else by a user, in person */
	bool with_tags;			/* tags on the key, or asked for and allowed */
};
enum rules_outcome {
	MATCH_CREATE = 1,
	MATCH_OWN,			/* update the user's node in place */
	MATCH_TAGGED,			/* update the tagged node, keep its tags */
	MATCH_RETAG,			/* the tagged node, with the tags of this login */
	MATCH_TAGGED_TO_USER,		/* the tagged node becomes the user's */
	MATCH_OWNED_TO_TAGGED,		/* the only user-owned node becomes tagged */
	MATCH_OWN_TO_TAGGED,		/* the node of this user becomes tagged */
	MATCH_AMBIGUOUS,		/* refuse */
};
enum rules_outcome rules_match(const struct rules_match *match);

/* NULL: the key may be used at @now; else the client's error. */
const char *rules_key(const struct tailnet_key *key, int64_t now);
/*
 * Whether a machine that comes back needs no valid key: it has a node of the same node key that
 * is not expired, and the key (NULL: deleted, or never one) would not change who owns it.
 */
bool rules_returns(const struct tailnet_node *node, const struct tailnet_key *key, int64_t now);

/* Expiry of a node key that is set now; 0: never. @asked by the client, @token of the provider. */
int64_t rules_expiry(bool tagged, int64_t asked, int64_t token, int64_t standard, int64_t now);

/* A user's name: 2 characters at least, a letter first, letters, digits, - . _, one @ at most. */
bool rules_login_valid(const char *login);
bool rules_tag_valid(const char *tag);	/* "tag:name": a letter, then letters, digits, dashes */

/*
 * "custom:name=VALUE": letters, digits, _ and further colons in the name; the value a text of
 * printable ASCII without quotes and backslashes, a number of 15 digits at most, or a boolean,
 * as JSON. With @gone it may be null: to be taken away.
 */
bool rules_attribute_valid(const char *text, bool gone);

/*
 * ---- Names ----
 */

/* The DNS label of a hostname; "node" when nothing is left of it. */
void rules_label(const char *hostname, char out[TAILNET_LABEL + 1]);
bool rules_label_valid(const char *label);
/* @base, or @base with -@n behind it, shortened so that it fits. */
void rules_label_number(const char *base, uint32_t n, char out[TAILNET_LABEL + 1]);
/* Whether @name is what rules_label_number() makes of @base with some n. */
bool rules_label_of(const char *name, const char *base);

/*
 * ---- Election of a subnet's router ----
 */

struct rules_candidate {
	int64_t id;
	bool online, unhealthy;
};
/* @now is primary at present (0: none); the result is from now on. */
int64_t rules_elect(int64_t now, const struct rules_candidate *candidates, uint32_t count);

#endif
