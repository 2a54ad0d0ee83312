/*
 * UPnP without a network: answers to a search, descriptions, actions and their answers.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../igd.h"
#include "base/addr.h"

static struct igd_found found;
static struct igd_device device;
static struct igd_answer answer;

static void append(char *text, const char *more)
{
	memcpy(text + strlen(text), more, strlen(more) + 1);
}

static int search(const char *text)
{
	return igd_answer_parse((const uint8_t *)text, strlen(text), &found);
}

static int describe(const char *text)
{
	static const struct igd_place from = { .port = 5000, .path = "/dir/root.xml" };

	return igd_device_parse(&from, (const uint8_t *)text, strlen(text), &device);
}

static int soap(const char *text)
{
	return igd_soap_parse((const uint8_t *)text, strlen(text), &answer);
}

#define ST "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"

static void test_search(void **state)
{
	(void)state;
	assert_int_equal(search("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n" ST
				"Location:   http://192.168.1.1:39001/rootDesc.xml?a=b \r\n"
				"BOOTID.UPNP.ORG: 1795746594\r\n\r\n"), -EBADMSG);
	assert_int_equal(search("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n" ST
				"Location:   http://192.168.1.1:39001/rootDesc.xml?a=b\r\n"
				"BOOTID.UPNP.ORG: 1795746594\r\n\r\n"), 0);
	assert_int_equal(found.at.port, 39001);
	assert_string_equal(found.at.path, "/rootDesc.xml?a=b");
	assert_int_equal(found.boot, 1795746594);
	/* Bare line ends, the kind of device in USN, no port, no number. */
	assert_int_equal(search("HTTP/1.0 200 OK\nST: upnp:rootdevice\n"
				"USN: uuid:1::urn:schemas-upnp-org:device:InternetGatewayDevice:2\n"
				"LOCATION: http://[2001:db8::1]\nBOOTID.UPNP.ORG: 1x\n"), 0);
	assert_int_equal(found.at.port, 80);
	assert_string_equal(found.at.path, "/");
	assert_int_equal(found.boot, 0);
}

static void test_no_gateway(void **state)
{
	static const char *const bad[] = {
		"", "\r\n", "HTTP/1.1 200 OK",
		"HTTP/1.1 404 Not Found\r\n" ST "LOCATION: http://192.0.2.1/\r\n\r\n",
		"NOTIFY * HTTP/1.1\r\n" ST "LOCATION: http://192.0.2.1/\r\n\r\n",
		"HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:MediaServer:1\r\n"
		"LOCATION: http://192.0.2.1/\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" ST "\r\n",
		"HTTP/1.1 200 OK\r\n" ST "\r\nLOCATION: http://192.0.2.1/\r\n",
		"HTTP/1.1 200 OK\r\n" ST "LOCATION: https://192.0.2.1/\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" ST "LOCATION: /rootDesc.xml\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" ST "LOCATION: http://192.0.2.1/\x01\r\n\r\n",
	};
	char text[1024] = "HTTP/1.1 200 OK\r\n" ST "LOCATION: http://192.0.2.1/";
	size_t len = strlen(text);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(search(bad[i]), -EBADMSG);
	/* A path that is longer than any. */
	memset(text + len, 'a', 300);
	append(text, "\r\n\r\n");
	assert_int_equal(search(text), -EBADMSG);
}

#define SERVICE(type, url) "<service><serviceType>urn:schemas-upnp-org:service:" type \
	"</serviceType><serviceId>x</serviceId><controlURL>" url "</controlURL>" \
	"<eventSubURL>/evt</eventSubURL></service>"
#define ROOT(base, services) "<?xml version=\"1.0\"?>\n" \
	"<root xmlns=\"urn:schemas-upnp-org:device-1-0\">" base "<device><deviceType>" \
	"urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><serviceList>" \
	SERVICE("Layer3Forwarding:1", "/l3f") "</serviceList><deviceList><device><deviceList>" \
	"<device><serviceList>" services "</serviceList></device></deviceList></device>" \
	"</deviceList></device></root>"

