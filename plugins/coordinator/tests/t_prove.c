/*
 * A record that proves a node's name: whose it may be, and that none is acknowledged that nobody
 * can see. That a server takes it is for tests/interop.
 */
#include "clients.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../server/dns.h"
#include "../zone/zone.h"
#include "base/err.h"
#include "base/util.h"
#include "engine/conf.h"

static struct client a, b;
static struct wcore_config *config;

static int secret_load(const struct wcore_secret_ask *ask, void *arg)
{
	int fd = memfd_create("secret", MFD_CLOEXEC);

	(void)ask;
	(void)arg;
	assert_int_equal(write(fd, "c2VjcmV0\n", 9), 9);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static const struct warren_conf *section(const char *text)
{
	static const struct wcore_conf_schema schema = {
		.name = "zone", .options = { sizeof(struct warren_option), ZONE_OPTIONS,
					     coord_zone_options },
	};
	struct wcore_conf_source source = { .name = "t.yaml", .bytes = text, .len = strlen(text),
					    .fd = -1 };
	struct warren_err err = ERR_INIT;

	config = wcore_config_parse(&source, 1, &err);
	if (!config || wcore_config_bind(config, &schema, 1, 0, secret_load, NULL, &err) < 0)
		fail_msg("%s", err_first(&err));
	err_free(&err);
	return wcore_config_section(config, "zone");
}

/* The server is a port where nobody listens. */
static int begin(void **state)
{
	int rc = clients_begin(state);

	coord.zone = coord_zone_new(ctx, section("zone: {update: {server: '127.0.0.1:9', "
						 "key: warren, secret: {file: /secret}}}\n"),
				    coord.base_domain, "hq.example.com", NULL);
	assert_non_null(coord.zone);
	coord_dns_certify(coord.dns, coord.base_domain);
	two_kinds_of_nodes(&a, &b);
	return rc;
}

static int end(void **state)
{
	int rc;

	client_end(&a);
	client_end(&b);
	coord_zone_free(coord.zone);
	coord.zone = NULL;
	rc = clients_end(state);
	wcore_config_unref(config);
	return rc;
}

#define WITH_ZONE(test) cmocka_unit_test_setup_teardown(test, begin, end)

/* Asked by @c of the node of @of. */
static void proves(struct client *c, const struct client *of, const char *name, const char *type,
		   const char *value, int status)
{
	char body[1024];

	snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"Name\":\"%s\","
		 "\"Type\":\"%s\",\"Value\":\"%s\"}", key_text(of->node_key), name, type, value);
	json_decref(ask(c, "/machine/set-dns", body, status));
}

static const char *own_name(struct client *c, char out[300])
{
	json_t *o;

	stream(c, true);
	o = map_with(c, "DNSConfig");
	assert_int_equal(json_array_size(json_object_get(o, "CertDomains")), 1);
	snprintf(out, 300, "_acme-challenge.%s", json_string_value(json_array_get(
		 json_object_get(o, "CertDomains"), 0)));
	return out;
}

static void a_node_proves_its_own_name_alone(void **state)
{
	char mine[300], theirs[300], longer[310];

	(void)state;
	own_name(&a, mine);
	own_name(&b, theirs);
	assert_string_not_equal(mine, theirs);
	proves(&a, &a, theirs, "TXT", "x", 403);
	proves(&a, &b, theirs, "TXT", "x", 403);	/* with somebody else's node key */
	proves(&a, &a, mine + strlen("_acme-challenge."), "TXT", "x", 403);
	proves(&a, &a, "_acme-challenge.tail.example.com", "TXT", "x", 403);
	proves(&a, &a, "tail.example.com", "TXT", "x", 403);
	snprintf(longer, sizeof(longer), "x.%s", mine);
	proves(&a, &a, longer, "TXT", "x", 403);
	snprintf(longer, sizeof(longer), "%s.x", mine);
	proves(&a, &a, longer, "TXT", "x", 403);
	proves(&a, &a, mine, "A", "192.0.2.1", 400);
	proves(&a, &a, mine, "TXT", "", 400);
	proves(&a, &a, "", "TXT", "x", 400);
	proves(&a, &a, mine, "TXT", "two\\nlines", 400);
	json_decref(ask(&a, "/machine/set-dns", "[]", 400));
	json_decref(ask(&a, "/machine/set-dns", "{\"Name\":7}", 400));
	/* All of that is right: then it is the server that nobody reaches. */
	proves(&a, &a, mine, "TXT", "x", 503);
	assert_non_null(strstr(coord_zone_problem(coord.zone), "127.0.0.1:9"));
}

static void not_too_often(void **state)
{
	char mine[300], value[16];

	(void)state;
	own_name(&a, mine);
	for (int i = 0; i < 60; i++) {
		snprintf(value, sizeof(value), "v%d", i);
		proves(&a, &a, mine, "TXT", value, 503);
	}
	proves(&a, &a, mine, "TXT", "one more", 429);
}

static void serve_is_offered(void **state)
{
	char body[256];
	json_t *o;

	(void)state;
	snprintf(body, sizeof(body), "{\"Feature\":\"serve\",\"NodeKey\":\"%s\"}",
		 key_text(a.node_key));
	o = ask(&a, "/machine/feature/query", body, 200);
	assert_true(json_is_true(json_object_get(o, "Complete")));
	json_decref(o);
	stream(&a, true);
	o = json_object_get(map_with(&a, "Node"), "CapMap");
	assert_non_null(json_object_get(o, "https"));
}

static void the_zone_goes(void **state)
{
	(void)state;
	coord_zone_free(coord.zone);
	coord.zone = NULL;
	proves(&a, &a, "_acme-challenge.x", "TXT", "x", 501);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ZONE(a_node_proves_its_own_name_alone),
		WITH_ZONE(not_too_often),
		WITH_ZONE(serve_is_offered),
		WITH_ZONE(the_zone_goes),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
