/*
 * How a node proves its name to an authority: by a record in the public zone (control-protocol.md
 * 4.1, set-dns). Of the zone this file knows when there is one.
 */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../zone/zone.h"
#include "base/str.h"

/* ---- the zone ---- */

bool coord_zone_load(struct coord *coord, struct zone **out, struct warren_err *err)
{
	const struct warren_conf *section = warren_conf_map(coord->conf, "zone");
	struct warren_url url;

	*out = NULL;
	if (!section || warren_url_parse(warren_conf_str(coord->conf, "url"), &url, NULL))
		return !section;
	*out = coord_zone_new(coord->ctx, section, warren_conf_str(coord->conf, "base-domain"),
			      url.host, err);
	return *out;
}

void coord_zone_use_take(struct coord *coord, struct zone *zone)
{
	coord_zone_free(coord->zone);
	coord->zone = zone;
}

bool coord_zone_served(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct coord *coord = warren_self(ctx);
	const char *problem = coord->zone ? coord_zone_problem(coord->zone) : NULL;

	if (problem)
		warren_finding(result, "devices cannot get certificates for their names: %s",
			       problem);
	return !problem;
}

/* ---- a record ---- */

static const char challenge[] = "_acme-challenge.";

struct proof {
	struct request *request;
	struct zone_wait *wait;
};

static void proof_gone(struct request *r)
{
	struct proof *proof = r->arg;

	coord_zone_cancel(proof->wait);
	free(proof);
}

static void proof_seen(void *arg, int result, const char *why)
{
	struct proof *proof = arg;
	struct request *r = proof->request;
	char text[300];

	free(proof);
	r->gone = NULL;
	if (!result) {
		answer_json_take(r, json_object());
		return;
	}
	snprintf(text, sizeof(text), "%s\n", why);
	answer_text(r, 503, text);
}

/* A node proves its own name and no other. */
static bool may_prove(const struct coord *coord, const struct tailnet_node *node, const char *name)
{
	char own[sizeof(challenge) + TAILNET_LABEL + sizeof(coord->base_domain) + 1];
	size_t len;

	snprintf(own, sizeof(own), "%s%s.%s", challenge, node->name, coord->base_domain);
	len = strlen(own);
	return strncasecmp(name, own, len) == 0 &&
	       (name[len] == '\0' || strcmp(name + len, ".") == 0);
}

static void prove(struct request *r, const struct dns_request *said)
{
	struct proof *proof = calloc(1, sizeof(*proof));
	int result = proof ? coord_zone_set(r->coord->zone, said->name, said->value, proof_seen,
					    proof, &proof->wait) : -ENOMEM;

	if (!result) {
		proof->request = r;
		r->arg = proof;
		r->gone = proof_gone;
		return;
	}
	free(proof);
	if (result == -EINVAL)
		answer_text(r, 400, "the value is no text of a TXT record\n");
	else if (result == -EBUSY)
		answer_text(r, 429, "too many records for this name within an hour\n");
	else
		answer_text(r, 503, "there is no room for another record\n");
}

void coord_set_dns(struct request *r)
{
	struct dns_request said;
	const struct tailnet_node *node;
	int rc = dns_request_parse(str_text(r->body), r->body->len, &said, NULL);

	node = rc ? NULL : asked_node(r, said.node_key);
	if (!r->coord->zone)
		answer_text(r, 501, "this coordination server serves no public zone: names of its "
			    "devices cannot get certificates through it\n");
	else if (rc)
		answer_text(r, 400, "the record is not as expected, or of another type than TXT\n");
	else if (!node || !node->authorized || node->live.expired)
		answer_text(r, 403, "this node may set no records\n");
	else if (!may_prove(r->coord, node, said.name))
		answer_text(r, 403, "a node may set no record but that which proves its own "
			    "name\n");
	else
		prove(r, &said);
	json_decref(said.json);
}
