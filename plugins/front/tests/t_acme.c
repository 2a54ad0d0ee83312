/*
 * Certificates that are ordered by themselves, at an authority that is made for tests (pebble) and
 * that looks at our listeners; what is kept over a restart; what is said when it fails.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "engine/ctx.h"
#include "engine/engine.h"

#include "../../../tests/net/pebble.h"
#include "../../../tests/unit/parts.h"
#include "../acme.h"
#include "../reach.h"

static struct pebble pebble;
static bool have;
static char state_path[] = "/tmp/t_front_acme.XXXXXX";
static uint16_t https_port, http_port;
static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct front front;

static void listen_here(uint16_t port, warren_accept_fn *fn, struct warren_listener **out)
{
	struct warren_listen_options wanted = { .size = sizeof(wanted), .key = "x" };

	assert_int_equal(addr_parse("127.0.0.1", &wanted.at.addr), 0);
	wanted.at.port = port;
	assert_int_equal(warren_listen_wait(ctx, &wanted, fn, &front, out, NULL), 0);
}

static void up(bool tls, const char *directory)
{
	const struct warren_acme_options options = {
		.size = sizeof(options), .directory = directory, .contact = "ops@example.com",
		.ca_pem = pebble.ca.pem,
	};

	engine = parts_engine(open(state_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	ctx->waitable = true;
	memset(&front, 0, sizeof(front));
	front.ctx = ctx;
	list_init(&front.conns);
	list_init(&front.routes);
	list_init(&front.raws);
	list_init(&front.names);
	list_init(&front.certs);
	listen_here(tls ? https_port : 0, front_accept_tls, &front.https);
	listen_here(http_port, front_accept_plain, &front.http);
	assert_int_equal(front_name(&front, ctx, "hq.example.com", NULL), 0);
	assert_int_equal(front_acme_new(&front, &options, &front.acme, NULL), 0);
}

static void down(void)
{
	front_close_all(&front);
	front_reach_free(front.reach);
	front_acme_free(front.acme);
	front_routes_free(&front);
	front_certs_free(&front);
	parts_jobs(engine, ctx);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
}

static void forget(void)
{
	char path[600];
	DIR *dir = opendir(state_path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		DIR *sub;
		struct dirent *file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", state_path, entry->d_name);
		sub = opendir(path);
		while (sub && (file = readdir(sub)))
			unlinkat(dirfd(sub), file->d_name, 0);
		if (sub)
			closedir(sub);
		if (rmdir(path))
			unlink(path);
	}
	if (dir)
		closedir(dir);
}

static const struct front_cert *cert_of(const char *name)
{
	const struct front_cert *cert = front_cert_find(&front, name);

	return cert && strcmp(cert->name, name) == 0 ? cert : NULL;
}

static char failure[1100];

static void note_failure(const struct front_acme_state *state, void *arg)
{
	(void)arg;
	if (state->why[0])
		snprintf(failure, sizeof(failure), "%s: %s", state->name, state->why);
}

/* Until there is a certificate or the order has failed; a minute at most. */
static void wait_for(const char *name)
{
	failure[0] = '\0';
	for (int i = 0; i < 60000 && !cert_of(name) && !failure[0]; i++) {
		parts_settle(engine);
		front_acme_each(front.acme, note_failure, NULL);
		usleep(1000);
	}
}

static void by_tls(void **state)
{
	uint8_t sha256[32];

	(void)state;
	if (!have)
		skip();
	up(true, pebble.directory);
	assert_null(front_cert_find(&front, "hq.example.com"));
	wait_for("hq.example.com");
	if (!cert_of("hq.example.com"))
		fail_msg("%s", failure);
	memcpy(sha256, cert_of("hq.example.com")->facts.sha256, 32);
	parts_settle(engine);
	down();

	up(true, pebble.directory);	/* what is stored answers at once */
	assert_non_null(cert_of("hq.example.com"));
	assert_memory_equal(cert_of("hq.example.com")->facts.sha256, sha256, 32);
	for (int i = 0; i < 50; i++)
		parts_settle(engine);
	assert_memory_equal(cert_of("hq.example.com")->facts.sha256, sha256, 32);
	assert_int_equal(front_acme_again(front.acme, "other.example.com"), 0);
	assert_int_equal(front_acme_again(front.acme, NULL), 0);
	assert_int_equal(front_acme_again(front.acme, "hq.example.com"), 1);
	for (int i = 0; i < 30000 &&
	     !memcmp(cert_of("hq.example.com")->facts.sha256, sha256, 32); i++) {
		parts_settle(engine);
		usleep(1000);
	}
	assert_memory_not_equal(cert_of("hq.example.com")->facts.sha256, sha256, 32);
	down();
	forget();
}

