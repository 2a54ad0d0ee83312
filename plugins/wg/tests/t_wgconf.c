/*
 * wg-quick files: what is read, each error with its line, the limits, and the YAML that comes out.
 * Keys here are made up: bytes 0, 1, 2, ... of one value each.
 */
#include "../wgconf.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

#define KEY0 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY1 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define KEY2 "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
#define KEY3 "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="

static struct wg_conf *parse(const char *text)
{
	struct warren_err err = ERR_INIT;
	struct wg_conf *conf = wg_conf_parse("wg0.conf", text, strlen(text), &err);

	if (!conf)
		fail_msg("%s", err_first(&err));
	assert_false(err_any(&err));
	err_free(&err);
	return conf;
}

static char *render(const struct wg_conf *conf, const char *name)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(wg_conf_render(conf, name, out), 0);
	fclose(out);
	return text;
}

static const char full[] =
	"# my gateway\n"
	"[Interface]\n"
	"PrivateKey = " KEY1 "   # secret\n"
	"Address = 10.90.0.1/24, fd00:90::1/64\n"
	"Address = 10.91.0.1\n"
	"ListenPort=51999\n"
	"MTU = 1380\r\n"
	"DNS = 10.0.0.53, example.com\n"
	"Table = off\n"
	"FwMark = 0x1234\n"
	"SaveConfig = true\n"
	"PostUp = iptables -A FORWARD -i %i -j ACCEPT; echo " KEY3 "\n"
	"PreDown = true\n"
	"\n"
	"# Tokyo\n"
	"[Peer]\n"
	"PublicKey = " KEY2 "\n"
	"PresharedKey = " KEY3 "\n"
	"AllowedIPs = 10.90.0.2/32,10.91.7.9/16, fd00:90::2\n"
	"AllowedIPs = 0.0.0.0/0\n"
	"Endpoint = tokyo.example.com:51820\n"
	"PersistentKeepalive = 25\n"
	"[peer]\n"
	"  # Name = Laptop of Ann!\n"
	"\tpublickey=" KEY3 "\n"
	"ENDPOINT = [2001:db8::1]:1234\n"
	"PresharedKey = " KEY0 "\n"
	"PersistentKeepalive = off\n"
	"AllowedIPs =\n";

static void expect_prefix(const struct wg_conf_prefixes *list, size_t i, uint8_t family,
			  const char *hex, uint8_t bits)
{
	char got[33];

	assert_true(i < list->n);
	assert_int_equal(list->at[i].addr.family, family);
	assert_int_equal(list->at[i].bits, bits);
	sodium_bin2hex(got, sizeof(got), list->at[i].addr.bytes, family == 4 ? 4 : 16);
	assert_string_equal(got, hex);
}

static void reads_everything(void **state)
{
	struct wg_conf *conf = parse(full);
	const struct wg_conf_peer *peer = conf->peer;

	(void)state;
	assert_true(conf->has_private_key);
	assert_int_equal(conf->private_key[31], 1);
	assert_int_equal(conf->port, 51999);
	assert_int_equal(conf->mtu, 1380);
	assert_int_equal(conf->address.n, 3);
	expect_prefix(&conf->address, 0, 4, "0a5a0001", 24);	/* host bits are the address */
	expect_prefix(&conf->address, 1, 6, "fd000090000000000000000000000001", 64);
	expect_prefix(&conf->address, 2, 4, "0a5b0001", 32);
	assert_int_equal(conf->text_n, 6);
	assert_string_equal(conf->text[4].key, "PostUp");
	assert_int_equal(conf->text[4].line, 12);

	assert_int_equal(conf->peer_n, 2);
	assert_int_equal(peer[0].line, 16);
	assert_string_equal(peer[0].comment, "Tokyo");
	assert_int_equal(peer[0].public_key[0], 2);
	assert_true(peer[0].has_psk);
	assert_int_equal(peer[0].psk[0], 3);
	assert_int_equal(peer[0].allowed.n, 4);
	expect_prefix(&peer[0].allowed, 1, 4, "0a5b0000", 16);
	expect_prefix(&peer[0].allowed, 2, 6, "fd000090000000000000000000000002", 128);
	expect_prefix(&peer[0].allowed, 3, 4, "00000000", 0);
	assert_string_equal(peer[0].host, "tokyo.example.com");
	assert_int_equal(peer[0].port, 51820);
	assert_int_equal(peer[0].keepalive, 25);

	assert_string_equal(peer[1].comment, "Name = Laptop of Ann!");
	assert_string_equal(peer[1].host, "2001:db8::1");
	assert_int_equal(peer[1].port, 1234);
	assert_false(peer[1].has_psk);		/* all zero is none */
	assert_int_equal(peer[1].allowed.n, 0);
	assert_int_equal(peer[1].keepalive, 0);
	wg_conf_free(conf);
}

