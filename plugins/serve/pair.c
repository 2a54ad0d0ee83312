/*
 * Two streams that became one: what comes in at one side goes out at the other, no faster than that
 * takes it, and so does an end.
 */
#include "serve.h"

struct pair {
	struct list link;
	struct serve *s;
	struct srv_from from;
	struct side {
		struct pair *pair;
		struct warren_stream *stream;
		bool ended, finished;	/* input; what goes to the other side */
	} sides[2];
};

static void pair_free(struct pair *pair, bool in_order)
{
	list_del(&pair->link);
	srv_count(pair->s, -1);
	for (int i = 0; i < 2; i++) {
		if (in_order)
			warren_stream_close_later(pair->sides[i].stream, SRV_LINGER_USEC);
		else
			warren_stream_close(pair->sides[i].stream);
	}
	warren_release(pair);
}

static struct side *other(struct side *side)
{
	struct pair *pair = side->pair;

	return side == &pair->sides[0] ? &pair->sides[1] : &pair->sides[0];
}

/* From @side to the other one; false: the pair is gone. */
static bool move(struct side *side)
{
	struct warren_stream *to = other(side)->stream;
	size_t len = 0;
	const uint8_t *data = warren_stream_input(side->stream, &len);

	/* Above that mark it says when it has drained, and not before. */
	if (len > 0 && warren_stream_pending(to) <= SRV_HIGH) {
		if (warren_stream_write(to, data, len)) {
			pair_free(side->pair, false);
			return false;
		}
		warren_stream_drain(side->stream, len);
		len = 0;
	}
	if (len == 0 && side->ended && !side->finished) {
		side->finished = true;
		warren_stream_finish(to);
		if (other(side)->finished) {
			pair_free(side->pair, true);
			return false;
		}
	}
	return true;
}

static void readable(struct warren_stream *stream, void *arg)
{
	(void)stream;
	move(arg);
}

static void drained(struct warren_stream *stream, void *arg)
{
	(void)stream;
	move(other(arg));
}

static void ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct side *side = arg;

	(void)stream;
	(void)why;
	side->ended = true;
	if (result)
		pair_free(side->pair, false);
	else
		move(side);
}

static const struct warren_stream_events events = {
	.size = sizeof(events), .readable = readable, .drained = drained, .ended = ended,
};

void srv_pair_take(struct serve *s, const struct srv_from *from, struct warren_stream *a,
		   struct warren_stream *b)
{
	struct pair *pair = warren_zalloc(s->ctx, sizeof(*pair));

	if (!pair) {
		warren_stream_close(a);
		warren_stream_close(b);
		return;
	}
	pair->s = s;
	pair->from = *from;
	pair->sides[0] = (struct side){ .pair = pair, .stream = a };
	pair->sides[1] = (struct side){ .pair = pair, .stream = b };
	list_add_tail(&s->pairs, &pair->link);
	srv_count(s, 1);
	for (int i = 0; i < 2; i++)
		warren_stream_set(pair->sides[i].stream, &events, &pair->sides[i]);
}

uint32_t srv_pairs_of(const struct serve *s, int64_t node)
{
	const struct pair *pair;
	uint32_t n = 0;

	list_for_each(pair, &s->pairs, link)
		n += pair->from.node == node;
	return n;
}

void srv_pairs_end(struct serve *s, bool all)
{
	struct pair *pair, *next;

	list_for_each_safe(pair, next, &s->pairs, link) {
		if (all || (pair->from.node && !srv_peer(s, &pair->from)))
			pair_free(pair, false);
	}
}
