/*
 * options.h - the rows of the section `control:`
 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <warren/plugin.h>

enum { CTL_OPTIONS = 12, CTL_ROUTES_MAX = 256 };
extern const struct warren_option ctl_options[CTL_OPTIONS];

/* What this node offers to lead to, at most @room networks; returns how many. */
uint32_t ctl_conf_routes(const struct warren_conf *conf, struct warren_prefix *out, uint32_t room);
/* What the kernel does not forward of that, as a sentence; false: nothing. */
enum { CTL_FORWARDING_TEXT = 200 };
bool ctl_forwarding_problem(const struct warren_conf *conf, char why[CTL_FORWARDING_TEXT]);

#endif
