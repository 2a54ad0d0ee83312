/*
 * What the server asks of nodes through their streams: the probes of routers, and what an operator
 * asks. The other side is the toolkit's own client.
 */
#include "clients.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/addr.h"

/* The path of the next request that is not older than the call, in @out; false: none has come. */
static bool take_ping(struct client *c, char out[200], json_t **ping)
{
	json_t *o = take_map(c), *p = json_object_get(o, "PingRequest");
	const char *url = json_string_value(json_object_get(p, "URL"));

	if (!p) {
		json_decref(o);
		return false;
	}
	assert_true(json_is_true(json_object_get(p, "URLIsNoise")));
	assert_true(str_starts(url, coord.url));
	str_copy(out, 200, url + strlen(coord.url));
	if (ping)
		*ping = json_incref(p);
	json_decref(o);
	return true;
}

static struct client *routers[2];
static bool router_answers[2];

/* Until @id is primary, or for @seconds; the routers answer or do not. */
static void probes(int64_t id, double seconds)
{
	const uint64_t until = warren_now() + (uint64_t)(seconds * 1e6);
	struct warren_prefix net;
	char path[200];

	assert_int_equal(prefix_parse("10.1.0.0/16", &net), 0);
	while (warren_now() < until && (!id || tailnet_primary(coord.tailnet, &net) != id)) {
		for (int i = 0; i < 2; i++) {
			if (take_ping(routers[i], path, NULL) && router_answers[i])
				json_decref(ask_with(routers[i], "HEAD", path, NULL, 200));
		}
		parts_settle(engine);
		usleep(1000);
	}
	if (id)
		assert_int_equal(tailnet_primary(coord.tailnet, &net), id);
}

static int64_t router(struct client *c, const char *name)
{
	static struct warren_prefix net;
	int64_t id;

	join_as(c, name);
	lite(c, ",\"Hostinfo\":{\"RoutableIPs\":[\"10.1.0.0/16\"]}");
	id = tailnet_node_by_key(coord.tailnet, c->node_key)->id;
	assert_int_equal(prefix_parse("10.1.0.0/16", &net), 0);
	act((struct tailnet_act){ .verb = TAILNET_NODE_ROUTES, .node = id, .prefixes = &net,
				  .n_prefixes = 1 });
	stream(c, false);
	assert_non_null(map_with(c, "Node"));
	return id;
}

/* A stream that is open is no sign of life. */
static void routers_are_probed(void **state)
{
	struct client a, b;
	int64_t one, two;
	struct warren_prefix net;

	(void)state;
	coord.probe_interval = 300000;
	assert_int_equal(coord_probe_start(&coord), 0);
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .reusable = true, .user = act(
		(struct tailnet_act){ .verb = TAILNET_USER_CREATE, .text = "alice" }) });
	one = router(&a, "one");
	two = router(&b, "two");
	routers[0] = &a;
	routers[1] = &b;
	router_answers[0] = router_answers[1] = true;
	prefix_parse("10.1.0.0/16", &net);
	probes(0, 1.5);
	assert_int_equal(tailnet_primary(coord.tailnet, &net), one);
	router_answers[0] = false;
	probes(two, 5);
	assert_true(tailnet_node(coord.tailnet, one)->live.online);
	/* It answers again: a candidate, no more. */
	router_answers[0] = true;
	probes(0, 1.5);
	assert_false(tailnet_node(coord.tailnet, one)->live.unhealthy);
	assert_int_equal(tailnet_primary(coord.tailnet, &net), two);
	/* Nobody answers: there is no better one. */
	router_answers[0] = router_answers[1] = false;
	probes(0, 1.5);
	assert_int_equal(tailnet_primary(coord.tailnet, &net), two);
	assert_true(tailnet_node(coord.tailnet, two)->live.unhealthy);
	router_answers[0] = true;
	probes(one, 5);
	client_end(&a);
	client_end(&b);
}

struct ponged {
	int result;
	char body[64];
	volatile bool came;
};

static void on_pong(void *arg, const struct coord_pong *pong)
{
	struct ponged *p = arg;

	p->result = pong->result;
	snprintf(p->body, sizeof(p->body), "%s", pong->body);
	p->came = true;
}

/* Only the machine that was asked can answer, once. */
static void nodes_are_asked(void **state)
{
	static const char hello[] = "GET /echo HTTP/1.1\r\n\r\n";
	struct coord_ping_options options = { .types = "c2n", .payload = hello,
					      .timeout = 5000000 };
	struct ponged pong = { .came = false };
	struct coord_ping *ping;
	struct client a, b;
	char path[200];
	json_t *o = NULL;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	options.node = tailnet_node_by_key(coord.tailnet, a.node_key)->id;
	assert_int_equal(coord_ping(&coord, &options, on_pong, &pong, &ping), -ENOTCONN);
	stream(&a, true);
	assert_non_null(map_with(&a, "Node"));
	options.age = 3600 * UINT64_C(1000000);
	assert_int_equal(coord_ping(&coord, &options, on_pong, &pong, &ping), -EAGAIN);
	options.age = 0;
	assert_int_equal(coord_ping(&coord, &options, on_pong, &pong, &ping), 0);
	for (int i = 0; i < 5000 && !o; i++) {
		parts_settle(engine);
		take_ping(&a, path, &o);
	}
	assert_string_equal(json_string_value(json_object_get(o, "Types")), "c2n");
	assert_string_equal(json_string_value(json_object_get(o, "Payload")),
			    "R0VUIC9lY2hvIEhUVFAvMS4xDQoNCg==");
	json_decref(o);
	json_decref(ask(&b, path, "HTTP/1.1 200 OK\r\n\r\nnot me", 404));
	json_decref(ask_with(&a, "GET", path, NULL, 405));
	assert_false(pong.came);
	json_decref(ask(&a, path, "HTTP/1.1 200 OK\r\n\r\nhello", 200));
	assert_int_equal(pong.result, 0);
	assert_string_equal(pong.body, "HTTP/1.1 200 OK\r\n\r\nhello");
	json_decref(ask(&a, path, "again", 404));
	json_decref(ask(&a, "/machine/ping-response", "", 404));
	/* No answer comes. */
	pong.came = false;
	options.timeout = 50000;
	assert_int_equal(coord_ping(&coord, &options, on_pong, &pong, &ping), 0);
	assert_true(parts_until(engine, &pong.came));
	assert_int_equal(pong.result, -ETIMEDOUT);
	client_end(&a);
	client_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(routers_are_probed),
		ON_LOOP(nodes_are_asked),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
