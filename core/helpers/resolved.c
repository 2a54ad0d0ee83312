/*
 * systemd-resolved, over D-Bus: what we say belongs to our link, and goes with it.
 *
 * It is told that all names which no other link claims go to our link, with our search domains, and
 * nothing else: names are neither asked for on that link by other means, nor checked by a chain of
 * signatures that names of the network cannot have.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "base/file.h"
#include "base/util.h"
#include "helpers/hostdns.h"

#define NAME "org.freedesktop.resolve1"
#define PATH "/org/freedesktop/resolve1"
#define MANAGER NAME ".Manager"
#define LINK NAME ".Link"

enum { CALL_USEC = 1000000 };

static void bus_free(sd_bus **bus)
{
	sd_bus_flush_close_unref(*bus);
}

static void message_free(sd_bus_message **m)
{
	sd_bus_message_unref(*m);
}

static int open_bus(sd_bus **bus)
{
	int result = sd_bus_open_system(bus);

	return result < 0 ? result : sd_bus_set_method_call_timeout(*bus, CALL_USEC);
}

/* @m, which is freed. 0 or -errno with a sentence. */
static int call(sd_bus *bus, sd_bus_message *m, struct str *why)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int result = sd_bus_call(bus, m, 0, &error, NULL);

	if (result < 0)
		hostdns_fail(why, result, "systemd-resolved refuses %s: %s",
			     sd_bus_message_get_member(m), error.message ? error.message :
			     strerror(-result));
	sd_bus_error_free(&error);
	sd_bus_message_unref(m);
	return result < 0 ? result : 0;
}

static int begin(sd_bus *bus, const char *member, int link, sd_bus_message **m)
{
	int result = sd_bus_message_new_method_call(bus, m, NAME, PATH, MANAGER, member);

	return result < 0 || link == 0 ? result : sd_bus_message_append(*m, "i", link);
}

/*
 * ---- Whether programs of this host ask it ----
 */

bool resolved_is_source_here(void)
{
	AUTO(auto_free) char *nsswitch = NULL;
	size_t len;

	return file_read_at(AT_FDCWD, "/etc/nsswitch.conf", HOSTDNS_TEXT_MAX, (void **)&nsswitch,
			    &len) == 0 && resolved_is_source(nsswitch);
}

/*
 * ---- What others have said ----
 */

static int get_link(sd_bus *bus, int index, char *path, size_t size)
{
	AUTO(message_free) sd_bus_message *reply = NULL;
	const char *found;
	int result = sd_bus_call_method(bus, NAME, PATH, MANAGER, "GetLink", NULL, &reply, "i",
					index);

	if (result >= 0)
		result = sd_bus_message_read(reply, "o", &found);
	if (result < 0)
		return result;
	return str_copy(path, size, found) ? 0 : -ENAMETOOLONG;
}

/* Names that nobody claims are asked for there. */
static bool is_default_route(sd_bus *bus, int index)
{
	char path[256];
	int yes = 0;

	if (index == 0)			/* the configuration of resolved itself */
		return true;
	return get_link(bus, index, path, sizeof(path)) == 0 &&
	       sd_bus_get_property_trivial(bus, NAME, path, LINK, "DefaultRoute", NULL, 'b',
					   &yes) >= 0 && yes;
}

/* Property DNS or FallbackDNS: link, family, address. */
static int read_servers(sd_bus *bus, const char *property, int ours, struct hostdns_base *base)
{
	AUTO(message_free) sd_bus_message *m = NULL;
	int result = sd_bus_get_property(bus, NAME, PATH, MANAGER, property, NULL, &m, "a(iiay)");
	int known = -1;
	bool led = false;

	if (result >= 0)
		result = sd_bus_message_enter_container(m, 'a', "(iiay)");
	while (result >= 0 && (result = sd_bus_message_enter_container(m, 'r', "iiay")) > 0) {
		int index = 0, family = 0;
		const void *bytes = NULL;
		size_t len = 0;

		result = sd_bus_message_read(m, "ii", &index, &family);
		if (result >= 0)
			result = sd_bus_message_read_array(m, 'y', &bytes, &len);
		if (result < 0)
			break;
		if (index != known)
			led = is_default_route(bus, index);
		known = index;
		if (index != ours && led)
			hostdns_base_add_address(base, family, bytes, len);
		result = sd_bus_message_exit_container(m);
	}
	return result;
}

