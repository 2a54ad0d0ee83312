/*
 * Orders at an authority that is made for tests (pebble): proven by dns-01, after another way was
 * refused, and what is said when nothing works. One tenth of the nonces is refused, as it may be.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <warren/acme.h>

#include "base/err.h"
#include "engine/ctx.h"
#include "engine/engine.h"

#include "../unit/parts.h"
#include "pebble.h"

static struct pebble pebble;
static bool have;
static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static uint8_t *account;
static size_t account_len;

/* ---- one order ---- */

static struct {
	int presents, withdraws, refuse;
	volatile bool over;
	char *chain, *why;
	uint64_t retry_after;
} seen;

static void txt_set(struct warren_ctx *c, int status, const struct warren_http_head *head,
		    const uint8_t *body, size_t len, const char *why, void *arg)
{
	(void)c;
	(void)head;
	(void)body;
	(void)len;
	(void)why;
	warren_acme_presented(arg, status == 200 ? 0 : -EIO);
}

static int present(struct warren_acme *acme, const struct warren_acme_challenge *challenge,
		   void *arg)
{
	char url[128], body[512];
	struct warren_fetch_options options = { .size = sizeof(options), .method = "POST",
						.url = url, .body = body };

	(void)arg;
	seen.presents++;
	if (challenge->way != WARREN_ACME_DNS_01)
		return seen.refuse;
	snprintf(url, sizeof(url), "%s/set-txt", pebble.dns_url);
	snprintf(body, sizeof(body), "{\"host\": \"_acme-challenge.%s.\", \"value\": \"%s\"}",
		 challenge->name, challenge->answer);
	options.body_len = strlen(body);
	return warren_fetch(ctx, &options, txt_set, acme) ? WARREN_PENDING : -ENOMEM;
}

static void withdraw(struct warren_acme *acme, const struct warren_acme_challenge *challenge,
		     void *arg)
{
	(void)acme;
	(void)challenge;
	(void)arg;
	seen.withdraws++;
}

static void done(struct warren_acme *acme, const struct warren_acme_cert *cert, const char *why,
		 uint64_t retry_after, void *arg)
{
	int64_t skew;

	(void)arg;
	if (cert) {
		assert_true(warren_acme_skew(acme, &skew) && skew > -30 && skew < 30);
		assert_memory_equal(cert->key_pem, "-----BEGIN PRIVATE KEY-----", 27);
		seen.chain = strdup(cert->chain_pem);
	} else {
		seen.why = strdup(why);
	}
	seen.retry_after = retry_after;
	seen.over = true;
	warren_acme_free(acme);
}

static const struct warren_acme_events events = {
	.size = sizeof(events), .present = present, .withdraw = withdraw, .done = done,
};
static const char *const names[] = { "hq.example.com", "www.example.com" };
static const enum warren_acme_way all[] = { WARREN_ACME_HTTP_01, WARREN_ACME_DNS_01 };

static struct warren_acme_options usual(void)
{
	return (struct warren_acme_options){
		.size = sizeof(struct warren_acme_options), .directory = pebble.directory,
		.contact = "ops@example.com", .ca_pem = pebble.ca.pem, .account_pem = account,
		.account_len = account_len, .names = names, .n_names = 1, .ways = all,
		.n_ways = 2,
	};
}

static void order(const struct warren_acme_options *options)
{
	struct warren_err err = ERR_INIT;

	if (!warren_acme_new(ctx, options, &events, NULL, &err))
		fail_msg("%s", err_first(&err));
	for (int i = 0; i < 12 && !seen.over; i++)
		parts_until(engine, &seen.over);
	assert_true(seen.over);
	assert_int_equal(seen.presents, seen.withdraws);
}

static void one_name(void **state)
{
	struct warren_acme_options options = usual();

	(void)state;
	if (!have)
		skip();
	options.ways = all + 1;
	options.n_ways = 1;
	order(&options);
	if (!seen.chain)
		fail_msg("%s", seen.why);
	assert_non_null(strstr(seen.chain, "-----BEGIN CERTIFICATE-----"));
}

static void two_names_and_two_ways(void **state)
{
	struct warren_acme_options options = usual();

	(void)state;
	if (!have)
		skip();
	options.n_names = 2;		/* nobody listens where http-01 looks */
	order(&options);
	if (!seen.chain)
		fail_msg("%s", seen.why);
}

