/*
 * The conversation with the monitor: first message, files, reload, heartbeats, end.
 *
 * All messages are received on lane main, by one function. It is called by the loop, and by
 * warren_priv_wait() while a plugin starts; what would change the course of things in the middle
 * of a start (new files, stop, events) then waits for the loop.
 */
#include "engine/priv_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/log.h"
#include "engine/priv_impl.h"

enum { HELLO_WAIT_MS = 10000 };

/*
 * ---- Sending ----
 */

static struct priv_message *copy_message(const struct wpriv_head *head,
					 const struct wpriv_part *parts, size_t n_parts)
{
	struct priv_message *m;
	size_t len = 0;
	uint8_t *at;

	for (size_t i = 0; i < n_parts; i++)
		len += parts[i].len;
	m = calloc(1, sizeof(*m) + len);
	if (!m)
		return NULL;
	list_init(&m->node);
	at = (uint8_t *)(m + 1);
	m->msg.head = *head;
	m->msg.head.len = (uint32_t)len;
	m->msg.data = at;
	for (size_t i = 0; i < n_parts; i++) {
		if (parts[i].len > 0)
			memcpy(at, parts[i].data, parts[i].len);
		at += parts[i].len;
	}
	return m;
}

static void free_message(struct priv_message *m)
{
	list_del(&m->node);
	wpriv_msg_close(&m->msg);
	free(m);
}

bool wcore_priv_flush(struct wcore_priv *priv)
{
	while (!list_empty(&priv->out)) {
		struct priv_message *m = list_first(&priv->out, struct priv_message, node);
		const struct wpriv_part part = { m->msg.data, m->msg.head.len };
		int result = wpriv_send(priv->fd, &m->msg.head, &part, 1, m->msg.fds,
					m->msg.n_fds);

		if (result == -EAGAIN)
			return false;
		free_message(m);
		priv->n_out--;
	}
	return true;
}

/* With the lock held. */
static int send_or_keep(struct wcore_priv *priv, const struct wpriv_head *head,
			const struct wpriv_part *parts, size_t n_parts, int fd)
{
	struct priv_message *m;
	int result;

	if (priv->lost)
		return -EPIPE;
	if (wcore_priv_flush(priv)) {
		result = wpriv_send(priv->fd, head, parts, n_parts, &fd, fd >= 0 ? 1 : 0);
		if (result != -EAGAIN)
			return result;
	}
	if (priv->n_out == PRIV_OUT_MAX)
		return -EAGAIN;
	m = copy_message(head, parts, n_parts);
	if (!m)
		return -ENOMEM;
	if (fd >= 0) {
		m->msg.fds[0] = dup(fd);
		m->msg.n_fds = m->msg.fds[0] == -1 ? 0 : 1;
	}
	list_add_tail(&priv->out, &m->node);
	priv->n_out++;
	return 0;
}

int wcore_priv_send(struct wcore_priv *priv, const struct wpriv_head *head,
		    const struct wpriv_part *parts, size_t n_parts, int fd)
{
	bool full;
	int result;

	pthread_mutex_lock(&priv->lock);
	result = send_or_keep(priv, head, parts, n_parts, fd);
	full = !list_empty(&priv->out);
	pthread_mutex_unlock(&priv->lock);
	/* From another lane, the next answer or heartbeat sends the rest. */
	if (full && priv->io && wcore_lane_here(wcore_engine_main(priv->engine)))
		warren_io_want(priv->io, WARREN_IN | WARREN_OUT);
	return result;
}

static void send_plain(struct wcore_priv *priv, uint32_t type, const struct wpriv_part *parts,
		       size_t n_parts, int result)
{
	const struct wpriv_head head = { .type = type, .result = result };

	/* A monitor that is gone is noticed by reading. */
	(void)wcore_priv_send(priv, &head, parts, n_parts, -1);
}

/*
 * ---- Files ----
 */

void wcore_priv_files_free(struct wcore_priv_files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		free((char *)files->sources[i].name);
		auto_close(&files->sources[i].fd);
	}
	free(files->sources);
	*files = (struct wcore_priv_files){ .generation = 0 };
}