static void writes_yaml(void **state)
{
	static const char want[] =
		"# From office.conf, by \"warren wg import\".\n"
		"# Put the value of PrivateKey into /etc/warren/office.key "
		"(owner root, mode 0600).\n"
		"# Put each PresharedKey into the file that its peer names, the same way.\n"
		"# Not taken over:\n"
		"#   line 8: DNS = 10.0.0.53, example.com\n"
		"#      (the host's resolver is left as it is)\n"
		"#   line 9: Table = off\n"
		"#      (Warren's routes are in a table of its own)\n"
		"#   line 10: FwMark = 0x1234\n"
		"#      (Warren marks its packets itself)\n"
		"#   line 11: SaveConfig = true\n"
		"#      (Warren does not write its configuration)\n"
		"#   line 12: PostUp = iptables -A FORWARD -i %i -j ACCEPT; echo (a key)=\n"
		"#      (Warren runs no commands)\n"
		"#   line 13: PreDown = true\n"
		"#      (Warren runs no commands)\n"
		"identity:\n"
		"  node-key: {file: /etc/warren/office.key}\n"
		"wg: {port: 51999, mtu: 1380}\n"
		"static:\n"
		"  addresses: [10.90.0.1/24, 'fd00:90::1/64', 10.91.0.1/32]\n"
		"  peers:\n"
		"    # Tokyo\n"
		"    tokyo:\n"
		"      public-key: " KEY2 "\n"
		"      psk: {file: /etc/warren/office-tokyo.psk}\n"
		"      endpoint: 'tokyo.example.com:51820'\n"
		"      allowed-ips: [10.90.0.2/32, 10.91.0.0/16, 'fd00:90::2/128', 0.0.0.0/0]\n"
		"      keepalive: 25s\n"
		"    # Name = Laptop of Ann!\n"
		"    laptop-of-ann:\n"
		"      public-key: " KEY3 "\n"
		"      endpoint: '[2001:db8::1]:1234'\n"
		"      allowed-ips: []\n"
		"router: {}\n";
	struct wg_conf *conf = parse(full);
	char *text = render(conf, "/etc/wireguard/office.conf");

	(void)state;
	assert_string_equal(text, want);
	free(text);
	wg_conf_free(conf);
}

static void smallest(void **state)
{
	struct wg_conf *conf = parse("[Interface]");
	char *text = render(conf, "-");

	(void)state;
	assert_string_equal(text,
		"# From wg0.conf, by \"warren wg import\".\n"
		"# There was no PrivateKey: a key is made at the first start.\n"
		"# There was no ListenPort: Warren takes its default.\n"
		"identity: {}\nwg: {}\nstatic:\n  addresses: []\n  peers: {}\nrouter: {}\n");
	free(text);
	wg_conf_free(conf);
}

static void peers_have_different_names(void **state)
{
	struct wg_conf *conf = parse("[Interface]\n"
				     "# x\n[Peer]\nPublicKey=" KEY1 "\n"
				     "# X\n[Peer]\nPublicKey=" KEY2 "\n"
				     "# peer1\n[Peer]\nPublicKey=" KEY3 "\n"
				     "# ---\n[Peer]\nPublicKey=" KEY0 "\n");
	char *text = render(conf, "a");

	(void)state;
	assert_non_null(strstr(text, "\n    x:\n      public-key: " KEY1));
	assert_non_null(strstr(text, "\n    peer2:\n      public-key: " KEY2));
	assert_non_null(strstr(text, "\n    peer3:\n      public-key: " KEY3));
	assert_non_null(strstr(text, "\n    peer4:\n      public-key: " KEY0));
	free(text);
	wg_conf_free(conf);
}

