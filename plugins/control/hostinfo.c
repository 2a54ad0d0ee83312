/*
 * The node's description: the host's own facts, the options, and the facets of other plugins, in
 * one fixed order, so that equal descriptions are equal texts and only changes are sent.
 */
#include "hostinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/addr.h"
#include "base/file.h"
#include "base/util.h"

enum {
	OS_RELEASE_MAX = 16 << 10,
	FACET_MAX = 64 << 10,		/* bytes; all of Hostinfo must stay below 1 MiB (3.7) */
	FACETS_MAX = 64,		/* of all owners together */
};

/*
 * ---- The host ----
 */

/* A value of os-release(5): a shell word, perhaps in quotes. */
static void release_value(char *out, size_t size, const char *from, const char *end)
{
	size_t len = 0;

	if (end - from >= 2 && (*from == '"' || *from == '\'') && end[-1] == *from) {
		from++;
		end--;
	}
	for (; from < end && len + 1 < size; from++) {
		if (*from == '\\' && from + 1 < end)
			from++;
		out[len++] = *from;
	}
	out[len] = '\0';
}

void ctl_host_os_release(struct ctl_host *out, const char *text)
{
	const struct {
		const char *key;
		char *value;
		size_t size;
	} lines[] = {
		{ "ID=", out->distro, sizeof(out->distro) },
		{ "VERSION_ID=", out->distro_version, sizeof(out->distro_version) },
		{ "VERSION_CODENAME=", out->distro_code_name, sizeof(out->distro_code_name) },
	};

	while (*text) {
		const char *end = text + strcspn(text, "\n");

		for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
			if (str_starts(text, lines[i].key))
				release_value(lines[i].value, lines[i].size,
					      text + strlen(lines[i].key), end);
		}
		text = *end ? end + 1 : end;
	}
}

void ctl_host_read(struct ctl_host *out)
{
	static const char *const files[] = { "/etc/os-release", "/usr/lib/os-release" };
	struct utsname name;

	memset(out, 0, sizeof(*out));
	if (uname(&name) == 0) {
		str_copy(out->os_version, sizeof(out->os_version), name.release);
		str_copy(out->machine, sizeof(out->machine), name.machine);
	}
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		AUTO(auto_free) void *text = NULL;
		size_t len;

		if (file_read_at(AT_FDCWD, files[i], OS_RELEASE_MAX, &text, &len) == 0) {
			ctl_host_os_release(out, text);
			return;
		}
	}
}

/*
 * ---- Facets ----
 */

struct ctl_facet {
	struct ctl_facet *next;
	struct ctl_facets *list;
	struct warren_ctx *owner;
	void *on_end;			/* for warren_release() */
	enum warren_facet facet;
	json_t *value;
};

static bool facet_is_list(enum warren_facet facet)
{
	return facet == WARREN_FACET_ROUTES || facet == WARREN_FACET_SERVICES ||
	       facet == WARREN_FACET_SSH_HOST_KEYS;
}

static void facet_remove(struct ctl_facet *facet)
{
	struct ctl_facet **link = &facet->list->first;

	while (*link != facet)
		link = &(*link)->next;
	*link = facet->next;
	json_decref(facet->value);
	free(facet);
}

static void facet_owner_ended(void *arg)
{
	struct ctl_facet *facet = arg;
	struct ctl_facets *list = facet->list;

	facet_remove(facet);
	list->changed(list->arg);
}

static struct ctl_facet *facet_find(const struct ctl_facets *list, struct warren_ctx *owner,
				    enum warren_facet facet, uint32_t *count)
{
	struct ctl_facet *found = NULL;

	*count = 0;
	for (struct ctl_facet *f = list->first; f; f = f->next) {
		(*count)++;
		if (f->owner == owner && f->facet == facet)
			found = f;
	}
	return found;
}

static struct ctl_facet *facet_new(struct ctl_facets *list, struct warren_ctx *owner,
				   enum warren_facet facet)
{
	struct ctl_facet **link = &list->first, *made = calloc(1, sizeof(*made));

	if (!made)
		return NULL;
	made->list = list;
	made->owner = owner;
	made->facet = facet;
	made->on_end = warren_on_end(owner, facet_owner_ended, made);
	if (!made->on_end) {
		free(made);
		return NULL;
	}
	while (*link)
		link = &(*link)->next;
	*link = made;
	return made;
}

int ctl_facets_set(struct ctl_facets *list, struct warren_ctx *owner, enum warren_facet facet,
		   const char *value)
{
	struct ctl_facet *found;
	json_t *parsed = NULL;
	uint32_t count;

	if (facet < WARREN_FACET_ROUTES || facet > WARREN_FACET_APP)
		return -EINVAL;
	found = facet_find(list, owner, facet, &count);
	if (!value && !found)
		return 0;
	if (value) {
		parsed = strlen(value) <= FACET_MAX ? json_loads(value, JSON_REJECT_DUPLICATES,
								 NULL) : NULL;
		if (!parsed || json_is_array(parsed) != facet_is_list(facet)) {
			json_decref(parsed);
			return -EINVAL;
		}
	}
	if (!found && (count >= FACETS_MAX || !(found = facet_new(list, owner, facet)))) {
		json_decref(parsed);
		return count >= FACETS_MAX ? -ENOSPC : -ENOMEM;
	}
	if (!parsed) {
		warren_release(found->on_end);
		facet_remove(found);
	} else if (found->value && json_equal(found->value, parsed)) {
		json_decref(parsed);
		return 0;
	} else {
		json_decref(found->value);
		found->value = parsed;
	}
	list->changed(list->arg);
	return 0;
}

