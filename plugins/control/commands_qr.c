/*
 * A QR code of half blocks. The light modules are the ones that are drawn, so that it is right on
 * dark terminals, as most are; four light modules around it are the quiet zone of ISO 18004.
 */
#include <qrencode.h>

#include "base/str.h"
#include "base/util.h"
#include "commands.h"

enum { QUIET = 4 };

/* Outside of the code all is light. */
static bool is_light(const QRcode *code, int x, int y)
{
	if (x < 0 || y < 0 || x >= code->width || y >= code->width)
		return true;
	return !(code->data[y * code->width + x] & 1);
}

void ctl_qr_text(struct warren_reply *reply, const char *text)
{
	QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);

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
		warren_reply_text(reply, "%s", str_text(&line));
	}
	QRcode_free(code);
}
