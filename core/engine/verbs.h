/*
 * The core's own commands: the functions behind the rows of verbs.c. All have the signature of a
 * command's `run` (plugin.h) and are called as one; where they run, says wcore_reply_env().
 */
#ifndef WARREN_ENGINE_VERBS_H
#define WARREN_ENGINE_VERBS_H

#include <warren/plugin.h>

typedef int wcore_verb_fn(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err);

/* verbs_config.c */
wcore_verb_fn wcore_verb_config_check;
wcore_verb_fn wcore_verb_config_show;
wcore_verb_fn wcore_verb_config_diff;
wcore_verb_fn wcore_verb_config_schema;
wcore_verb_fn wcore_verb_config_example;
wcore_verb_fn wcore_verb_reload;

/* verbs_status.c */
wcore_verb_fn wcore_verb_status;
wcore_verb_fn wcore_verb_plugins;
wcore_verb_fn wcore_verb_metrics;
wcore_verb_fn wcore_verb_log_level;

/* verbs_help.c */
wcore_verb_fn wcore_verb_version;
wcore_verb_fn wcore_verb_help;
wcore_verb_fn wcore_verb_completion;
wcore_verb_fn wcore_verb_complete;

/* verbs_ssh.c */
wcore_verb_fn wcore_verb_ssh;

/* doctor.c */
wcore_verb_fn wcore_verb_doctor;

#endif
