/*
 * engine/err.h - struct warren_err inside the engine
 *
 * The structure and its functions are in base/err.h (the monitor uses them too); warren_fail() and
 * warren_fail_key() of plugin.h are implemented beside this file.
 */
#ifndef WARREN_ENGINE_ERR_H
#define WARREN_ENGINE_ERR_H

#include <warren/plugin.h>

#include "base/err.h"

#endif
