/*
 * Connections go to the gateway alone, past any proxy, whatever the description says.
 *
 * The address is asked for before the port, so that nothing is mapped at a device that has none.
 */
#include "igd_client.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/util.h"
#include "endpoints.h"
#include "peer.h"
#include "pmp.h"
#include "portmap.h"

#define TIMEOUT (3 * PATHS_SECOND)
enum { MAP_TRIES = 4, PORT_MIN = 1024 };

static warren_fetch_fn answered;

/* The request has its result; the next one may be given in the call. */
static void finish(struct igd_client *c, uint16_t result, uint32_t lifetime)
{
	static const struct warren_addrport none;
	bool mapped = c->doing == IGD_MAPS && !result && lifetime;

	if (mapped) {
		c->had = c->external.port;
		c->had_at = c->device.services[c->service];
	} else if (c->doing == IGD_DELETES) {
		c->had = 0;
	}
	c->doing = IGD_IDLE;
	c->done(c->arg, result, mapped ? &c->external : &none, lifetime);
}

static void on_later(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	finish(arg, 0, 0);
}

int igd_client_init(struct igd_client *c, struct warren_ctx *ctx, igd_done_fn *done, void *arg)
{
	memset(c, 0, sizeof(*c));
	c->ctx = ctx;
	c->done = done;
	c->arg = arg;
	c->later = warren_timer_new(ctx, on_later, c);
	return c->later ? 0 : -ENOMEM;
}

static void stop(struct igd_client *c)
{
	warren_fetch_cancel(c->fetch);
	c->fetch = NULL;
	warren_timer_stop(c->later);
}

void igd_client_begin(struct igd_client *c, const struct warren_addr *gateway,
		      const struct warren_addr *self, uint16_t port)
{
	stop(c);
	c->doing = IGD_IDLE;
	c->gateway = *gateway;
	c->self = *self;
	c->port = port;
	c->permanent = false;
	c->had = 0;
	memset(&c->at, 0, sizeof(c->at));
	memset(&c->device, 0, sizeof(c->device));
}

void igd_client_found(struct igd_client *c, const struct igd_found *found)
{
	/* Several may answer, or one at several places: the first is kept while it is good. */
	if (c->device.n == 0)
		c->at = found->at;
}

/*
 * ---- Out ----
 */

/* @service NULL: the description, at @to. NULL: no memory. */
static struct warren_fetch *fetch(struct igd_client *c, const struct igd_place *to,
				  const struct igd_service *service, const char *action,
				  const struct str *body, warren_fetch_fn *done)
{
	char address[ADDR_TEXT], url[ADDR_TEXT + IGD_PATH + 16], header[128];
	const struct warren_http_field fields[] = {
		{ "Content-Type", "text/xml; charset=\"utf-8\"" }, { "SOAPAction", header },
	};
	struct warren_fetch_options options = {
		.size = sizeof(options), .flags = WARREN_FETCH_NO_PROXY, .method = "GET",
		.url = url, .limit = IGD_BODY, .timeout = TIMEOUT,
	};

	snprintf(url, sizeof(url), "http://%s:%u%s", addr_format(&c->gateway, address), to->port,
		 to->path);
	if (service) {
		if (body->failed)
			return NULL;
		snprintf(header, sizeof(header), "\"%s#%s\"", igd_type(service->kind), action);
		options.method = "POST";
		options.fields = fields;
		options.n_fields = ARRAY_SIZE(fields);
		options.body = str_text(body);
		options.body_len = body->len;
	}
	return warren_fetch(c->ctx, &options, done, c);
}

static void act(struct igd_client *c, const struct igd_service *service, const char *action,
		const struct str *body)
{
	c->fetch = fetch(c, &service->at, service, action, body, answered);
	if (!c->fetch)
		warren_timer_set(c->later, 0);
}

static void ask_address(struct igd_client *c)
{
	const struct igd_service *service = &c->device.services[c->service];
	AUTO(str_free) struct str body = STR_INIT;

	c->doing = IGD_TELLS_ADDRESS;
	igd_ask_address(service->kind, &body);
	act(c, service, "GetExternalIPAddress", &body);
}

static void ask_map(struct igd_client *c)
{
	const struct igd_service *service = &c->device.services[c->service];
	AUTO(str_free) struct str body = STR_INIT;

	c->doing = IGD_MAPS;
	c->tries++;
	igd_ask_add(service->kind, c->external.port, c->port, &c->self,
		    c->permanent ? 0 : PMP_LIFETIME, &body);
	act(c, service, igd_add_action(service->kind), &body);
}

