/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections that hbone.ko carried on while no agent ran. */
#ifndef AMB_ADOPT_H
#define AMB_ADOPT_H

struct amb_pod;

/*
 * Enters what an agent before left of the pod's connections, and judges it by the policies of
 * today. Of one worker's pods; for all others it does nothing.
 */
void amb_adopt_pod(struct amb_pod *pod);

#endif
