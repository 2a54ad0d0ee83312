/*
 * XML is read by expat, for its text alone: the name and the text of each element as it ends. There
 * is no DTD in these documents, and one that has it is refused, so nothing can expand.
 */
#include "igd.h"

#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <warren/net.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/util.h"

enum { TEXT = 512, DEPTH = 32 };

/*
 * ---- SSDP ----
 */

#define SEARCH(wait)                                                       \
	"M-SEARCH * HTTP/1.1\r\n"                                          \
	"HOST: 239.255.255.250:1900\r\n"                                   \
	"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"      \
	"MAN: \"ssdp:discover\"\r\n" wait                                   \
	"\r\n"

/* To one device, so it need not wait before it answers: no MX. */
const char igd_search[] = SEARCH("");
const char igd_search_group[] = SEARCH("MX: 1\r\n");

/* The next line without its end; false: there is none. */
static bool next_line(const char **at, const char *end, char *out, size_t size)
{
	const char *stop = memchr(*at, '\n', (size_t)(end - *at));
	size_t len;

	if (!stop)
		return false;
	len = (size_t)(stop - *at);
	if (len > 0 && (*at)[len - 1] == '\r')
		len--;
	/* A line that is longer is none that we want. */
	if (len >= size || memchr(*at, '\0', len))
		len = 0;
	memcpy(out, *at, len);
	out[len] = '\0';
	*at = stop + 1;
	return true;
}

static const char *value_of(const char *line, const char *name)
{
	size_t len = strlen(name);

	if (strncasecmp(line, name, len) != 0 || line[len] != ':')
		return NULL;
	line += len + 1;
	return line + strspn(line, " \t");
}

static uint32_t number(const char *text, uint32_t max)
{
	uint64_t value = 0;

	while (*text >= '0' && *text <= '9' && value <= max)
		value = value * 10 + (uint64_t)(*text++ - '0');
	return *text == '\0' && value <= max ? (uint32_t)value : 0;
}

/* Of a URL only the port and the path count. */
static int place_of_url(const char *text, struct igd_place *out)
{
	struct warren_url url;

	if (warren_url_parse(text, &url, NULL) || strcmp(url.scheme, "http") != 0 ||
	    !str_copy(out->path, sizeof(out->path), url.path))
		return -EBADMSG;
	out->port = url.port;
	return 0;
}

int igd_answer_parse(const uint8_t *data, size_t len, struct igd_found *out)
{
	const char *at = (const char *)data, *end = at + len, *value;
	bool gateway = false, place = false;
	char line[TEXT];

	memset(out, 0, sizeof(*out));
	if (!next_line(&at, end, line, sizeof(line)) || strncmp(line, "HTTP/1.", 7) != 0 ||
	    !strstr(line, " 200"))
		return -EBADMSG;
	while (next_line(&at, end, line, sizeof(line)) && line[0]) {
		if ((value = value_of(line, "ST")) || (value = value_of(line, "USN")))
			gateway = gateway || strstr(value, ":InternetGatewayDevice:");
		else if ((value = value_of(line, "LOCATION")))
			place = place_of_url(value, &out->at) == 0;
		else if ((value = value_of(line, "BOOTID.UPNP.ORG")))
			out->boot = number(value, UINT32_MAX);
	}
	return gateway && place ? 0 : -EBADMSG;
}

/*
 * ---- XML ----
 */

typedef void element_fn(const char *name, const char *text, void *arg);

struct reading {
	XML_Parser parser;
	element_fn *fn;
	void *arg;
	char text[TEXT];		/* of the element that began last */
	size_t len;
	bool too_long;
	uint32_t depth;
};

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct reading *r = arg;

	(void)name;
	(void)attributes;
	r->len = 0;
	r->too_long = false;
	if (++r->depth > DEPTH)
		XML_StopParser(r->parser, XML_FALSE);
}

static void on_text(void *arg, const XML_Char *text, int len)
{
	struct reading *r = arg;

	if ((size_t)len >= sizeof(r->text) - r->len)
		r->too_long = true;
	if (r->too_long)
		return;
	memcpy(r->text + r->len, text, (size_t)len);
	r->len += (size_t)len;
}

