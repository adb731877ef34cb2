/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HBONE connections into a pod, at 15008. */
#ifndef AMB_INBOUND_H
#define AMB_INBOUND_H

#include "ambient/reason.h"

struct amb_endpoint;
struct amb_pod;

void amb_inbound_accepted(struct amb_pod *pod, int fd, const struct amb_endpoint *src);
/* GOAWAY on all of the pod's tunnels; those without streams end. */
void amb_inbound_drain(struct amb_pod *pod);
/* Ends all of the pod's tunnels at once. */
void amb_inbound_abort_all(struct amb_pod *pod, enum amb_reason reason);

#endif