static void describe(struct igd_client *c)
{
	c->doing = IGD_DESCRIBES;
	c->fetch = c->at.port ? fetch(c, &c->at, NULL, NULL, NULL, answered) : NULL;
	if (!c->fetch)
		warren_timer_set(c->later, 0);
}

static uint16_t any_port(void)
{
	return (uint16_t)(PORT_MIN + randombytes_uniform(UINT16_MAX - PORT_MIN));
}

void igd_client_map(struct igd_client *c, uint16_t external)
{
	stop(c);
	c->tries = 0;
	c->external.port = external >= PORT_MIN ? external :
			   c->port >= PORT_MIN ? c->port : any_port();
	if (c->device.n > 0)
		ask_address(c);
	else
		describe(c);
}

/* What is to be deleted: what we have, or what is just being asked for. */
static const struct igd_service *had(const struct igd_client *c, uint16_t *external)
{
	if (!c->had && c->doing == IGD_MAPS) {
		*external = c->external.port;
		return &c->device.services[c->service];
	}
	*external = c->had;
	return c->had ? &c->had_at : NULL;
}

void igd_client_delete(struct igd_client *c)
{
	AUTO(str_free) struct str body = STR_INIT;
	uint16_t external;
	const struct igd_service *service = had(c, &external);

	stop(c);
	c->doing = IGD_DELETES;
	if (!service) {
		warren_timer_set(c->later, 0);
		return;
	}
	igd_ask_delete(service->kind, external, &body);
	act(c, service, "DeletePortMapping", &body);
}

static void forgotten(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
		      const uint8_t *body, size_t len, const char *why, void *arg)
{
	struct igd_client *c = arg;

	(void)ctx;
	(void)status;
	(void)head;
	(void)body;
	(void)len;
	(void)why;
	c->forgotten = NULL;
}

void igd_client_forget(struct igd_client *c)
{
	AUTO(str_free) struct str body = STR_INIT;
	uint16_t external;
	const struct igd_service *service = had(c, &external);

	stop(c);
	c->doing = IGD_IDLE;
	c->had = 0;
	if (!service)
		return;
	warren_fetch_cancel(c->forgotten);
	igd_ask_delete(service->kind, external, &body);
	c->forgotten = fetch(c, &service->at, service, "DeletePortMapping", &body, forgotten);
}

/*
 * ---- In ----
 */

static void described(struct igd_client *c, int status, const uint8_t *body, size_t len)
{
	if (status != 200 || igd_device_parse(&c->at, body, len, &c->device)) {
		c->device.n = 0;
		finish(c, 0, 0);
		return;
	}
	c->service = 0;
	ask_address(c);
}

/* A device may have several lines; the first one that is connected is taken. */
static void told_address(struct igd_client *c, const struct igd_answer *answer)
{
	if (!answer->error && paths_address_use(&answer->address) == PATHS_USE &&
	    answer->address.family == 4) {
		c->external.addr = answer->address;
		ask_map(c);
	} else if (++c->service < c->device.n) {
		ask_address(c);
	} else {
		c->device.n = 0;
		finish(c, answer->error ? answer->error : PORTMAP_USELESS, 0);
	}
}

static void mapped(struct igd_client *c, const struct igd_answer *answer)
{
	bool again = c->tries < MAP_TRIES;

	if (!answer->error) {
		if (answer->port)
			c->external.port = answer->port;
		finish(c, 0, PMP_LIFETIME);
	} else if (again && !c->permanent && (answer->error == IGD_ONLY_PERMANENT ||
					      answer->error == IGD_INVALID_ARGS)) {
		c->permanent = true;
		ask_map(c);
	} else if (again && answer->error == IGD_CONFLICT) {
		c->external.port = any_port();
		ask_map(c);
	} else {
		finish(c, answer->error, 0);
	}
}

static void answered(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
		     const uint8_t *body, size_t len, const char *why, void *arg)
{
	struct igd_client *c = arg;
	struct igd_answer answer;

	(void)ctx;
	(void)head;
	(void)why;
	c->fetch = NULL;
	if (c->doing == IGD_DESCRIBES) {
		described(c, status, body, len);
		return;
	}
	/* A fault has its code; what has none comes from somebody else. */
	if ((status != 200 && status != 500) || igd_soap_parse(body, len, &answer) ||
	    (status == 500) != (answer.error != 0)) {
		c->device.n = 0;
		finish(c, 0, 0);
	} else if (c->doing == IGD_TELLS_ADDRESS) {
		told_address(c, &answer);
	} else if (c->doing == IGD_MAPS) {
		mapped(c, &answer);
	} else {
		finish(c, 0, 0);
	}
}