static int read_domains(sd_bus *bus, int ours, struct hostdns_base *base)
{
	AUTO(message_free) sd_bus_message *m = NULL;
	int result = sd_bus_get_property(bus, NAME, PATH, MANAGER, "Domains", NULL, &m, "a(isb)");

	if (result >= 0)
		result = sd_bus_message_enter_container(m, 'a', "(isb)");
	while (result >= 0) {
		AUTO(str_free) struct str line = STR_INIT;
		const char *domain;
		int index, only_route;

		result = sd_bus_message_read(m, "(isb)", &index, &domain, &only_route);
		if (result <= 0)
			break;
		str_addf(&line, "search %s", domain);
		if (index != ours && !only_route)
			hostdns_base_add(base, str_text(&line));
	}
	return result;
}

/* The first server of our link is one of ours, and other names go there. */
static bool leads_here(sd_bus *bus, int index)
{
	AUTO(message_free) sd_bus_message *m = NULL;
	char path[256], text[INET6_ADDRSTRLEN];
	const void *bytes = NULL;
	size_t len = 0;
	int family = 0;

	if (index == 0 || get_link(bus, index, path, sizeof(path)) ||
	    sd_bus_get_property(bus, NAME, path, LINK, "DNS", NULL, &m, "a(iay)") < 0 ||
	    sd_bus_message_enter_container(m, 'a', "(iay)") <= 0 ||
	    sd_bus_message_enter_container(m, 'r', "iay") <= 0 ||
	    sd_bus_message_read(m, "i", &family) <= 0 ||
	    sd_bus_message_read_array(m, 'y', &bytes, &len) < 0)
		return false;
	return hostdns_address(family, bytes, len, text) && hostdns_is_service(text) &&
	       is_default_route(bus, index);
}

int resolved_read(const char *link, const struct str *text, struct hostdns_base *base, bool *ours,
		  struct str *why)
{
	AUTO(bus_free) sd_bus *bus = NULL;
	int index = (int)if_nametoindex(link), result = open_bus(&bus);

	/* It is started by this where it can be and does not run. */
	if (result >= 0)
		result = read_servers(bus, "DNS", index, base);
	/* Programs then use the file, unless that leads to it alone, which may be starting. */
	if (result < 0 && !resolved_is_named(text))
		return -ENOENT;
	if (result < 0)
		return hostdns_fail(why, result, "/etc/resolv.conf leads to systemd-resolved, "
				    "which cannot be reached over D-Bus: %s", strerror(-result));
	if (base->servers.len == 0)
		(void)read_servers(bus, "FallbackDNS", index, base);
	(void)read_domains(bus, index, base);
	*ours = leads_here(bus, index);
	return 0;
}

/*
 * ---- Saying it ----
 */

static int append_server(sd_bus_message *m, const char *address)
{
	uint8_t bytes[16];
	char text[INET6_ADDRSTRLEN];
	size_t n = strcspn(address, " \t\r");
	int family = memchr(address, ':', n) ? AF_INET6 : AF_INET, result;

	if (n >= sizeof(text))
		return -EINVAL;
	memcpy(text, address, n);
	text[n] = '\0';
	if (inet_pton(family, text, bytes) != 1)
		return -EINVAL;
	result = sd_bus_message_open_container(m, 'r', "iay");
	if (result >= 0)
		result = sd_bus_message_append(m, "i", family);
	if (result >= 0)
		result = sd_bus_message_append_array(m, 'y', bytes, family == AF_INET ? 4 : 16);
	return result < 0 ? result : sd_bus_message_close_container(m);
}

static int set_servers(sd_bus *bus, int index, const char *text, struct str *why)
{
	AUTO(auto_free) char *copy = strdup(text);
	sd_bus_message *m = NULL;
	char *at = copy, *line;
	int result = copy ? begin(bus, "SetLinkDNS", index, &m) : -ENOMEM;

	if (result >= 0)
		result = sd_bus_message_open_container(m, 'a', "(iay)");
	while (result >= 0 && (line = hostdns_line(&at))) {
		const char *address = hostdns_words(line, "nameserver");

		if (address)
			result = append_server(m, address);
	}
	if (result >= 0)
		result = sd_bus_message_close_container(m);
	if (result >= 0)
		return call(bus, m, why);
	sd_bus_message_unref(m);
	return hostdns_fail(why, result, "cannot make a message: %s", strerror(-result));
}

