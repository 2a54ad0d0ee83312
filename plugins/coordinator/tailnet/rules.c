/*
 * The decision tables.
 */
#include "rules.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

enum rules_step rules_step(const struct rules_request *r)
{
	bool past = r->has_expiry && r->expiry_past;

	/* Logging out comes first, with a key or without. */
	if (r->known && (past || !r->has_auth_key)) {
		if (!r->same_machine)
			return STEP_WRONG_MACHINE;
		if (r->node_expired)
			return STEP_EXPIRED;
		if (past)
			return STEP_LOG_OUT;
		return r->has_expiry ? STEP_NO_EXTENSION : STEP_CURRENT;
	}
	if (r->has_followup)
		return STEP_FOLLOW;
	return r->has_auth_key ? STEP_AUTH_KEY : STEP_INTERACTIVE;
}

static enum rules_outcome match_tags(const struct rules_match *m)
{
	if (m->tagged)
		return m->by_key ? MATCH_TAGGED : MATCH_RETAG;
	if (m->own)
		return MATCH_OWN_TO_TAGGED;
	/* A user's tags say nothing about another user's node; a key's are for the machine. */
	if (!m->owned || !m->by_key)
		return MATCH_CREATE;
	return m->owned == 1 ? MATCH_OWNED_TO_TAGGED : MATCH_AMBIGUOUS;
}

enum rules_outcome rules_match(const struct rules_match *m)
{
	/* With several owners a key's tags cannot tell whose node is meant. */
	if (m->with_tags && m->by_key && !m->tagged && m->owned > 1)
		return MATCH_AMBIGUOUS;
	if (m->with_tags)
		return match_tags(m);
	if (m->by_key) {
		if (m->own)
			return MATCH_OWN;
		return m->tagged ? MATCH_TAGGED : MATCH_CREATE;
	}
	if (m->tagged)
		return m->owned ? MATCH_AMBIGUOUS : MATCH_TAGGED_TO_USER;
	return m->own ? MATCH_OWN : MATCH_CREATE;
}

const char *rules_key(const struct tailnet_key *key, int64_t now)
{
	if (!key)
		return "invalid pre auth key";
	if (key->revoked)
		return "authkey revoked";
	if (key->expiry && key->expiry <= now)
		return "authkey expired";
	if (key->used && !key->reusable)
		return "authkey already used";
	return NULL;
}

bool rules_returns(const struct tailnet_node *node, const struct tailnet_key *key, int64_t now)
{
	if (!node || (node->expiry && node->expiry <= now))
		return false;
	if (!key || !node->user)	/* a user's key leaves a tagged node tagged */
		return true;
	return !key->tags && key->user == node->user;
}

int64_t rules_expiry(bool tagged, int64_t asked, int64_t token, int64_t standard, int64_t now)
{
	if (tagged)
		return 0;
	if (asked > now)
		return asked;
	if (token > now)
		return token;
	return standard ? now + standard : 0;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool rules_login_valid(const char *login)
{
	size_t len = strlen(login);
	int ats = 0;

	if (len < 2 || len > TAILNET_TEXT || !is_letter(login[0]))
		return false;
	for (size_t i = 0; i < len; i++) {
		ats += login[i] == '@';
		if (!is_letter(login[i]) && !is_digit(login[i]) && !strchr("-._@", login[i]))
			return false;
	}
	return ats <= 1;
}

bool rules_tag_valid(const char *tag)
{
	const char *name = tag + 4;

	if (!str_starts(tag, "tag:") || !is_letter(*name) || strlen(name) > TAILNET_LABEL)
		return false;
	for (; *name; name++) {
		if (!is_letter(*name) && !is_digit(*name) && *name != '-')
			return false;
	}
	return true;
}

/*
 * ---- Names ----
 */

static bool ends_with(const char *text, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len >= n && strncasecmp(text + len - n, end, n) == 0;
}

void rules_label(const char *hostname, char out[TAILNET_LABEL + 1])
{
	static const char *const tails[] = { ".local", ".localdomain", ".lan" };
	size_t len = strlen(hostname), n = 0;

	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		if (ends_with(hostname, len, tails[i])) {
			len -= strlen(tails[i]);
			break;
		}
	}
	if (len > TAILNET_LABEL)
		len = TAILNET_LABEL;
	while (len && !is_letter(*hostname) && !is_digit(*hostname)) {
		hostname++;
		len--;
	}
	while (len && !is_letter(hostname[len - 1]) && !is_digit(hostname[len - 1]))
		len--;
	for (size_t i = 0; i < len; i++) {
		char c = hostname[i];

		if (is_letter(c))
			out[n++] = (char)(c | 0x20);
		else if (is_digit(c) || c == '-')
			out[n++] = c;
		else if (strchr(" .@_", c))
			out[n++] = '-';
	}
	out[n] = '\0';
	if (!n)
		str_copy(out, TAILNET_LABEL + 1, "node");
}

bool rules_label_valid(const char *label)
{
	size_t len = strlen(label);

	if (!len || len > TAILNET_LABEL || label[0] == '-' || label[len - 1] == '-')
		return false;
	return strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

void rules_label_number(const char *base, uint32_t n, char out[TAILNET_LABEL + 1])
{
	char tail[16] = "";
	size_t len = strlen(base), tail_len = 0;

	if (n)
		tail_len = (size_t)snprintf(tail, sizeof(tail), "-%u", n);
	if (len > TAILNET_LABEL - tail_len)
		len = TAILNET_LABEL - tail_len;
	memcpy(out, base, len);
	memcpy(out + len, tail, tail_len + 1);
}

bool rules_label_of(const char *name, const char *base)
{
	const char *dash = strrchr(name, '-');
	char made[TAILNET_LABEL + 1];
	uint32_t n = 0;

	if (strcmp(name, base) == 0)
		return true;
	if (!dash || !dash[1] || dash[1] == '0' || strlen(dash + 1) > 6)
		return false;
	for (const char *at = dash + 1; *at; at++) {
		if (!is_digit(*at))
			return false;
		n = 10 * n + (uint32_t)(*at - '0');
	}
	rules_label_number(base, n, made);
	return strcmp(name, made) == 0;
}

int64_t rules_elect(int64_t now, const struct rules_candidate *candidates, uint32_t count)
{
	const struct rules_candidate *c, *current = NULL;
	int64_t best = 0, lowest = 0;

	for (uint32_t i = 0; i < count; i++) {
		c = &candidates[i];
		if (!c->online)
			continue;
		if (c->id == now)
			current = c;
		if (!c->unhealthy && (!best || c->id < best))
			best = c->id;
		if (!lowest || c->id < lowest)
			lowest = c->id;
	}
	if (current && (!current->unhealthy || !best))
		return now;
	return best ? best : lowest;
}
