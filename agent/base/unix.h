/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unix sockets that somebody listens on. */
#ifndef AMB_UNIX_H
#define AMB_UNIX_H

#include <sys/types.h>

/*
 * Listens at @path with exactly @mode, non-blocking; its folder is made when there is none, and
 * what a killed agent left behind is replaced. Returns the descriptor, -EADDRINUSE when somebody
 * listens there, -ENAMETOOLONG or another -errno. The caller removes the file in the end.
 */
int amb_unix_listen(const char *path, mode_t mode, int backlog);

#endif
