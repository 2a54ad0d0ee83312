/*
 * What the server asks of this node (PingRequest, control-protocol.md 4.6). The answer goes back
 * to the control server and to nobody else: a URL of another host is refused, so that a server
 * cannot make this node a client of hosts that only we can reach. Four at a time; more are dropped,
 * the server asks again.
 */
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/addr.h"
#include "base/util.h"
#include "c2n.h"
#include "session_impl.h"

static const uint64_t head_limit = 15000000, post_limit = 60000000;
enum { ANSWER_MAX = 64 << 10 };

static void request_done(struct warren_ctx *ctx, const struct ctl_answer *answer, void *arg)
{
	struct ctl_request **slot = arg;

	(void)ctx;
	(void)answer;
	*slot = NULL;
}

static void fetch_done(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
		       const uint8_t *body, size_t len, const char *why, void *arg)
{
	struct warren_fetch **slot = arg;

	(void)ctx;
	(void)status;
	(void)head;
	(void)body;
	(void)len;
	(void)why;
	*slot = NULL;
}

void ctl_answer_stop(struct ctl_session *s)
{
	for (int i = 0; i < CTL_ANSWERS; i++) {
		ctl_request_cancel(s->answers.requests[i]);
		s->answers.requests[i] = NULL;
		if (s->answers.fetches[i])
			warren_fetch_cancel(s->answers.fetches[i]);
		s->answers.fetches[i] = NULL;
	}
}

static void busy(struct ctl_session *s)
{
	warren_log_limit(s->ctx, &s->records, LOG_WARNING, "%s asks more than this node answers "
			 "at once", s->url);
}

/* Over the connection that we have: path and query of the URL are what counts. */
static void answer_noise(struct ctl_session *s, const char *method, const char *path,
			 const char *type, const char *body, size_t len)
{
	const struct ctl_request_options options = {
		.method = method, .path = path, .authority = s->authority, .type = type,
		.body = body, .body_len = len, .limit = ANSWER_MAX,
		.timeout = len ? post_limit : head_limit,
	};

	for (int i = 0; i < CTL_ANSWERS && s->link.http; i++) {
		if (s->answers.requests[i])
			continue;
		s->answers.requests[i] = ctl_request_new(s->ctx, s->link.http, &options,
							 request_done, &s->answers.requests[i]);
		return;
	}
	busy(s);
}

static void answer_plain(struct ctl_session *s, const char *url)
{
	const char *ca_file = warren_ca_file_path(&s->ca);
	const struct warren_tls_client tls = { .size = sizeof(tls), .ca_file = ca_file };
	char auth[WARREN_PROXY_AUTH];
	const struct warren_fetch_options options = {
		.size = sizeof(options), .method = "HEAD", .url = url, .limit = ANSWER_MAX,
		.timeout = head_limit, .tls = &tls, .proxy = warren_conf_str(s->conf, "proxy"),
		.proxy_auth = warren_proxy_auth(s->conf, auth), .proxy_ca_file = ca_file,
	};

	for (int i = 0; i < CTL_ANSWERS; i++) {
		if (s->answers.fetches[i])
			continue;
		s->answers.fetches[i] = warren_fetch(s->ctx, &options, fetch_done,
						     &s->answers.fetches[i]);
		sodium_memzero(auth, sizeof(auth));
		return;
	}
	sodium_memzero(auth, sizeof(auth));
	busy(s);
}

/*
 * ---- c2n ----
 */

/* As Go writes a list or map that was never made. */
static json_t *or_null(json_t *made)
{
	if (json_array_size(made) > 0 || json_object_size(made) > 0)
		return made;
	json_decref(made);
	return json_null();
}

static json_t *prefs_routes(const struct ctl_session *s)
{
	struct warren_prefix routes[CTL_ROUTES_MAX];
	uint32_t n = ctl_offers(s, routes, ARRAY_SIZE(routes));
	json_t *list = json_array();
	char text[PREFIX_TEXT];

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(prefix_format(&routes[i], text)));
	return or_null(list);
}

static json_t *prefs_tags(const struct warren_conf *conf)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < warren_conf_count(conf, "tags"); i++)
		json_array_append_new(list, json_string(warren_conf_str(
			warren_conf_at(conf, "tags", i), NULL)));
	return or_null(list);
}

/* What we have of the stock client's Prefs, under its names (ipn/prefs.go). */
static char *prefs_text(const struct ctl_session *s)
{
	char hostname[256], *text;
	json_t *o;

	warren_hostname(s->ctx, hostname, sizeof(hostname));
	o = json_pack("{s:s,s:b,s:b,s:b,s:b,s:s,s:o,s:o}", "ControlURL", s->url, "RouteAll",
		      s->accept, "WantRunning", s->up,
		      "LoggedOut", s->persist.logged_out, "ShieldsUp",
		      warren_conf_bool(s->conf, "shields-up"), "Hostname", hostname,
		      "AdvertiseRoutes", prefs_routes(s), "AdvertiseTags",
		      prefs_tags(s->conf));
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}

static void add_warning(json_t *warnings, const char *code, const char *title, const char *text)
{
	json_object_set_new(warnings, code,
			    json_pack("{s:s,s:s,s:s,s:s}", "WarnableCode", code, "Severity",
				      "medium", "Title", title, "Text", text));
}

