/*
 * TLS streams: client against server over socket pairs, each against the program openssl, and every
 * reason not to trust the other side.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/derp.h>
#include <warren/net.h>

#include "base/err.h"
#include "base/str.h"
#include "engine/ctx.h"
#include "engine/engine.h"

#include "../unit/parts.h"
#include "certs.h"

enum { BIG = 1 << 20 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct cert authority, good, old, own;
static char dir[64], ca_file[96];

struct side {
	struct warren_stream *stream;
	struct str got;
	size_t want;
	bool ready, ended, echo;
	int result;			/* of the handshake or the end */
	volatile bool done;
	char why[256];
};

static void readable(struct warren_stream *stream, void *arg)
{
	struct side *side = arg;
	size_t len;
	const uint8_t *data = warren_stream_input(stream, &len);

	if (side->echo)
		assert_int_equal(warren_stream_write(stream, data, len), 0);
	str_addn(&side->got, (const char *)data, len);
	warren_stream_drain(stream, len);
	side->done = side->done || (side->want && side->got.len >= side->want);
}

static void ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct side *side = arg;

	(void)stream;
	assert_false(side->ended);
	side->ended = side->done = true;
	side->result = result;
	snprintf(side->why, sizeof(side->why), "%s", why ? why : "");
}

static const struct warren_stream_events events = {
	.size = sizeof(events), .readable = readable, .ended = ended,
};

static void shaken(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct side *side = arg;

	assert_ptr_equal(stream, side->stream);
	assert_false(side->ready);
	assert_true(!why == (result == 0));
	side->result = result;
	snprintf(side->why, sizeof(side->why), "%s", why ? why : "");
	side->done = true;
	if (result) {
		warren_stream_close(stream);
		side->stream = NULL;
		return;
	}
	side->ready = true;
	warren_stream_set(stream, &events, side);
}

static void wait_for(struct side *side)
{
	assert_true(parts_until(engine, &side->done));
	side->done = false;
}

static void write_file(char *path, size_t size, const char *name, const char *text)
{
	FILE *file;

	assert_true(snprintf(path, size, "%s/%s", dir, name) < (int)size);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int begin_all(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-tls-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	authority = cert_new(NULL, NULL, 30);
	good = cert_new(&authority, "DNS:control.example.com,IP:192.0.2.1,IP:2001:db8::1", 30);
	old = cert_new(&authority, "DNS:control.example.com", 1);
	own = cert_new(NULL, "DNS:control.example.com", 30);
	write_file(ca_file, sizeof(ca_file), "ca.pem", authority.pem);
	return 0;
}

static int end_all(void **state)
{
	(void)state;
	cert_free(&authority);
	cert_free(&good);
	cert_free(&old);
	cert_free(&own);
	unlink(ca_file);
	return rmdir(dir);
}

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

static struct warren_tls_server *server_new(const struct cert *cert, const char *const *alpn)
{
	struct warren_err err = ERR_INIT;
	struct warren_tls_server *server;

	server = warren_tls_server_new(cert->pem, (const uint8_t *)cert->key_pem,
				       strlen(cert->key_pem), alpn, &err);
	if (!server)
		fail_msg("%s", err_first(&err));
	return server;
}

static void pair(struct side *client, const struct warren_tls_client *options,
		 struct side *server, const struct cert *cert, const char *const *alpn)
{
	struct warren_tls_server *tls = server_new(cert, alpn);
	struct warren_err err = ERR_INIT;
	int fds[2];

	memset(client, 0, sizeof(*client));
	memset(server, 0, sizeof(*server));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	client->stream = warren_tls_connect_take(warren_stream_new_take(ctx, fds[0]), options,
						 shaken, client, &err);
	if (!client->stream)
		fail_msg("%s", err_first(&err));
	server->stream = warren_tls_accept_take(warren_stream_new_take(ctx, fds[1]), tls, shaken,
						server, &err);
	assert_non_null(server->stream);
	warren_tls_server_free(tls);	/* the connection keeps what it needs */
	assert_int_equal(warren_stream_write(client->stream, "x", 1), -ENOTCONN);
	wait_for(client);
}

static void pair_free(struct side *client, struct side *server)
{
	warren_stream_close(client->stream);
	warren_stream_close(server->stream);
	str_free(&client->got);
	str_free(&server->got);
}

static struct warren_tls_client verified(const char *name)
{
	return (struct warren_tls_client){
		.size = sizeof(struct warren_tls_client), .server_name = name, .ca_file = ca_file,
	};
}

static void both_ways(void **state)
{
	static const char *const offers[] = { "h2", "http/1.1", NULL };
	static const char *const speaks[] = { "http/1.1", NULL };
	struct warren_tls_client options = verified("control.example.com");
	struct warren_tls_info info = { .size = sizeof(info) };
	char *text = malloc(BIG);
	struct side client, server;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < BIG; i++)
		text[i] = (char)(i * 7 + i / 251);
	options.alpn = offers;
	pair(&client, &options, &server, &good, speaks);
	assert_true(client.ready);
	assert_true(warren_tls_info(client.stream, &info));
	assert_string_equal(info.version, "TLSv1.3");
	assert_string_equal(info.alpn, "http/1.1");
	assert_true(info.peer_cert_len > 100);
	wait_for(&server);
	assert_true(warren_tls_info(server.stream, &info));
	assert_string_equal(info.server_name, "control.example.com");
	assert_null(info.peer_cert);

	server.echo = true;
	client.want = BIG;
	assert_int_equal(warren_stream_write(client.stream, text, BIG), 0);
	wait_for(&client);
	assert_memory_equal(client.got.s, text, BIG);
	warren_stream_finish(client.stream);
	wait_for(&server);
	assert_true(server.ended && server.result == 0);
	warren_stream_close_later(server.stream, 1000000);
	server.stream = NULL;
	wait_for(&client);
	assert_true(client.ended && client.result == 0);
	pair_free(&client, &server);
	free(text);
}

