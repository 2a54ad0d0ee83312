/*
 * The language: what is refused, where and in which words; what the recorded cases do not show.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../posture.h"
#include "base/str.h"
#include "base/util.h"

static const char *const domains[] = { "example.com" };
static const struct policy_options options = { .domains = domains, .n_domains = 1 };

static void says(const char *text, uint32_t line, uint32_t column, const char *why)
{
	struct policy_error error;
	struct policy *policy = policy_parse(text, strlen(text), &options, &error);

	assert_null(policy);
	if (error.line != line || error.column != column || strcmp(error.text, why) != 0)
		fail_msg("%u:%u: %s", error.line, error.column, error.text);
}

static struct policy *accepted(const char *text)
{
	struct policy_error error;
	struct policy *policy = policy_parse(text, strlen(text), &options, &error);

	if (!policy)
		fail_msg("%u:%u: %s", error.line, error.column, error.text);
	assert_string_equal(policy->text, text);
	return policy;
}

static void fine(const char *text)
{
	policy_free(accepted(text));
}

/* ---- */

static void unknown_things(void **state)
{
	(void)state;
	says("{\n \"grant\": []}", 2, 2, "unknown field \"grant\"");
	says("{\"acls\": [{\"action\": \"accept\", \"source\": []}]}", 1, 32,
	     "unknown field \"source\"");
	fine("{\"ACLs\": [{\"action\": \"accept\", \"#ui\": 7, \"src\": [], \"dst\": []}]}");
	says("{\"acls\": [{\"action\": \"deny\", \"src\": [\"*\"], \"dst\": [\"*:*\"]}]}", 1, 22,
	     "action=\"deny\" is not supported");
	says("{\"acls\": [{\"src\": [\"*\"], \"dst\": [\"*:*\"]}]}", 1, 11,
	     "action=\"\" is not supported");
	says("{\"acls\": [{\"action\": \"accept\", \"src\": [\"autogroup:nobody\"], \"dst\": []}]}",
	     1, 40, "src=\"autogroup:nobody\" is not a valid autogroup");
	says("{\"acls\": {}}", 1, 10, "\"acls\" must be a list in [ ]");
	says("[]", 1, 1, "a policy is an object in { }");
}

static void definitions(void **state)
{
	(void)state;
	says("{\"groups\": {\"eng\": []}}", 1, 13,
	     "groups[\"eng\"]: a name that begins with \"group:\" is expected");
	says("{\"groups\": {\"group:eng\": [\"alice\"]}}", 1, 27,
	     "groups[\"group:eng\"]: \"alice\": a user is expected, as in alice@example.com");
	says("{\"hosts\": {\"a@b\": \"10.0.0.1\"}}", 1, 12,
	     "hosts[\"a@b\"]: the name of a host has no \"@\" and no \":\"");
	says("{\"hosts\": {\"a\": \"10.0.0\"}}", 1, 17,
	     "hosts[\"a\"]: \"10.0.0\": invalid address");
	says("{\"tagOwners\": {\"tag:1\": []}}", 1, 16,
	     "tagOwners[\"tag:1\"]: tag names must start with a letter, after 'tag:'");
	says("{\"tagOwners\": {\"tag:a\": [\"tag:b\"]}}", 1, 26, "tag not found: \"tag:b\"");
	fine("{\"tagOwners\": {\"tag:a\": [\"tag:b\"], \"tag:b\": [\"tag:a\", "
	     "\"autogroup:admin\"]}}");
	says("{\"autoApprovers\": {\"routes\": {\"10\": []}}}", 1, 31,
	     "autoApprovers.routes: \"10\": invalid address");
	says("{\"autoApprovers\": {\"exitNode\": [\"*\"]}}", 1, 33,
	     "\"*\" is no user, group, tag or autogroup");
	fine("{\"derpMap\": {\"Regions\": {}}, \"disableIPv4\": true, \"oneCGNATRoute\": \"\"}");
	says("{\"oneCGNATRoute\": \"always\"}", 1, 19,
	     "\"oneCGNATRoute\" is \"\", \"mac-always\" or \"mac-never\"");
}

