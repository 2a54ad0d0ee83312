/*
 * What the section says, checked as a whole: values that one option's type cannot judge alone.
 * Every mistake is told with its place, not only the first.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include <warren/plugin.h>

#include "base/addr.h"
#include "base/base64.h"
#include "base/hex.h"
#include "base/str.h"
#include "base/util.h"
#include "static.h"

struct read {				/* of one section */
	const struct warren_conf *conf;
	struct static_plan *plan;
	struct warren_err *err;
	bool failed;
	struct hash keys, prefixes;	/* seen so far: who has it */
};

struct owner {				/* of an allowed prefix */
	uint8_t key[18];		/* family, address, length */
	const struct static_peer_plan *peer;
	const struct warren_conf *at;
};

/*
 * ---- Single options ----
 */

int static_key_parse(const char *text, struct warren_key32 *out)
{
	int result = str_starts(text, "nodekey:") ? hex_decode(out->bytes, 32, text + 8)
						  : base64_key_decode(out->bytes, text);

	if (result == 0 && sodium_is_zero(out->bytes, 32))
		return -EINVAL;
	return result;
}

int static_check_key(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL);
	struct warren_key32 key;
	uint8_t zero[32];

	if (static_key_parse(text, &key) == 0)
		return 0;
	if (base64_key_decode(zero, text) == 0)
		return warren_fail(err, at, "the key is all zero, which is no key");
	return warren_fail(err, at, "\"%s\" is no public key: expected 44 characters of base64 as "
			   "`wg pubkey` prints them, or \"nodekey:\" and 64 hex digits", text);
}

/* RFC 1123 2.1, and underscores, which people use. */
static bool host_name_good(const char *name)
{
	size_t label = 0;
	bool digits = true;

	for (const char *p = name; ; p++) {
		if (*p == '.' || *p == '\0') {
			if (label == 0 || label > STATIC_NAME_MAX || p[-1] == '-')
				return false;
			/* A name whose last label is a number is an address with a mistake. */
			if (*p == '\0' || p[1] == '\0')
				return !digits;
			label = 0;
			digits = true;
			continue;
		}
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_' ||
		    (*p == '-' && label > 0))
			digits = false;
		else if (*p < '0' || *p > '9')
			return false;
		label++;
	}
}

static bool endpoint_parse(const char *text, struct static_endpoint *out)
{
	memset(out, 0, sizeof(*out));
	if (hostport_parse(text, out->host, sizeof(out->host), &out->port))
		return false;
	out->given = true;
	out->literal = addr_parse(out->host, &out->addr) == 0;
	if (out->literal)
		out->host[0] = '\0';
	return out->literal || host_name_good(out->host);
}

int static_check_endpoint(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL);
	struct static_endpoint endpoint;

	if (endpoint_parse(text, &endpoint))
		return 0;
	return warren_fail(err, at, "\"%s\" is no endpoint: expected HOST:PORT with a name, an "
			   "IPv4 address or an IPv6 address in brackets, and a port from 1 to "
			   "65535", text);
}

/*
 * ---- Peers ----
 */

static void *read_alloc(struct read *r, size_t n, size_t size)
{
	size_t bytes;
	void *memory = NULL;

	if (size_mul(n ? n : 1, size, &bytes))
		memory = arena_alloc(&r->plan->arena, bytes);
	if (!memory && !r->failed)
		warren_fail(r->err, NULL, "out of memory");
	r->failed = r->failed || !memory;
	return memory;
}

static const char *address_where(const struct read *r, uint32_t i)
{
	return warren_conf_where(warren_conf_at(r->conf, "addresses", i), NULL);
}

static void read_name(struct read *r, const struct static_peer_plan *peer)
{
	struct warren_prefix prefix;
	size_t len = strlen(peer->name);

	if (!strcmp(peer->name, "self") || prefix_parse(peer->name, &prefix) == 0) {
		warren_fail(r->err, peer->conf, "a peer cannot be called \"%s\": `accept:` gives "
			    "this word another meaning", peer->name);
		r->failed = true;
	} else if (len == 0 || len > STATIC_NAME_MAX || !host_name_good(peer->name)) {
		warren_fail(r->err, peer->conf, "a peer cannot be called \"%s\": expected letters, "
			    "digits, \"-\" and \"_\", at most %d", peer->name, STATIC_NAME_MAX);
		r->failed = true;
	}
	if (hash_put_str(&r->plan->by_name, peer->name, (void *)(uintptr_t)peer, NULL))
		r->failed = true;
}

