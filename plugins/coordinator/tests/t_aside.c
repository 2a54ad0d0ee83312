/*
 * What clients ask beside registration and maps: features, and reports for the audit log.
 */
#include "clients.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../store/store.h"

static struct client a, b;

static int begin(void **state)
{
	int rc = clients_begin(state);

	two_kinds_of_nodes(&a, &b);
	return rc;
}

static int end(void **state)
{
	client_end(&a);
	client_end(&b);
	return clients_end(state);
}

#define BOTH_JOINED(test) cmocka_unit_test_setup_teardown(test, begin, end)

/* Asked by @c, of the node of @a. */
static json_t *feature(struct client *c, const char *name, int status)
{
	char body[256];

	snprintf(body, sizeof(body), "{\"Feature\":%s,\"NodeKey\":\"%s\"}", name,
		 key_text(a.node_key));
	return ask(c, "/machine/feature/query", body, status);
}

static void says(const char *name, const char *part)
{
	json_t *o = feature(&a, name, 200);

	/* Neither done nor worth waiting for: the command prints the text and ends. */
	assert_true(json_is_false(json_object_get(o, "Complete")));
	assert_true(json_is_false(json_object_get(o, "ShouldWait")));
	assert_non_null(strstr(json_string_value(json_object_get(o, "Text")), part));
	json_decref(o);
}

static void features_that_are_not_offered(void **state)
{
	(void)state;
	says("\"funnel\"", "Funnel is not offered");
	says("\"serve\"", "tailscale serve --http=80");
	says("\"time travel\"", "not offered");
	json_decref(feature(&a, "null", 400));
	json_decref(feature(&a, "7", 400));
	json_decref(feature(&b, "\"funnel\"", 404));
}

/* Such requests have no answer but a sentence, which the client's commands print. */
static void left_out(void **state)
{
	static const char *const paths[] = {
		"/machine/set-dns", "/machine/id-token",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		json_t *o = ask(&a, paths[i], "{}", 501);

		assert_non_null(strstr(json_string_value(o), "this coordination server"));
		json_decref(o);
	}
}

/* ---- reports ---- */

static void report_body(char body[4096], const char *action, const char *details)
{
	snprintf(body, 4096, "{\"Version\":137,\"NodeKey\":\"%s\",\"Action\":\"%s\","
		 "\"Details\":\"%s\",\"Timestamp\":\"0001-01-01T00:00:00Z\"}",
		 key_text(a.node_key), action, details);
}

static void report(struct client *c, const char *action, const char *details, int status)
{
	char body[4096];

	report_body(body, action, details);
	json_decref(ask(c, "/machine/audit-log", body, status));
}

struct seen {
	char after[128];
	int64_t target;
	uint32_t n;
};

static int row(const struct store_audit *audit, void *arg)
{
	struct seen *seen = arg;

	if (strcmp(audit->action, "node.disconnect") != 0)
		return 0;
	assert_string_equal(audit->actor, "node");
	assert_string_equal(audit->kind, "node");
	assert_string_equal(audit->name, "laptop");
	snprintf(seen->after, sizeof(seen->after), "%s", audit->after);
	seen->target = audit->target;
	seen->n++;
	return 0;
}

static struct seen rows(void)
{
	struct seen seen = { .n = 0 };
	char why[STORE_WHY];

	assert_int_equal(store_audit_read(tailnet_store(coord.tailnet), 0, 0, row, &seen, why), 0);
	return seen;
}

/* A report that is answered is on the disk; one that is refused is not. */
static void reports(void **state)
{
	char longer[AUDIT_DETAILS + 2];
	struct seen seen;

	(void)state;
	report(&a, "DISCONNECT_NODE", "off to \\\"lunch\\\"", 200);
	seen = rows();
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.target, tailnet_node_by_key(coord.tailnet, a.node_key)->id);
	assert_string_equal(seen.after, "{\"details\":\"off to \\\"lunch\\\"\"}");
	report(&b, "DISCONNECT_NODE", "somebody else's", 404);
	report(&a, "node.delete", "", 400);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	report(&a, "DISCONNECT_NODE", longer, 400);
	longer[AUDIT_DETAILS] = '\0';
	report(&a, "DISCONNECT_NODE", longer, 200);
	assert_int_equal(rows().n, 2);
}

/* Clients keep what they are refused with 429; the next minute takes it. */
static void too_many_reports(void **state)
{
	(void)state;
	coord.reports = COORD_REPORTS;
	coord.reports_from = warren_now();
	report(&a, "DISCONNECT_NODE", "", 429);
	assert_int_equal(rows().n, 0);
	coord.reports_from = warren_now() - 60000000;
	report(&a, "DISCONNECT_NODE", "", 200);
	assert_int_equal(rows().n, 1);
}

static void unheard(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	(void)arg;
}

/* The answer to one who has gone finds nobody, and the row is there all the same. */
static void gone_meanwhile(void **state)
{
	static const struct warren_exchange_events events = {
		.size = sizeof(events), .failed = unheard,
	};
	struct tailnet_stats stats;
	char body[4096];

	(void)state;
	report_body(body, "DISCONNECT_NODE", "");
	post(&a, "/machine/audit-log", body, &events, NULL);
	while (coord.reports == 0)
		parts_settle(engine);
	coord_sessions_close(&coord);
	do {
		parts_settle(engine);
		tailnet_stats(coord.tailnet, &stats);
	} while (stats.waiting + stats.flying > 0);
	assert_int_equal(rows().n, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_JOINED(features_that_are_not_offered),
		BOTH_JOINED(left_out),
		BOTH_JOINED(reports),
		BOTH_JOINED(too_many_reports),
		BOTH_JOINED(gone_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
