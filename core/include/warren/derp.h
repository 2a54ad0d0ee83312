/*
 * warren/derp.h - DERP frames: what a relay and its clients say to each other
 *
 * Lives in libwarren-net. A frame is its type (1), the length of its payload (4, big endian) and
 * the payload. The codec does no input or output and owns no memory: the reader takes a frame apart
 * where it lies, the writer fills a buffer of the caller's. Lengths are bytes, times microseconds.
 * All functions: any thread, a reader by one at a time.
 * Sources: path-protocols.md 1.3 (meta certificate), 1.4 (limits), 1.5 (frames), 1.6 (login).
 */
#ifndef WARREN_DERP_H
#define WARREN_DERP_H

#include <warren/net.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum {					/* S: sent by servers, C: by clients, M: by mesh clients */
	WARREN_DERP_SERVER_KEY = 0x01,	/* S */
	WARREN_DERP_CLIENT_INFO = 0x02,	/* C */
	WARREN_DERP_SERVER_INFO = 0x03,	/* S */
	WARREN_DERP_SEND_PACKET = 0x04,	/* C */
	WARREN_DERP_RECV_PACKET = 0x05,	/* S */
	WARREN_DERP_KEEP_ALIVE = 0x06,	/* S */
	WARREN_DERP_NOTE_PREFERRED = 0x07,	/* C */
	WARREN_DERP_PEER_GONE = 0x08,	/* S */
	WARREN_DERP_PEER_PRESENT = 0x09,	/* S, to mesh clients */
	WARREN_DERP_FORWARD_PACKET = 0x0a,	/* M */
	WARREN_DERP_WATCH_CONNS = 0x10,	/* M */
	WARREN_DERP_CLOSE_PEER = 0x11,	/* M */
	WARREN_DERP_PING = 0x12,	/* S C */
	WARREN_DERP_PONG = 0x13,	/* S C */
	WARREN_DERP_HEALTH = 0x14,	/* S */
	WARREN_DERP_RESTARTING = 0x15,	/* S */
};
enum { WARREN_DERP_GONE_DISCONNECTED = 0x00, WARREN_DERP_GONE_NOT_HERE = 0x01 };
enum { WARREN_DERP_PEER_REGULAR = 1u << 0, WARREN_DERP_PEER_MESH = 1u << 1,
       WARREN_DERP_PEER_PROBER = 1u << 2, WARREN_DERP_PEER_NOT_IDEAL = 1u << 3 };
enum {
	WARREN_DERP_VERSION = 2,
	WARREN_DERP_HEADER = 5,
	WARREN_DERP_PING_DATA = 8,
	WARREN_DERP_PACKET_MAX = 64 << 10,	/* of a packet that is relayed */
	WARREN_DERP_HEAD_MAX = 5 + 32 + 32,	/* of a frame without its data */
	/* The longest frame that is not passed over: what a stream must be able to hold. */
	WARREN_DERP_FRAME_MAX = WARREN_DERP_HEAD_MAX + WARREN_DERP_PACKET_MAX,
	/* The longest one of a login: CLIENT_INFO, whose box holds at most this much text. */
	WARREN_DERP_INFO_MAX = 16 << 10,
	WARREN_DERP_LOGIN_MAX = 5 + 32 + 24 + 16 + WARREN_DERP_INFO_MAX,
};

/* A frame taken apart, or one to be written; what its type has no use for is ignored, or zero. */
struct warren_derp_frame {
	uint32_t size, type;
	/*
	 * SERVER_KEY: the server's; CLIENT_INFO: the client's; SEND_PACKET: whom it is for;
	 * RECV_PACKET, FORWARD_PACKET: whom it is from; PEER_GONE, PEER_PRESENT, CLOSE_PEER: whom
	 * it is about.
	 */
	const uint8_t *key;		/* 32 bytes, as all keys */
	const uint8_t *to;		/* FORWARD_PACKET: whom it is for */
	/*
	 * The packet; CLIENT_INFO, SERVER_INFO: nonce and box; PING, PONG: WARREN_DERP_PING_DATA
	 * bytes; HEALTH: text of the server's, not cleaned, empty when all is well again.
	 */
	const uint8_t *data;
	size_t len;
	uint8_t reason;			/* PEER_GONE: WARREN_DERP_GONE_, or a newer one */
	uint8_t flags;			/* PEER_PRESENT: WARREN_DERP_PEER_; 0: not told */
	bool preferred;			/* NOTE_PREFERRED: we are its home */
	struct warren_addrport address;	/* PEER_PRESENT; family 0: not told */
	uint64_t reconnect_in, try_for;	/* RESTARTING: whole milliseconds */
};

