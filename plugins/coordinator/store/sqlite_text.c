/*
 * Lists as JSON arrays in a column: ["tag:a","tag:b"], ["10.0.0.0/8"],
 * [["192.0.2.1:41641",2]]. What is in the database was written by us, so anything else in it is
 * damage.
 */
#include "sqlite_impl.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "../tailnet/make.h"
#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"

char *store_strings_text(const struct tailnet_strings *list)
{
	struct str s = STR_INIT;

	str_addc(&s, '[');
	for (uint32_t i = 0; list && i < list->count; i++) {
		if (i)
			str_addc(&s, ',');
		str_add_json(&s, list->at[i], strlen(list->at[i]));
	}
	str_addc(&s, ']');
	return str_take(&s);
}

char *store_prefixes_text(const struct tailnet_prefixes *list)
{
	struct str s = STR_INIT;
	char text[PREFIX_TEXT];

	str_addc(&s, '[');
	for (uint32_t i = 0; list && i < list->count; i++)
		str_addf(&s, "%s\"%s\"", i ? "," : "", prefix_format(&list->at[i], text));
	str_addc(&s, ']');
	return str_take(&s);
}

char *store_endpoints_text(const struct tailnet_endpoints *list)
{
	struct str s = STR_INIT;
	char text[ADDRPORT_TEXT];

	str_addc(&s, '[');
	for (uint32_t i = 0; list && i < list->count; i++)
		str_addf(&s, "%s[\"%s\",%u]", i ? "," : "",
			 addrport_format(&list->at[i].at, text), list->at[i].type);
	str_addc(&s, ']');
	return str_take(&s);
}

static void auto_json(json_t **json)
{
	json_decref(*json);
}

static void auto_list(void *pointer)
{
	auto_free(pointer);
}

/* The array in @text with at most @max elements, and room for as many of @size bytes. */
static json_t *array_of(const char *text, size_t max, size_t size, void *room)
{
	json_t *array = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	void *memory;

	if (!json_is_array(array) || json_array_size(array) > max) {
		json_decref(array);
		return NULL;
	}
	memory = calloc(json_array_size(array) + 1, size);
	memcpy(room, &memory, sizeof(memory));
	if (!memory) {
		json_decref(array);
		return NULL;
	}
	return array;
}

bool store_strings_parse(const char *text, const struct tailnet_strings **out)
{
	AUTO(auto_list) const char **at = NULL;
	AUTO(auto_json) json_t *array = array_of(text, TAILNET_GROUPS, sizeof(*at), &at);
	size_t n = json_array_size(array);

	if (!array)
		return false;
	for (size_t i = 0; i < n; i++) {
		at[i] = json_string_value(json_array_get(array, i));
		if (!at[i])
			return false;
	}
	return set_strings(out, at, (uint32_t)n);
}

bool store_prefixes_parse(const char *text, const struct tailnet_prefixes **out)
{
	AUTO(auto_list) struct warren_prefix *at = NULL;
	AUTO(auto_json) json_t *array = array_of(text, TAILNET_ROUTES, sizeof(*at), &at);
	size_t n = json_array_size(array);
	const char *one;

	if (!array)
		return false;
	for (size_t i = 0; i < n; i++) {
		one = json_string_value(json_array_get(array, i));
		if (!one || prefix_parse(one, &at[i]) != 0)
			return false;
	}
	return set_prefixes(out, at, (uint32_t)n);
}

bool store_endpoints_parse(const char *text, const struct tailnet_endpoints **out)
{
	AUTO(auto_list) struct tailnet_endpoint *at = NULL;
	AUTO(auto_json) json_t *array = array_of(text, TAILNET_ENDPOINTS, sizeof(*at), &at);
	size_t n = json_array_size(array);
	const char *one;
	json_t *pair;

	if (!array)
		return false;
	for (size_t i = 0; i < n; i++) {
		pair = json_array_get(array, i);
		one = json_string_value(json_array_get(pair, 0));
		if (!one || addrport_parse(one, &at[i].at) != 0)
			return false;
		at[i].type = (uint8_t)json_integer_value(json_array_get(pair, 1));
	}
	return set_endpoints(out, at, (uint32_t)n);
}
