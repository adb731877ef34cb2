/* SPDX-License-Identifier: GPL-2.0 */
/* From the tunnel to the applications. */
#ifndef HBONE_RX_H
#define HBONE_RX_H

struct work_struct;

/* conn->rx_work */
void hbone_rx_work(struct work_struct *work);

#endif
