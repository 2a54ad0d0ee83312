/* Known-answer vectors of tests/data/wireguard-vectors.json. A gap in them fails the test. */
#ifndef WG_TEST_VECTORS_H
#define WG_TEST_VECTORS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

json_t *vectors_load(void);		/* the caller's reference */
json_t *vectors_at(json_t *object, const char *key);	/* borrowed */
uint64_t vectors_number(json_t *object, const char *key);
/* Decodes exactly @len bytes. */
void vectors_hex(json_t *object, const char *key, uint8_t *out, size_t len);
/* Decodes at most @room bytes, returns how many. */
size_t vectors_bytes(json_t *object, const char *key, uint8_t *out, size_t room);

#endif
