/* SPDX-License-Identifier: GPL-2.0 */
/* What the module is to a network namespace. */
#ifndef HBONE_MAIN_H
#define HBONE_MAIN_H

#include <linux/atomic.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct hbone_mib;
struct net;
struct workqueue_struct;

struct hbone_net {
	struct net *net;
	struct hbone_mib __percpu *mib;
	struct mutex lock; /* membership of conns */
	struct xarray conns; /* struct hbone_conn by number */
	u32 next_id; /* of conns; under lock */
	atomic_t nconns; /* that were in conns, and are not freed yet */
};

/* All work on connections; it drains before the module goes. */
extern struct workqueue_struct *hbone_main_wq;

/* Module parameter: seconds that a connection without owner and streams lives on. */
extern unsigned int hbone_main_orphan_seconds;

struct hbone_net *hbone_main_net(const struct net *net);

#endif