static void a_way_that_cannot_be_shown(void **state)
{
	struct warren_acme_options options = usual();

	(void)state;
	if (!have)
		skip();
	seen.refuse = -EOPNOTSUPP;
	options.n_ways = 1;
	order(&options);
	assert_null(seen.chain);
	assert_non_null(strstr(seen.why, "it cannot be shown here"));
}

static void nothing_works(void **state)
{
	static const char *const fresh[] = { "nobody.example.com" };
	static const enum warren_acme_way ways[] = { WARREN_ACME_HTTP_01,
						     WARREN_ACME_TLS_ALPN_01 };
	struct warren_acme_options options = usual();

	(void)state;
	if (!have)
		skip();
	options.names = fresh;
	options.ways = ways;
	order(&options);
	assert_null(seen.chain);
	if (!strstr(seen.why, "http-01: the authority could not see that nobody.example.com is "
			      "ours: ") || !strstr(seen.why, "; tls-alpn-01: "))
		fail_msg("%s", seen.why);
}

static void an_authority_that_is_not_trusted(void **state)
{
	struct warren_acme_options options = usual();

	(void)state;
	if (!have)
		skip();
	options.ca_pem = NULL;
	order(&options);
	if (!strstr(seen.why, "TLS failed"))
		fail_msg("%s", seen.why);
}

static void no_authority(void **state)
{
	struct warren_acme_options options = usual();
	char url[64];

	(void)state;
	if (!have)
		skip();
	snprintf(url, sizeof(url), "%.*s/nothing", (int)(strlen(pebble.directory) - 4),
		 pebble.directory);
	options.directory = url;
	order(&options);
	if (!strstr(seen.why, "404"))
		fail_msg("%s", seen.why);
}

static void refused(const struct warren_acme_options *options, const char *why)
{
	struct warren_err err = ERR_INIT;

	assert_null(warren_acme_new(ctx, options, &events, NULL, &err));
	if (!strstr(err_first(&err), why))
		fail_msg("%s", err_first(&err));
	err_free(&err);
}

static void bad_options(void **state)
{
	struct warren_acme_options options = usual();

	(void)state;
	options.directory = "http://example.com/dir";
	refused(&options, "the authority's directory is an https URL");
	options.directory = "https://example.com/dir";
	options.n_names = 0;
	refused(&options, "1 to 16 names");
	options.n_names = 1;
	options.n_ways = 0;
	refused(&options, "no way to prove");
	options.n_ways = 1;
	options.account_len = 10;
	refused(&options, "no P-256 key");
	options.account_pem = (const uint8_t *)"";
	options.account_len = 0;
	refused(&options, "no P-256 key");
}

/* Wherever the order is, what was presented is taken back and nobody is called any more. */
static void given_up(void **state)
{
	struct warren_acme_options options = usual();
	struct warren_acme *acme;

	(void)state;
	if (!have)
		skip();
	for (int turns = 0; turns < 40; turns++) {
		acme = warren_acme_new(ctx, &options, &events, NULL, NULL);
		assert_non_null(acme);
		for (int i = 0; i < turns && !seen.over; i++) {
			parts_settle(engine);
			usleep(1000);
		}
		if (!seen.over)
			warren_acme_free(acme);
		assert_int_equal(seen.presents, seen.withdraws);
		free(seen.chain);
		free(seen.why);
		seen.chain = seen.why = NULL;
		seen.over = false;
	}
}

/* ---- */

static int begin(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	ctx->waitable = true;
	return 0;
}

static int finish(void **state)
{
	(void)state;
	parts_jobs(engine, ctx);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	free(seen.chain);
	free(seen.why);
	return 0;
}

static int begin_all(void **state)
{
	(void)state;
	account = warren_acme_account_new(&account_len);
	pebble.directory[0] = '\0';
	have = pebble_start(&pebble, pebble_free_port(), pebble_free_port());
	if (!have)
		puts("orders are skipped: pebble is not installed");
	return account ? 0 : -1;
}

static int end_all(void **state)
{
	(void)state;
	free(account);
	if (have)
		pebble_stop(&pebble);
	return 0;
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(a_way_that_cannot_be_shown),
		ON_LOOP(nothing_works),
		ON_LOOP(one_name),
		ON_LOOP(two_names_and_two_ways),
		ON_LOOP(an_authority_that_is_not_trusted),
		ON_LOOP(no_authority),
		ON_LOOP(bad_options),
		ON_LOOP(given_up),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, begin_all, end_all);
}
