/*
 * policy/parse.h - what the files of the parser share
 */
#ifndef WARREN_COORDINATOR_PARSE_H
#define WARREN_COORDINATOR_PARSE_H

#include "policy.h"

struct parser {
	struct policy *policy;
	const struct policy_options *options;
	struct policy_error *error;
	json_t *values;			/* an array that holds what is JSON in the tree */
};

/* Where a selector stands: what may be there, and how what is wrong is said. */
enum sel_place {
	PLACE_SRC, PLACE_DST, PLACE_OWNER, PLACE_APPROVER, PLACE_TARGET, PLACE_SSH_SRC,
	PLACE_SSH_DST, PLACE_TEST,
};

/* ---- selector.c ---- */

/* @at gives the place of an error. False with the parser's error. */
bool parse_selector(struct parser *p, enum sel_place place, const struct hj *at, const char *text,
		    struct sel *out);
/* An array of strings, or one string; absent: none. */
bool parse_selectors(struct parser *p, enum sel_place place, const struct hj *list,
		     struct sels *out);
/* "host:ports" at its last colon, IPv6 with or without brackets; false with the error. */
bool parse_target(struct parser *p, const struct hj *at, char **host, const char **ports);

/* ---- ports.c ---- */

/* "*", "80", "80-443", comma lists; @what is in front of the sentence. */
bool parse_ports(struct parser *p, const struct hj *at, const char *what, const char *text,
		 struct ports **out, uint32_t *n);
bool parse_protocol(struct parser *p, const struct hj *at, const char *text, int *out);
/* The `ip` of a grant; entries of one protocol become one. */
bool parse_ipspecs(struct parser *p, const struct hj *list, struct ipspec **out, uint32_t *n);
/* Appends ports to those of the same protocol. */
bool ipspec_add(struct parser *p, struct ipspec **specs, uint32_t *n, int protocol,
		const struct ports *ports, uint32_t n_ports);

/* ---- sections ---- */

bool parse_definitions(struct parser *p, const struct hj *root);
bool parse_grants(struct parser *p, const struct hj *root);
bool parse_node_attrs(struct parser *p, const struct hj *root);
bool parse_attr_config(struct parser *p, const struct hj *root);
bool parse_ssh(struct parser *p, const struct hj *root);
bool parse_tests(struct parser *p, const struct hj *root);
bool parse_postures(struct parser *p, const struct hj *list, struct postures *out);
/* "node:os == 'linux'" */
bool parse_posture_test(struct parser *p, const struct hj *at, struct posture_test *out);

/* ---- helpers ---- */

void *parse_alloc(struct parser *p, size_t n, size_t size);	/* NULL with the error */
/* Text without white space around it, in the arena. */
char *parse_trim(struct parser *p, const struct hj *at);
/* The members of @o are among @known (NULL-terminated), or start with '#'. */
bool parse_known(struct parser *p, const struct hj *o, const char *const *known);
/* An object or array of that name, NULL when it is absent or null; false: something else. */
bool parse_member(struct parser *p, const struct hj *o, const char *key, enum hj_type type,
		  struct hj **out);
/* A member that is true or false; absent: false. */
bool parse_flag(struct parser *p, const struct hj *root, const char *key, bool *out);
/* Strings of the array @key, trimmed. */
bool parse_strings(struct parser *p, const struct hj *o, const char *key, const char ***out,
		   uint32_t *n);
/* Keeps a JSON value as long as the policy. */
json_t *parse_keep(struct parser *p, const struct hj *value);

#endif
