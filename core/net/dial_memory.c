/*
 * Which addresses led to a name, on disk. What the resolver says is in a process's memory only
 * (dial_lookup.c); here is what a connection was made with, for a start without DNS.
 */
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

#include "dial_impl.h"

#define DOCUMENT "addresses"
enum { FORMAT = 1, NAMES = 16 };

struct entry {
	char name[DIAL_NAME];
	uint32_t n;
	struct warren_addr addrs[DIAL_ADDRS];
};

struct memory {				/* the lane's; its place in the list is anybody's */
	struct memory *next;
	struct warren_ctx *ctx;
	uint32_t n;
	struct entry entries[NAMES];	/* the last that changed is first */
};

static struct {
	pthread_mutex_t lock;
	struct memory *first;
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct memory *memory_of(const struct warren_ctx *ctx)
{
	struct memory *memory;

	pthread_mutex_lock(&all.lock);
	memory = all.first;
	while (memory && memory->ctx != ctx)
		memory = memory->next;
	pthread_mutex_unlock(&all.lock);
	return memory;
}

static void forget(void *arg)
{
	struct memory **at = &all.first;

	pthread_mutex_lock(&all.lock);
	while (*at != arg)
		at = &(*at)->next;
	*at = (*at)->next;
	pthread_mutex_unlock(&all.lock);
}

/*
 * ---- The document ----
 */

static json_t *entry_json(const struct entry *entry)
{
	json_t *addresses = json_array();
	char text[ADDR_TEXT];

	for (uint32_t i = 0; i < entry->n; i++) {
		if (json_array_append_new(addresses, json_string(addr_format(&entry->addrs[i],
									     text)))) {
			json_decref(addresses);
			return NULL;
		}
	}
	return json_pack("{s:s,s:o}", "name", entry->name, "addresses", addresses);
}

/* For free(); NULL: no memory. */
static char *memory_text(const struct memory *memory)
{
	json_t *names = json_array(), *o;
	char *text;

	for (uint32_t i = 0; names && i < memory->n; i++) {
		if (json_array_append_new(names, entry_json(&memory->entries[i]))) {
			json_decref(names);
			names = NULL;
		}
	}
	o = json_pack("{s:o}", "names", names);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}

static void saved(struct warren_ctx *ctx, int result, void *arg)
{
	(void)arg;
	if (result)
		warren_log(ctx, LOG_WARNING, "cannot write " DOCUMENT ": %s; a start without DNS "
			   "will not find what was reached last", strerror(-result));
}

static void save(const struct memory *memory)
{
	char *text = memory_text(memory);
	int result = text ? warren_state_write(memory->ctx, DOCUMENT, 0, FORMAT, text,
					       strlen(text), saved, NULL) : -ENOMEM;

	free(text);
	if (result)
		saved(memory->ctx, result, NULL);
}

static bool entry_load(struct entry *entry, const json_t *o)
{
	const char *name = json_string_value(json_object_get(o, "name"));
	const json_t *addresses = json_object_get(o, "addresses");

	entry->n = 0;
	if (!name || !name[0] || !str_copy(entry->name, sizeof(entry->name), name) ||
	    json_array_size(addresses) > DIAL_ADDRS)
		return false;
	for (size_t i = 0; i < json_array_size(addresses); i++) {
		const char *text = json_string_value(json_array_get(addresses, i));

		if (!text || addr_parse(text, &entry->addrs[entry->n]))
			return false;
		entry->n++;
	}
	return entry->n > 0;
}

/* What the process has learnt since is newer. */
static void use(const struct entry *entry)
{
	struct warren_addr known[DIAL_ADDRS];

	if (dial_cache_get(entry->name, known) == 0)
		dial_cache_put(entry->name, entry->addrs, entry->n);
}

/* It is a convenience: nobody is kept from starting by it. */
static void lost(struct warren_ctx *ctx, const char *why)
{
	warren_log(ctx, LOG_WARNING, "%s: what it does not tell is found by DNS only, until it was "
		   "reached once", why);
}

static void load(struct memory *memory, const char *data, size_t len)
{
	json_t *o = json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *names = json_object_get(o, "names");
	bool whole = json_is_array(names) && json_array_size(names) <= NAMES;

	for (size_t i = 0; whole && i < json_array_size(names); i++) {
		whole = entry_load(&memory->entries[i], json_array_get(names, i));
		if (!whole)
			break;
		use(&memory->entries[i]);
		memory->n++;
	}
	json_decref(o);
	if (!whole)
		lost(memory->ctx, DOCUMENT " in the state folder of this plugin is damaged");
}

/*
 * ---- Use ----
 */

static bool has(const struct entry *entry, const struct warren_addr *addr)
{
	for (uint32_t i = 0; i < entry->n; i++) {
		if (addr_equal(&entry->addrs[i], addr))
			return true;
	}
	return false;
}

/* Resolvers turn their answers round; that alone is nothing to write. */
static bool same(const struct entry *a, const struct entry *b)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++) {
		if (!has(b, &a->addrs[i]))
			return false;
	}
	return true;
}

void dial_memory_put(struct warren_ctx *ctx, const char *name, const struct warren_addr *addrs,
		     uint32_t n)
{
	struct memory *memory = memory_of(ctx);
	struct entry entry = { .n = n < DIAL_ADDRS ? n : DIAL_ADDRS };
	struct warren_addr addr;
	uint32_t at = 0;

	if (!memory || entry.n == 0 || addr_parse(name, &addr) == 0 ||
	    !str_copy(entry.name, sizeof(entry.name), name))
		return;
	memcpy(entry.addrs, addrs, entry.n * sizeof(*addrs));
	while (at < memory->n && strcasecmp(memory->entries[at].name, name) != 0)
		at++;
	if (at < memory->n && same(&memory->entries[at], &entry))
		return;
	if (at == memory->n && memory->n < NAMES)
		memory->n++;
	else if (at == NAMES)
		at--;			/* the one that has not changed for longest */
	memmove(&memory->entries[1], &memory->entries[0], at * sizeof(entry));
	memory->entries[0] = entry;
	save(memory);
}

int warren_dial_remember(struct warren_ctx *ctx, struct warren_err *err)
{
	struct memory *memory = warren_zalloc(ctx, sizeof(*memory));
	AUTO(err_free) struct warren_err why = ERR_INIT;
	void *data = NULL;
	size_t len = 0;
	int result;

	if (!memory)
		return warren_fail(err, NULL, "out of memory");
	memory->ctx = ctx;
	result = warren_state_read(ctx, DOCUMENT, 0, FORMAT, &data, &len, &why);
	if (!result)
		load(memory, data, len);
	else if (result != -ENOENT)
		lost(ctx, err_first(&why));
	warren_release(data);
	pthread_mutex_lock(&all.lock);
	memory->next = all.first;
	all.first = memory;
	pthread_mutex_unlock(&all.lock);
	if (warren_on_end(ctx, forget, memory))
		return 0;
	forget(memory);
	return warren_fail(err, NULL, "out of memory");
}