static void on_end(void *arg, const XML_Char *name)
{
	static const char blank[] = " \t\r\n";
	struct reading *r = arg;
	const char *colon = strrchr(name, ':');
	char *text = r->text;

	if (r->too_long)
		r->len = 0;
	while (r->len > 0 && strchr(blank, r->text[r->len - 1]))
		r->len--;
	r->text[r->len] = '\0';
	text += strspn(text, blank);
	r->fn(colon ? colon + 1 : name, text, r->arg);
	r->len = 0;
	r->too_long = false;
	r->depth--;
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
		       const XML_Char *public, int internal)
{
	struct reading *r = arg;

	(void)name;
	(void)system;
	(void)public;
	(void)internal;
	XML_StopParser(r->parser, XML_FALSE);
}

/* Calls @fn for each element as it ends, with its name without prefix, and its text. */
static int read_xml(const uint8_t *data, size_t len, element_fn *fn, void *arg)
{
	struct reading r = { .fn = fn, .arg = arg };
	enum XML_Status status;

	if (len > IGD_BODY)
		return -EBADMSG;
	r.parser = XML_ParserCreate(NULL);
	if (!r.parser)
		return -ENOMEM;
	XML_SetUserData(r.parser, &r);
	XML_SetElementHandler(r.parser, on_start, on_end);
	XML_SetCharacterDataHandler(r.parser, on_text);
	XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
	status = XML_Parse(r.parser, (const char *)data, (int)len, 1);
	XML_ParserFree(r.parser);
	return status == XML_STATUS_OK ? 0 : -EBADMSG;
}

/*
 * ---- The description ----
 */

static const char *const types[IGD_KINDS] = {
	[IGD_IP2] = "urn:schemas-upnp-org:service:WANIPConnection:2",
	[IGD_IP1] = "urn:schemas-upnp-org:service:WANIPConnection:1",
	[IGD_PPP1] = "urn:schemas-upnp-org:service:WANPPPConnection:1",
};

const char *igd_type(enum igd_kind kind)
{
	return types[kind];
}

struct device_reading {
	struct igd_device *out;
	char type[TEXT], url[IGD_SERVICES][TEXT], base[TEXT];
	char control[TEXT];
};

static void service_ends(struct device_reading *d)
{
	for (int kind = 0; kind < IGD_KINDS; kind++) {
		if (strcmp(d->type, types[kind]) != 0 || d->out->n == IGD_SERVICES)
			continue;
		str_copy(d->url[d->out->n], TEXT, d->control);
		d->out->services[d->out->n++].kind = (enum igd_kind)kind;
	}
	d->type[0] = '\0';
	d->control[0] = '\0';
}

static void device_element(const char *name, const char *text, void *arg)
{
	struct device_reading *d = arg;

	if (strcmp(name, "URLBase") == 0)
		str_copy(d->base, sizeof(d->base), text);
	else if (strcmp(name, "serviceType") == 0)
		str_copy(d->type, sizeof(d->type), text);
	else if (strcmp(name, "controlURL") == 0)
		str_copy(d->control, sizeof(d->control), text);
	else if (strcmp(name, "service") == 0)
		service_ends(d);
}

/* @text as a URL: whole, a path, or a path beside that of @base. */
static int resolve(const struct igd_place *base, const char *text, struct igd_place *out)
{
	const char *slash = strrchr(base->path, '/');
	char url[2 * TEXT];
	int dir = text[0] == '/' || !slash ? 0 : (int)(slash - base->path);
	int n;

	/* A colon before anything else ends a scheme. */
	if (text[strcspn(text, ":/?#")] == ':')
		return place_of_url(text, out);
	n = snprintf(url, sizeof(url), "http://gateway:%u%.*s%s%s", base->port, dir, base->path,
		     text[0] == '/' ? "" : "/", text);
	return n < 0 || (size_t)n >= sizeof(url) ? -EBADMSG : place_of_url(url, out);
}

int igd_device_parse(const struct igd_place *from, const uint8_t *data, size_t len,
		     struct igd_device *out)
{
	struct device_reading d = { .out = out };
	struct igd_place base = *from;
	struct igd_device all;
	int result;

