/*
 * What the files of the plugin share. All of it is the lane's; the workers have steer.h.
 */
#ifndef SVCNET_H
#define SVCNET_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/plugin.h>
#include <warren/priv.h>
#include <warren/service/dataplane.h>
#include <warren/service/netmap.h>
#include <warren/service/svcnet.h>

#include "base/list.h"
#include "steer.h"

enum svc_mode { SVC_AUTO = 0, SVC_NAMESPACE, SVC_HOST };	/* as in the option's values */

struct svcnet {
	struct warren_ctx *ctx;
	const struct warren_dataplane_ops *dataplane;
	void *dataplane_self;
	bool apart;			/* there is a namespace */
	char why[256];			/* there is none: a sentence */
	struct warren_addr self[2 * STEER_ADDRS];
	uint32_t n_self;
	struct list listeners, dials;
	uint32_t n_dials;
	struct warren_timer *retry;	/* of sockets that were refused */
	uint64_t pause;			/* before it, microseconds */
	bool retrying, magic_laid;
	struct warren_limit log_accept;
	struct warren_stat *connections, *dialed, *dial_failed;
	struct steer *steer;
};

/* ---- listen.c ---- */

int svc_listen(void *self, struct warren_ctx *ctx, const struct warren_svc_listen *listen,
	       const struct warren_svc_events *events, void *arg,
	       struct warren_svc_listener **out, struct warren_err *err);
void svc_close(void *self, struct warren_svc_listener *listener);
void svc_pause(void *self, struct warren_svc_listener *listener, bool pause);
const char *svc_problem(void *self, const struct warren_svc_listener *listener);
bool svc_own(void *self, const struct warren_addr *addr);
/* The node's addresses have changed: sockets follow. */
void svc_addresses_changed(struct svcnet *svc);
/* Time to try again what was refused. */
void svc_retry(struct warren_ctx *ctx, void *arg);
/* The service ends; contexts of others may live on. */
void svc_forget_listeners(struct svcnet *svc);

/* For status and doctor: "tcp 443 of serve", and how many sockets it has and lacks. */
struct svc_view {
	const char *owner;
	uint32_t protocol, at;
	uint16_t port;
	uint32_t open, missing;
	const char *problem;		/* or NULL */
};
void svc_listeners(const struct svcnet *svc, void (*fn)(const struct svc_view *, void *),
		   void *arg);

/* ---- dial.c ---- */

int svc_dial(void *self, struct warren_ctx *ctx, const struct warren_svc_dial *dial,
	     warren_svc_dial_fn *done, void *arg);
void svc_forget_dials(struct svcnet *svc);

/* ---- show.c ---- */

void svc_status(struct warren_ctx *ctx, struct warren_reply *reply);
bool svc_check_namespace(struct warren_ctx *ctx, struct warren_check_result *result);
bool svc_check_listeners(struct warren_ctx *ctx, struct warren_check_result *result);

#endif
