/*
 * The early payload (section 3.6): the first bytes inside Noise are its head, or a frame of HTTP/2,
 * which cannot begin so: 0xffffff would be its length. Which it is shows at the first byte that
 * differs, so that no reader waits for nine bytes in vain.
 */
#include "early.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include <warren/net.h>

#include "base/buf.h"
#include "base/util.h"

static const uint8_t magic[] = { 0xff, 0xff, 0xff, 'T', 'S' };

static int parse(struct early *early, struct warren_err *err)
{
	json_t *root = json_loadb((const char *)bytes_at(&early->text), early->text.len,
				  JSON_REJECT_DUPLICATES, NULL);
	const char *text = json_string_value(json_object_get(root, "nodeKeyChallenge"));
	bool object = json_is_object(root);

	/* Another text there is for somebody else: nobody must answer the challenge. */
	early->has_challenge = text && warren_keytext_parse(WARREN_KEYTEXT_CHALLENGE, text,
							    early->challenge, NULL) == 0;
	json_decref(root);
	bytes_free(&early->text);
	if (!object) {
		warren_fail(err, NULL, "the control server's early payload is no JSON object");
		return -EBADMSG;
	}
	return 0;
}

/* Returns how many bytes of @data went into the head. */
static size_t feed_head(struct early *early, const uint8_t *data, size_t len)
{
	size_t n = 0;

	while (n < len && early->have < EARLY_HEAD && !early->none) {
		if (early->have < sizeof(magic) && data[n] != magic[early->have]) {
			early->none = true;
			break;
		}
		early->head[early->have++] = data[n++];
	}
	return n;
}

int early_feed(struct early *early, const uint8_t *data, size_t len, size_t *used,
	       struct warren_err *err)
{
	size_t n = feed_head(early, data, len), rest;
	struct buf_reader r;
	uint32_t size;

	*used = n;
	if (early->none)
		return 0;
	if (early->have < EARLY_HEAD)
		return WARREN_PENDING;
	buf_reader_init(&r, early->head + sizeof(magic), EARLY_HEAD - sizeof(magic));
	buf_be32(&r, &size);
	if (size > EARLY_MAX) {
		warren_fail(err, NULL, "the control server's early payload of %u bytes is longer "
			    "than the %d that are allowed", size, EARLY_MAX);
		return -EMSGSIZE;
	}
	rest = size - early->text.len < len - n ? size - early->text.len : len - n;
	if (bytes_add(&early->text, data + n, rest)) {
		warren_fail(err, NULL, "no memory for the control server's early payload");
		return -ENOMEM;
	}
	*used = n + rest;
	return early->text.len < size ? WARREN_PENDING : parse(early, err);
}

void early_head(size_t len, uint8_t out[EARLY_HEAD])
{
	struct buf_writer w;

	buf_writer_init(&w, out, EARLY_HEAD);
	buf_put_bytes(&w, magic, sizeof(magic));
	buf_put_be32(&w, (uint32_t)len);
}

void early_free(struct early *early)
{
	bytes_free(&early->text);
}
