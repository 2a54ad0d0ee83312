/*
 * `warren relay check`: its operands, and the order of its steps.
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/util.h"
#include "probe.h"

enum { CA_MAX = 1 << 20, TEXT_MAX = 640, DIAL_USEC = 5000000 };

static const struct step {
	const char *name;
	void (*run)(struct probe *probe);
	void (*late)(struct probe *probe);	/* NULL: it has a limit of its own */
} steps[] = {
	{ "name", probe_step_name, NULL },
	{ "tcp", probe_step_tcp, NULL },
	{ "certificate", probe_step_certificate, NULL },
	{ "probe", probe_step_http, probe_late_http },
	{ "upgrade", probe_step_upgrade, probe_late_upgrade },
	{ "fast-start", probe_step_fast, probe_late_fast },
	{ "key", probe_step_key, NULL },
	{ "login", probe_step_login, probe_late_login },
	{ "packet", probe_step_packet, probe_late_packet },
	{ "latency", probe_step_latency, probe_late_latency },
	{ "stun", probe_step_stun, probe_late_stun },
	{ "port80", probe_step_portal, probe_late_portal },
};

static void probe_free(struct probe *probe)
{
	probe_net_drop(probe);
	for (int i = 0; i < 2; i++)
		talk_end(&probe->talks[i]);
	warren_release(probe->timer);
	warren_release(probe->next);
	if (probe->ca_fd >= 0)
		close(probe->ca_fd);
	free(probe->ca_pem);
	free(probe);
}

static void end(struct probe *probe)
{
	struct warren_reply *reply = probe->reply;
	bool ok = probe->failed == 0;

	warren_reply_close(reply);
	warren_reply_bool(reply, "ok", ok);
	if (!ok)
		warren_reply_text(reply, "%u of the checks failed", probe->failed);
	probe_free(probe);
	warren_reply_end(reply, ok ? 0 : 1, NULL);
}

static void on_next(struct warren_ctx *ctx, void *arg)
{
	struct probe *probe = arg;

	(void)ctx;
	probe_net_drop(probe);
	warren_timer_stop(probe->timer);
	probe->over = false;
	if (++probe->step > ARRAY_SIZE(steps))
		end(probe);
	else
		steps[probe->step - 1].run(probe);
}

bool probe_at(const struct probe *probe, void (*step)(struct probe *probe))
{
	return probe->step > 0 && steps[probe->step - 1].run == step;
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct probe *probe = arg;

	(void)ctx;
	steps[probe->step - 1].late(probe);
}

void probe_next(struct probe *probe)
{
	warren_timer_stop(probe->timer);
	warren_timer_set(probe->next, 0);
}

void probe_within(struct probe *probe, uint64_t usec)
{
	warren_timer_set(probe->timer, usec);
}

static void tell(struct probe *probe, enum probe_result result, uint64_t usec, const char *text)
{
	static const char *const words[] = { "ok", "warning", "failed", "left-out" };
	const char *check = steps[probe->step - 1].name;

	probe->failed += result == PROBE_FAILED;
	probe->warnings += result == PROBE_WARNING;
	warren_reply_open(probe->reply, NULL, '{');
	warren_reply_str(probe->reply, "check", "%s", check);
	warren_reply_str(probe->reply, "result", "%s", words[result]);
	if (usec)
		warren_reply_int(probe->reply, "usec", (int64_t)usec);
	warren_reply_str(probe->reply, "text", "%s", text);
	warren_reply_close(probe->reply);
	if (usec)
		warren_reply_text(probe->reply, "%-12s%-9s%s; %" PRIu64 ".%" PRIu64 " ms", check,
				  words[result], text, usec / 1000, usec / 100 % 10);
	else
		warren_reply_text(probe->reply, "%-12s%-9s%s", check, words[result], text);
}

void probe_tell(struct probe *probe, enum probe_result result, uint64_t usec, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tell(probe, result, usec, text);
}

void probe_done(struct probe *probe, enum probe_result result, uint64_t usec, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	if (probe->over)		/* two ends of one step in one turn of the loop */
		return;
	probe->over = true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tell(probe, result, usec, text);
	probe_next(probe);
}

void probe_tls(struct probe *probe, struct warren_tls_client *out)
{
	*out = (struct warren_tls_client){
		.size = sizeof(*out), .server_name = probe->url.host,
		.flags = probe->insecure ? WARREN_TLS_INSECURE : 0,
		.pin_sha256 = probe->pinned && !probe->insecure ? probe->pin : NULL,
		.ca_pem = probe->ca_pem,
	};
}

struct warren_dial *probe_dial(struct probe *probe, const struct warren_addr *addr, uint16_t port,
			       bool tls, warren_stream_fn *done, void *arg)
{
	struct warren_tls_client with;
	const struct warren_dial_options options = {
		.size = sizeof(options), .flags = WARREN_DIAL_NO_PROXY, .name = probe->url.host,
		.port = port, .addresses = addr, .n_addresses = 1, .timeout = DIAL_USEC,
		.tls = tls ? &with : NULL,
	};

	probe_tls(probe, &with);
	probe->began = warren_now();
	return warren_dial(probe->ctx, &options, done, arg);
}

