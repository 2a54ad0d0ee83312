/*
 * The zone: records, who waits for them, and time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "impl.h"

static const uint64_t tick_usec = 60000000;

static void on_tick(struct warren_ctx *ctx, void *arg)
{
	struct zone *zone = arg;
	struct zone_record *record;

	(void)ctx;
	zone_records_expire(&zone->records, warren_now());
	if (zone->sender) {
		zone_sender_kick(zone->sender);
	} else {
		list_for_each(record, &zone->records.all, link)
			record->changed = false;
	}
	warren_timer_set(zone->tick, tick_usec);
}

void zone_answer_waits(struct zone *zone, bool sent_only, int result, const char *why)
{
	struct zone_wait *wait, *next;
	struct list over;

	list_init(&over);
	list_for_each_safe(wait, next, &zone->waits, link) {
		if (sent_only && !wait->sent)
			continue;
		list_del(&wait->link);
		list_add_tail(&over, &wait->link);
	}
	while (!list_empty(&over)) {
		wait = list_first(&over, struct zone_wait, link);
		list_del(&wait->link);
		wait->done(wait->arg, result, why);
		free(wait);
	}
}

/* What is served here can be seen as soon as it is in the records. */
static void on_answers(struct warren_ctx *ctx, void *arg)
{
	struct zone *zone = arg;
	bool open = zone_server_open(zone->server);

	(void)ctx;
	zone_answer_waits(zone, false, open ? 0 : -EIO, open ? NULL :
			  "the zone of this tailnet's names is not served at the moment");
}

static bool take_facts(struct zone *zone, const struct warren_conf *section, const char *host)
{
	struct zone_facts *facts = &zone->facts;
	const char *contact = "hostmaster", *domain = host;
	uint32_t n = warren_conf_count(section, "nameservers");
	char local[254];

	facts->name = zone->base;
	if (dns_name_parse(host, &facts->servers[0]))
		return false;
	facts->n_servers = n > 0 ? n : 1;
	for (uint32_t i = 0; i < n; i++) {
		const char *text = warren_conf_str(warren_conf_at(section, "nameservers", i), NULL);

		if (dns_name_parse(text, &facts->servers[i]))
			return false;
	}
	if (n > 0)
		domain = warren_conf_str(warren_conf_at(section, "nameservers", 0), NULL);
	if (warren_conf_has(section, "contact")) {
		contact = warren_conf_str(section, "contact");
		domain = strchr(contact, '@') + 1;
	}
	str_copy(local, sizeof(local), contact);
	local[strcspn(local, "@")] = '\0';
	return dns_name_parse(domain, &facts->contact) == 0 &&
	       dns_name_join(local, strlen(local), &facts->contact, &facts->contact);
}

static int begin(struct zone *zone, const struct warren_conf *section, const char *host,
		 struct warren_err *err)
{
	zone->tick = warren_timer_new(zone->ctx, on_tick, zone);
	zone->answers = warren_timer_new(zone->ctx, on_answers, zone);
	if (!zone->tick || !zone->answers)
		return -ENOMEM;
	warren_timer_set(zone->tick, tick_usec);
	if (warren_conf_has(section, "update")) {
		zone->sender = zone_sender_new(zone, warren_conf_map(section, "update"), err);
		return zone->sender ? 0 : -EINVAL;
	}
	if (!take_facts(zone, section, host))
		return warren_fail(err, section, "the names of the zone are too long");
	zone->server = zone_server_new(zone, section);
	return zone->server ? 0 : -ENOMEM;
}

struct zone *coord_zone_new(struct warren_ctx *ctx, const struct warren_conf *section,
			    const char *base_domain, const char *host, struct warren_err *err)
{
	struct zone *zone = calloc(1, sizeof(*zone));

	if (!zone)
		return NULL;
	zone->ctx = ctx;
	list_init(&zone->waits);
	zone_records_init(&zone->records, (uint32_t)(warren_realtime() / 1000000));
	if (dns_name_parse(base_domain, &zone->base) == 0 && begin(zone, section, host, err) == 0)
		return zone;
	coord_zone_free(zone);
	return NULL;
}

void coord_zone_free(struct zone *zone)
{
	if (!zone)
		return;
	zone_server_free(zone->server);
	zone_sender_free(zone->sender);
	zone_answer_waits(zone, false, -ECANCELED, "the server's settings have changed; try again");
	zone_records_free(&zone->records);
	warren_release(zone->tick);
	warren_release(zone->answers);
	free(zone);
}

int coord_zone_set(struct zone *zone, const char *name, const char *text, coord_zone_fn *done,
		   void *arg, struct zone_wait **out)
{
	struct zone_wait *wait = calloc(1, sizeof(*wait));
	struct dns_name wire;
	int result = wait ? dns_name_parse(name, &wire) : -ENOMEM;

	if (!result && !dns_name_under(&wire, &zone->base))
		result = -EINVAL;
	if (!result)
		result = zone_records_set(&zone->records, &wire, text, warren_now(),
					  &wait->record);
	if (result) {
		free(wait);
		return result;
	}
	wait->done = done;
	wait->arg = arg;
	list_add_tail(&zone->waits, &wait->link);
	*out = wait;
	if (zone->sender) {		/* also if it had been set: the server may have lost it */
		wait->record->changed = true;
		zone_sender_kick(zone->sender);
	} else {
		wait->record->changed = false;
		warren_timer_set(zone->answers, 0);
	}
	return 0;
}

void coord_zone_cancel(struct zone_wait *wait)
{
	list_del(&wait->link);
	free(wait);
}

const char *coord_zone_problem(const struct zone *zone)
{
	return zone->server ? zone_server_problem(zone->server) :
			      zone_sender_problem(zone->sender);
}
