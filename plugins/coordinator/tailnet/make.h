/*
 * tailnet/make.h - making records
 *
 * A record under construction belongs to its maker alone; once it is given out, it is constant.
 * Setters return false when there is no memory, and leave the field as it was.
 */
#ifndef WARREN_COORDINATOR_MAKE_H
#define WARREN_COORDINATOR_MAKE_H

#include "record.h"

/* Counted blocks of bytes: what records point to. */
void *counted_new(size_t size);		/* zeroed; one reference */
const void *counted_ref(const void *block);
void counted_unref(const void *block);	/* NULL is allowed */

/* Records with empty texts and lists and one reference. NULL: no memory. */
struct tailnet_user *user_new(void);
struct tailnet_node *node_new(void);
struct tailnet_key *key_new(void);
/* The same with all that @old has, but the generation. */
struct tailnet_user *user_copy(const struct tailnet_user *old);
struct tailnet_node *node_copy(const struct tailnet_node *old);
struct tailnet_key *key_copy(const struct tailnet_key *old);

/* At most @max bytes of @text, cut at a character; NULL is "". */
bool set_text(const char **field, const char *text, size_t max);
bool set_bytes(const char **field, const char *text, size_t len);	/* @text NULL: NULL */
/* Sorted, without duplicates. */
bool set_strings(const struct tailnet_strings **field, const char *const *at, uint32_t count);
/* Host bits go; sorted, without duplicates. */
bool set_prefixes(const struct tailnet_prefixes **field, const struct warren_prefix *at,
		  uint32_t count);
bool set_endpoints(const struct tailnet_endpoints **field, const struct tailnet_endpoint *at,
		   uint32_t count);
/* Another reference to what some other record has. */
void share_strings(const struct tailnet_strings **field, const struct tailnet_strings *list);
void share_soft(struct tailnet_soft *soft, const struct tailnet_soft *from);
void share_live(struct tailnet_live *live, const struct tailnet_live *from);

bool strings_equal(const struct tailnet_strings *a, const struct tailnet_strings *b);
bool prefix_lists_equal(const struct tailnet_prefixes *a, const struct tailnet_prefixes *b);
bool endpoints_equal(const struct tailnet_endpoints *a, const struct tailnet_endpoints *b);
/* TAILNET_F_...: what differs between two records of one node. */
uint32_t node_diff(const struct tailnet_node *a, const struct tailnet_node *b);

#endif
