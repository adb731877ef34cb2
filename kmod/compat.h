/* SPDX-License-Identifier: GPL-2.0 */
/* Where kernels differ, from 6.1 on: nothing else of the module looks at a version. */
#ifndef HBONE_COMPAT_H
#define HBONE_COMPAT_H

#include <linux/version.h>
#include <net/genetlink.h>

/* Attributes of the request that a dump answers. */
static inline struct nlattr **hbone_compat_dump_attrs(struct netlink_callback *cb)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	return genl_dumpit_info(cb)->info.attrs;
#else
	return genl_dumpit_info(cb)->attrs;
#endif
}

#endif
