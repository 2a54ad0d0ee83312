/*
 * What the server reads: requests of clients, and the operator's map of relays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"

#include "../server/server.h"

/* ---- the map of relays ---- */

static void relays(void **state)
{
	static const char good[] = "{\"Regions\":{\"900\":{\"RegionID\":900,\"Nodes\":[{\"Name\":"
				   "\"900a\",\"RegionID\":900,\"HostName\":\"r.example\"}]}}}";
	static const char *const bad[] = {
		"{", "[]", "{}", "{\"Regions\":{}}", "{\"Regions\":[]}",
		"{\"Regions\":{\"1\":null}}",
		"{\"Regions\":{\"1\":{\"RegionID\":2,\"Nodes\":[{\"Name\":\"a\",\"RegionID\":2,"
		"\"HostName\":\"r\"}]}}}",
		"{\"Regions\":{\"1\":{\"RegionID\":1,\"Nodes\":[]}}}",
		"{\"Regions\":{\"1\":{\"RegionID\":1,\"Nodes\":[{\"Name\":\"a\",\"RegionID\":2,"
		"\"HostName\":\"r\"}]}}}",
		"{\"Regions\":{\"1\":{\"RegionID\":1,\"Nodes\":[{\"Name\":\"a\",\"RegionID\":1}]}"
		"}}",
	};
	char *map = coord_derp_parse(good, sizeof(good) - 1, NULL);

	(void)state;
	assert_non_null(map);
	free(map);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct warren_err err = ERR_INIT;

		assert_null(coord_derp_parse(bad[i], strlen(bad[i]), &err));
		assert_non_null(err_first(&err));
		err_free(&err);
	}
}

/* The relay of this box: as a map by itself, beside others, and where a region has its number. */
static void the_own_relay(void **state)
{
	static const char file[] = "{\"Regions\":{\"900\":{\"RegionID\":900,\"Nodes\":[{\"Name\":"
				   "\"900a\",\"RegionID\":900,\"HostName\":\"r.example\"}]}}}";
	struct warren_relay_server_info relay = {
		.size = sizeof(relay), .region = 901, .code = "tpe", .name = "Taipei", .port = 443,
		.stun_port = 3478, .port80 = true,
	};
	char *map = coord_derp_with(NULL, &relay, "hq.example.com");

	(void)state;
	assert_string_equal(map, "{\"OmitDefaultRegions\":true,\"Regions\":{\"901\":{\"RegionID\":"
			    "901,\"RegionCode\":\"tpe\",\"RegionName\":\"Taipei\",\"Nodes\":[{"
			    "\"Name\":\"901a\",\"RegionID\":901,\"HostName\":\"hq.example.com\","
			    "\"DERPPort\":443,\"STUNPort\":3478,\"CanPort80\":true}]}}}");
	free(map);
	/* By an address and a pin, at a host of its own, and without STUN: the file stays. */
	relay.host = "2001:db8::5";
	relay.port = 8443;
	relay.stun_port = 0;
	relay.port80 = false;
	relay.pinned = true;
	memset(relay.sha256, 0xab, sizeof(relay.sha256));
	map = coord_derp_with(file, &relay, "hq.example.com");
	assert_non_null(strstr(map, "\"HostName\":\"r.example\""));
	assert_non_null(strstr(map, "\"HostName\":\"2001:db8::5\",\"DERPPort\":8443,"
			       "\"STUNPort\":-1,\"CanPort80\":false,\"IPv6\":\"2001:db8::5\","
			       "\"IPv4\":\"none\","
			       "\"CertName\":\"sha256-raw:abababab"));
	free(map);
	/* What an operator has written about that region counts. */
	relay.region = 900;
	map = coord_derp_with(file, &relay, "hq.example.com");
	assert_string_equal(map, file);
	free(map);
}

/* Endpoints that no other host could use are left out. */
static void endpoints(void **state)
{
	static const char body[] =
		"{\"Version\":137,\"Endpoints\":[\"192.0.2.1:1\",\"127.0.0.1:1\",\"0.0.0.0:1\","
		"\"192.0.2.1:0\",\"224.0.0.1:1\",\"[::1]:1\",\"[::]:1\",\"[fe80::1]:1\","
		"\"[fe80::1%eth0]:1\",\"[ff02::1]:1\",\"x\",\"[2001:db8::1]:41641\"],"
		"\"EndpointTypes\":[2,1,1,1,1,1,1,1,1,1,1,3]}";
	struct map_request r;

	(void)state;
	assert_int_equal(map_request_parse(body, sizeof(body) - 1, &r, NULL), 0);
	assert_int_equal(r.n_endpoints, 2);
	assert_int_equal(r.endpoints[0].type, 2);
	assert_int_equal(r.endpoints[1].at.port, 41641);
	assert_int_equal(r.endpoints[1].type, 3);
	map_request_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(relays),
		cmocka_unit_test(the_own_relay),
		cmocka_unit_test(endpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
