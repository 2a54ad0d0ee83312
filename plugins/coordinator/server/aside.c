/*
 * What clients ask beside registration and maps (control-protocol.md 4.1): whether a feature can be
 * had, a report for the audit log, attributes for postures. What is not offered gets an answer that
 * the client's own command prints.
 */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../policy/posture.h"
#include "base/str.h"
#include "base/util.h"

enum { REPORTS_USEC = 60000000 };

/* ---- features ---- */

static const struct {
	const char *feature, *text;
} features[] = {
	{ "funnel", "Funnel is not offered by this coordination server: nothing in this tailnet "
	  "takes connections from the public Internet for a device." },
	{ "serve", "Serve over HTTPS is not offered by this coordination server: it gives out no "
	  "certificates for the names of its devices.\n"
	  "Serve without TLS works, the tailnet encrypts it: tailscale serve --http=80 TARGET" },
};

void coord_feature(struct request *r)
{
	const char *text = "This feature is not offered by this coordination server.";
	struct feature_query query;
	const struct tailnet_node *node;
	bool ok = feature_query_parse(str_text(r->body), r->body->len, &query, NULL) == 0;

	if (ok && r->coord->zone && strcmp(query.feature, "serve") == 0)
		text = NULL;
	for (size_t i = 0; ok && text && i < ARRAY_SIZE(features); i++) {
		if (strcmp(features[i].feature, query.feature) == 0)
			text = features[i].text;
	}
	node = ok ? asked_node(r, query.node_key) : NULL;
	json_decref(query.json);
	if (!ok)
		answer_text(r, 400, "the feature query is not as expected\n");
	else if (!node)
		answer_text(r, 404, "node not found\n");
	else
		answer_json_take(r, json_pack("{s:b, s:s, s:b}", "Complete", !text, "Text",
					      text ? text : "", "ShouldWait", 0));
}

/* ---- reports for the audit log ---- */

struct report {
	struct request *request;	/* NULL: gone */
};

static void report_gone(struct request *r)
{
	((struct report *)r->arg)->request = NULL;
}

/* The client keeps what got 503 and sends it again later. */
static void reported(void *arg, const struct tailnet_outcome *outcome)
{
	struct report *report = arg;
	struct request *r = report->request;

	free(report);
	if (!r)
		return;
	r->gone = NULL;
	if (!outcome->error)
		answer_text(r, 200, "");
	else if (outcome->result == -EINVAL)
		answer_text(r, 400, outcome->error);
	else
		answer_text(r, 503, "the coordination server cannot write that down now\n");
}

/* Nobody may fill the disk with rows that are never cut. */
static bool report_fits(struct coord *coord)
{
	uint64_t now = warren_now();

	if (now - coord->reports_from >= REPORTS_USEC) {
		coord->reports_from = now;
		coord->reports = 0;
	}
	if (coord->reports >= COORD_REPORTS)
		return false;
	coord->reports++;
	return true;
}

/* The answer waits until that is on the disk. */
static int report_do(struct request *r, const struct tailnet_act *act)
{
	struct report *report = calloc(1, sizeof(*report));
	int rc = report ? 0 : -ENOMEM;

	if (!rc) {
		report->request = r;
		rc = tailnet_do(r->coord->tailnet, act, reported, report);
	}
	if (rc) {
		free(report);
		return rc;
	}
	r->arg = report;
	r->gone = report_gone;
	return 0;
}

static int report_note(struct request *r, const struct tailnet_node *node,
		       const struct audit_report *said)
{
	struct tailnet_act note = {
		.verb = TAILNET_NOTE, .actor = "node", .origin = "client", .kind = "node",
		.text = "node.disconnect", .node = node->id, .display = node->name,
	};
	json_t *details = json_pack("{s:s}", "details", said->details);
	char *after = details ? json_dumps(details, JSON_COMPACT) : NULL;
	int rc;

	note.after = after;
	rc = after ? report_do(r, &note) : -ENOMEM;
	free(after);
	json_decref(details);
	return rc;
}

void coord_report(struct request *r)
{
	struct audit_report said;
	const struct tailnet_node *node;
	int rc = audit_report_parse(str_text(r->body), r->body->len, &said, NULL);

	node = rc ? NULL : asked_node(r, said.node_key);
	if (rc)
		answer_text(r, 400, "the report is not as expected, or of another action than "
			    "DISCONNECT_NODE\n");
	else if (!node)
		answer_text(r, 404, "node not found\n");
	else if (!report_fits(r->coord))
		answer_text(r, 429, "too many reports in one minute\n");
	else if (report_note(r, node, &said))
		answer_text(r, 500, "no memory\n");
	json_decref(said.json);
}

/* ---- attributes for postures ---- */

/* All of it may be set by the node itself, and is spelt in @texts; else an answer is given. */
static bool attributes_spell(struct request *r, json_t *update, struct str *texts)
{
	const struct policy *policy = r->coord->policy;
	uint32_t n = 0;
	const char *name;
	json_t *value;

	json_object_foreach(update, name, value) {
		if (!policy || !posture_by_node(policy, name, json_is_null(value) ? NULL : value)) {
			answer_text(r, 403, "the policy's attrConfig does not let devices set this "
				    "attribute, or to such a value\n");
			return false;
		}
		if (!attribute_spell(&texts[n++], name, value)) {
			answer_text(r, 400, "an attribute is a short text without quotes, a "
				    "number, true or false\n");
			return false;
		}
	}
	return true;
}

static void attributes_set(struct request *r, const struct tailnet_node *node, json_t *update)
{
	const char *strings[TAILNET_ATTRIBUTES];
	struct str texts[TAILNET_ATTRIBUTES] = { 0 };
	const struct tailnet_act act = {
		.verb = TAILNET_NODE_ATTRIBUTES, .actor = "node", .origin = "client",
		.node = node->id, .strings = strings,
		.n_strings = (uint32_t)json_object_size(update),
	};

	if (attributes_spell(r, update, texts)) {
		for (uint32_t i = 0; i < act.n_strings; i++)
			strings[i] = str_text(&texts[i]);
		if (!report_fits(r->coord))
			answer_text(r, 429, "too many changes in one minute\n");
		else if (report_do(r, &act))
			answer_text(r, 500, "no memory\n");
	}
	for (uint32_t i = 0; i < act.n_strings; i++)
		str_free(&texts[i]);
}

void coord_attributes(struct request *r)
{
	struct attribute_update said;
	const struct tailnet_node *node;
	int rc = attribute_update_parse(str_text(r->body), r->body->len, &said, NULL);

	node = rc ? NULL : asked_node(r, said.node_key);
	if (rc)
		answer_text(r, 400, "the attributes are not as expected\n");
	else if (!node)
		answer_text(r, 404, "node not found\n");
	else
		attributes_set(r, node, said.update);
	json_decref(said.json);
}
