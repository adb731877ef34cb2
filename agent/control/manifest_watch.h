/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells when something in a directory may have changed, once things have settled. */
#ifndef AMB_MANIFEST_WATCH_H
#define AMB_MANIFEST_WATCH_H

#include <stdbool.h>

struct amb_loop;
struct amb_mwatch;

/*
 * Calls @fn AMB_MANIFEST_SETTLE_NS after the last event, AMB_MANIFEST_DELAY_NS after the first
 * at the latest. While the directory cannot be watched (not there, no inotify left), once a
 * second. NULL: out of memory.
 */
struct amb_mwatch *amb_mwatch_create(struct amb_loop *loop, const char *dir, void (*fn)(void *ctx),
				     void *ctx);
void amb_mwatch_destroy(struct amb_mwatch *w);
bool amb_mwatch_active(const struct amb_mwatch *w);

#endif
