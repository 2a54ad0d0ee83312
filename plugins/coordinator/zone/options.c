/*
 * Options of the zone.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/addr.h"
#include "base/base64.h"
#include "base/err.h"
#include "base/str.h"
#include "impl.h"

static int check_name(const struct warren_conf *at, struct warren_err *err)
{
	struct dns_name name;
	struct warren_addr addr;
	const char *text = warren_conf_str(at, NULL);

	if (dns_name_parse(text, &name) || dns_name_labels(&name) == 0 ||
	    addr_parse(text, &addr) == 0)
		return warren_fail(err, at, "\"%s\" is no domain name: expected one as in "
				   "hq.example.com", text);
	return 0;
}

static int check_contact(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL), *sign = strchr(text, '@');

	if (!sign || sign == text || strchr(sign + 1, '@') || !strchr(sign, '.') ||
	    strcspn(text, " ()<>,;:\\\"[]") != strlen(text))
		return warren_fail(err, at, "\"%s\" is no e-mail address", text);
	return 0;
}

static const char *const algorithms[] = { "hmac-sha256", "hmac-sha512", NULL };
static const struct warren_option update_options[] = {
	{ .key = "server", .type = WARREN_ADDRPORT, .flags = WARREN_REQUIRED,
	  .brief = "The primary server of the zone, with its port, which is asked by TCP.",
	  .example = "192.0.2.53:53" },
	{ .key = "zone", .type = WARREN_STRING, .min = 1, .max = 253, .check = check_name,
	  .brief = "The zone there; without it the base domain.", .example = "example.com" },
	{ .key = "key", .type = WARREN_STRING, .flags = WARREN_REQUIRED, .min = 1, .max = 253,
	  .check = check_name, .brief = "Name of the key that changes are signed with.",
	  .help = "It has to be allowed to change TXT records whose names begin with "
		  "_acme-challenge, below the base domain, and needs no more.",
	  .example = "warren" },
	{ .key = "algorithm", .type = WARREN_ENUM, .values = algorithms, .def = "hmac-sha256",
	  .brief = "Of that key." },
	{ .key = "secret", .type = WARREN_SECRET_REF, .flags = WARREN_REQUIRED,
	  .brief = "The key's secret, in base64.",
	  .example = "{file: /etc/warren/tsig.secret}" },
	{ .key = "wait", .type = WARREN_DURATION, .def = "0s", .max = INT64_C(300) * 1000000,
	  .brief = "How long it takes until the zone's other servers have a change." },
};

const struct warren_option coord_zone_options[ZONE_OPTIONS] = {
	{ .key = "listen", .type = WARREN_ADDRPORT, .flags = WARREN_MANY,
	  .brief = "Serve the base domain to the Internet here, by UDP and TCP.",
	  .help = "Its parent zone has to delegate it: an NS record that names `nameservers`, "
		  "which lead here. It is served records that prove names to an authority, and "
		  "no names of devices. Name the public addresses of this box; on all of them "
		  "(0.0.0.0) other resolvers of the host are in the way.",
	  .example = "[\"203.0.113.7:53\"]" },
	{ .key = "nameservers", .type = WARREN_STRING, .flags = WARREN_MANY, .min = 1, .max = 253,
	  .check = check_name, .brief = "Names of the servers of the base domain.",
	  .help = "As in the parent zone. Left out: the host of `url`.",
	  .example = "[hq.example.com]" },
	{ .key = "contact", .type = WARREN_STRING, .min = 3, .max = 253, .check = check_contact,
	  .brief = "Address of whoever is responsible for the zone.",
	  .help = "Left out: hostmaster at the first of the nameservers.",
	  .example = "hostmaster@example.com" },
	{ .key = "update", .type = WARREN_MAP, .sub = WARREN_TABLE(update_options),
	  .brief = "Change the zone on a server elsewhere instead (RFC 2136, TSIG)." },
};

bool zone_key_read(const struct warren_conf *update, struct zone_key *out)
{
	size_t len;
	const char *text = (const char *)warren_secret_bytes(warren_conf_secret(update, "secret"),
							     &len);
	ssize_t n;

	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		len--;
	memset(out, 0, sizeof(*out));
	n = base64_decode(out->secret, sizeof(out->secret), text, len);
	if (n <= 0 || dns_name_parse(warren_conf_str(update, "key"), &out->name)) {
		sodium_memzero(out, sizeof(*out));
		return false;
	}
	out->len = (size_t)n;
	out->algorithm = warren_conf_enum(update, "algorithm") ? ZONE_HMAC_SHA512 :
								 ZONE_HMAC_SHA256;
	return true;
}

static bool is_under(const char *name, const char *zone)
{
	struct dns_name a, b;

	return dns_name_parse(name, &a) == 0 && dns_name_parse(zone, &b) == 0 &&
	       dns_name_under(&a, &b);
}

static int check_update(const struct warren_conf *section, const char *base_domain,
			struct warren_err *err)
{
	const struct warren_conf *update = warren_conf_map(section, "update");

	if (warren_conf_has(section, "nameservers") || warren_conf_has(section, "contact"))
		return warren_fail(err, update, "\"nameservers\" and \"contact\" are of a zone "
				   "that is served here: leave them out beside \"update\"");
	if (warren_conf_has(update, "zone") &&
	    !is_under(base_domain, warren_conf_str(update, "zone")))
		return warren_fail_key(err, -EINVAL, update, "zone", "the base domain %s is not in "
				       "the zone \"%s\"", base_domain,
				       warren_conf_str(update, "zone"));
	return 0;
}

static int check_listen(const struct warren_conf *section, const char *base_domain,
			const char *host, struct warren_err *err)
{
	uint32_t n = warren_conf_count(section, "nameservers");
	struct warren_addr addr;

	if (warren_conf_count(section, "listen") > ZONE_LISTEN || n > ZONE_SERVERS)
		return warren_fail_key(err, -EINVAL, section, "listen", "more than %d addresses, "
				       "or %d nameservers, are too many", ZONE_LISTEN,
				       ZONE_SERVERS);
	if (n == 0 && addr_parse(host, &addr) == 0)
		return warren_fail_key(err, -EINVAL, section, "listen", "a zone has a server with "
				       "a name, and the coordinator's \"url\" has none: add "
				       "\"nameservers\", as the parent zone has them");
	for (uint32_t i = 0; i < n; i++) {
		const struct warren_conf *at = warren_conf_at(section, "nameservers", i);

		if (is_under(warren_conf_str(at, NULL), base_domain))
			return warren_fail(err, at, "\"%s\" is inside the zone that it serves, "
					   "which has no addresses: name a server outside %s",
					   warren_conf_str(at, NULL), base_domain);
	}
	return 0;
}

int coord_zone_check(const struct warren_conf *section, const char *base_domain, const char *host,
		     struct warren_err *err)
{
	bool here = warren_conf_count(section, "listen") > 0;

	if (here == warren_conf_has(section, "update"))
		return warren_fail(err, section, "a zone is either served here, with \"listen\", "
				   "or on a server elsewhere, with \"update\"; %s", here ?
				   "both are given" : "neither is given");
	return here ? check_listen(section, base_domain, host, err) :
		      check_update(section, base_domain, err);
}
