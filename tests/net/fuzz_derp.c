/*
 * Fuzz target: DERP, both directions. The first byte chooses what the rest is: frames that a client
 * reads, frames that a server reads, or the text of either's login. What was read must come out of
 * the writer again as a frame that reads the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <warren/derp.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
	return !a || !b ? a == b : memcmp(a, b, n) == 0;
}

static void check_again(const struct warren_derp_frame *frame, enum warren_derp_side side)
{
	static uint8_t out[WARREN_DERP_FRAME_MAX];
	struct warren_derp_reader reader = { .size = sizeof(reader), .side = side };
	struct warren_derp_frame again;
	size_t n = warren_derp_put(frame, out, sizeof(out)), used;

	require(n >= WARREN_DERP_HEADER && warren_derp_name(frame->type));
	require(warren_derp_read(&reader, out, n, &used, &again, NULL) == 0 && used == n);
	require(again.type == frame->type && again.len == frame->len);
	require(same_bytes(again.key, frame->key, 32) && same_bytes(again.to, frame->to, 32));
	require(same_bytes(again.data, frame->data, frame->len));
	require(again.reason == frame->reason && again.flags == frame->flags);
	require(again.preferred == frame->preferred);
	require(again.reconnect_in == frame->reconnect_in && again.try_for == frame->try_for);
	require(frame->address.addr.family == 0 ||
		memcmp(&again.address.addr, &frame->address.addr, sizeof(again.address.addr)) == 0);
}

static void read_frames(const uint8_t *data, size_t size, enum warren_derp_side side)
{
	struct warren_derp_reader reader = { .size = sizeof(reader), .side = side };
	struct warren_derp_frame frame;
	size_t used;
	int result;

	while ((result = warren_derp_read(&reader, data, size, &used, &frame, NULL)) == 0) {
		require(used >= WARREN_DERP_HEADER && used <= size);
		check_again(&frame, side);
		data += used;
		size -= used;
	}
	require(result == WARREN_PENDING || result == -EBADMSG || result == -EMSGSIZE);
	require(result != WARREN_PENDING || reader.skip == 0 || used == size);
	require(side == WARREN_DERP_CLIENT || reader.malformed == 0);
}

static void read_client_info(const uint8_t *data, size_t size)
{
	struct warren_derp_client_info info, again;
	char text[WARREN_DERP_INFO_TEXT];
	size_t n;

	if (warren_derp_client_info_parse(data, size, &info, NULL))
		return;
	n = warren_derp_client_info_text(&info, text);
	require(n > 0 && n < sizeof(text));
	require(warren_derp_client_info_parse((uint8_t *)text, n, &again, NULL) == 0);
	require(again.version == info.version && again.has_mesh_key == info.has_mesh_key);
	require(memcmp(again.mesh_key, info.mesh_key, 32) == 0);
}

static void read_server_info(const uint8_t *data, size_t size)
{
	struct warren_derp_server_info info;
	char text[WARREN_DERP_INFO_TEXT];

	if (warren_derp_server_info_parse(data, size, &info, NULL) == 0)
		require(warren_derp_server_info_text(&info, text) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	switch (data[0] % 4) {
	case 0:
		read_frames(data + 1, size - 1, WARREN_DERP_CLIENT);
		break;
	case 1:
		read_frames(data + 1, size - 1, WARREN_DERP_SERVER);
		break;
	case 2:
		read_client_info(data + 1, size - 1);
		break;
	default:
		read_server_info(data + 1, size - 1);
		break;
	}
	return 0;
}