/* A line break of YAML or a commented-out key in a comment must not reach the output. */
static void foreign_text_is_filtered(void **state)
{
	struct wg_conf *conf = parse("[Interface]\nPrivateKey=" KEY1 "\n"
				     "PostUp = x\xe2\x80\xa8ssh: {}\xc2\x85" "a\x1b[1m\x7f\n"
				     "# a\vb\rssh: {}\n[Peer]\nPublicKey=" KEY2 "\n"
				     "[Peer]\n# PresharedKey = " KEY3 "\nPublicKey=" KEY3 "\n");
	char *text = render(conf, "x");

	(void)state;
	assert_non_null(strstr(text, "PostUp = x???ssh: {}??a?[1m?\n"));
	assert_non_null(strstr(text, "    # a?b?ssh: {}\n    a-b-ssh:\n"));
	assert_non_null(strstr(text, "    # PresharedKey = (a key)=\n    peer2:\n"));
	assert_null(strstr(text, KEY1));
	for (const char *c = text; *c; c++)
		assert_true(*c == '\n' || (*c >= ' ' && *c <= '~'));
	free(text);
	wg_conf_free(conf);
}

static void refused(const char *text, const char *want)
{
	struct warren_err err = ERR_INIT;

	assert_null(wg_conf_parse("wg0.conf", text, strlen(text), &err));
	assert_int_equal(err.errors, 1);
	assert_string_equal(err_first(&err), want);
	err_free(&err);
}

static void errors_tell_line_and_reason(void **state)
{
	(void)state;
	refused("", "wg0.conf:1: there is no [Interface] in this file");
	refused("ListenPort = 1\n",
		"wg0.conf:1: ListenPort comes before any section: [Interface] goes first");
	refused("[Interface]\n\n[Foo]\nA = 1\n",
		"wg0.conf:3: \"[Foo]\" is no section: [Interface] or [Peer]");
	refused("[Interface]\nhello\n",
		"wg0.conf:2: \"hello\" is neither a section nor KEY = VALUE");
	refused("[Interface]\nPort = 1\n",
		"wg0.conf:2: \"Port\" is no key that wg or wg-quick knows");
	refused("[Interface]\nAllowedIPs = 10.0.0.0/8\n",
		"wg0.conf:2: AllowedIPs belongs into [Peer]");
	refused("[Interface]\n[Peer]\nPublicKey=" KEY1 "\nMTU = 1280\n",
		"wg0.conf:4: MTU belongs into [Interface]");
	refused("[Interface]\nListenPort = 65536\n",
		"wg0.conf:2: ListenPort: \"65536\" is not a port, 0 to 65535");
	refused("[Interface]\nListenPort = \n", "wg0.conf:2: ListenPort has no value");
	refused("[Interface]\nMTU = 500\n",
		"wg0.conf:2: MTU: \"500\" is not a number from 576 to 65535");
	refused("[Interface]\nSaveConfig = maybe\n",
		"wg0.conf:2: SaveConfig: \"maybe\" is not \"true\" or \"false\"");
	refused("[Interface]\nAddress = 10.0.0.1/33\n",
		"wg0.conf:2: Address: \"10.0.0.1/33\" is not an address or a prefix");
	refused("[Interface]\nAddress = 10.0.0.1/24,\n", "wg0.conf:2: Address ends in a comma");
	refused("[Interface]\n[Peer]\nPublicKey=" KEY1 "\nAllowedIPs = fd00::/8, x\n",
		"wg0.conf:4: AllowedIPs: \"x\" is not an address or a prefix");
	refused("[Interface]\n[Peer]\nAllowedIPs = 10.0.0.0/8\n",
		"wg0.conf:2: this [Peer] has no PublicKey");
	refused("[Interface]\n[Peer]\nPublicKey=" KEY1 "\n[Peer]\nPublicKey=" KEY1 "\n",
		"wg0.conf:4: this [Peer] has the PublicKey of the one in line 2");
	refused("[Interface]\n[Peer]\nPublicKey=" KEY1 "\nPersistentKeepalive = 70000\n",
		"wg0.conf:4: PersistentKeepalive: \"70000\" is not \"off\" or seconds, 0 to 65535");
}

