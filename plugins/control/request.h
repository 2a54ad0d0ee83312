/*
 * request.h - one request to the control server, its answer collected
 */
#ifndef CTL_REQUEST_H
#define CTL_REQUEST_H

#include <warren/net.h>

struct ctl_request_options {
	const char *method, *path;
	const char *authority;		/* host[:port] of the control URL */
	const char *lb;			/* Ts-Lb: "nodekey:..."; NULL: none (section 3.7) */
	const char *type;		/* Content-Type; NULL: none */
	const void *body;		/* copied; NULL: none */
	size_t body_len;
	size_t limit;			/* bytes of the answer; more is an error */
	uint64_t timeout;		/* microseconds for the whole; 0: none */
};

struct ctl_answer {			/* lives for the call */
	int status;			/* 0: none came, and @why is a sentence */
	const char *why;
	const uint8_t *body;
	size_t len;
	/* Retry-After in microseconds, at most an hour; 0: not told (sections 2.3, 5.3) */
	uint64_t retry_after;
};

/* Called from the loop, once, not after ctl_request_cancel(). The request is gone then. */
typedef void ctl_request_fn(struct warren_ctx *ctx, const struct ctl_answer *answer, void *arg);

struct ctl_request;
/* NULL: no memory, or the connection takes no more. */
struct ctl_request *ctl_request_new(struct warren_ctx *ctx, struct warren_http *http,
				    const struct ctl_request_options *options,
				    ctl_request_fn *done, void *arg);
void ctl_request_cancel(struct ctl_request *request);	/* NULL is allowed */

/* Microseconds; tailscaled's limit (section 5.3). */
#define CTL_RETRY_AFTER_MAX UINT64_C(3600000000)

/* "http 500: " and the first 200 characters of a text, printable. @out has 300 bytes. */
enum { CTL_HTTP_ERROR = 300 };
const char *ctl_http_error(int status, const uint8_t *body, size_t len,
			   char out[CTL_HTTP_ERROR]);

#endif