	memset(out, 0, sizeof(*out));
	result = read_xml(data, len, device_element, &d);
	all = *out;
	memset(out, 0, sizeof(*out));
	if (result)
		return result;
	if (d.base[0] && place_of_url(d.base, &base))
		base = *from;
	for (int kind = 0; kind < IGD_KINDS; kind++)
		for (uint32_t i = 0; i < all.n; i++)
			if (all.services[i].kind == (enum igd_kind)kind && d.url[i][0] &&
			    resolve(&base, d.url[i], &all.services[i].at) == 0)
				out->services[out->n++] = all.services[i];
	return out->n > 0 ? 0 : -ENOENT;
}

/*
 * ---- Actions ----
 */

static void begin(struct str *body, enum igd_kind kind, const char *action)
{
	str_addf(body, "<?xml version=\"1.0\"?>\r\n"
		 "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" "
		 "s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>"
		 "<u:%s xmlns:u=\"%s\">", action, types[kind]);
}

static void end(struct str *body, const char *action)
{
	str_addf(body, "</u:%s></s:Body></s:Envelope>\r\n", action);
}

void igd_ask_address(enum igd_kind kind, struct str *body)
{
	begin(body, kind, "GetExternalIPAddress");
	end(body, "GetExternalIPAddress");
}

/* Some devices want UDP in capitals. */
static void add_outer(struct str *body, uint16_t external)
{
	str_addf(body, "<NewRemoteHost></NewRemoteHost><NewExternalPort>%u</NewExternalPort>"
		 "<NewProtocol>UDP</NewProtocol>", external);
}

const char *igd_add_action(enum igd_kind kind)
{
	return kind == IGD_IP2 ? "AddAnyPortMapping" : "AddPortMapping";
}

void igd_ask_add(enum igd_kind kind, uint16_t external, uint16_t internal,
		 const struct warren_addr *self, uint32_t lifetime, struct str *body)
{
	char text[ADDR_TEXT];

	begin(body, kind, igd_add_action(kind));
	add_outer(body, external);
	str_addf(body, "<NewInternalPort>%u</NewInternalPort>"
		 "<NewInternalClient>%s</NewInternalClient><NewEnabled>1</NewEnabled>"
		 "<NewPortMappingDescription>warren</NewPortMappingDescription>"
		 "<NewLeaseDuration>%u</NewLeaseDuration>", internal, addr_format(self, text),
		 lifetime);
	end(body, igd_add_action(kind));
}

void igd_ask_delete(enum igd_kind kind, uint16_t external, struct str *body)
{
	begin(body, kind, "DeletePortMapping");
	add_outer(body, external);
	end(body, "DeletePortMapping");
}

static void soap_element(const char *name, const char *text, void *arg)
{
	struct igd_answer *out = arg;
	struct warren_addr addr;

	if (strcmp(name, "NewExternalIPAddress") == 0 && addr_parse(text, &addr) == 0)
		out->address = addr;
	else if (strcmp(name, "NewReservedPort") == 0)
		out->port = (uint16_t)number(text, UINT16_MAX);
	else if (strcmp(name, "errorCode") == 0)
		out->error = (uint16_t)number(text, UINT16_MAX);
}

int igd_soap_parse(const uint8_t *data, size_t len, struct igd_answer *out)
{
	int result;

	memset(out, 0, sizeof(*out));
	result = read_xml(data, len, soap_element, out);
	if (result)
		memset(out, 0, sizeof(*out));
	return result;
}

const char *igd_error_text(uint16_t error)
{
	static const struct {
		uint16_t code;
		const char *text;
	} words[] = {
		{ 401, "invalid action" },
		{ IGD_INVALID_ARGS, "invalid arguments" },
		{ 501, "the action failed" },
		{ 605, "a text is too long" },
		{ 606, "the action is not authorized" },
		{ IGD_CONFLICT, "others have the ports" },
		{ 724, "only equal ports inside and outside" },
		{ IGD_ONLY_PERMANENT, "only permanent mappings" },
		{ 728, "no port mappings are left" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (words[i].code == error)
			return words[i].text;
	return "an error of its own";
}