/* Takes @n descriptors from @first on out of @msg. 0, -EBADMSG, -ENOMEM. */
static int take_files(struct wcore_priv_files *files, struct wpriv_msg *msg, size_t at, uint32_t n,
		      uint32_t first)
{
	if (n > WPRIV_FILES_MAX || msg->n_fds != n + first ||
	    msg->head.len != at + n * sizeof(struct wpriv_file))
		return -EBADMSG;
	files->sources = calloc(n ? n : 1, sizeof(files->sources[0]));
	if (!files->sources)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct wcore_conf_source *source = &files->sources[i];
		struct wpriv_file file;

		memcpy(&file, msg->data + at + i * sizeof(file), sizeof(file));
		file.name[sizeof(file.name) - 1] = '\0';
		source->fd = TAKE_FD(msg->fds[first + i]);
		source->flags = file.kind == WPRIV_FILE_OVERLAY ? WCORE_SOURCE_OVERLAY : 0;
		source->name = strdup(file.name);
		files->count++;
		if (!source->name)
			return -ENOMEM;
	}
	return 0;
}

/*
 * ---- Start ----
 */

static int read_hello(struct wcore_priv *priv, struct wpriv_msg *msg)
{
	struct wpriv_hello *hello = &priv->hello;

	if (msg->head.type != WPRIV_HELLO || msg->head.len < sizeof(*hello) || msg->n_fds < 1)
		return -EBADMSG;
	memcpy(hello, msg->data, sizeof(*hello));
	if (hello->version != WPRIV_VERSION)
		return -EPROTONOSUPPORT;
	hello->state[sizeof(hello->state) - 1] = '\0';
	hello->plugin_dir[sizeof(hello->plugin_dir) - 1] = '\0';
	hello->config[sizeof(hello->config) - 1] = '\0';
	hello->socket[sizeof(hello->socket) - 1] = '\0';
	hello->log_format[sizeof(hello->log_format) - 1] = '\0';
	priv->settings = (struct wcore_priv_settings){
		.privsep = !(hello->flags & WPRIV_HELLO_NO_PRIVSEP),
		.log_level = hello->log_level == UINT32_MAX ? -1 : (int)hello->log_level,
		.log_format = hello->log_format[0] ? hello->log_format : NULL,
		.state = hello->state, .plugin_dir = hello->plugin_dir,
		.config = hello->config, .socket = hello->socket,
	};
	priv->generation = priv->use = priv->files.generation = hello->generation;
	priv->control = TAKE_FD(msg->fds[0]);
	return take_files(&priv->files, msg, sizeof(*hello), hello->files, 1);
}

static int wait_hello(struct wcore_priv *priv)
{
	struct pollfd poll_in = { .fd = priv->fd, .events = POLLIN };
	struct wpriv_msg msg;
	int result;

	do {
		result = poll(&poll_in, 1, HELLO_WAIT_MS);
	} while (result == -1 && errno == EINTR);
	if (result <= 0)
		return result == 0 ? -ETIMEDOUT : -errno;
	result = wpriv_recv(priv->fd, priv->buf, &msg);
	if (result <= 0)
		return result == 0 ? -EPIPE : result;
	result = read_hello(priv, &msg);
	wpriv_msg_close(&msg);
	return result;
}

struct wcore_priv *wcore_priv_attach(struct wcore_engine *engine, int fd,
				     const struct wcore_priv_handlers *handlers,
				     struct warren_err *err)
{
	struct wcore_priv *priv = calloc(1, sizeof(*priv));
	struct list *lists[] = { &priv->asks, &priv->later, &priv->pending, &priv->watches,
				 &priv->kept, &priv->out };
	int result;