static void an_end_that_is_cut(void **state)
{
	struct warren_tls_client options = verified("control.example.com");
	struct side client, server;

	(void)state;
	pair(&client, &options, &server, &good, NULL);
	wait_for(&server);
	warren_stream_close(server.stream);
	server.stream = NULL;
	wait_for(&client);
	assert_int_equal(client.result, -ECONNRESET);
	assert_string_equal(client.why, "the other side closed the connection without ending TLS: "
			    "something may have been cut off");
	pair_free(&client, &server);
}

static void refused(const struct warren_tls_client *options, const struct cert *cert,
		    const char *why)
{
	struct side client, server;

	pair(&client, options, &server, cert, NULL);
	assert_false(client.ready);
	assert_int_equal(client.result, -EKEYREJECTED);
	if (!strstr(client.why, why))
		fail_msg("%s", client.why);
	wait_for(&server);
	/* With TLS 1.3 a server may be done before it hears of it. */
	assert_true(server.ready || server.result < 0);
	pair_free(&client, &server);
}

static void accepted(const struct warren_tls_client *options, const struct cert *cert)
{
	struct side client, server;

	pair(&client, options, &server, cert, NULL);
	if (!client.ready)
		fail_msg("%s", client.why);
	wait_for(&server);
	pair_free(&client, &server);
}

static void who_is_trusted(void **state)
{
	struct warren_tls_client options = verified("control.example.com");
	struct warren_tls_client pinned = { .size = sizeof(pinned), .pin_sha256 = own.sha256 };
	struct warren_tls_client any = { .size = sizeof(any), .flags = WARREN_TLS_INSECURE,
					 .server_name = "other.example.com" };

	(void)state;
	refused(&options, &own, "TLS failed while connecting: self-signed certificate");
	refused(&options, &old, "certificate has expired");
	options.server_name = "other.example.com";
	refused(&options, &good, "hostname mismatch");
	options.server_name = "192.0.2.2";
	refused(&options, &good, "IP address mismatch");
	options.server_name = "192.0.2.1";
	accepted(&options, &good);
	options.server_name = "2001:db8::1";
	accepted(&options, &good);
	options.server_name = "control.example.com";
	options.ca_file = NULL;			/* the system does not know our authority */
	refused(&options, &good, "TLS failed while connecting: unable to get local issuer");
	options.ca_pem = authority.pem;
	accepted(&options, &good);
	options.ca_pem = own.pem;		/* somebody else's authority */
	refused(&options, &good, "certificate signature failure");
	accepted(&pinned, &own);
	refused(&pinned, &good, "its certificate is not the one that is pinned");
	accepted(&any, &own);
	accepted(&any, &old);
}

/* Another certificate behind the server's own. */
static struct cert followed_by(const struct cert *cert, const char *pem)
{
	struct cert both = *cert;
	size_t n = strlen(cert->pem), more = strlen(pem) + 1;

	both.pem = malloc(n + more);
	assert_non_null(both.pem);
	memcpy(both.pem, cert->pem, n);
	memcpy(both.pem + n, pem, more);
	return both;
}