static void ipsets(void **state)
{
	struct policy *policy = accepted(
		"{\"hosts\": {\"db\": \"10.1.2.3\"}, \"ipsets\": {"
		"\"ipset:all\": [\"10.0.0.0/8\", \"remove ipset:not\", \"add 192.0.2.0/24\"],"
		"\"ipset:not\": [\"10.1.0.0/16\", \"remove db\"]}}");
	const struct named *all = policy_find(&policy->ipsets, "ipset:all");
	char text[RANGE_TEXT];

	(void)state;
	assert_int_equal(all->set.n, 4);
	assert_string_equal(range_format(&all->set.at[0], text), "10.0.0.0/16");
	assert_string_equal(range_format(&all->set.at[1], text), "10.1.2.3");
	assert_string_equal(range_format(&all->set.at[2], text), "10.2.0.0-10.255.255.255");
	assert_string_equal(range_format(&all->set.at[3], text), "192.0.2.0/24");
	policy_free(policy);
	says("{\"ipsets\": {\"ipset:a\": [\"ipset:b\"], \"ipset:b\": [\"ipset:a\"]}}", 1, 24,
	     "\"ipset:a\" refers to itself");
	says("{\"ipsets\": {\"ipset:a\": [\"tag:b\"]}}", 1, 25, "\"tag:b\": invalid address");
}

#define ACL(dst) "{\"acls\": [{\"action\": \"accept\", \"src\": [\"*\"], \"dst\": [\"" dst "\"]}]}"
#define PROTO(proto, dst) "{\"acls\": [{\"action\": \"accept\", \"proto\": \"" proto "\", " \
			  "\"src\": [\"*\"], \"dst\": [\"" dst "\"]}]}"
#define GRANT(rest) "{\"tagOwners\": {\"tag:r\": []}, \"grants\": [{\"src\": [\"*\"], " rest "}]}"

static void ports(void **state)
{
	struct policy *policy = accepted(ACL("[fd7a::1]:80,443"));

	(void)state;
	assert_int_equal(policy->grants[0].ip[0].n, 2);
	assert_int_equal(policy->grants[0].dst.at[0].kind, SEL_PREFIX);
	policy_free(policy);
	policy = accepted(ACL("fd7a::1:80"));
	assert_int_equal(policy->grants[0].ip[0].ports[0].first, 80);
	policy_free(policy);
	fine(ACL("[fd7a::]/48:1-65535"));
	says(ACL("10.0.0.1:0"), 1, 54, "dst=\"10.0.0.1:0\": port range \"0\": first port must be "
	     ">0, or use '*' for wildcard");
	says(ACL("*:90-80"), 1, 54, "dst=\"*:90-80\": port range \"90-80\": first port must be <= "
	     "last port");
	says(ACL("*:80-x"), 1, 54, "dst=\"*:80-x\": port range \"80-x\": invalid last integer");
	says(ACL("*:65536"), 1, 54, "dst=\"*:65536\": port range \"65536\": invalid first integer");
	says(ACL("db"), 1, 54, "dst=\"db\": hostport must contain a colon");
	says(ACL("autogroup:danger-all:*"), 1, 54, "cannot use autogroup:danger-all as a dst");
	fine(PROTO("6", "*:80"));
	fine(PROTO("icmp", "*:*"));
	says(PROTO("icmp", "*:80"), 1, 71,
	     "dst=\"*:80\": protocol 1 has no ports: use \"*:*\"");
	says(PROTO("06", "*:80"), 1, 41, "proto \"06\" is not supported: expected a name as tcp, "
	     "udp, icmp or a number from 1 to 255");
	says(PROTO("*", "*:80"), 1, 41, "proto \"*\" is not supported: expected a name as tcp, "
	     "udp, icmp or a number from 1 to 255");
}