static void endpoints(void **state)
{
	static const char *const bad[] = {
		"host", "host:", ":1", "host:0", "host:65536", "host:1x", "[fd00::1]", "[fd00::1:1",
		"fd00::1:1", "[host]:1", "[]:1", "ho st:1", "host':1", "a/b:1", "[fd00::1%eth0]:1",
	};
	char text[256], want[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "[Interface]\n[Peer]\nPublicKey=" KEY1
			 "\nEndpoint = %s\n", bad[i]);
		snprintf(want, sizeof(want), "wg0.conf:4: Endpoint: \"%s\" is not HOST:PORT or "
			 "[IPV6]:PORT with a port number", bad[i]);
		refused(text, want);
	}
}

static void errors_never_show_a_key(void **state)
{
	(void)state;
	refused("[Interface]\nPrivateKey = " KEY1 "x\n",
		"wg0.conf:2: PrivateKey is not a key: base64 of 32 bytes has 44 characters and "
		"ends in =");
	/* 43 characters and bits that are no part of the 32 bytes. */
	refused("[Interface]\nPrivateKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n",
		"wg0.conf:2: PrivateKey is not a key: base64 of 32 bytes has 44 characters and "
		"ends in =");
}

static void ten_errors_at_most(void **state)
{
	struct warren_err err = ERR_INIT;
	char text[1000] = "[Interface]\n";

	(void)state;
	for (int i = 0; i < 30; i++)
		memcpy(text + 12 + 2 * i, "x\n", 3);
	assert_null(wg_conf_parse("f", text, strlen(text), &err));
	assert_int_equal(err.errors, 10);
	assert_non_null(strstr(err_nth(&err, 9)->text, "f:11: "));
	err_free(&err);
}

static void limits(void **state)
{
	struct warren_err err = ERR_INIT;
	size_t len = WG_CONF_FILE_MAX + 1;
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	memset(text, '\n', len);
	assert_null(wg_conf_parse("f", text, len, &err));
	assert_string_equal(err_first(&err), "f:1: the file has more than 16777216 bytes");
	err_free(&err);

	err = (struct warren_err)ERR_INIT;
	memset(text, 'x', 70000);
	assert_null(wg_conf_parse("f", text, 70000, &err));
	assert_string_equal(err_first(&err), "f:1: a line of more than 65536 bytes");
	err_free(&err);

	err = (struct warren_err)ERR_INIT;
	memcpy(text, "[Interface]\nMTU\0 = 1280\n", 24);
	assert_null(wg_conf_parse("f", text, 24, &err));
	assert_string_equal(err_first(&err), "f:2: a NUL byte: this is no text file");
	err_free(&err);

	/* 65,537 peers. */
	err = (struct warren_err)ERR_INIT;
	memset(text, '\n', len);
	memcpy(text, "[Interface]\n", 12);
	for (size_t i = 0; i < 65537; i++)
		memcpy(text + 12 + 7 * i, "[Peer]\n", 7);
	assert_null(wg_conf_parse("f", text, 12 + 7 * 65537, &err));
	assert_string_equal(err_first(&err), "f:65538: more than 65536 peers in one file");
	err_free(&err);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_everything),
		cmocka_unit_test(writes_yaml),
		cmocka_unit_test(smallest),
		cmocka_unit_test(peers_have_different_names),
		cmocka_unit_test(foreign_text_is_filtered),
		cmocka_unit_test(errors_tell_line_and_reason),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(errors_never_show_a_key),
		cmocka_unit_test(ten_errors_at_most),
		cmocka_unit_test(limits),
	};

	return sodium_init() == -1 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