/* Search domains, and that all names go there. */
static int append_domains(sd_bus_message *m, char *text)
{
	int result = sd_bus_message_open_container(m, 'a', "(sb)");
	char *line;

	while (result >= 0 && (line = hostdns_line(&text))) {
		const char *words = hostdns_words(line, "search");
		char *rest = words ? line + (words - line) : NULL, *word;

		while (result >= 0 && rest && (word = strsep(&rest, " \t"))) {
			if (*word)
				result = sd_bus_message_append(m, "(sb)", word, 0);
		}
	}
	if (result >= 0)
		result = sd_bus_message_append(m, "(sb)", ".", 1);
	return result < 0 ? result : sd_bus_message_close_container(m);
}

static int set_domains(sd_bus *bus, int index, const char *text, struct str *why)
{
	AUTO(auto_free) char *copy = strdup(text);
	sd_bus_message *m = NULL;
	int result = copy ? begin(bus, "SetLinkDomains", index, &m) : -ENOMEM;

	if (result >= 0)
		result = append_domains(m, copy);
	if (result >= 0)
		return call(bus, m, why);
	sd_bus_message_unref(m);
	return hostdns_fail(why, result, "cannot make a message: %s", strerror(-result));
}

static int set_default(sd_bus *bus, int index, struct str *why)
{
	sd_bus_message *m = NULL;
	int result = begin(bus, "SetLinkDefaultRoute", index, &m);

	if (result >= 0)
		result = sd_bus_message_append(m, "b", 1);
	if (result >= 0)
		return call(bus, m, why);
	sd_bus_message_unref(m);
	return hostdns_fail(why, result, "cannot make a message: %s", strerror(-result));
}

/* What the host has as its default for all links; an old resolved may not know one. */
static void switch_off(sd_bus *bus, int index)
{
	static const char *const what[] = { "SetLinkLLMNR", "SetLinkMulticastDNS",
					    "SetLinkDNSSEC", "SetLinkDNSOverTLS" };

	for (size_t i = 0; i < ARRAY_SIZE(what); i++)
		(void)sd_bus_call_method(bus, NAME, PATH, MANAGER, what[i], NULL, NULL, "is",
					 index, "no");
	(void)sd_bus_call_method(bus, NAME, PATH, MANAGER, "FlushCaches", NULL, NULL, NULL);
}

int resolved_set(const char *link, const struct str *text, struct str *why)
{
	AUTO(bus_free) sd_bus *bus = NULL;
	int index = (int)if_nametoindex(link), result = open_bus(&bus);

	if (index == 0)
		return hostdns_fail(why, -ENODEV, "there is no interface %s", link);
	if (result < 0)
		return hostdns_fail(why, result, "cannot reach systemd-resolved: no D-Bus: %s",
				    strerror(-result));
	/* First, or names would be asked for by means that the host has by default. */
	switch_off(bus, index);
	result = set_servers(bus, index, str_text(text), why);
	if (!result)
		result = set_domains(bus, index, str_text(text), why);
	if (!result)
		result = set_default(bus, index, why);
	if (result)
		(void)sd_bus_call_method(bus, NAME, PATH, MANAGER, "RevertLink", NULL, NULL, "i",
					 index);
	return result;
}

int resolved_undo(const char *link, struct str *why)
{
	AUTO(bus_free) sd_bus *bus = NULL;
	int index = (int)if_nametoindex(link);
	sd_bus_message *m = NULL;

	/* With the link, or with resolved itself, what it was told is gone. */
	if (index == 0 || open_bus(&bus) < 0 || begin(bus, "RevertLink", index, &m) < 0 ||
	    sd_bus_message_set_auto_start(m, 0) < 0) {
		sd_bus_message_unref(m);
		return 0;
	}
	if (call(bus, m, why) == 0)
		(void)sd_bus_call_method(bus, NAME, PATH, MANAGER, "FlushCaches", NULL, NULL,
					 NULL);
	else if (sd_bus_get_name_creds(bus, NAME, 0, NULL) >= 0)
		return -EIO;
	return 0;
}
