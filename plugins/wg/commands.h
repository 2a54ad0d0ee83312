/*
 * The verbs `warren wg ...`: they work without a daemon, as wg(8) does.
 */
#ifndef WG_COMMANDS_H
#define WG_COMMANDS_H

#include <warren/plugin.h>

enum { WG_COMMANDS = 4 };
extern const struct warren_command wg_commands[WG_COMMANDS];

#endif