	if (!priv) {
		close(fd);
		err_add(err, NULL, "out of memory");
		return NULL;
	}
	priv->engine = engine;
	priv->fd = fd;
	priv->handlers = handlers;
	priv->control = -1;
	pthread_mutex_init(&priv->lock, NULL);
	pthread_cond_init(&priv->answered, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		list_init(lists[i]);
	priv->buf = malloc(WPRIV_MSG_MAX);
	result = priv->buf ? wait_hello(priv) : -ENOMEM;
	if (result == 0)
		return priv;
	err_add(err, NULL,
		"no first message from the monitor on descriptor %d: %s: this program is "
		"started by warrend",
		fd, strerror(-result));
	wcore_priv_free(priv);
	return NULL;
}

static void free_ask(struct priv_ask *ask)
{
	list_del(&ask->node);
	auto_close(&ask->client);
	free(ask->overlay);
	free(ask->did);
	free(ask);
}

void wcore_priv_free(struct wcore_priv *priv)
{
	struct priv_message *m, *next;
	struct priv_ask *ask, *after;

	if (!priv)
		return;
	if (wcore_engine_priv(priv->engine) == priv)
		wcore_engine_priv_set(priv->engine, NULL, NULL);
	wcore_priv_free_calls(priv);
	list_for_each_safe(m, next, &priv->later, node)
		free_message(m);
	list_for_each_safe(m, next, &priv->out, node)
		free_message(m);
	list_for_each_safe(ask, after, &priv->asks, node)
		free_ask(ask);
	wcore_priv_files_free(&priv->files);
	warren_release(priv->heartbeat);
	/* The io owns the descriptor. */
	if (priv->io)
		warren_release(priv->io);
	else
		auto_close(&priv->fd);
	auto_close(&priv->control);
	pthread_cond_destroy(&priv->answered);
	pthread_mutex_destroy(&priv->lock);
	free(priv->buf);
	free(priv);
}

const struct wcore_priv_settings *wcore_priv_settings(const struct wcore_priv *priv)
{
	return &priv->settings;
}

int wcore_priv_take_control(struct wcore_priv *priv)
{
	return TAKE_FD(priv->control);
}

void wcore_priv_take_files(struct wcore_priv *priv, struct wcore_priv_files *files)
{
	*files = priv->files;
	priv->files = (struct wcore_priv_files){ .generation = 0 };
}

/*
 * ---- Receiving ----
 */

static void send_overlay(struct wcore_priv *priv, struct priv_ask *ask)
{
	const struct wpriv_head head = { .type = WPRIV_OVERLAY, .seq = ask->seq };
	const struct wpriv_overlay overlay = { .flags = ask->flags };
	const struct wpriv_part parts[] = {
		{ &overlay, sizeof(overlay) }, { ask->overlay, strlen(ask->overlay) },
	};

	(void)wcore_priv_send(priv, &head, parts, ARRAY_SIZE(parts), ask->client);
}

/*
 * Sends the first question that waits, and with it, since they want the same, all others that want
 * no more than the files read. An overlay goes alone: its answer bears its number.
 */
static void send_asks(struct wcore_priv *priv)
{
	struct priv_ask *ask = list_first(&priv->asks, struct priv_ask, node), *other;

	if (!ask || ask->sent || priv->next != 0)
		return;
	if (ask->overlay) {
		ask->sent = true;
		send_overlay(priv, ask);
		return;
	}
	list_for_each(other, &priv->asks, node)
		other->sent = !other->overlay;
	send_plain(priv, WPRIV_RELOAD_ASK, NULL, 0, 0);
}

static void end_asks(struct wcore_priv *priv, uint32_t seq, int result, const char *text)
{
	struct priv_ask *ask, *next;
	struct list ended;

	list_init(&ended);
	list_for_each_safe(ask, next, &priv->asks, node) {
		if (!ask->sent || ask->seq != seq)
			continue;
		list_del(&ask->node);
		list_add_tail(&ended, &ask->node);
	}
	while ((ask = list_first(&ended, struct priv_ask, node))) {
		ask->done(result, result == 0 && ask->did ? ask->did : text, ask->arg);
		free_ask(ask);
	}
	/* Who asked while the files were read already wants them read once more. */
	send_asks(priv);
}

static void handle_files(struct wcore_priv *priv, struct wpriv_msg *msg)
{
	struct wcore_priv_files files = { .count = 0 };
	struct wpriv_reload_files reload;
	int result;

	if (msg->head.len < sizeof(reload))
		return;
	memcpy(&reload, msg->data, sizeof(reload));
	if (msg->head.result < 0) {
		AUTO(str_free) struct str text = STR_INIT;

		str_addn(&text, (const char *)msg->data + sizeof(reload),
			 msg->head.len - sizeof(reload));
		end_asks(priv, msg->head.seq, msg->head.result, str_text(&text));
		return;
	}
	files.generation = reload.generation;
	priv->next = reload.generation;
	priv->next_seq = msg->head.seq;
	result = take_files(&files, msg, sizeof(reload), reload.files, 0);
	if (result) {
		wcore_priv_files_free(&files);
		wcore_priv_reloaded(priv, result, "the engine has no memory for the files");
		return;
	}
	priv->handlers->reload(priv->engine, &files);
	wcore_priv_files_free(&files);
}

static void handle_kept(struct wcore_priv *priv, const struct wpriv_msg *msg)
{
	AUTO(str_free) struct str text = STR_INIT;

	str_addn(&text, (const char *)msg->data, msg->head.len);
	end_asks(priv, msg->head.seq, msg->head.result, str_text(&text));
}

static void handle(struct wcore_priv *priv, struct wpriv_msg *msg)
{
	switch (msg->head.type) {
	case WPRIV_ANSWER:
		wcore_priv_answer(priv, msg);
		return;
	case WPRIV_EVENT:
		wcore_priv_event(priv, msg);
		return;
	case WPRIV_RELOAD_FILES:
		handle_files(priv, msg);
		return;
	case WPRIV_OVERLAY_KEPT:
		handle_kept(priv, msg);
		return;
	case WPRIV_STOP:
		priv->handlers->stop(priv->engine);
		return;
	default:
		wcore_log(LOG_ERR, "the monitor sent a message of unknown type %u", msg->head.type);
	}
}

static bool lose(struct wcore_priv *priv)
{
	pthread_mutex_lock(&priv->lock);
	priv->lost = true;
	pthread_mutex_unlock(&priv->lock);
	wcore_priv_fail_all(priv);
	return false;
}

bool wcore_priv_receive(struct wcore_priv *priv, bool waiting)
{
	for (;;) {
		struct priv_message *m;
		struct wpriv_msg msg;
		int got = wpriv_recv(priv->fd, priv->buf, &msg);

		if (got == -EAGAIN)
			return true;
		if (got != 1)
			return lose(priv);
		if (!waiting || msg.head.type == WPRIV_ANSWER) {
			handle(priv, &msg);
			wpriv_msg_close(&msg);
			if (waiting)
				return true;
			continue;
		}
		m = copy_message(&msg.head, &(struct wpriv_part){ msg.data, msg.head.len }, 1);
		if (!m) {
			wpriv_msg_close(&msg);
			return lose(priv);
		}
		memcpy(m->msg.fds, msg.fds, sizeof(msg.fds));
		m->msg.n_fds = msg.n_fds;
		list_add_tail(&priv->later, &m->node);
	}
}

/* What came while a call waited. */
static void handle_later(struct wcore_priv *priv)
{
	struct priv_message *m;

	while ((m = list_first(&priv->later, struct priv_message, node))) {
		list_del(&m->node);
		handle(priv, &m->msg);
		free_message(m);
	}
}

static void on_later(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	handle_later(arg);
}

void wcore_priv_resume(struct wcore_priv *priv)
{
	/* If there is no memory for the errand, the next message or heartbeat does it. */
	if (!list_empty(&priv->later))
		(void)warren_defer(wcore_engine_ctx(priv->engine), on_later, priv);
}

static void on_io(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct wcore_priv *priv = arg;
	bool done;

	(void)ctx;
	(void)fd;
	(void)what;
	handle_later(priv);
	if (!wcore_priv_receive(priv, false)) {
		warren_io_want(priv->io, 0);
		priv->handlers->lost(priv->engine);
		return;
	}
	pthread_mutex_lock(&priv->lock);
	done = wcore_priv_flush(priv);
	pthread_mutex_unlock(&priv->lock);
	warren_io_want(priv->io, done ? WARREN_IN : WARREN_IN | WARREN_OUT);
}

static void on_heartbeat(struct warren_ctx *ctx, void *arg)
{
	struct wcore_priv *priv = arg;

	(void)ctx;
	handle_later(priv);
	send_plain(priv, WPRIV_HEARTBEAT_MSG, NULL, 0, 0);
	warren_timer_set(priv->heartbeat, WPRIV_HEARTBEAT);
}

int wcore_priv_start(struct wcore_priv *priv)
{
	struct warren_ctx *ctx = wcore_engine_ctx(priv->engine);

	wcore_engine_priv_set(priv->engine, priv, wcore_priv_owner_end);
	priv->heartbeat = warren_timer_new(ctx, on_heartbeat, priv);
	if (!priv->heartbeat)
		return -ENOMEM;
	priv->io = warren_io_new_take(ctx, priv->fd, on_io, priv);
	if (!priv->io)
		return -ENOMEM;
	warren_io_want(priv->io, WARREN_IN);
	warren_timer_set(priv->heartbeat, WPRIV_HEARTBEAT);
	return 0;
}

/*
 * ---- Ready, reload ----
 */

void wcore_priv_ready(struct wcore_priv *priv, const char *status)
{
	const struct wpriv_ready ready = { .generation = priv->generation };
	const struct wpriv_part parts[] = {
		{ &ready, sizeof(ready) }, { status, strnlen(status, WPRIV_TEXT_MAX) },
	};

	send_plain(priv, WPRIV_READY, parts, ARRAY_SIZE(parts), 0);
}

/*
 * A question goes at once, unless files that were read before are being tried, or one that has been
 * sent may not have been read yet; one about files only joins another of its kind.
 */
static void add_ask(struct wcore_priv *priv, struct priv_ask *ask)
{
	const struct priv_ask *first = list_first(&priv->asks, struct priv_ask, node);

	list_init(&ask->node);
	list_add_tail(&priv->asks, &ask->node);
	if (first && first->sent && !first->overlay && !ask->overlay && priv->next == 0)
		ask->sent = true;
	else
		send_asks(priv);
}

int wcore_priv_reload(struct wcore_priv *priv, wcore_priv_reload_fn *done, void *arg)
{
	struct priv_ask *ask;

	if (priv->lost)
		return -EPIPE;
	ask = calloc(1, sizeof(*ask));
	if (!ask)
		return -ENOMEM;
	*ask = (struct priv_ask){ .done = done, .arg = arg, .client = -1 };
	add_ask(priv, ask);
	return 0;
}

int wcore_priv_overlay(struct wcore_priv *priv, int client, const char *text, uint32_t flags,
		       wcore_priv_reload_fn *done, void *arg)
{
	struct priv_ask *ask;

	if (priv->lost)
		return -EPIPE;
	if (strlen(text) > WPRIV_TEXT_MAX)
		return -E2BIG;
	ask = calloc(1, sizeof(*ask));
	if (!ask)
		return -ENOMEM;
	*ask = (struct priv_ask){
		.overlay = strdup(text), .client = fcntl(client, F_DUPFD_CLOEXEC, 0),
		.flags = flags, .seq = ++priv->ask_seq, .done = done, .arg = arg,
	};
	list_init(&ask->node);
	if (!ask->overlay || ask->client == -1) {
		free_ask(ask);
		return -ENOMEM;
	}
	add_ask(priv, ask);
	return 0;
}

static void forgotten(int result, const char *text, void *arg)
{
	(void)result;
	(void)text;
	(void)arg;
}

void wcore_priv_reload_forget(struct wcore_priv *priv, void *arg)
{
	struct priv_ask *ask;

	list_for_each(ask, &priv->asks, node) {
		if (ask->arg == arg)
			ask->done = forgotten;
	}
}

void wcore_priv_use(struct wcore_priv *priv, uint64_t generation)
{
	if (generation == 0)
		return;
	pthread_mutex_lock(&priv->lock);
	priv->use = generation;
	pthread_mutex_unlock(&priv->lock);
}

static void remember_did(struct wcore_priv *priv, uint32_t seq, const char *text)
{
	struct priv_ask *ask;

	list_for_each(ask, &priv->asks, node) {
		if (ask->seq == seq && text)
			ask->did = strdup(text);
	}
}

void wcore_priv_reloaded(struct wcore_priv *priv, int result, const char *text)
{
	const struct wpriv_reload_done done = { .generation = priv->next };
	const char *words = text ? text : "";
	const struct wpriv_part parts[] = {
		{ &done, sizeof(done) }, { words, strnlen(words, WPRIV_TEXT_MAX) },
	};

	if (result == 0)
		priv->generation = priv->next;
	priv->next = 0;
	wcore_priv_use(priv, priv->generation);
	send_plain(priv, WPRIV_RELOAD_DONE, parts, ARRAY_SIZE(parts), result);
	/* An overlay in force is not yet on disk: OVERLAY_KEPT ends its question. */
	if (result == 0 && priv->next_seq != 0)
		remember_did(priv, priv->next_seq, text);
	else
		end_asks(priv, priv->next_seq, result, text);
}
