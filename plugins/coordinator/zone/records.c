/*
 * Records of a zone. There are as many as certificates are being ordered at a time: a list will do.
 */
#include "records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static const uint64_t life = UINT64_C(3600) * 1000000;

void zone_records_init(struct zone_records *records, uint32_t serial)
{
	list_init(&records->all);
	records->count = 0;
	records->serial = serial;
}

static void drop(struct zone_records *records, struct zone_record *record)
{
	list_del(&record->link);
	records->count--;
	free(record);
}

void zone_records_free(struct zone_records *records)
{
	while (!list_empty(&records->all))
		drop(records, list_first(&records->all, struct zone_record, link));
}

const struct zone_record *zone_records_find(const struct zone_records *records,
					    const struct dns_name *name)
{
	const struct zone_record *record;

	list_for_each(record, &records->all, link) {
		if (dns_name_equal(&record->name, name))
			return record;
	}
	return NULL;
}

bool zone_records_below(const struct zone_records *records, const struct dns_name *name)
{
	const struct zone_record *record;

	list_for_each(record, &records->all, link) {
		if (record->n > 0 && dns_name_under(&record->name, name))
			return true;
	}
	return false;
}

static struct zone_record *find_or_make(struct zone_records *records, const struct dns_name *name,
					int *result)
{
	struct zone_record *record = (struct zone_record *)(uintptr_t)zone_records_find(records,
											name);

	*result = record ? 0 : records->count >= ZONE_NAMES ? -ENOSPC : -ENOMEM;
	if (record || *result == -ENOSPC)
		return record;
	record = calloc(1, sizeof(*record));
	if (!record)
		return NULL;
	record->name = *name;
	list_add_tail(&records->all, &record->link);
	records->count++;
	*result = 0;
	return record;
}

static bool is_text(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (text[i] < ' ' || text[i] > '~')
			return false;
	}
	return len > 0 && len <= ZONE_TEXT;
}

static bool is_often(struct zone_record *record, uint64_t now)
{
	if (now >= record->sets_until) {
		record->sets_until = now + life;
		record->sets = 0;
	}
	return record->sets++ >= ZONE_SETS;
}

static void take_out(struct zone_record *record, uint32_t i)
{
	record->n--;
	memmove(&record->values[i], &record->values[i + 1],
		(record->n - i) * sizeof(record->values[0]));
}

static void touch(struct zone_records *records, struct zone_record *record)
{
	record->changed = true;
	records->serial++;
}

int zone_records_set(struct zone_records *records, const struct dns_name *name, const char *text,
		     uint64_t now, struct zone_record **out)
{
	struct zone_record *record;
	struct zone_value *value;
	int result;

	if (!is_text(text))
		return -EINVAL;
	record = find_or_make(records, name, &result);
	if (result)
		return result;
	if (is_often(record, now))
		return -EBUSY;
	*out = record;
	for (uint32_t i = 0; i < record->n; i++) {
		if (strcmp(record->values[i].text, text) == 0) {
			record->values[i].until = now + life;
			return 0;
		}
	}
	if (record->n == ZONE_VALUES)
		take_out(record, 0);
	value = &record->values[record->n++];
	str_copy(value->text, sizeof(value->text), text);
	value->until = now + life;
	touch(records, record);
	return 0;
}

void zone_records_expire(struct zone_records *records, uint64_t now)
{
	struct zone_record *record, *next;

	list_for_each_safe(record, next, &records->all, link) {
		uint32_t before = record->n;

		if (before == 0 && !record->changed && !record->sending &&
		    now >= record->sets_until) {
			drop(records, record);
			continue;
		}
		for (uint32_t i = record->n; i > 0; i--) {
			if (now >= record->values[i - 1].until)
				take_out(record, i - 1);
		}
		if (record->n != before)
			touch(records, record);
	}
}

uint16_t zone_txt(const char *text, uint8_t out[ZONE_TEXT + 1])
{
	size_t len = strlen(text);

	out[0] = (uint8_t)len;
	memcpy(out + 1, text, len);
	return (uint16_t)(len + 1);
}
