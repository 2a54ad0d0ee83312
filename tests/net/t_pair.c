/*
 * Certificates that are signed by themselves: whom they are for, that they are kept, and that TLS
 * takes them.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "engine/ctx.h"
#include "engine/engine.h"

#include "../unit/parts.h"

static char dir[64];
static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static char *pem;			/* what came last */
static struct warren_cert_facts facts;

static int begin(void **state)
{
	int fd;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-pair.XXXXXX");
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_DIRECTORY | O_CLOEXEC);
	assert_int_not_equal(fd, -1);
	engine = parts_engine(fd);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	ctx->waitable = true;
	return 0;
}

static int finish(void **state)
{
	char name[128];
	static const char *const files[] = { "parts/self-signed.pem", "parts", "." };

	(void)state;
	parts_jobs(engine, ctx);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	free(pem);
	pem = NULL;
	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s/%s", dir, files[i]);
		if (unlink(name))
			rmdir(i == 2 ? dir : name);
	}
	return 0;
}

static int take(void *arg, const char *cert_pem, const uint8_t *key_pem, size_t key_len,
		struct warren_err *err)
{
	struct warren_tls_server *tls = warren_tls_server_new(cert_pem, key_pem, key_len, NULL,
							      err);

	(void)arg;
	assert_non_null(tls);
	warren_tls_server_free(tls);
	free(pem);
	pem = strdup(cert_pem);
	facts.size = sizeof(facts);
	assert_true(warren_cert_facts(cert_pem, &facts));
	return 0;
}

static X509 *certificate(void)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(x509);
	return x509;
}

static void is_for(const char *host, bool expected)
{
	X509 *x509 = certificate();

	assert_int_equal(X509_check_host(x509, host, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL),
			 expected);
	X509_free(x509);
}

static void is_for_addr(const char *addr, bool expected)
{
	X509 *x509 = certificate();

	assert_int_equal(X509_check_ip_asc(x509, addr, 0), expected);
	X509_free(x509);
}

static void made_for_names_and_kept(void **state)
{
	static const char *const names[] = { "relay.example", "192.0.2.1", "2001:db8::1" };
	static const char *const others[] = { "another.example" };
	struct warren_cert_facts first;
	bool made;

	(void)state;
	assert_int_equal(warren_pair_own_wait(ctx, names, 3, take, NULL, &made, NULL), 0);
	assert_true(made);
	is_for("relay.example", true);
	is_for("another.example", false);
	is_for_addr("192.0.2.1", true);
	is_for_addr("2001:db8::1", true);
	is_for_addr("192.0.2.2", false);
	first = facts;
	parts_jobs(engine, ctx);
	/* Whoever knows its fingerprint finds it again. */
	assert_int_equal(warren_pair_own_wait(ctx, others, 1, take, NULL, &made, NULL), 0);
	assert_false(made);
	assert_memory_equal(&first, &facts, sizeof(first));
	is_for("another.example", false);
	/* Before anybody does it may be made again. */
	assert_int_equal(warren_pair_make(ctx, others, 1, take, NULL, NULL), 0);
	assert_memory_not_equal(first.sha256, facts.sha256, 32);
	is_for("another.example", true);
	first = facts;
	parts_jobs(engine, ctx);
	assert_int_equal(warren_pair_own_wait(ctx, NULL, 0, take, NULL, &made, NULL), 0);
	assert_memory_equal(&first, &facts, sizeof(first));
}

static void made_for_nobody(void **state)
{
	bool made;

	(void)state;
	assert_int_equal(warren_pair_own_wait(ctx, NULL, 0, take, NULL, &made, NULL), 0);
	assert_true(made);
	is_for("warren", false);
	assert_true(facts.not_before < warren_realtime() / 1000000);
	assert_true(facts.not_after > warren_realtime() / 1000000 + 3600 * 86400L);
}

static void what_is_none(void **state)
{
	struct warren_cert_facts none = { .size = sizeof(none) };

	(void)state;
	assert_false(warren_cert_facts("no certificate", &none));
	assert_false(warren_cert_facts("-----BEGIN CERTIFICATE-----\nAAAA\n"
				       "-----END CERTIFICATE-----\n", &none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(made_for_names_and_kept, begin, finish),
		cmocka_unit_test_setup_teardown(made_for_nobody, begin, finish),
		cmocka_unit_test(what_is_none),
	};

	return cmocka_run_group_tests_name("pair", tests, NULL, NULL);
}
