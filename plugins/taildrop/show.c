/*
 * What the operator sees.
 */
#include "taildrop.h"

void drop_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct taildrop *td = warren_self(ctx);
	uint32_t coming = drop_n_coming(td);

	if (td->direct)
		warren_reply_str(reply, "inbox", "%s", warren_conf_str(td->conf, "inbox"));
	else
		warren_reply_null(reply, "inbox");
	warren_reply_int(reply, "coming", coming);
	if (td->direct)
		warren_reply_text(reply, "files of peers go to %s",
				  warren_conf_str(td->conf, "inbox"));
	else
		warren_reply_text(reply, "files of peers wait for `warren file get`");
	if (coming)
		warren_reply_text(reply, "%u coming", coming);
}