static void grants(void **state)
{
	struct policy *policy = accepted(GRANT("\"dst\": [\"tag:r\"], \"ip\": [\"udp:53\", \"80\", "
					       "\"udp:54\", \"icmp:*\"]"));

	(void)state;
	assert_int_equal(policy->grants[0].n_ip, 3);
	assert_int_equal(policy->grants[0].ip[0].n, 2);
	policy_free(policy);
	says(GRANT("\"dst\": [\"*\"], \"ip\": [\"icmp\"]"), 1, 77,
	     "port range \"icmp\": invalid first integer");
	says(GRANT("\"dst\": [\"*\"], \"ip\": [\"icmp:8\"]"), 1, 77,
	     "protocol icmp has no ports: use \"icmp:*\"");
	says(GRANT("\"dst\": [\"*\"], \"ip\": [\"*\"], \"via\": [\"group:x\"]"), 1, 91,
	     "via can only be a tag");
	says(GRANT("\"dst\": [\"*\"], \"ip\": [\"*\"], \"via\": [\"tag:x\"]"), 1, 91,
	     "tag \"tag:x\" not found");
	says(GRANT("\"dst\": [\"svc:web\"], \"ip\": [\"*\"], \"app\": {\"x\": []}"), 1, 97,
	     "capability name must have the form {domain}/{path}");
	fine(GRANT("\"dst\": [\"svc:web\"], \"ip\": [\"*\"]"));
}

static bool number_passes(const char *test, double value)
{
	AUTO(str_free) struct str text = STR_INIT;
	struct policy *policy;
	json_t *attributes = json_pack("{s:f}", "custom:n", value);
	const struct postures none = { .n = 0 };
	bool passes;

	str_addf(&text, "{\"postures\": {\"posture:n\": [\"custom:n %s\"]}, "
		 "\"defaultSrcPosture\": [\"posture:n\"]}", test);
	policy = accepted(str_text(&text));
	passes = posture_allows(policy, &none, attributes);
	json_decref(attributes);
	policy_free(policy);
	return passes;
}

/* Unlike versions: 1.5 is more than 1.10. */
static void postures_of_numbers(void **state)
{
	(void)state;
	assert_true(number_passes("== 1.5", 1.5));
	assert_true(number_passes("== '1.50'", 1.5));
	assert_false(number_passes("== 1.5.0", 1.5));
	assert_true(number_passes("!= 1.5.0", 1.5));
	assert_true(number_passes("> 1.10", 1.5));
	assert_true(number_passes("<= 1.5", 1.5));
	assert_false(number_passes("< 1.5", 1.5));
	assert_true(number_passes("< 10", 9.75));
	assert_true(number_passes("> -2", -1.5));
	assert_true(number_passes("IN [1, 1.5]", 1.5));
	assert_true(number_passes("NOT IN [1, 2]", 1.5));
	assert_true(number_passes("IS SET", 0));
	assert_false(number_passes("NOT SET", 0));
	/* What is no number is neither more nor less, and "inf" and "nan" are none. */
	assert_false(number_passes("< high", 1));
	assert_false(number_passes(">= high", 1));
	assert_false(number_passes("< inf", 1));
	assert_true(number_passes("!= nan", 1));
}

static void postures(void **state)
{
	struct policy *policy = accepted(
		"{\"postures\": {\"posture:new\": [\"node:os == 'linux'\", \"node:tsVersion >= "
		"'1.60'\"], \"posture:set\": [\"custom:tier IN ['a', 'b']\", \"custom:x IS SET\"]},"
		"\"defaultSrcPosture\": [\"posture:new\"], \"grants\": [{\"src\": [\"*\"], "
		"\"dst\": [\"*\"], \"ip\": [\"*\"], \"srcPosture\": [\"posture:set\"]}]}");
	const struct postures none = { .n = 0 }, *own = &policy->grants[0].postures;
	json_t *a = json_pack("{s:s,s:s}", "node:os", "linux", "node:tsVersion", "1.100.2");
	json_t *b = json_pack("{s:s,s:i}", "custom:tier", "b", "custom:x", 0);

	(void)state;
	assert_true(posture_allows(policy, &none, a));
	assert_false(posture_allows(policy, own, a));
	assert_true(posture_allows(policy, own, b));
	assert_false(posture_allows(policy, &none, b));
	assert_false(posture_allows(policy, &none, NULL));
	json_object_set_new(a, "node:tsVersion", json_string("1.9"));
	assert_false(posture_allows(policy, &none, a));
	json_decref(a);
	json_decref(b);
	policy_free(policy);
	assert_true(posture_compare("1.9", "1.10") < 0);
	assert_true(posture_compare("1.10", "1.010") == 0);
	assert_true(posture_compare("1.10", "1.10-rc1") < 0);
	says("{\"postures\": {\"posture:a\": [\"node:os IN ['a'0 'b']\"]}}", 1, 29,
	     "\"node:os IN ['a'0 'b']\": a comma is expected between values");
	fine("{\"postures\": {\"posture:a\": [\"node:os IN ['a' , b,]\", \"node:os IN []\"]}}");
	says("{\"postures\": {\"posture:a\": [\"os == linux\"]}}", 1, 29,
	     "\"os == linux\": expected as in node:os == 'linux'");
	says("{\"defaultSrcPosture\": [\"posture:a\"]}", 1, 24, "posture not found: \"posture:a\"");
}

