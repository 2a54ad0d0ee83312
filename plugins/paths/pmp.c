/*
 * Both codecs. An answer is read as far as its kind goes; what may follow (options of PCP) is
 * nothing we asked for.
 */
#include "pmp.h"

#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/util.h"

enum {
	VERSION_PMP = 0, VERSION_PCP = 2,
	ANSWER = 0x80,
	OP_PUBLIC = 0, OP_MAP_UDP = 1,	/* of NAT-PMP */
	OP_ANNOUNCE = 0, OP_MAP = 1,	/* of PCP */
	PCP_HEADER = 24,
	UDP = 17,
};

void pmp_public_request(uint8_t out[PMP_PUBLIC_SIZE])
{
	out[0] = VERSION_PMP;
	out[1] = OP_PUBLIC;
}

void pmp_map_request(uint16_t internal, uint16_t external, uint32_t lifetime,
		     uint8_t out[PMP_MAP_SIZE])
{
	struct buf_writer w;

	buf_writer_init(&w, out, PMP_MAP_SIZE);
	buf_put_u8(&w, VERSION_PMP);
	buf_put_u8(&w, OP_MAP_UDP);
	buf_put_zero(&w, 2);
	buf_put_be16(&w, internal);
	buf_put_be16(&w, external);
	buf_put_be32(&w, lifetime);
}

/* IPv4 as RFC 6887 writes it; 0.0.0.0 for family 0. */
static void put_mapped(struct buf_writer *w, const struct warren_addr *addr)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	buf_put_bytes(w, prefix, sizeof(prefix));
	if (addr->family == 4)
		buf_put_bytes(w, addr->bytes, 4);
	else
		buf_put_zero(w, 4);
}

static void put_pcp(struct buf_writer *w, uint8_t op, uint32_t lifetime,
		    const struct warren_addr *self)
{
	buf_put_u8(w, VERSION_PCP);
	buf_put_u8(w, op);
	buf_put_zero(w, 2);
	buf_put_be32(w, lifetime);
	put_mapped(w, self);
}

void pcp_announce_request(const struct warren_addr *self, uint8_t out[PCP_ANNOUNCE_SIZE])
{
	struct buf_writer w;

	buf_writer_init(&w, out, PCP_ANNOUNCE_SIZE);
	put_pcp(&w, OP_ANNOUNCE, 0, self);
}

void pcp_map_request(const struct warren_addr *self, const uint8_t nonce[PCP_NONCE],
		     uint16_t internal, const struct warren_addrport *external, uint32_t lifetime,
		     uint8_t out[PCP_MAP_SIZE])
{
	struct buf_writer w;

	buf_writer_init(&w, out, PCP_MAP_SIZE);
	put_pcp(&w, OP_MAP, lifetime, self);
	buf_put_bytes(&w, nonce, PCP_NONCE);
	buf_put_u8(&w, UDP);
	buf_put_zero(&w, 3);
	buf_put_be16(&w, internal);
	buf_put_be16(&w, external->port);
	put_mapped(&w, &external->addr);
}

/*
 * ---- Answers ----
 */

static int parse_pmp(struct buf_reader *r, uint8_t op, struct pmp_answer *out)
{
	buf_be16(r, &out->result);
	buf_be32(r, &out->epoch);
	out->map = op == OP_MAP_UDP;
	if (r->failed || op > OP_MAP_UDP)
		return -EBADMSG;
	/* A refusal may end here. */
	if (out->result != PMP_OK)
		return 0;
	if (out->map) {
		buf_be16(r, &out->internal);
		buf_be16(r, &out->external.port);
		buf_be32(r, &out->lifetime);
	} else {
		out->external.addr.family = 4;
		buf_bytes(r, out->external.addr.bytes, 4);
	}
	return r->failed ? -EBADMSG : 0;
}

static int parse_pcp_map(struct buf_reader *r, struct pmp_answer *out)
{
	uint8_t protocol;

	buf_bytes(r, out->nonce, sizeof(out->nonce));
	buf_u8(r, &protocol);
	buf_skip(r, 3);
	buf_be16(r, &out->internal);
	buf_be16(r, &out->external.port);
	out->external.addr.family = 6;
	buf_bytes(r, out->external.addr.bytes, 16);
	if (r->failed || protocol != UDP)
		return -EBADMSG;
	out->external.addr = addr_unmap(&out->external.addr);
	out->has_nonce = true;
	return 0;
}

static int parse_pcp(struct buf_reader *r, uint8_t op, struct pmp_answer *out)
{
	uint8_t result;

	buf_skip(r, 1);
	buf_u8(r, &result);
	buf_be32(r, &out->lifetime);
	buf_be32(r, &out->epoch);
	buf_skip(r, 12);
	out->result = result;
	out->map = op == OP_MAP;
	if (r->failed || op > OP_MAP)
		return -EBADMSG;
	/* What cannot read our request answers with a header only. */
	if (!out->map || (out->result != PMP_OK && buf_left(r) < PCP_MAP_SIZE - PCP_HEADER))
		return 0;
	return parse_pcp_map(r, out);
}

int pmp_answer_parse(const uint8_t *data, size_t len, struct pmp_answer *out)
{
	struct buf_reader r;
	uint8_t version, op;

	memset(out, 0, sizeof(*out));
	if (len > PMP_ANSWER_MAX)
		return -EBADMSG;
	buf_reader_init(&r, data, len);
	buf_u8(&r, &version);
	buf_u8(&r, &op);
	if (r.failed || !(op & ANSWER) || (version != VERSION_PMP && version != VERSION_PCP))
		return -EBADMSG;
	out->pcp = version == VERSION_PCP;
	op &= (uint8_t)~ANSWER;
	return out->pcp ? parse_pcp(&r, op, out) : parse_pmp(&r, op, out);
}

const char *pmp_result_text(bool pcp, uint16_t result)
{
	static const char *const pmp[] = {
		"success", "unsupported version", "not authorized", "network failure",
		"out of resources", "unsupported opcode",
	};
	static const char *const codes[] = {
		"success", "unsupported version", "not authorized", "malformed request",
		"unsupported opcode", "unsupported option", "malformed option", "network failure",
		"no resources", "unsupported protocol", "user exceeded quota",
		"cannot provide external address",
		"address mismatch: another NAT is between this host and the gateway",
		"excessive remote peers",
	};

	if (pcp)
		return result < ARRAY_SIZE(codes) ? codes[result] : "unknown result";
	return result < ARRAY_SIZE(pmp) ? pmp[result] : "unknown result";
}
