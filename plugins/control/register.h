/*
 * register.h - the two bodies of POST /machine/register (control-protocol.md 5.1, 5.2)
 */
#ifndef CTL_REGISTER_H
#define CTL_REGISTER_H

#include <warren/plugin.h>

#include "base/str.h"

/*
 * The capability version that we advertise: 137, register understands HTTP 429. What lies below it
 * and is a feature of ours to come (2.3) is answered by saying so: unknown c2n paths get 400.
 */
enum { CTL_CAP_VERSION = 137 };

struct ctl_register {
	uint8_t node_key[32], old_node_key[32];	/* old zero: none */
	const char *auth_key;		/* NULL: none */
	const char *followup;		/* NULL: none */
	const char *hostinfo;		/* JSON object */
	bool ephemeral;
	bool logout;
};
/* Appends the body; the caller wipes it, it may hold the auth key. */
void ctl_register_body(const struct ctl_register *request, struct str *out);

enum { CTL_AUTH_URL_MAX = 2048, CTL_ERROR_MAX = 512 };
struct ctl_registered {
	bool node_key_expired, machine_authorized;
	bool wants_signature;		/* of tailnet lock */
	char auth_url[CTL_AUTH_URL_MAX];	/* printable, http or https; empty: none */
	char error[CTL_ERROR_MAX];	/* made printable, cut; empty: none */
	char login[320], display_name[256];
	int64_t user;
};
/* Any bytes. 0, or -EBADMSG with a sentence; @out is zeroed then. */
int ctl_register_parse(const uint8_t *body, size_t len, struct ctl_registered *out,
		       struct warren_err *err);

#endif
