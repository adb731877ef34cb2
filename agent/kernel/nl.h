/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libnl, as the rest of kernel/ uses it. Private to kernel/. */
#ifndef AMB_NL_H
#define AMB_NL_H

#include <netlink/netlink.h>

static inline void amb_nl_cleanup(struct nl_sock **sk)
{
	nl_socket_free(*sk);
}

#define _cleanup_nl_ _cleanup_(amb_nl_cleanup)

/* libnl folds errno into its own codes; those that we tell apart, back again. */
int amb_nl_errno(int code);

/* A connected route socket of the calling thread's namespace. 0 or -errno. */
int amb_nl_open(struct nl_sock **out);

#endif