/* ---- the command ---- */

static void on_cancel(struct warren_reply *reply, void *arg)
{
	struct probe *probe = arg;

	(void)reply;
	probe->reply = NULL;
	if (!probe->busy)
		probe_free(probe);
	else
		warren_timer_stop(probe->timer);
}

bool probe_still(struct probe *probe)
{
	probe->busy--;
	if (probe->reply)
		return true;
	if (!probe->busy)
		probe_free(probe);
	return false;
}

static void read_ca(void *arg)
{
	struct probe *probe = arg;
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0 && len < CA_MAX) {
		n = read(probe->ca_fd, probe->ca_pem + len, CA_MAX - len);
		len += n > 0 ? (size_t)n : 0;
	}
	probe->ca_pem[n == 0 ? len : 0] = '\0';
}

static void ca_was_read(struct warren_ctx *ctx, void *arg)
{
	struct probe *probe = arg;

	(void)ctx;
	if (!probe_still(probe))
		return;
	if (probe->ca_pem[0]) {
		probe_next(probe);
		return;
	}
	warren_reply_end(probe->reply, 1, "--ca-file is empty, not readable or above 1 MiB");
	probe_free(probe);
}

static int take_ca(struct probe *probe, const struct warren_conf *args, struct warren_err *err)
{
	struct stat st;

	if (!warren_conf_has(args, "ca-file"))
		return 0;
	probe->ca_fd = warren_reply_take_fd(probe->reply, "ca-file");
	probe->ca_pem = malloc(CA_MAX + 1);
	if (!probe->ca_pem)
		return -ENOMEM;
	if (probe->ca_fd < 0 || fstat(probe->ca_fd, &st) == -1 || !S_ISREG(st.st_mode))
		return warren_fail(err, NULL, "--ca-file is not a plain file");
	if (warren_work(probe->ctx, read_ca, ca_was_read, probe))
		return warren_fail(err, NULL, "--ca-file: too much is going on: try again");
	probe->busy++;
	return 0;
}

static int take_url(struct probe *probe, const char *text, struct warren_err *err)
{
	char with[sizeof(probe->url.path)];
	int n = snprintf(with, sizeof(with), "%s%s", strstr(text, "://") ? "" : "https://", text);

	if (n < 0 || (size_t)n >= sizeof(with) || warren_url_parse(with, &probe->url, NULL))
		return warren_fail(err, NULL, "\"%s\" is no address of a relay: expected a host "
				   "name, or a URL such as https://relay.example.com", text);
	if (strcmp(probe->url.path, "/") != 0 && strcmp(probe->url.path, "/derp") != 0)
		return warren_fail(err, NULL, "a relay has no path of its own: leave out \"%s\"",
				   probe->url.path);
	probe->tls = strcmp(probe->url.scheme, "https") == 0;
	return 0;
}

static int take_pin(struct probe *probe, const struct warren_conf *args, struct warren_err *err)
{
	static const char prefix[] = "sha256-raw:";
	const char *text = warren_conf_str(args, "pin");

	if (!text)
		return 0;
	if (strncmp(text, prefix, sizeof(prefix) - 1) == 0)
		text += sizeof(prefix) - 1;
	if (strlen(text) != 64 || hex_decode(probe->pin, 32, text))
		return warren_fail(err, NULL, "--pin is no SHA-256: expected 64 hexadecimal digits "
				   "with or without \"sha256-raw:\", as CertName in the relay map");
	if (warren_conf_has(args, "ca-file"))
		return warren_fail(err, NULL, "--pin and --ca-file are two ways to trust the "
				   "relay: give one");
	probe->pinned = true;
	return 0;
}

static int begin(struct probe *probe, const struct warren_conf *args, struct warren_err *err)
{
	int result = take_url(probe, warren_conf_str(args, "url"), err);

	if (!result)
		result = take_pin(probe, args, err);
	if (result)
		return result;
	if (warren_conf_has(args, "address")) {
		probe->addrs[0] = warren_conf_addr(args, "address");
		probe->n_addrs = 1;
	}
	probe->anyone = warren_conf_bool(args, "anyone");
	probe->stun_port = (uint16_t)warren_conf_int(args, "stun-port");
	probe->http_port = (uint16_t)warren_conf_int(args, "http-port");
	probe->next = warren_timer_new(probe->ctx, on_next, probe);
	probe->timer = warren_timer_new(probe->ctx, on_timer, probe);
	return probe->next && probe->timer ? take_ca(probe, args, err) : -ENOMEM;
}

int relay_run_check(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	struct probe *probe = calloc(1, sizeof(*probe));
	int result;

	if (!probe)
		return -ENOMEM;
	probe->ctx = ctx;
	probe->reply = reply;
	probe->ca_fd = -1;
	result = begin(probe, args, err);
	if (result) {
		probe_free(probe);
		return result;
	}
	warren_reply_on_cancel(reply, on_cancel, probe);
	warren_reply_str(reply, "url", "%s://%s:%u", probe->url.scheme, probe->url.host,
			 probe->url.port);
	warren_reply_open(reply, "checks", '[');
	if (!probe->busy)
		probe_next(probe);
	return WARREN_PENDING;
}
