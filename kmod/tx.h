/* SPDX-License-Identifier: GPL-2.0 */
/* From the applications to the tunnel. */
#ifndef HBONE_TX_H
#define HBONE_TX_H

#include <linux/types.h>

struct hbone_conn;
struct work_struct;

/* conn->tx_work */
void hbone_tx_work(struct work_struct *work);

/*
 * Queues @n bytes of whole header blocks, which are checked; opens and ends streams as they say.
 * 0, -EINVAL, -EAGAIN (too much waits), -ENOMEM, or what hbone_stream_create says. Process context,
 * one at a time.
 */
int hbone_tx_headers(struct hbone_conn *c, const u8 *p, u32 n);

/*
 * The last words on the connection's socket, when no work runs any more: what waited, GOAWAY,
 * close_notify. 0: TCP has it; -EAGAIN: it takes no more now, call again; or why it never will.
 */
int hbone_tx_goodbye(struct hbone_conn *c);

#endif
