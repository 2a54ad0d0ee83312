/*
 * commands_settings.h - from flags to keys of the configuration
 */
#ifndef CTL_COMMANDS_SETTINGS_H
#define CTL_COMMANDS_SETTINGS_H

#include <warren/plugin.h>

enum { CTL_SETTINGS = 14 };

/* @value is JSON; NULL removes. */
typedef void ctl_setting_fn(void *arg, const char *key, const char *value);
/*
 * Calls @change for each setting that @args give and, with @reset, for those that they do not. At
 * most CTL_SETTINGS times. -EINVAL with a sentence: nobody here does what a flag asks for.
 */
int ctl_settings_read(struct warren_ctx *core, const struct warren_conf *args, bool reset,
		      ctl_setting_fn *change, void *arg, struct warren_err *err);

#endif
