/*
 * Fields of a request on its way to a backend, and of the answer on its way back. Who asks is told
 * in fields of ours alone: what a client sends under such names, or names that a backend may take
 * for them, goes no further (node-services.md 5.4).
 */
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/util.h"
#include "serve.h"

void srv_field_add(struct srv_fields *fields, struct arena *arena, const char *name,
		   const char *value)
{
	struct warren_http_field *field = &fields->v[fields->n];

	if (fields->n == ARRAY_SIZE(fields->v)) {
		fields->failed = true;
		return;
	}
	field->name = arena_text(arena, name, strlen(name));
	field->value = arena_text(arena, value, strlen(value));
	if (field->name && field->value)
		fields->n++;
	else
		fields->failed = true;
}

static bool list_has(const char *list, const char *token)
{
	size_t len = strlen(token);

	while (*list) {
		size_t n;

		list += strspn(list, " \t,");
		n = strcspn(list, " \t,");
		if (n == len && strncasecmp(list, token, len) == 0)
			return true;
		list += n;
	}
	return false;
}

/* Named by a Connection field: of this connection alone (RFC 9110 7.6.1). */
static bool is_named(const struct warren_http_head *head, const char *name)
{
	for (uint32_t i = 0; i < head->n_fields; i++) {
		if (strcmp(head->fields[i].name, "connection") == 0 &&
		    list_has(head->fields[i].value, name))
			return true;
	}
	return false;
}

bool srv_wants_upgrade(const struct warren_http_head *head)
{
	return warren_http_field(head, "upgrade") && is_named(head, "upgrade");
}

static void copy(struct srv_fields *fields, struct arena *arena,
		 const struct warren_http_head *head, bool up)
{
	for (uint32_t i = 0; i < head->n_fields; i++) {
		const char *name = head->fields[i].name;

		if (srv_field_is_hop(name) || is_named(head, name) ||
		    (up && srv_field_is_forged(name)))
			continue;
		srv_field_add(fields, arena, name, head->fields[i].value);
	}
}

static void add_words(struct srv_fields *fields, struct arena *arena, const char *name,
		      const char *words)
{
	AUTO(str_free) struct str text = STR_INIT;

	srv_add_words(&text, words ? words : "");
	fields->failed = fields->failed || text.failed;
	srv_field_add(fields, arena, name, str_text(&text));
}

static void add_switch(struct srv_fields *fields, struct arena *arena,
		       const struct warren_http_head *head)
{
	srv_field_add(fields, arena, "Connection", "Upgrade");
	srv_field_add(fields, arena, "Upgrade", warren_http_field(head, "upgrade"));
}

void srv_fields_up(struct srv_fields *fields, struct arena *arena,
		   const struct warren_http_head *head, const struct warren_addr *from, bool tls,
		   const struct warren_user *user)
{
	char text[ADDR_TEXT];

	copy(fields, arena, head, true);
	srv_field_add(fields, arena, "X-Forwarded-For", addr_format(from, text));
	srv_field_add(fields, arena, "X-Forwarded-Host", head->authority);
	if (tls)
		srv_field_add(fields, arena, "X-Forwarded-Proto", "https");
	if (user) {
		add_words(fields, arena, "Tailscale-User-Login", user->login);
		add_words(fields, arena, "Tailscale-User-Name", user->name);
		add_words(fields, arena, "Tailscale-User-Profile-Pic", user->picture);
		srv_field_add(fields, arena, "Tailscale-Headers-Info",
			      "https://tailscale.com/s/serve-headers");
	}
	if (srv_wants_upgrade(head))
		add_switch(fields, arena, head);
}

void srv_fields_down(struct srv_fields *fields, struct arena *arena,
		     const struct warren_http_head *head)
{
	copy(fields, arena, head, false);
	if (head->status == 101 && warren_http_field(head, "upgrade"))
		add_switch(fields, arena, head);
}
