/*
 * policy/hujson.h - JSON with comments and trailing commas, as a tree that knows its places
 *
 * Source: the HuJSON of policy files (coordinator.md 2.1) over RFC 8259. UTF-8; at most HJ_SIZE
 * bytes and HJ_DEPTH levels; a key twice in one object is an error. Any thread that owns the arena.
 */
#ifndef WARREN_COORDINATOR_HUJSON_H
#define WARREN_COORDINATOR_HUJSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

enum { HJ_SIZE = 4 << 20, HJ_DEPTH = 32, HJ_ERROR = 512 };
enum hj_type { HJ_NULL = 1, HJ_BOOL, HJ_NUMBER, HJ_STRING, HJ_ARRAY, HJ_OBJECT };

struct hj {				/* all of it in the arena */
	enum hj_type type;
	uint32_t line, column;		/* from 1; columns in characters */
	const char *key;		/* in an object: unescaped; else NULL */
	uint32_t key_line, key_column;
	const char *text; /* STRING: unescaped, NUL-terminated; NUMBER, BOOL: as written */
	size_t len;
	uint32_t count;			/* ARRAY, OBJECT */
	struct hj *first, *next;
};

struct policy_error {			/* what is wrong with a policy, and where */
	uint32_t line, column;		/* 0: the file as a whole */
	char text[HJ_ERROR];		/* one sentence, without the place */
};

/* NULL with @error. */
struct hj *hj_parse(struct arena *arena, const char *text, size_t len,
		    struct policy_error *error);
/* A member whose key is @key, ASCII case ignored; NULL: none, or @o is no object. */
struct hj *hj_get(const struct hj *o, const char *key);
/* As an ordinary JSON value; NULL: no memory. */
json_t *hj_json(const struct hj *value);
/* Fills @error with the place of @at; returns false, for `return hj_fail(...)`. */
bool hj_fail(struct policy_error *error, const struct hj *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
