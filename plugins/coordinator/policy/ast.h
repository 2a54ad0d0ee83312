/*
 * policy/ast.h - a policy as parsed: every selector typed and resolved as far as the file goes
 *
 * Immutable after policy_parse(); all in one arena. Source: coordinator.md 2. What depends on the
 * tailnet (users, nodes, addresses) is in world.h.
 */
#ifndef WARREN_COORDINATOR_AST_H
#define WARREN_COORDINATOR_AST_H

#include "hujson.h"
#include "ranges.h"

enum sel_kind {
	SEL_ANY = 1,			/* * */
	SEL_USER,			/* a login, or a name with @ at its end */
	SEL_DOMAIN,			/* user:*@DOMAIN */
	SEL_GROUP, SEL_TAG,
	SEL_PREFIX,			/* an address, a prefix, or a host of `hosts` */
	SEL_IPSET, SEL_SERVICE,
	SEL_MEMBER, SEL_TAGGED, SEL_SELF, SEL_INTERNET, SEL_DANGER_ALL, SEL_SHARED,
	SEL_ROLE,			/* autogroup:admin and so on */
};
/* As in tailnet/record.h, whose order it has. */
enum policy_role {
	POLICY_MEMBER = 0, POLICY_OWNER, POLICY_ADMIN, POLICY_IT_ADMIN, POLICY_NETWORK_ADMIN,
	POLICY_BILLING_ADMIN, POLICY_AUDITOR, POLICY_ROLES
};

struct sel {
	enum sel_kind kind;
	uint32_t line, column;
	const char *text;		/* as written, without white space around it */
	const char *name; /* USER: login; DOMAIN: domain; GROUP, TAG, IPSET: with prefix */
	struct range range;		/* PREFIX */
	enum policy_role role;		/* ROLE */
	const struct named *def;	/* GROUP, TAG, IPSET: its definition */
};
struct sels {
	struct sel *at;
	uint32_t n;
};

struct named {				/* of groups, tagOwners, ipsets, postures, hosts */
	const char *name;
	const struct hj *place;
	struct sels members;		/* group: users; tag: owners */
	struct ranges set;		/* ipset */
	struct range range;		/* host */
	const struct posture_test *tests;	/* posture: all must hold */
	uint32_t n_tests;
	uint32_t mark;			/* while cycles are looked for */
};
struct names {
	struct named *at;
	uint32_t n;
};

enum posture_op {
	POSTURE_EQUAL = 1, POSTURE_DIFFERS, POSTURE_LESS, POSTURE_LESS_EQUAL, POSTURE_GREATER,
	POSTURE_GREATER_EQUAL, POSTURE_IN, POSTURE_NOT_IN, POSTURE_SET, POSTURE_NOT_SET,
};
struct posture_test {
	const char *attribute;		/* node:os */
	enum posture_op op;
	const char *const *values;
	uint32_t n;
};
struct postures {			/* one of them must hold */
	const struct named **at;
	uint32_t n;
};

struct ports {
	uint16_t first, last;		/* 0 to 65535: all */
};
enum { POLICY_ANY_PROTOCOL = -1 };
struct ipspec {				/* ports of one protocol */
	int protocol; /* POLICY_ANY_PROTOCOL: TCP, UDP, ICMP as the client has it */
	struct ports *ports;
	uint32_t n;
};

/* An ACL is one for each destination. In the order of the compiled rules: grants before ACLs. */
struct grant {
	const char *section;		/* "acls", "grants" */
	uint32_t index, line, column;	/* of the rule in its section, from 0; its place */
	struct sels src, dst;
	struct ipspec *ip;
	uint32_t n_ip;
	json_t *app;			/* capability to its values, or NULL; owned by the policy */
	struct sels via;
	struct postures postures;
};

struct ssh_rule {
	uint32_t index, line, column;
	bool check;
	int64_t check_period;		/* seconds; 0: always */
	struct sels src, dst;
	bool root, nonroot;
	const char **users;		/* other logins */
	uint32_t n_users;
	const char **localparts;	/* domains of localpart:*@DOMAIN */
	uint32_t n_localparts;
	const char **accept_env;
	uint32_t n_accept_env;
	struct sels recorder;
	bool enforce_recorder;
	struct postures postures;
};

struct node_attr {
	struct sels target;
	const char **attrs;
	uint32_t n_attrs;
	json_t *app;			/* or NULL */
	struct range *pools;		/* of ipPool */
	uint32_t n_pools;
};

struct approver {			/* of autoApprovers.routes and .services */
	const char *name;
	struct range range;		/* routes */
	struct sels who;
};

struct policy_target {			/* host:ports of a test */
	struct sel dst;
	uint16_t port;
	bool usable;			/* false: such a destination never passes */
};
struct policy_test {			/* of `tests` */
	uint32_t index, line, column;
	struct sel src;
	bool usable;			/* it has a source that means something */
	int protocol;
	struct policy_target *accept, *deny;
	uint32_t n_accept, n_deny;
	json_t *attributes;		/* srcPostureAttrs, or NULL */
};
struct ssh_test {			/* of `sshTests` */
	uint32_t index, line, column;
	struct sel src;
	bool usable;
	struct sels dst;
	const char **accept, **check, **deny;
	uint32_t n_accept, n_check, n_deny;
	json_t *attributes;
};

enum attr_type { ATTR_ANY, ATTR_STRING, ATTR_NUMBER, ATTR_BOOL };
struct attr_config {			/* of attrConfig */
	const char *name;		/* "custom:tier" */
	enum attr_type type;
	bool by_node;			/* a node may set it for itself */
};

struct policy {
	struct arena arena;
	const char *text;		/* byte for byte */
	size_t len;
	struct names groups, hosts, tags, ipsets, postures;
	struct postures default_postures;
	bool has_rules;			/* acls or grants is there; else all is allowed */
	bool has_ssh;
	struct grant *grants;
	struct ssh_rule *ssh;
	struct node_attr *attrs;
	struct attr_config *attr_configs;
	struct approver *routes, *services;
	struct sels exit_node;
	struct policy_test *tests;
	struct ssh_test *ssh_tests;
	uint32_t n_grants, n_ssh, n_attrs, n_attr_configs, n_routes, n_services;
	uint32_t n_tests, n_ssh_tests;
	bool randomize_client_port, disable_ipv4, one_cgnat;
	json_t *derp_map;		/* or NULL */
	json_t *values;			/* an array of all that is JSON in it */
};

#endif
