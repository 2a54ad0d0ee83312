/*
 * warren_fail(): the plugin's way to blame a piece of configuration.
 */
#include "engine/err.h"

#include <errno.h>

#include "engine/conf_impl.h"

int warren_fail(struct warren_err *err, const struct warren_conf *at, const char *fmt, ...)
{
	struct err_at place = { 0 };
	va_list ap;

	if (at)
		place = conf_place(at);
	va_start(ap, fmt);
	err_vadd(err, &place, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int warren_fail_key(struct warren_err *err, int result, const struct warren_conf *at,
		    const char *key, const char *fmt, ...)
{
	struct err_at place = { 0 };
	va_list ap;

	if (at && warren_conf_has(at, key))
		place = conf_place(conf_child(at, key, __func__));
	else if (at)
		place = conf_place(at);
	va_start(ap, fmt);
	err_vadd(err, &place, fmt, ap);
	va_end(ap);
	return result;
}