/* health.State: what is wrong, in our words and in the server's. */
static char *health_text(const struct ctl_session *s)
{
	char code[40];
	json_t *warnings = json_object();
	json_t *o;
	char *text;

	if (s->error[0])
		add_warning(warnings, "control", "Control server", s->error);
	for (uint32_t i = 0; s->published && i < s->published->n_health; i++) {
		snprintf(code, sizeof(code), "control-health.%u", i);
		add_warning(warnings, code, "Message of the control server",
			    s->published->health[i]);
	}
	o = json_pack("{s:o}", "Warnings", or_null(warnings));
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}

/* The answer is made by a job: a whole network map takes longer than a turn of the loop may. */
struct ctl_c2n_job {
	struct ctl_session *session;
	char *path, *prefs, *health;
	uint8_t *request;
	size_t len;
	struct ctl_c2n_facts facts;
	struct str reply;
	int result;
};

static void c2n_free(struct ctl_c2n_job *job)
{
	free(job->path);
	free(job->prefs);
	free(job->health);
	free(job->request);
	warren_obj_unref(job->facts.map);
	str_free(&job->reply);
	free(job);
}

static char *metrics_text(void *arg)
{
	return warren_stats_text(arg);
}

static void c2n_make(void *arg)
{
	struct ctl_c2n_job *job = arg;

	job->result = ctl_c2n(&job->facts, job->request, job->len, &job->reply);
}

static void c2n_made(struct warren_ctx *ctx, void *arg)
{
	struct ctl_c2n_job *job = arg;
	struct ctl_session *s = job->session;

	(void)ctx;
	s->answers.jobs--;
	if (!job->result && s->link.http)
		answer_noise(s, "POST", job->path, NULL, str_text(&job->reply), job->reply.len);
	c2n_free(job);
}

static struct ctl_c2n_job *c2n_new(struct ctl_session *s, const char *path,
				   const struct ctl_ping *ping)
{
	struct ctl_c2n_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->session = s;
	job->path = strdup(path);
	job->prefs = prefs_text(s);
	job->health = health_text(s);
	job->request = malloc(ping->n_payload + 1);
	if (!job->path || !job->prefs || !job->health || !job->request) {
		c2n_free(job);
		return NULL;
	}
	if (ping->n_payload)
		memcpy(job->request, ping->payload, ping->n_payload);
	job->len = ping->n_payload;
	job->facts = (struct ctl_c2n_facts){
		.prefs = job->prefs, .health = job->health, .metrics = metrics_text,
		.arg = s->ctx, .map = ctl_map_current(s->map), .cached = !s->poll.since,
	};
	return job;
}

static void answer_c2n(struct ctl_session *s, const char *path, const struct ctl_ping *ping)
{
	struct ctl_c2n_job *job;

	if (s->answers.jobs == CTL_C2N_JOBS) {
		busy(s);
		return;
	}
	job = c2n_new(s, path, ping);
	if (!job)
		return;
	if (warren_work(s->ctx, c2n_make, c2n_made, job)) {
		busy(s);
		c2n_free(job);
	} else {
		s->answers.jobs++;
	}
}

/*
 * ---- Pings to peers ----
 */

static bool knows(struct ctl_session *s, const struct warren_addr *ip)
{
	const struct warren_netmap *map = s->published;
	struct warren_prefix host = prefix_of_host(ip);

	for (uint32_t i = 0; map && i < map->n_peers; i++) {
		for (uint32_t k = 0; k < map->peers[i]->n_addresses; k++) {
			if (prefix_equal(&map->peers[i]->addresses[k], &host))
				return true;
		}
	}
	return false;
}

/* We do not ping peers for a server; silence is what it takes for a timeout. */
static void answer_types(struct ctl_session *s, const char *path, const struct ctl_ping *ping)
{
	char ip[ADDR_TEXT], type[16];
	const char *from = ping->types;

	if (!ping->ip.family || knows(s, &ping->ip))
		return;
	addr_format(&ping->ip, ip);
	while (*from) {
		size_t len = strcspn(from, ",");
		json_t *o;
		char *text;

		snprintf(type, sizeof(type), "%.*s", (int)(len < 15 ? len : 15), from);
		o = json_pack("{s:s,s:s,s:s}", "Type", type, "IP", ip, "Err", "no matching peer");
		text = o ? json_dumps(o, JSON_COMPACT) : NULL;
		json_decref(o);
		if (text)
			answer_noise(s, "POST", path, "application/json", text, strlen(text));
		free(text);
		from += len + (from[len] == ',');
	}
}

void ctl_answer_ping(struct ctl_session *s, const struct ctl_ping *ping)
{
	struct warren_url url;

	if (!ping->url || !strcmp(ping->url, s->answers.last_url))
		return;
	if (!str_copy(s->answers.last_url, sizeof(s->answers.last_url), ping->url) ||
	    warren_url_parse(ping->url, &url, NULL)) {
		warren_log_limit(s->ctx, &s->records, LOG_WARNING, "%s asks for an answer at what "
				 "is no URL", s->url);
		return;
	}
	/* The host of a URL that is answered over Noise means nothing: hosted says "unused". */
	if (!strcmp(ping->types, "c2n")) {
		answer_c2n(s, url.path, ping);
	} else if (ping->types[0]) {
		answer_types(s, url.path, ping);
	} else if (ping->url_is_noise) {
		answer_noise(s, "HEAD", url.path, NULL, NULL, 0);
	} else if (strcmp(url.host, s->host_name)) {
		warren_log_limit(s->ctx, &s->records, LOG_WARNING, "%s asks for a request to "
				 "another host: refused", s->url);
	} else {
		answer_plain(s, ping->url);
	}
}
