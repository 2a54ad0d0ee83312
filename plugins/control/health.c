/*
 * What the server says is wrong: Health, a list of sentences, and DisplayMessages, which replaced
 * it and comes as a patch (section 6.3).
 */
#include <stdlib.h>
#include <string.h>

#include "parts.h"

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct ctl_message *)a)->id, ((const struct ctl_message *)b)->id);
}

static const char *copy(struct ctl_parse *p, const char *text)
{
	const char *made = text ? arena_text(p->arena, text, strlen(text)) : NULL;

	if (!made)
		ctl_parse_oom(p);
	return made;
}

static void parse_message(struct ctl_parse *p, const char *id, const json_t *o,
			  struct ctl_message *message)
{
	const char *title, *text;
	struct str sentence = STR_INIT;
	char *dump;

	if (strlen(id) > CTL_TEXT_MAX || !json_is_object(o)) {
		ctl_parse_fail(p, "not an object with a short name");
		return;
	}
	title = ctl_get_str(p, o, "Title", CTL_TEXT_MAX);
	text = ctl_get_str(p, o, "Text", 4096);
	if (p->failed)
		return;
	str_addf(&sentence, "%s%s%s", title ? title : "", title && text ? ": " : "",
		 text ? text : "");
	dump = json_dumps(o, JSON_COMPACT);
	message->id = copy(p, id);
	message->json = copy(p, dump);
	message->sentence = copy(p, str_text(&sentence));
	free(dump);
	str_free(&sentence);
}

static void drop_message(struct ctl_message *list, uint32_t *n, const char *id)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < *n; i++) {
		if (strcmp(list[i].id, id))
			list[kept++] = list[i];
	}
	*n = kept;
}

static void keep_messages(struct ctl_parse *p, const struct ctl_health *before,
			  struct ctl_message *list, uint32_t *n)
{
	for (uint32_t i = 0; before && i < before->n_messages; i++) {
		list[*n].id = copy(p, before->messages[i].id);
		list[*n].json = copy(p, before->messages[i].json);
		list[*n].sentence = copy(p, before->messages[i].sentence);
		if (p->failed)
			return;
		(*n)++;
	}
}

static void patch_messages(struct ctl_parse *p, json_t *patch, struct ctl_message *list,
			   uint32_t *n)
{
	const char *id;
	json_t *value;
	int64_t at = 0;

	if (json_object_get(patch, "*") && json_is_null(json_object_get(patch, "*")))
		*n = 0;
	json_object_foreach(patch, id, value) {
		struct ctl_parse element = ctl_parse_element(p);
		struct ctl_message message = { 0 };

		at++;
		if (!strcmp(id, "*"))
			continue;
		if (json_is_null(value)) {
			drop_message(list, n, id);
			continue;
		}
		parse_message(&element, id, value, &message);
		if (!ctl_parse_merge(p, &element, "display message, in order", at))
			continue;
		drop_message(list, n, id);
		list[(*n)++] = message;
	}
}

static void fill_messages(struct ctl_parse *p, const json_t *messages,
			  const struct ctl_health *before, struct ctl_health *made)
{
	size_t room = json_object_size(messages) + (before ? before->n_messages : 0);
	struct ctl_message *list;
	uint32_t n = 0;

	if (room > p->list_max) {
		ctl_parse_fail(p, "more than %u messages", p->list_max);
		return;
	}
	list = ctl_parse_alloc(p, room, sizeof(*list));
	if (!list)
		return;
	keep_messages(p, before, list, &n);
	if (messages)
		patch_messages(p, (json_t *)(uintptr_t)messages, list, &n);
	qsort(list, n, sizeof(*list), by_id);
	made->messages = list;
	made->n_messages = n;
}

static void fill_health(struct ctl_parse *p, const json_t *health, const struct ctl_health *before,
			struct ctl_health *made)
{
	const char **list;
	json_t *wrap;

	if (health) {
		wrap = json_pack("{sO}", "Health", health);
		made->health = ctl_get_strs(p, wrap, "Health", &made->n_health);
		json_decref(wrap);
		return;
	}
	made->n_health = before ? before->n_health : 0;
	list = ctl_parse_alloc(p, made->n_health, sizeof(*list));
	for (uint32_t i = 0; list && i < made->n_health; i++)
		list[i] = copy(p, before->health[i]);
	made->health = list;
}

struct ctl_health *ctl_health_new(struct ctl_parse *p, const json_t *health,
				  const json_t *messages, const struct ctl_health *before)
{
	struct ctl_health *made = ctl_part_new(sizeof(*made));
	const char **list;

	if (!made) {
		ctl_parse_oom(p);
		return NULL;
	}
	p->arena = &made->part.arena;
	if (messages && !json_is_object(messages))
		ctl_parse_fail(p, "DisplayMessages: not an object");
	fill_health(p, health, before, made);
	if (!p->failed)
		fill_messages(p, messages, before, made);
	list = ctl_parse_alloc(p, made->n_messages, sizeof(*list));
	for (uint32_t i = 0; list && i < made->n_messages; i++)
		list[i] = made->messages[i].sentence;
	made->sentences = made->n_messages ? list : made->health;
	made->n_sentences = made->n_messages ? made->n_messages : made->n_health;
	if (p->failed) {
		ctl_part_unref(made);
		return NULL;
	}
	return made;
}