static void read_key(struct read *r, struct static_peer_plan *peer, const uint8_t *own_key)
{
	const struct static_peer_plan *other;

	if (static_key_parse(warren_conf_str(peer->conf, "public-key"), &peer->key)) {
		r->failed = true;	/* the row's check has said so */
		return;
	}
	other = hash_get(&r->keys, peer->key.bytes, 32);
	if (other) {
		warren_fail_key(r->err, -EINVAL, peer->conf, "public-key", "peer \"%s\" has this "
				"key already (%s): two peers with one key cannot be told apart",
				other->name, warren_conf_where(other->conf, "public-key"));
		r->failed = true;
		return;
	}
	if (own_key && !memcmp(own_key, peer->key.bytes, 32)) {
		warren_fail_key(r->err, -EINVAL, peer->conf, "public-key", "this is the public key "
				"of this node itself: write the one that `warren identity show` "
				"prints on \"%s\"", peer->name);
		r->failed = true;
	}
	if (hash_put(&r->keys, peer->key.bytes, 32, peer, NULL))
		r->failed = true;
}

static void owner_key(uint8_t out[18], const struct warren_prefix *prefix)
{
	out[0] = prefix->addr.family;
	memcpy(out + 1, prefix->addr.bytes, 16);
	out[17] = prefix->bits;
}

static void read_allowed_one(struct read *r, const struct static_peer_plan *peer,
			     const struct warren_prefix *prefix, const struct warren_conf *at)
{
	struct owner *owner = read_alloc(r, 1, sizeof(*owner)), *other;
	char text[PREFIX_TEXT];

	if (!owner)
		return;
	owner_key(owner->key, prefix);
	owner->peer = peer;
	owner->at = at;
	other = hash_get(&r->prefixes, owner->key, sizeof(owner->key));
	if (other && other->peer != peer) {
		warren_fail(r->err, at, "%s belongs to peer \"%s\" already (%s): a prefix has one "
			    "owner",
			    prefix_format(prefix, text), other->peer->name,
			    warren_conf_where(other->at, NULL));
		r->failed = true;
	} else if (other) {
		warren_fail(r->err, at, "%s stands here twice (%s)", prefix_format(prefix, text),
			    warren_conf_where(other->at, NULL));
		r->failed = true;
	} else if (hash_put(&r->prefixes, owner->key, sizeof(owner->key), owner, NULL)) {
		r->failed = true;
	}
	for (uint32_t i = 0; i < r->plan->n_addresses; i++) {
		struct warren_prefix own = prefix_of_host(&r->plan->addresses[i].addr);

		if (prefix_equal(&own, prefix)) {
			warren_fail(r->err, at, "%s is an address of this node itself (%s)",
				    prefix_format(prefix, text), address_where(r, i));
			r->failed = true;
		}
	}
}

static void read_allowed(struct read *r, struct static_peer_plan *peer)
{
	uint32_t n = warren_conf_count(peer->conf, "allowed-ips");
	struct warren_prefix *prefixes = read_alloc(r, n, sizeof(*prefixes));

	if (!prefixes)
		return;
	for (uint32_t i = 0; i < n; i++) {
		const struct warren_conf *at = warren_conf_at(peer->conf, "allowed-ips", i);

		prefixes[i] = warren_conf_prefix(at, NULL);
		read_allowed_one(r, peer, &prefixes[i], at);
	}
	peer->allowed = prefixes;
	peer->n_allowed = n;
}

/* base64 and white space at the end, as `wg genpsk` writes it. */
static void read_psk(struct read *r, struct static_peer_plan *peer)
{
	const struct warren_secret *secret = warren_conf_secret(peer->conf, "psk");
	size_t len = 0;
	const char *bytes = secret ? (const char *)warren_secret_bytes(secret, &len) : NULL;
	char text[BASE64_KEY_TEXT];

	peer->has_psk = warren_conf_has(peer->conf, "psk");
	if (!bytes)
		return;
	while (len > 0 && strchr(" \t\r\n", bytes[len - 1]))
		len--;
	if (len == sizeof(text) - 1) {
		memcpy(text, bytes, len);
		text[len] = '\0';
		if (base64_key_decode(peer->psk.bytes, text) == 0 &&
		    !sodium_is_zero(peer->psk.bytes, 32))
			bytes = NULL;
		sodium_memzero(text, sizeof(text));
	}
	if (bytes) {
		warren_fail_key(r->err, -EINVAL, peer->conf, "psk", "the file holds no pre-shared "
				"key: expected 44 characters of base64 as `wg genpsk` prints them");
		r->failed = true;
	}
}