#define SSH(rest) "{\"tagOwners\": {\"tag:a\": []}, \"ssh\": [{\"action\": \"accept\", " rest "}]}"

static void attributes_of_devices(void **state)
{
	struct policy *policy = accepted(
		"{\"attrConfig\": {\"custom:risk\": {\"type\": \"number\", "
		"\"allowSetByNode\": true}, \"custom:any\": {\"allowSetByNode\": true}, "
		"\"custom:no\": {\"type\": \"bool\"}}}");
	json_t *number = json_real(0.5), *word = json_string("x");

	(void)state;
	assert_true(posture_by_node(policy, "custom:risk", number));
	assert_true(posture_by_node(policy, "custom:risk", NULL));
	assert_false(posture_by_node(policy, "custom:risk", word));
	assert_true(posture_by_node(policy, "custom:any", word));
	assert_false(posture_by_node(policy, "custom:no", json_true()));
	assert_false(posture_by_node(policy, "custom:ris", number));
	json_decref(number);
	json_decref(word);
	policy_free(policy);
	says("{\"attrConfig\": {\"node:os\": {}}}", 1, 28,
	     "attrConfig: \"node:os\" does not begin with \"custom:\"");
	says("{\"attrConfig\": {\"custom:a\": {\"type\": \"int\"}}}", 1, 38,
	     "\"type\" is \"string\", \"number\" or \"bool\"");
	says("{\"attrConfig\": {\"custom:a\": {\"allowSetByNodes\": true}}}", 1, 30,
	     "unknown field \"allowSetByNodes\"");
	says("{\"attrConfig\": {\"custom:a\": []}}", 1, 29,
	     "attrConfig[\"custom:a\"] must be an object in { }");
}

static void ssh(void **state)
{
	(void)state;
	fine(SSH("\"src\": [\"a@example.com\"], \"dst\": [\"a@example.com\"], \"users\": [\"x\"]"));
	says(SSH("\"src\": [\"a@example.com\"], \"dst\": [\"b@example.com\"], \"users\": [\"x\"]"),
	     1, 93,
	     "dst \"b@example.com\": a user's devices can only be reached by the same user, "
	     "who is then the only src");
	says(SSH("\"src\": [\"tag:a\"], \"dst\": [\"autogroup:member\"], \"users\": [\"x\"]"), 1,
	     85,
	     "dst \"autogroup:member\": tagged devices cannot reach those of users");
	says(SSH("\"src\": [\"tag:a\"], \"dst\": [\"autogroup:self\"], \"users\": [\"x\"]"), 1, 85,
	     "autogroup:self can only be used with users, groups, or supported autogroups");
	says(SSH("\"src\": [\"*\"], \"dst\": [\"tag:a\"], \"users\": [\"x\"]"), 1, 67,
	     "invalid src \"*\"");
	says(SSH("\"src\": [\"tag:a\"], \"dst\": [\"*\"], \"users\": [\"x\"]"), 1, 85,
	     "invalid dst \"*\"");
	says(SSH("\"src\": [\"tag:a\"], \"dst\": [\"tag:a\"], \"users\": [\"x\"], \"checkPeriod\": "
		 "\"1h\""), 1, 126, "checkPeriod is for action \"check\" only");
}

static void the_default(void **state)
{
	struct policy *policy = policy_default();

	(void)state;
	assert_true(policy && policy->has_rules && policy->n_grants == 1);
	assert_int_equal(policy->grants[0].dst.at[0].kind, SEL_SELF);
	policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_things),
		cmocka_unit_test(definitions),
		cmocka_unit_test(ipsets),
		cmocka_unit_test(ports),
		cmocka_unit_test(grants),
		cmocka_unit_test(postures_of_numbers),
		cmocka_unit_test(postures),
		cmocka_unit_test(attributes_of_devices),
		cmocka_unit_test(ssh),
		cmocka_unit_test(the_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
