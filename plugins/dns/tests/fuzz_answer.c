/*
 * A resolver's answer, to a question that is its own so that it is looked into; then what a client
 * gets of it, and what an operator sees.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "base/dnsmsg.h"
#include "plugins/dns/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The question as the answer has it; false: it has none. */
static bool question_of(const uint8_t *data, size_t size, struct dns_query *q)
{
	struct buf_reader r;

	memset(q, 0, sizeof(*q));
	buf_reader_init(&r, data, size);
	q->room = DNS_UDP_PLAIN;
	q->edns = size % 2;
	return buf_be16(&r, &q->id) && buf_skip(&r, DNS_HEADER - 2) &&
	       dns_name_read(&r, &q->name, q->asked) && buf_be16(&r, &q->type) &&
	       buf_be16(&r, &q->class_);
}

static void show(const uint8_t *msg, size_t len)
{
	struct dns_record_view record;
	struct dns_walk walk;

	if (!dns_walk_begin(&walk, msg, len))
		abort();
	while (dns_walk_next(&walk, &record) == 1) {
		AUTO(str_free) struct str text = STR_INIT;
		char name[DNS_NAME_TEXT];
		struct dns_name owner;

		if (dns_name_expand(msg, len, record.owner, &owner))
			dns_name_text(&owner, name);
		dns_record_text(msg, len, &record, &text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t rooms[] = { DNS_UDP_PLAIN, DNS_UDP_EDNS, DNS_MSG_MAX };
	struct dns_answer answer;
	struct dns_query q;
	uint8_t *msg, *out;
	size_t len;

	if (size > DNS_MSG_MAX || !question_of(data, size, &q) ||
	    dns_answer_parse(data, size, &q, q.id, &answer))
		return 0;
	msg = malloc(size);
	out = malloc(size + DNS_OPT);
	if (!msg || !out)
		abort();
	memcpy(msg, data, size);
	len = dns_answer_strip(msg, &answer);
	if (len > size)
		abort();
	for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		size_t n = dns_reply_finish(msg, len, &q, rooms[i], (uint32_t)size, out);

		if (n > rooms[i] && n > DNS_HEADER + DNS_NAME_MAX + 4 + DNS_OPT)
			abort();
		show(out, n);
	}
	free(msg);
	free(out);
	return 0;
}