static void read_peer(struct read *r, struct static_peer_plan *peer, const uint8_t *own_key)
{
	const int64_t second = 1000000;
	int64_t keepalive = warren_conf_int(peer->conf, "keepalive");

	peer->name = warren_conf_name(peer->conf);
	read_name(r, peer);
	read_key(r, peer, own_key);
	if (warren_conf_has(peer->conf, "endpoint") &&
	    !endpoint_parse(warren_conf_str(peer->conf, "endpoint"), &peer->endpoint))
		r->failed = true;	/* the row's check has said so */
	read_allowed(r, peer);
	read_psk(r, peer);
	if (keepalive % second) {
		warren_fail_key(r->err, -EINVAL, peer->conf, "keepalive", "expected whole seconds");
		r->failed = true;
	}
	peer->keepalive = (uint16_t)(keepalive / second);
	peer->exit_node = warren_conf_bool(peer->conf, "exit-node");
}

/*
 * ---- The section ----
 */

static void read_addresses(struct read *r)
{
	uint32_t n = warren_conf_count(r->conf, "addresses");
	struct warren_prefix *out = read_alloc(r, n, sizeof(*out));

	if (!out)
		return;
	for (uint32_t i = 0; i < n; i++) {
		const struct warren_conf *at = warren_conf_at(r->conf, "addresses", i);
		char text[ADDR_TEXT];

		out[i] = warren_conf_prefix(at, NULL);
		for (uint32_t k = 0; k < i; k++) {
			if (!addr_equal(&out[k].addr, &out[i].addr))
				continue;
			warren_fail(r->err, at, "%s stands here twice (%s)",
				    addr_format(&out[i].addr, text), address_where(r, k));
			r->failed = true;
		}
	}
	r->plan->addresses = out;
	r->plan->n_addresses = n;
	if (n == 0) {
		warren_fail_key(r->err, -EINVAL, r->conf, "addresses", "this node needs at least "
				"one address, for example 10.90.0.1/24");
		r->failed = true;
	}
}

static void read_section(struct read *r, const uint8_t *own_key)
{
	uint32_t n = warren_conf_count(r->conf, "peers");

	read_addresses(r);
	r->plan->peers = read_alloc(r, n, sizeof(*r->plan->peers));
	if (!r->plan->peers)
		return;
	r->plan->n_peers = n;
	for (uint32_t i = 0; i < n; i++) {
		r->plan->peers[i].conf = warren_conf_at(r->conf, "peers", i);
		read_peer(r, &r->plan->peers[i], own_key);
	}
	if (!warren_conf_has(r->conf, "accept"))
		return;
	r->plan->policy = static_policy_new(r->conf, r->plan, r->err);
	r->failed = r->failed || !r->plan->policy;
}

struct static_plan *static_plan_new(const struct warren_conf *conf, const uint8_t *own_key,
				    struct warren_err *err)
{
	struct read r = { .conf = conf, .err = err };

	r.plan = calloc(1, sizeof(*r.plan));
	if (!r.plan) {
		warren_fail(err, NULL, "out of memory");
		return NULL;
	}
	hash_init(&r.keys);
	hash_init(&r.prefixes);
	hash_init(&r.plan->by_name);
	read_section(&r, own_key);
	hash_free(&r.keys);
	hash_free(&r.prefixes);
	if (!r.failed)
		return r.plan;
	static_plan_free(r.plan);
	return NULL;
}

void static_plan_free(struct static_plan *plan)
{
	if (!plan)
		return;
	for (uint32_t i = 0; i < plan->n_peers; i++)
		sodium_memzero(&plan->peers[i].psk, sizeof(plan->peers[i].psk));
	static_policy_unref(plan->policy);
	hash_free(&plan->by_name);
	arena_free(&plan->arena);
	free(plan);
}
