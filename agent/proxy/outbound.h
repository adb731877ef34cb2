/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections that a pod's applications open, captured at 15001. */
#ifndef AMB_OUTBOUND_H
#define AMB_OUTBOUND_H

struct amb_endpoint;
struct amb_pod;

void amb_outbound_accepted(struct amb_pod *pod, int fd, const struct amb_endpoint *src);

#endif
