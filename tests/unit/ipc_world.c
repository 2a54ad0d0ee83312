#include "ipc_world.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "engine/conf.h"
#include "engine/engine.h"
#include "engine/ipc.h"
#include "engine/lane.h"

static int listening(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	f->address.sun_family = AF_UNIX;
	/* Abstract, so that other users may connect and nothing is left behind. */
	snprintf(f->address.sun_path + 1, sizeof(f->address.sun_path) - 1, "warren-test-%d",
		 getpid());
	assert_return_code(bind(fd, (struct sockaddr *)&f->address, sizeof(f->address)), errno);
	assert_return_code(listen(fd, 128), errno);
	return fd;
}

struct fixture *fixture_new(const struct wcore_plugin *const *plugins, const char *yaml)
{
	const struct wcore_engine_options options = { .extra = plugins, .state_dir = -1 };
	const struct wcore_conf_source source = {
		.name = "test.yaml", .bytes = yaml, .len = strlen(yaml), .fd = -1,
	};
	struct fixture *f = calloc(1, sizeof(*f));
	struct warren_err err = ERR_INIT;
	struct wcore_config *config;
	AUTO(auto_free) char *text = NULL;

	f->engine = wcore_engine_new(&options, &err);
	assert_non_null(f->engine);
	config = wcore_config_parse(&source, 1, &err);
	assert_non_null(config);
	if (wcore_engine_apply_wait(f->engine, config, &text) < 0)
		fail_msg("%s", text);
	f->ipc = wcore_ipc_start_take(f->engine, listening(f), &err);
	assert_non_null(f->ipc);
	err_free(&err);
	return f;
}

int fixture_end(void **state)
{
	struct fixture *f = *state;
	AUTO(auto_free) char *text = NULL;

	wcore_ipc_stop(f->ipc);
	assert_int_equal(wcore_engine_stop_wait(f->engine, &text), 0);
	wcore_engine_free(f->engine);
	free(f);
	return 0;
}

void turn(struct fixture *f)
{
	wcore_lane_turn(wcore_engine_main(f->engine), false);
}

uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void client_open(struct fixture *f, struct client *c)
{
	memset(c, 0, sizeof(*c));
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(connect(c->fd, (struct sockaddr *)&f->address, sizeof(f->address)),
			   errno);
	assert_return_code(fcntl(c->fd, F_SETFL, O_NONBLOCK), errno);
}

void client_close(struct client *c)
{
	close(c->fd);
	str_free(&c->in);
}

void client_send(struct client *c, const char *bytes)
{
	assert_int_equal(send(c->fd, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
}

void client_read(struct client *c)
{
	char buf[65536];
	ssize_t n;

	while ((n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		str_addn(&c->in, buf, (size_t)n);
	if (n == 0 || errno != EAGAIN)
		c->eof = true;
}

const char *client_wait(struct fixture *f, struct client *c, const char *text)
{
	uint64_t end = now_ms() + CLIENT_WAIT_MS;

	while (!c->eof && !(text && strstr(str_text(&c->in), text))) {
		if (now_ms() > end)
			fail_msg("no \"%s\" in: %s", text ? text : "EOF", str_text(&c->in));
		turn(f);
		client_read(c);
	}
	if (text && !strstr(str_text(&c->in), text))
		fail_msg("no \"%s\" before the end in: %s", text, str_text(&c->in));
	return str_text(&c->in);
}

const char *ask(struct fixture *f, const char *line)
{
	static char answer[65536];
	struct client c;

	client_open(f, &c);
	client_send(&c, line);
	client_send(&c, "\n");
	snprintf(answer, sizeof(answer), "%s", client_wait(f, &c, "}\n"));
	if (!strstr(answer, "\"end\"") && !strstr(answer, "\"local\"") &&
	    !strstr(answer, "\"open\""))
		snprintf(answer, sizeof(answer), "%s", client_wait(f, &c, "\"end\""));
	client_close(&c);
	for (int i = 0; i < 3; i++)
		turn(f);
	return answer;
}

void expect_in(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in: %s", part, text);
}
