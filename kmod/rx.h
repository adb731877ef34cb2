/* SPDX-License-Identifier: GPL-2.0 */
/* From the tunnel to the applications. */
#ifndef HBONE_RX_H
#define HBONE_RX_H

#include <linux/types.h>

struct hbone_conn;
struct work_struct;

/* conn->rx_work */
void hbone_rx_work(struct work_struct *work);

/* When no work runs any more: takes what comes, for nobody. True: that ended. */
bool hbone_rx_discard(struct hbone_conn *c);

#endif
