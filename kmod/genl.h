/* SPDX-License-Identifier: GPL-2.0 */
/* The generic netlink family; include/uapi/linux/hbone.h tells what it does. */
#ifndef HBONE_GENL_H
#define HBONE_GENL_H

#include <linux/hbone.h>

struct genl_family;

extern struct genl_family hbone_genl_family;

int hbone_genl_init(void);
void hbone_genl_uninit(void);

#endif
