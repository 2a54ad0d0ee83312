/*
 * Names of files that peers send, and what they say of blocks and ranges (node-services.md 4.3).
 * All of it pure: foreign bytes come in here.
 */
#ifndef WARREN_TAILDROP_NAMES_H
#define WARREN_TAILDROP_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum {
	DROP_NAME = 256,		/* of a file, with NUL */
	DROP_BLOCK = 64 << 10,		/* bytes of a block that is hashed */
	DROP_BLOCK_MAX = 1 << 20,	/* of a peer's */
	DROP_BLOCK_TEXT = 512,
};

/* A file that peer @id may send, whose name beside the partial's suffix has room in a folder. */
bool drop_name_ok(const char *name, const char *id);
/* Letters and digits, as a stable id is. */
bool drop_id_ok(const char *id);

/* "name.id.partial", for a name that is ok. */
void drop_partial(const char *name, const char *id, char out[DROP_NAME]);
/* The reverse. False: @entry is none. */
bool drop_partial_split(const char *entry, char name[DROP_NAME], char id[DROP_NAME]);
/* What waits to be fetched, by its name: no partial, and none that somebody hides. */
bool drop_is_whole(const char *entry);
/* "name (2).txt"; 0: as it is. False: too long. */
bool drop_numbered(const char *name, int n, char out[DROP_NAME]);

/* What stands behind "/v0/put/" of a path, decoded; "" for the folder. False: not one name. */
bool drop_path_name(const char *path, char out[DROP_NAME]);
void drop_add_escaped(struct str *out, const char *name);

/* "bytes=123-". False: another range. */
bool drop_range(const char *text, int64_t *offset);

struct drop_block {
	uint8_t sha256[32];
	uint32_t size;
};
void drop_block_format(const struct drop_block *block, struct str *out);
/*
 * The block at the front of @text; *@used bytes with the white space before it. WARREN_PENDING: it
 * is not whole. -EBADMSG: it is none that we could compare.
 */
int drop_block_parse(const char *text, size_t len, struct drop_block *out, size_t *used);

#endif