/* The key of a relay, told by DERP's marker; neither authorities nor pins mind it. */
static void a_marker_in_the_chain(void **state)
{
	struct warren_tls_client options = verified("control.example.com");
	struct warren_tls_client pinned = { .size = sizeof(pinned), .pin_sha256 = own.sha256 };
	uint8_t key[32], told[32] = { 0 };
	struct side client, server;
	char *marker;
	struct cert cert;

	(void)state;
	for (uint8_t i = 0; i < 32; i++)
		key[i] = (uint8_t)(200 + i);
	marker = warren_derp_meta_new(key, warren_realtime() / 1000000, NULL);
	assert_non_null(marker);
	cert = followed_by(&good, marker);
	pair(&client, &options, &server, &cert, NULL);
	if (!client.ready)
		fail_msg("%s", client.why);
	assert_true(warren_derp_meta_key(client.stream, told));
	assert_memory_equal(told, key, 32);
	wait_for(&server);
	pair_free(&client, &server);
	free(cert.pem);

	cert = followed_by(&own, marker);
	accepted(&pinned, &cert);
	pinned.server_name = "control.example.com";
	accepted(&pinned, &cert);
	pinned.server_name = "other.example.com";
	refused(&pinned, &cert, "hostname mismatch");
	free(cert.pem);
	free(marker);

	pinned.server_name = "192.0.2.9";	/* an address is not what a pin is about */
	accepted(&pinned, &own);
	cert = followed_by(&own, good.pem);
	refused(&pinned, &cert, "certificate chain too long");
	free(cert.pem);
	pinned.pin_sha256 = old.sha256;
	refused(&pinned, &old, "certificate has expired");

	pair(&client, &options, &server, &good, NULL);
	assert_true(client.ready && !warren_derp_meta_key(client.stream, told));
	wait_for(&server);
	pair_free(&client, &server);
}

static void another_name_is_verified(void **state)
{
	struct warren_tls_client options = verified("front.example.com");
	struct warren_tls_info info = { .size = sizeof(info) };
	struct side client, server;

	(void)state;
	options.verify_name = "control.example.com";
	pair(&client, &options, &server, &good, NULL);
	assert_true(client.ready);
	wait_for(&server);
	assert_true(warren_tls_info(server.stream, &info));
	assert_string_equal(info.server_name, "front.example.com");
	pair_free(&client, &server);
	options.verify_name = "192.0.2.1";
	accepted(&options, &good);
	options.verify_name = "other.example.com";
	refused(&options, &good, "hostname mismatch");
}

static void cannot_begin(const struct warren_tls_client *options, const char *why)
{
	struct warren_err err = ERR_INIT;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_null(warren_tls_connect_take(warren_stream_new_take(ctx, fds[0]), options, shaken,
					    NULL, &err));
	if (!strstr(err_first(&err), why))
		fail_msg("%s", err_first(&err));
	assert_int_equal(read(fds[1], dir, 0), 0);
	close(fds[1]);
	err_free(&err);
}

static void wrong_settings(void **state)
{
	static const char *const empty[] = { "", NULL };
	struct warren_tls_client options = verified(NULL);
	struct warren_err err = ERR_INIT;

	(void)state;
	cannot_begin(&options, "TLS needs the server's name");
	options = verified("a.example");
	options.ca_file = "/nonexistent.pem";
	cannot_begin(&options, "/nonexistent.pem: the certificates cannot be read");
	options = verified("a.example");
	options.ca_pem = "no certificate";
	cannot_begin(&options, "the authority's certificates are not in PEM form");
	options = verified("a.example");
	options.alpn = empty;
	cannot_begin(&options, "or one is empty");

	assert_null(warren_tls_server_new("nothing", (const uint8_t *)good.key_pem,
					  strlen(good.key_pem), NULL, &err));
	assert_non_null(strstr(err_first(&err), "the TLS certificate is not in PEM form"));
	err_free(&err);
	assert_null(warren_tls_server_new(good.pem, (const uint8_t *)"x", 1, NULL, &err));
	assert_non_null(strstr(err_first(&err), "the TLS key is not in PEM form"));
	err_free(&err);
	assert_null(warren_tls_server_new(good.pem, (const uint8_t *)old.key_pem,
					  strlen(old.key_pem), NULL, &err));
	assert_non_null(strstr(err_first(&err), "the TLS key does not belong to the certificate"));
	err_free(&err);
}

static void no_common_protocol(void **state)
{
	static const char *const offers[] = { "h2", NULL }, *const speaks[] = { "http/1.1", NULL };
	struct warren_tls_client options = verified("control.example.com");
	struct side client, server;

	(void)state;
	options.alpn = offers;
	pair(&client, &options, &server, &good, speaks);
	assert_int_equal(client.result, -EPROTO);
	assert_non_null(strstr(client.why, "no application protocol"));
	pair_free(&client, &server);
}

