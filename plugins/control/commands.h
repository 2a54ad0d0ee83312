/*
 * commands.h - the plugin's verbs
 */
#ifndef CTL_COMMANDS_H
#define CTL_COMMANDS_H

#include <warren/plugin.h>

#include "session.h"

/* up, login, down, logout, set, ip, whois. */
enum { CTL_COMMANDS = 7 };
extern const struct warren_command ctl_commands[CTL_COMMANDS];

typedef int ctl_run_fn(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err);
ctl_run_fn ctl_run_up, ctl_run_set, ctl_run_down, ctl_run_logout;	/* commands_up.c */
ctl_run_fn ctl_run_ip, ctl_run_whois;					/* commands_who.c */

struct str;
/*
 * Notes the QR code of @text with half blocks, light on dark terminals and dark on light ones.
 * Nothing where it cannot be made.
 */
void ctl_qr_note(struct warren_reply *reply, const char *text);
/* The same as a PNG of 128 by 128 pixels (more, if there are more modules), in base64. */
bool ctl_qr_png(const char *text, struct str *out);

/* The head of `warren status`: commands_status.c. */
void *ctl_overview(struct warren_ctx *ctx, const struct warren_conf *args);
int ctl_overview_write(const void *view, struct warren_reply *reply);
void ctl_overview_free(void *view);

#endif
