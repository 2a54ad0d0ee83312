/*
 * The plugin's verbs.
 */
#ifndef ROUTER_COMMANDS_H
#define ROUTER_COMMANDS_H

#include <warren/plugin.h>

enum { ROUTER_COMMANDS = 2 };
extern const struct warren_command router_commands[ROUTER_COMMANDS];

#endif