static void by_http(void **state)
{
	(void)state;
	if (!have)
		skip();
	up(false, pebble.directory);
	wait_for("hq.example.com");
	if (!cert_of("hq.example.com"))
		fail_msg("%s", failure);
	down();
	forget();
}

static void a_name_that_comes_later(void **state)
{
	(void)state;
	if (!have)
		skip();
	up(true, pebble.directory);
	wait_for("hq.example.com");
	assert_int_equal(front_name(&front, ctx, "www.example.com", NULL), 0);
	assert_int_equal(front_name(&front, ctx, "192.0.2.1", NULL), 0);	/* none for that */
	wait_for("www.example.com");
	assert_non_null(cert_of("hq.example.com"));
	assert_non_null(cert_of("www.example.com"));
	down();
	forget();
}

static void an_authority_that_is_away(void **state)
{
	char url[64];

	(void)state;
	if (!have)
		skip();
	snprintf(url, sizeof(url), "https://localhost:%u/dir", pebble_free_port());
	up(true, url);
	wait_for("hq.example.com");
	if (!strstr(failure, "hq.example.com: ") || !strstr(failure, "refused"))
		fail_msg("%s", failure);
	assert_int_equal(front_acme_again(front.acme, NULL), 1);
	down();
	forget();
}

static void damaged_state(void **state)
{
	const struct warren_acme_options options = { .size = sizeof(options),
						     .directory = "https://localhost/dir" };
	struct warren_err err = ERR_INIT;
	struct front_acme *acme = NULL;

	(void)state;
	up(true, "https://localhost/dir");
	assert_int_equal(warren_state_write_wait(ctx, "acme.json", 0, 1, "{\"names\": 3}", 12,
						 NULL), 0);
	assert_int_equal(front_acme_new(&front, &options, &acme, &err), -EINVAL);
	assert_non_null(strstr(err_first(&err), "acme.json"));
	err_free(&err);
	down();
	forget();
}

/* ---- what leads to us ---- */

static void note_unreached(const char *why, void *arg)
{
	str_add(arg, why);
	str_addc(arg, '\n');
}

/* What @from finds out about its names, at the listeners of `front`. */
static const char *unreached(struct front *from)
{
	static struct str text;

	str_free(&text);
	from->reach = front_reach_new(from);
	assert_non_null(from->reach);
	for (int i = 0; i < 60000 && !front_reach_rounds(from->reach); i++) {
		parts_settle(engine);
		usleep(1000);
	}
	front_reach_each(from->reach, note_unreached, &text);
	return str_text(&text);
}

static void what_leads_to_us(void **state)
{
	struct front another;
	const char *text;

	(void)state;
	up(true, "https://localhost/dir");
	assert_int_equal(front_cert_self_signed(&front, NULL), 0);
	another = front;
	list_init(&another.names);
	assert_int_equal(front_name(&front, ctx, "localhost", NULL), 0);
	text = unreached(&front);
	if (!strstr(text, "hq.example.com does not lead to this box") ||
	    strstr(text, "localhost"))
		fail_msg("%s", text);

	another.acme = NULL;
	another.own_is_new = false;
	assert_int_equal(front_name(&another, ctx, "localhost", NULL), 0);
	text = unreached(&another);
	if (!strstr(text, "localhost leads to another machine: what answers on its TCP port"))
		fail_msg("%s", text);
	front_reach_free(another.reach);
	down();
	forget();
}

static int begin_all(void **state)
{
	(void)state;
	https_port = pebble_free_port();
	http_port = pebble_free_port();
	if (!mkdtemp(state_path))
		return -1;
	pebble.ca.pem = NULL;
	have = pebble_start(&pebble, http_port, https_port);
	if (!have)
		puts("orders are skipped: pebble is not installed");
	return 0;
}

static int end_all(void **state)
{
	(void)state;
	if (have)
		pebble_stop(&pebble);
	forget();
	return rmdir(state_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_tls),
		cmocka_unit_test(by_http),
		cmocka_unit_test(a_name_that_comes_later),
		cmocka_unit_test(an_authority_that_is_away),
		cmocka_unit_test(damaged_state),
		cmocka_unit_test(what_leads_to_us),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, begin_all, end_all);
}
