/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections that hbone.ko carried on while no agent ran. */
#ifndef AMB_ADOPT_H
#define AMB_ADOPT_H

struct amb_pod;
struct amb_worker;

/*
 * From now on the worker looks for connections that agents left, now and then, and ends what no
 * pod claims. One worker does; for others nothing happens. 0 or -errno.
 */
int amb_adopt_start(struct amb_worker *w);
/* It looks no more: what is left is the next agent's. */
void amb_adopt_stop(struct amb_worker *w);

/* Enters what was left of the pod's connections, and judges it by the policies of today. */
void amb_adopt_pod(struct amb_pod *pod);

#endif
