/*
 * A QR code, as half blocks and as a picture. In text the light modules are the ones that are
 * drawn, so that it is right on dark terminals, as most are; four light modules around it are the
 * quiet zone of ISO 18004. The picture is the stock client's: one bit for a pixel, white and black.
 */
#include <arpa/inet.h>
#include <qrencode.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/base64.h"
#include "base/str.h"
#include "base/util.h"
#include "commands.h"

enum { QUIET = 4, SIDE = 128 };

/* Outside of the code all is light. */
static bool is_light(const QRcode *code, int x, int y)
{
	if (x < 0 || y < 0 || x >= code->width || y >= code->width)
		return true;
	return !(code->data[y * code->width + x] & 1);
}

static QRcode *encode(const char *text)
{
	return QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);
}

void ctl_qr_note(struct warren_reply *reply, const char *text)
{
	QRcode *code = encode(text);

	if (!code)
		return;
	for (int y = -QUIET; y < code->width + QUIET; y += 2) {
		AUTO(str_free) struct str line = STR_INIT;

		for (int x = -QUIET; x < code->width + QUIET; x++) {
			bool upper = is_light(code, x, y);
			bool lower = y + 1 < code->width + QUIET && is_light(code, x, y + 1);

			str_add(&line, upper && lower ? "\u2588" : upper ? "\u2580" :
				lower ? "\u2584" : " ");
		}
		warren_reply_note(reply, "%s", str_text(&line));
	}
	warren_reply_note(reply, "%s", "");
	QRcode_free(code);
}

/*
 * ---- PNG: RFC 2083 ----
 */

static void add_number(struct str *out, uint32_t number)
{
	number = htonl(number);
	str_addn(out, (const char *)&number, sizeof(number));
}

static void add_chunk(struct str *out, const char type[4], const void *data, size_t len)
{
	uLong crc = crc32(crc32(0, (const Bytef *)type, 4), data, (uInt)len);

	add_number(out, (uint32_t)len);
	str_addn(out, type, 4);
	str_addn(out, data, len);
	add_number(out, (uint32_t)crc);
}

/*
 * Rows of bits, each after a byte that says "no filter"; a dark module is 1. A pixel is the module
 * that lies there when the code is stretched, as the stock client does it.
 */
static void add_rows(const QRcode *code, int side, struct str *rows)
{
	int width = code->width + 2 * QUIET;

	for (int y = 0; y < side; y++) {
		str_addc(rows, '\0');
		for (int x = 0; x < side; x += 8) {
			uint8_t byte = 0;

			for (int i = 0; i < 8; i++) {
				int across = (x + i) * width / side - QUIET;

				byte = (uint8_t)(byte << 1);
				byte |= !is_light(code, across, y * width / side - QUIET);
			}
			str_addc(rows, (char)byte);
		}
	}
}

static void add_picture(const QRcode *code, struct str *out)
{
	static const char palette[] = { '\xff', '\xff', '\xff', 0, 0, 0 };
	static const char depth_and_kind[] = { 1, 3, 0, 0, 0 };	/* one bit, by palette */
	int width = code->width + 2 * QUIET, side = width < SIDE ? SIDE : width;
	AUTO(str_free) struct str head = STR_INIT;
	AUTO(str_free) struct str rows = STR_INIT;
	AUTO(auto_free) Bytef *packed = NULL;
	uLongf len;

	add_rows(code, side, &rows);
	len = compressBound(rows.len);
	packed = malloc(len);
	if (!packed || rows.failed || compress(packed, &len, (Bytef *)rows.s, rows.len) != Z_OK) {
		out->failed = true;
		return;
	}
	add_number(&head, (uint32_t)side);
	add_number(&head, (uint32_t)side);
	str_addn(&head, depth_and_kind, sizeof(depth_and_kind));
	str_addn(out, "\x89PNG\r\n\x1a\n", 8);
	add_chunk(out, "IHDR", head.s, head.len);
	add_chunk(out, "PLTE", palette, sizeof(palette));
	add_chunk(out, "IDAT", packed, len);
	add_chunk(out, "IEND", "", 0);
	out->failed |= head.failed;
}

bool ctl_qr_png(const char *text, struct str *out)
{
	QRcode *code = encode(text);
	AUTO(str_free) struct str png = STR_INIT;
	AUTO(auto_free) char *encoded = NULL;

	if (!code)
		return false;
	add_picture(code, &png);
	QRcode_free(code);
	encoded = png.failed ? NULL : malloc(BASE64_TEXT(png.len));
	if (!encoded)
		return false;
	base64_encode(encoded, png.s, png.len);
	str_add(out, encoded);
	return !out->failed;
}