void ctl_facets_free(struct ctl_facets *list)
{
	while (list->first) {
		warren_release(list->first->on_end);
		facet_remove(list->first);
	}
}

/* All values of a list facet behind each other. NULL: no memory. */
static json_t *facet_list(const struct ctl_facets *list, enum warren_facet facet)
{
	json_t *all = json_array();

	for (const struct ctl_facet *f = list->first; f && all; f = f->next) {
		if (f->facet == facet && json_array_extend(all, f->value)) {
			json_decref(all);
			all = NULL;
		}
	}
	return all;
}

uint32_t ctl_facets_routes(const struct ctl_facets *list, struct warren_prefix *out, uint32_t room)
{
	json_t *all = facet_list(list, WARREN_FACET_ROUTES), *route;
	uint32_t n = 0;
	size_t i;

	json_array_foreach(all, i, route) {
		const char *text = json_string_value(route);

		if (n < room && text && prefix_parse(text, &out[n]) == 0)
			n++;
	}
	json_decref(all);
	return n;
}

static const json_t *facet_object(const struct ctl_facets *list, enum warren_facet facet)
{
	for (const struct ctl_facet *f = list->first; f; f = f->next) {
		if (f->facet == facet)
			return f->value;
	}
	return NULL;
}

bool ctl_facets_endpoints(const struct ctl_facets *list, struct str *out)
{
	const json_t *facet = facet_object(list, WARREN_FACET_ENDPOINTS);
	json_t *addrs = facet ? json_object_get(facet, "Endpoints") : NULL;
	json_t *types = facet ? json_object_get(facet, "EndpointTypes") : NULL;
	json_t *o;
	char *text;

	if (!facet)
		return false;
	if (!out || json_array_size(addrs) == 0 || json_array_size(types) != json_array_size(addrs))
		return true;
	o = json_pack("{s:O,s:O}", "Endpoints", addrs, "EndpointTypes", types);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (text)
		str_addn(out, text + 1, strlen(text) - 2);
	free(text);
	return true;
}

/*
 * ---- Hostinfo ----
 */

static void set_text(json_t *o, const char *key, const char *value)
{
	if (value && *value)
		json_object_set_new(o, key, json_string(value));
}

/* Lists that are empty are left out, as Go does (6.8). */
static void set_list(json_t *o, const char *key, json_t *list)
{
	if (json_array_size(list) > 0)
		json_object_set_new(o, key, list);
	else
		json_decref(list);
}

static bool list_has(const json_t *list, const char *text)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *have = json_string_value(json_array_get(list, i));

		if (have && !strcmp(have, text))
			return true;
	}
	return false;
}

static json_t *routes_of(const struct ctl_self *self)
{
	json_t *list = facet_list(self->facets, WARREN_FACET_ROUTES);
	char text[PREFIX_TEXT];

	for (uint32_t i = 0; i < self->n_routes && list; i++) {
		prefix_format(&self->routes[i], text);
		if (!list_has(list, text))
			json_array_append_new(list, json_string(text));
	}
	return list;
}

static json_t *tags_of(const struct ctl_self *self)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < self->n_tags && list; i++)
		json_array_append_new(list, json_string(self->tags[i]));
	return list;
}

/* Only what the facet is for: nobody may overwrite the name or the routes through it. */
static void merge(json_t *o, const json_t *from, const char *const *keys)
{
	for (; from && *keys; keys++) {
		json_t *value = json_object_get(from, *keys);

		if (value)
			json_object_set(o, *keys, value);
	}
}

bool ctl_hostinfo(const struct ctl_self *self, struct str *out)
{
	static const char *const ingress[] = { "WireIngress", "IngressEnabled", NULL };
	static const char *const app[] = { "App", "AppConnector", "PeerRelay", "ServicesHash",
					   "AllowsUpdate", "ExitNodeID", "Location", NULL };
	const json_t *netinfo = facet_object(self->facets, WARREN_FACET_NETINFO);
	json_t *o = json_object();
	char *text;

	set_text(o, "IPNVersion", self->version);
	set_text(o, "BackendLogID", self->log_id);
	set_text(o, "OS", "linux");
	set_text(o, "OSVersion", self->host->os_version);
	set_text(o, "Distro", self->host->distro);
	set_text(o, "DistroVersion", self->host->distro_version);
	set_text(o, "DistroCodeName", self->host->distro_code_name);
	set_text(o, "Machine", self->host->machine);
	set_text(o, "Hostname", self->hostname);
	if (self->shields_up)
		json_object_set_new(o, "ShieldsUp", json_true());
	set_list(o, "RoutableIPs", routes_of(self));
	set_list(o, "RequestTags", tags_of(self));
	set_list(o, "Services", facet_list(self->facets, WARREN_FACET_SERVICES));
	set_list(o, "sshHostKeys", facet_list(self->facets, WARREN_FACET_SSH_HOST_KEYS));
	merge(o, facet_object(self->facets, WARREN_FACET_INGRESS), ingress);
	merge(o, facet_object(self->facets, WARREN_FACET_APP), app);
	if (netinfo)
		json_object_set(o, "NetInfo", (json_t *)(uintptr_t)netinfo);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (!text)
		return false;
	str_add(out, text);
	free(text);
	return !out->failed;
}