static void service_is(uint32_t i, enum igd_kind kind, uint16_t port, const char *path)
{
	assert_true(i < device.n);
	assert_int_equal(device.services[i].kind, kind);
	assert_int_equal(device.services[i].at.port, port);
	assert_string_equal(device.services[i].at.path, path);
}

static void test_description(void **state)
{
	(void)state;
	assert_int_equal(describe(ROOT("", SERVICE("WANIPConnection:1", "/ctl/IPConn"))), 0);
	assert_int_equal(device.n, 1);
	service_is(0, IGD_IP1, 5000, "/ctl/IPConn");
	/* The better one first, blanks around, another port, a relative path. */
	assert_int_equal(describe(ROOT("", SERVICE("WANPPPConnection:1", "\n ppp\t")
				       SERVICE("WANIPConnection:1", "http://192.0.2.9:81/ip1")
				       SERVICE("WANIPConnection:2", "/ip2?a&amp;b"))), 0);
	assert_int_equal(device.n, 3);
	service_is(0, IGD_IP2, 5000, "/ip2?a&b");
	service_is(1, IGD_IP1, 81, "/ip1");
	service_is(2, IGD_PPP1, 5000, "/dir/ppp");
	/* A base of its own; one that is no use. */
	assert_int_equal(describe(ROOT("<URLBase>http://192.0.2.1:5431/b/</URLBase>",
				       SERVICE("WANIPConnection:1", "ctl"))), 0);
	service_is(0, IGD_IP1, 5431, "/b/ctl");
	assert_int_equal(describe(ROOT("<URLBase>nowhere</URLBase>",
				       SERVICE("WANIPConnection:1", "ctl"))), 0);
	service_is(0, IGD_IP1, 5000, "/dir/ctl");
	/* With a prefix. */
	assert_int_equal(describe("<a:root xmlns:a=\"x\"><a:service><a:serviceType>"
				  "urn:schemas-upnp-org:service:WANIPConnection:1</a:serviceType>"
				  "<a:controlURL>/c</a:controlURL></a:service></a:root>"), 0);
	service_is(0, IGD_IP1, 5000, "/c");
}

static void test_refused_descriptions(void **state)
{
	static char large[IGD_BODY + 64], deep[1024];
	struct str many = STR_INIT;

	(void)state;
	assert_int_equal(describe(""), -EBADMSG);
	assert_int_equal(describe("<html><body>no</html>"), -EBADMSG);
	assert_int_equal(describe(ROOT("", "")), -ENOENT);
	assert_int_equal(describe(ROOT("", SERVICE("WANIPConnection:1", ""))), -ENOENT);
	assert_int_equal(describe(ROOT("", SERVICE("WANIPConnection:1", "https://a/b"))),
			 -ENOENT);
	/* With a DTD, whatever it says. */
	assert_int_equal(describe("<!DOCTYPE root [<!ENTITY a \"/c\">]>"
				  "<root><service><serviceType>"
				  "urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>"
				  "<controlURL>&a;</controlURL></service></root>"), -EBADMSG);
	assert_int_equal(describe("<!DOCTYPE root>" "<root></root>"), -EBADMSG);
	/* Too deep, too large, more services than anybody has. */
	for (int i = 0; i < 40; i++)
		append(deep, "<a>");
	for (int i = 0; i < 40; i++)
		append(deep, "</a>");
	assert_int_equal(describe(deep), -EBADMSG);
	memset(large, ' ', sizeof(large) - 1);
	memcpy(large, "<root>", 6);
	memcpy(large + sizeof(large) - 8, "</root>", 7);
	assert_int_equal(describe(large), -EBADMSG);
	str_add(&many, "<root>");
	for (int i = 0; i < 20; i++)
		str_add(&many, SERVICE("WANIPConnection:1", "/c"));
	str_add(&many, "</root>");
	assert_int_equal(describe(str_text(&many)), 0);
	assert_int_equal(device.n, IGD_SERVICES);
	str_free(&many);
}

#define ENVELOPE "<?xml version=\"1.0\"?>\r\n" \
	"<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" " \
	"s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>"
