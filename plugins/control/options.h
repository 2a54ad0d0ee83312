/*
 * options.h - the rows of the section `control:`
 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <warren/plugin.h>

enum { CTL_OPTIONS = 10 };
extern const struct warren_option ctl_options[CTL_OPTIONS];

#endif
