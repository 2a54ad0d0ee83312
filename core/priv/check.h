/*
 * priv/check.h - validators of the privileged operations
 *
 * Each looks at one structure that was copied out of a message and says whether it is well-formed
 * and within @limits: NUL-terminated strings with zeroes after them, zero in what is reserved,
 * known verbs and flags, names and numbers that the operator allowed. Pure functions. 0; -EINVAL:
 * malformed; -EPERM: outside the limits. The sentence in @err says what to change.
 */
#ifndef WARREN_PRIV_CHECK_H
#define WARREN_PRIV_CHECK_H

#include <stddef.h>

#include <warren/priv.h>

#include "base/err.h"
#include "priv/limits.h"

/* Adds a sentence and returns @result. */
int wpriv_refuse(struct warren_err *err, int result, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Size of the structure of @op; 0 when there is no such operation. */
size_t wpriv_op_size(uint32_t op);
const char *wpriv_op_name(uint32_t op);
/* True for the operations that take several items: ADDR, ROUTE, RULE, NFT. */
bool wpriv_op_many(uint32_t op);
/* A plugin's name: a-z 0-9 - _ . NUL-terminated, zeroes after it. */
bool wpriv_owner_valid(const char *owner, size_t size);
/* A name below a folder: relative, without "", "." and ".." parts. */
bool wpriv_name_valid(const char *name);

int wpriv_check_open(const struct wpriv_limits *limits, const struct warren_priv_open *req,
		     struct warren_err *err);
int wpriv_check_watch(const struct wpriv_limits *limits, const struct warren_priv_watch *req,
		      struct warren_err *err);
int wpriv_check_file(const struct wpriv_limits *limits, const struct warren_priv_file *req,
		     struct warren_err *err);
int wpriv_check_tun(const struct wpriv_limits *limits, const struct warren_priv_tun *req,
		    struct warren_err *err);
/* The port and the path of a unix socket are judged by the executor, which has the tree. */
int wpriv_check_socket(const struct wpriv_limits *limits, const struct warren_priv_socket *req,
		       struct warren_err *err);
int wpriv_check_addr(const struct wpriv_limits *limits, const struct warren_priv_addr *req,
		     struct warren_err *err);
int wpriv_check_route(const struct wpriv_limits *limits, const struct warren_priv_route *req,
		      struct warren_err *err);
int wpriv_check_rule(const struct wpriv_limits *limits, const struct warren_priv_rule *req,
		     struct warren_err *err);
int wpriv_check_sysctl(const struct wpriv_limits *limits, const struct warren_priv_sysctl *req,
		       struct warren_err *err);
int wpriv_check_close(const struct wpriv_limits *limits, const struct warren_priv_close *req,
		      struct warren_err *err);
int wpriv_check_resolver(const struct wpriv_limits *limits, const struct warren_priv_resolver *req,
			 struct warren_err *err);
/* One item; wpriv_check() looks at the list as a whole. */
int wpriv_check_nft(const struct wpriv_limits *limits, const struct warren_priv_nft *req,
		    struct warren_err *err);

/* All @count items at @items, which have the layout of @op; the item at fault is named. */
int wpriv_check(const struct wpriv_limits *limits, uint32_t op, const void *items, size_t count,
		struct warren_err *err);

#endif