enum warren_derp_side { WARREN_DERP_CLIENT = 1, WARREN_DERP_SERVER };
struct warren_derp_reader {
	uint32_t size;
	enum warren_derp_side side;	/* who reads */
	uint64_t skip;			/* bytes of a frame that is being passed over */
	/* Frames that were passed over: of no type that the side reads; too short or too long. */
	uint64_t unknown, malformed;
};
/*
 * The next frame in @data, the bytes at the front of the input. 0: @frame is it and points into
 * @data. WARREN_PENDING: there is none as a whole; come again with more. Either way the first @used
 * bytes are done with, frames that were passed over among them.
 *
 * -EBADMSG, -EMSGSIZE with a sentence: the connection must be closed. That is any malformed frame
 * for a server; for a client, which passes those over, a length beyond 1 MiB.
 */
int warren_derp_read(struct warren_derp_reader *reader, const uint8_t *data, size_t len,
		     size_t *used, struct warren_derp_frame *frame, struct warren_err *err);
/* "PeerGone"; NULL: a type without a name. */
const char *warren_derp_name(uint32_t type);

/*
 * Writes all of @frame but `data`, which follows on the wire, and returns its length. 0: no such
 * frame can be: a type unknown, a key absent, `data` longer or shorter than the type allows.
 */
size_t warren_derp_head(const struct warren_derp_frame *frame, uint8_t out[WARREN_DERP_HEAD_MAX]);
/* The whole frame; 0: as above, or @size is too small. */
size_t warren_derp_put(const struct warren_derp_frame *frame, uint8_t *out, size_t size);

/*
 * ---- What the boxes of the login hold ----
 *
 * JSON. Names are read in any case and values by their type, as the stock server does; unknown
 * members are skipped. A parser's @err does not repeat the text.
 */
enum { WARREN_DERP_APP = 64, WARREN_DERP_INFO_TEXT = 768 };
struct warren_derp_client_info {
	uint32_t size, version;
	bool can_ack_pings, prober, has_mesh_key;
	uint8_t mesh_key[32];		/* a secret: whoever has it may forward; wipe it */
	char app_name[WARREN_DERP_APP];	/* "": none; a longer one is cut. As it came: clean it */
};
struct warren_derp_server_info {
	uint32_t size, version;
	uint64_t bytes_per_second, burst;	/* of SEND_PACKET frames; 0: no limit */
};
/* Write the text and return its length. */
size_t warren_derp_client_info_text(const struct warren_derp_client_info *info,
				    char out[WARREN_DERP_INFO_TEXT]);
size_t warren_derp_server_info_text(const struct warren_derp_server_info *info,
				    char out[WARREN_DERP_INFO_TEXT]);
/* 0, or -EBADMSG with a sentence. */
int warren_derp_client_info_parse(const uint8_t *text, size_t len,
				  struct warren_derp_client_info *out, struct warren_err *err);
int warren_derp_server_info_parse(const uint8_t *text, size_t len,
				  struct warren_derp_server_info *out, struct warren_err *err);

/*
 * ---- The meta certificate: a server's key told inside TLS 1.3 ----
 */

/*
 * A certificate in PEM, for free(), to follow the server's own chain: self-signed by a key that
 * nobody keeps, and valid from 30 days before @now (seconds since 1970) to 30 days after. NULL with
 * a sentence.
 */
char *warren_derp_meta_new(const uint8_t public_key[32], int64_t now, struct warren_err *err);
/*
 * @pem (as above) ends the chain that @server sends from now on, instead of an older one of its
 * kind; NULL: none does. 0, or -EINVAL with a sentence. On the lane of @server.
 */
int warren_derp_meta_set(struct warren_tls_server *server, const char *pem,
			 struct warren_err *err);
/*
 * After the handshake, of a client's stream: the key of the server, which then wants no answer to
 * its upgrade ("fast start"). False: none was told, or TLS is older than 1.3.
 */
bool warren_derp_meta_key(struct warren_stream *tls, uint8_t key[32]);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
