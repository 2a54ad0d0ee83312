/*
 * The section `dns:`.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "dns.h"

int dns_check_name(const struct warren_conf *at, struct warren_err *err)
{
	struct dns_name name;

	if (dns_name_parse(warren_conf_str(at, NULL), &name) == 0 && name.len > 1)
		return 0;
	return warren_fail(err, at, "\"%s\" is no domain: expected one as in corp.example.com",
			   warren_conf_str(at, NULL));
}

int dns_check_upstream(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL);
	struct dns_upstream upstream;

	if (dns_upstream_parse(text, &upstream))
		return warren_fail(err, at, "\"%s\" is no resolver: expected an address, or an "
				   "address with a port", text);
	if (dns_is_service(&upstream.at.addr))
		return warren_fail(err, at, "%s is this resolver itself: name another one", text);
	return 0;
}

int dns_check_listen(const struct warren_conf *at, struct warren_err *err)
{
	const struct warren_addrport ap = warren_conf_addrport(at, NULL);
	static const struct warren_addr any;

	if (dns_is_service(&ap.addr) || memcmp(ap.addr.bytes, any.bytes, sizeof(any.bytes)) == 0)
		return warren_fail(err, at, "expected an address of this host on its LAN, with a "
				   "port, as in 192.168.1.1:53");
	return 0;
}

static void read_list(const struct warren_conf *conf, const char *key, struct dns_list *out)
{
	uint32_t n = warren_conf_count(conf, key);

	for (uint32_t i = 0; i < n && out->n < DNS_UPSTREAMS; i++) {
		if (dns_upstream_parse(warren_conf_str(warren_conf_at(conf, key, i), NULL),
				       &out->up[out->n]) == 0)
			out->n++;
	}
}

int dns_words_check(const struct warren_conf *conf, struct warren_err *err)
{
	struct dns_name name;

	if (warren_conf_count(conf, "upstream") > DNS_UPSTREAMS)
		return warren_fail_key(err, -EINVAL, conf, "upstream", "more than %d resolvers",
				       DNS_UPSTREAMS);
	if (warren_conf_count(conf, "listen") > DNS_LISTEN)
		return warren_fail_key(err, -EINVAL, conf, "listen", "more than %d addresses",
				       DNS_LISTEN);
	if (warren_conf_count(conf, "allow") > DNS_ALLOW)
		return warren_fail_key(err, -EINVAL, conf, "allow", "more than %d networks",
				       DNS_ALLOW);
	for (uint32_t i = 0; i < warren_conf_count(conf, "split"); i++) {
		const struct warren_conf *at = warren_conf_at(conf, "split", i);

		if (dns_name_parse(warren_conf_name(at), &name) || name.len == 1)
			return warren_fail(err, at, "\"%s\" is no domain: expected one as in "
					   "corp.example.com", warren_conf_name(at));
		if (warren_conf_count(at, NULL) > DNS_UPSTREAMS)
			return warren_fail(err, at, "more than %d resolvers", DNS_UPSTREAMS);
	}
	return 0;
}

static void read_lan(const struct warren_conf *conf, struct dns_words *out)
{
	for (uint32_t i = 0; i < warren_conf_count(conf, "listen") && i < DNS_LISTEN; i++)
		out->listen[out->n_listen++] =
			warren_conf_addrport(warren_conf_at(conf, "listen", i), NULL);
	for (uint32_t i = 0; i < warren_conf_count(conf, "allow") && i < DNS_ALLOW; i++)
		out->allow[out->n_allow++] =
			warren_conf_prefix(warren_conf_at(conf, "allow", i), NULL);
}

int dns_words_read(const struct warren_conf *conf, struct dns_words *out)
{
	uint32_t n = warren_conf_count(conf, "split");

	memset(out, 0, sizeof(*out));
	out->accept = warren_conf_bool(conf, "accept");
	out->ipv6 = warren_conf_bool(conf, "ipv6");
	out->write = warren_conf_enum(conf, "host") != DNS_HOST_OFF;
	out->file = warren_conf_enum(conf, "host") == DNS_HOST_FILE;
	out->insist = warren_conf_bool(conf, "insist");
	if (warren_conf_has(conf, "domain"))
		(void)dns_name_parse(warren_conf_str(conf, "domain"), &out->domain);
	read_list(conf, "upstream", &out->upstream);
	read_lan(conf, out);
	out->split = n ? calloc(n, sizeof(*out->split)) : NULL;
	if (n && !out->split)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		const struct warren_conf *at = warren_conf_at(conf, "split", i);
		struct dns_split *split = &out->split[out->n_split];

		if (dns_name_parse(warren_conf_name(at), &split->suffix))
			continue;
		read_list(at, NULL, &split->to);
		out->n_split++;
	}
	return 0;
}

void dns_words_free(struct dns_words *words)
{
	free(words->split);
	memset(words, 0, sizeof(*words));
}
