/*
 * For tests of the control socket: an engine with a plugin, a real unix socket, and clients on the
 * same thread.
 */
#ifndef WARREN_TESTS_IPC_WORLD_H
#define WARREN_TESTS_IPC_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/str.h"
#include "engine/plugin_load.h"

enum { CLIENT_WAIT_MS = 60000 };	/* only ever used up by a failure */

struct fixture {
	struct wcore_engine *engine;
	struct wcore_ipc *ipc;
	struct sockaddr_un address;
};

struct client {
	int fd;
	struct str in;
	bool eof;
};

struct fixture *fixture_new(const struct wcore_plugin *const *plugins, const char *yaml);
int fixture_end(void **state);	/* a teardown */
void turn(struct fixture *f);
uint64_t now_ms(void);
void client_open(struct fixture *f, struct client *c);
void client_close(struct client *c);
void client_send(struct client *c, const char *bytes);
void client_read(struct client *c);
/* Turns the lane until @c has seen @text, or the end. */
const char *client_wait(struct fixture *f, struct client *c, const char *text);
/* One request on a connection of its own; all that was answered. */
const char *ask(struct fixture *f, const char *line);
void expect_in(const char *text, const char *part);

#endif
