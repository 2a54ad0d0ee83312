/*
 * base/resolv.h - texts in the form of resolv.conf(5): whose they are
 */
#ifndef WARREN_BASE_RESOLV_H
#define WARREN_BASE_RESOLV_H

#include <stddef.h>

/* "systemd-resolved", "NetworkManager" or "resolvconf", as the comments have it; else NULL. */
const char *resolv_keeper(const char *text, size_t len);

#endif