static void peers_that_speak_no_tls(void **state)
{
	struct warren_tls_client options = verified("control.example.com");
	struct side client = { 0 };
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	client.stream = warren_tls_connect_take(warren_stream_new_take(ctx, fds[0]), &options,
						shaken, &client, NULL);
	assert_int_equal(write(fds[1], "HTTP/1.1 400 Bad Request\r\n\r\n", 28), 28);
	wait_for(&client);
	assert_int_equal(client.result, -EPROTO);
	close(fds[1]);

	memset(&client, 0, sizeof(client));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	client.stream = warren_tls_connect_take(warren_stream_new_take(ctx, fds[0]), &options,
						shaken, &client, NULL);
	shutdown(fds[1], SHUT_WR);
	wait_for(&client);
	assert_int_equal(client.result, -ECONNRESET);
	assert_string_equal(client.why, "the other side closed the connection in the middle of the "
			    "TLS handshake");
	close(fds[1]);
}

static pid_t openssl(const char *const argv[], int in, int out)
{
	extern char **environ;
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int result;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", 1, 0);
	result = posix_spawnp(&pid, "openssl", &actions, NULL,
			      (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (result)
		fail_msg("cannot run openssl: %s", strerror(result));
	return pid;
}

static struct sockaddr_un unix_address(const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	assert_true(snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/%s", dir, name) <
		    (int)sizeof(sun.sun_path));
	return sun;
}

/* `openssl s_server -rev` answers each line reversed. */
static void client_against_openssl(void **state)
{
	struct warren_tls_client options = verified("control.example.com");
	struct sockaddr_un sun = unix_address("server");
	struct side client = { .want = 6 };
	char cert[96], key[96];
	const char *const argv[] = {
		"openssl", "s_server", "-unix", sun.sun_path, "-cert", cert, "-key", key, "-rev",
		"-quiet", NULL,
	};
	int in[2], fd = socket(AF_UNIX, SOCK_STREAM, 0), tries = 0;
	pid_t pid;

	(void)state;
	write_file(cert, sizeof(cert), "cert.pem", good.pem);
	write_file(key, sizeof(key), "key.pem", good.key_pem);
	assert_int_equal(pipe(in), 0);
	pid = openssl(argv, in[0], 2);
	while (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1 && tries++ < 500)
		usleep(10000);
	client.stream = warren_tls_connect_take(warren_stream_new_take(ctx, fd), &options, shaken,
						&client, NULL);
	wait_for(&client);
	assert_true(client.ready);
	assert_int_equal(warren_stream_write(client.stream, "hello\n", 6), 0);
	wait_for(&client);
	assert_string_equal(str_text(&client.got), "olleh\n");
	warren_stream_close(client.stream);
	str_free(&client.got);
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(in[0]);
	close(in[1]);
	unlink(cert);
	unlink(key);
	unlink(sun.sun_path);
}

static void server_against(const char *version)
{
	struct sockaddr_un sun = unix_address("client");
	struct side server = { .echo = true, .want = 6 };
	const char *const argv[] = {
		"openssl", "s_client", "-unix", sun.sun_path, "-CAfile", ca_file,
		"-verify_return_error", "-verify_hostname", "control.example.com", "-servername",
		"control.example.com", "-quiet", "-no_ign_eof", version, NULL,
	};
	struct warren_tls_server *tls = server_new(&good, NULL);
	struct warren_tls_info info = { .size = sizeof(info) };
	int in[2], out[2], fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char text[16] = "";
	pid_t pid;

	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = openssl(argv, in[0], out[1]);
	server.stream = warren_tls_accept_take(warren_stream_new_take(ctx, accept(fd, NULL, NULL)),
					       tls, shaken, &server, NULL);
	wait_for(&server);
	assert_true(server.ready);
	assert_true(warren_tls_info(server.stream, &info));
	assert_string_equal(info.version, strcmp(version, "-tls1_2") == 0 ? "TLSv1.2" : "TLSv1.3");
	assert_string_equal(info.server_name, "control.example.com");
	assert_int_equal(write(in[1], "hello\n", 6), 6);
	wait_for(&server);
	assert_int_equal(read(out[0], text, sizeof(text) - 1), 6);
	assert_string_equal(text, "hello\n");
	close(in[1]);			/* s_client ends in order */
	wait_for(&server);
	assert_true(server.ended && server.result == 0);
	warren_stream_close(server.stream);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	warren_tls_server_free(tls);
	str_free(&server.got);
	close(in[0]);
	close(out[0]);
	close(out[1]);
	close(fd);
	unlink(sun.sun_path);
}

static void server_against_openssl(void **state)
{
	(void)state;
	server_against("-tls1_3");
	server_against("-tls1_2");
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(both_ways),
		ON_LOOP(an_end_that_is_cut),
		ON_LOOP(who_is_trusted),
		ON_LOOP(a_marker_in_the_chain),
		ON_LOOP(another_name_is_verified),
		ON_LOOP(wrong_settings),
		ON_LOOP(no_common_protocol),
		ON_LOOP(peers_that_speak_no_tls),
		ON_LOOP(client_against_openssl),
		ON_LOOP(server_against_openssl),
	};

	return cmocka_run_group_tests(tests, begin_all, end_all);
}
