/*
 * Who is here. A key may be connected several times (a reconnect that overtook the end of the
 * connection before it, a cloned machine): the one that spoke last gets the packets, as with the
 * stock relay. path-protocols.md 1.7, 1.8.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "relay.h"

struct link_id {
	const struct relay_peer *peer;
	const struct relay_client *client;
};

struct link {
	struct list of_peer, of_client;
	struct link_id id;
	struct relay_peer *peer;
	struct relay_client *client;
};

void relay_init(struct relay *relay)
{
	list_init(&relay->clients);
	list_init(&relay->own.conns);
	list_init(&relay->logins);
	list_init(&relay->mates);
	list_init(&relay->watchers);
	hash_init(&relay->peers);
	hash_init(&relay->links);
}

struct relay_peer *relay_find(const struct relay *relay, const uint8_t key[32])
{
	return hash_get(&relay->peers, key, 32);
}

struct relay_client *relay_active(const struct relay_peer *peer)
{
	return list_entry(peer->clients.prev, struct relay_client, of_peer);
}

static void show_counts(const struct relay *relay)
{
	warren_stat_set(relay->stats.peers, relay->n_peers);
	warren_stat_set(relay->stats.duplicates, relay->n_duplicates);
}

static struct relay_peer *peer_new(struct relay *relay, const uint8_t key[32])
{
	struct relay_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	memcpy(peer->key, key, 32);
	list_init(&peer->clients);
	list_init(&peer->routes);
	list_init(&peer->links);
	if (hash_put(&relay->peers, peer->key, 32, peer, NULL)) {
		free(peer);
		return NULL;
	}
	return peer;
}

struct relay_peer *relay_peer_get(struct relay *relay, const uint8_t key[32])
{
	struct relay_peer *peer = relay_find(relay, key);

	return peer ? peer : peer_new(relay, key);
}

int relay_join(struct relay_client *client)
{
	struct relay *relay = client->relay;
	struct relay_peer *peer = relay_peer_get(relay, client->key);

	if (!peer)
		return -ENOMEM;
	client->peer = peer;
	list_add_tail(&peer->clients, &client->of_peer);
	peer->n_clients++;
	relay->n_peers += peer->n_clients == 1;
	relay->n_duplicates += peer->n_clients == 2;
	show_counts(relay);
	relay_tell_present(client);
	return 0;
}

void relay_spoke(struct relay_client *client)
{
	struct relay_peer *peer = client->peer;

	if (peer->n_clients < 2 || relay_active(peer) == client)
		return;
	list_del(&client->of_peer);
	list_add_tail(&peer->clients, &client->of_peer);
}

static void link_free(struct relay *relay, struct link *link)
{
	hash_del(&relay->links, &link->id, sizeof(link->id));
	list_del(&link->of_peer);
	list_del(&link->of_client);
	link->peer->n_links--;
	free(link);
}

void relay_link(struct relay *relay, struct relay_peer *peer, struct relay_client *client)
{
	const struct link_id id = { peer, client };
	struct link *link;

	if (hash_get(&relay->links, &id, sizeof(id)) || peer->n_links >= RELAY_LINKS_PEER ||
	    relay->links.count >= RELAY_LINKS_MAX)
		return;
	link = calloc(1, sizeof(*link));
	if (!link)
		return;
	link->id = id;
	link->peer = peer;
	link->client = client;
	if (hash_put(&relay->links, &link->id, sizeof(link->id), link, NULL)) {
		free(link);
		return;
	}
	list_add_tail(&peer->links, &link->of_peer);
	list_add_tail(&client->links, &link->of_client);
	peer->n_links++;
}

void relay_peer_check(struct relay *relay, struct relay_peer *peer)
{
	struct link *link, *next;

	if (peer->n_clients > 0 || !list_empty(&peer->routes))
		return;
	list_for_each_safe(link, next, &peer->links, of_peer) {
		relay_client_gone(link->client, peer->key, WARREN_DERP_GONE_DISCONNECTED);
		link_free(relay, link);
	}
	hash_del(&relay->peers, peer->key, 32);
	free(peer);
}

void relay_leave(struct relay_client *client)
{
	struct relay *relay = client->relay;
	struct relay_peer *peer = client->peer;
	struct link *link, *next;

	list_for_each_safe(link, next, &client->links, of_client)
		link_free(relay, link);
	if (!list_empty(&client->watch))
		warren_stat_set(relay->stats.watchers, --relay->n_watchers);
	list_del(&client->watch);
	if (!peer)
		return;
	client->peer = NULL;
	list_del(&client->of_peer);
	peer->n_clients--;
	relay->n_duplicates -= peer->n_clients == 1;
	if (peer->n_clients == 0) {
		relay->n_peers--;
		relay_tell_gone(relay, peer->key);
		relay_peer_check(relay, peer);
	}
	show_counts(relay);
}