#define NS(n) " xmlns:u=\"urn:schemas-upnp-org:service:WANIPConnection:" n "\">"

static void test_actions(void **state)
{
	struct warren_addr self;
	struct str body = STR_INIT;

	(void)state;
	assert_int_equal(addr_parse("192.168.1.2", &self), 0);
	igd_ask_address(IGD_IP1, &body);
	assert_string_equal(str_text(&body), ENVELOPE "<u:GetExternalIPAddress" NS("1")
			    "</u:GetExternalIPAddress></s:Body></s:Envelope>\r\n");
	str_free(&body);
	igd_ask_add(IGD_IP1, 1024, 41641, &self, 7200, &body);
	assert_string_equal(str_text(&body), ENVELOPE "<u:AddPortMapping" NS("1")
			    "<NewRemoteHost></NewRemoteHost><NewExternalPort>1024"
			    "</NewExternalPort><NewProtocol>UDP</NewProtocol>"
			    "<NewInternalPort>41641</NewInternalPort>"
			    "<NewInternalClient>192.168.1.2</NewInternalClient>"
			    "<NewEnabled>1</NewEnabled>"
			    "<NewPortMappingDescription>warren</NewPortMappingDescription>"
			    "<NewLeaseDuration>7200</NewLeaseDuration>"
			    "</u:AddPortMapping></s:Body></s:Envelope>\r\n");
	str_free(&body);
	igd_ask_add(IGD_IP2, 1024, 41641, &self, 0, &body);
	assert_non_null(strstr(str_text(&body), "<u:AddAnyPortMapping" NS("2")));
	assert_non_null(strstr(str_text(&body), "<NewLeaseDuration>0<"));
	str_free(&body);
	igd_ask_delete(IGD_IP2, 1024, &body);
	assert_string_equal(str_text(&body), ENVELOPE "<u:DeletePortMapping" NS("2")
			    "<NewRemoteHost></NewRemoteHost><NewExternalPort>1024"
			    "</NewExternalPort><NewProtocol>UDP</NewProtocol>"
			    "</u:DeletePortMapping></s:Body></s:Envelope>\r\n");
	str_free(&body);
}

static void test_answers(void **state)
{
	char text[ADDR_TEXT];

	(void)state;
	assert_int_equal(soap(ENVELOPE "<u:GetExternalIPAddressResponse" NS("1")
			      "<NewExternalIPAddress> 198.51.100.7\n</NewExternalIPAddress>"
			      "</u:GetExternalIPAddressResponse></s:Body></s:Envelope>"), 0);
	assert_string_equal(addr_format(&answer.address, text), "198.51.100.7");
	assert_int_equal(answer.error, 0);
	assert_int_equal(soap("<r><NewReservedPort>1025</NewReservedPort></r>"), 0);
	assert_int_equal(answer.port, 1025);
	assert_int_equal(answer.address.family, 0);
	assert_int_equal(soap("<r><NewReservedPort>65536</NewReservedPort>"
			      "<NewExternalIPAddress></NewExternalIPAddress></r>"), 0);
	assert_int_equal(answer.port, 0);
	assert_int_equal(soap(ENVELOPE "<s:Fault><faultcode>s:Client</faultcode><detail>"
			      "<UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\">"
			      "<errorCode>725</errorCode><errorDescription>OnlyPermanentLeases"
			      "Supported</errorDescription></UPnPError></detail></s:Fault>"
			      "</s:Body></s:Envelope>"), 0);
	assert_int_equal(answer.error, IGD_ONLY_PERMANENT);
	assert_string_equal(igd_error_text(answer.error), "only permanent mappings");
	assert_string_equal(igd_error_text(999), "an error of its own");
	/* Cut off; with a DTD. */
	assert_int_equal(soap("<r><errorCode>725</errorCode>"), -EBADMSG);
	assert_int_equal(answer.error, 0);
	assert_int_equal(soap("<!DOCTYPE r><r><errorCode>725</errorCode></r>"), -EBADMSG);
	assert_int_equal(answer.error, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_no_gateway),
		cmocka_unit_test(test_description),
		cmocka_unit_test(test_refused_descriptions),
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
