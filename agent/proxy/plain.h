/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plaintext connections into a pod, captured at 15006. */
#ifndef AMB_PLAIN_H
#define AMB_PLAIN_H

struct amb_endpoint;
struct amb_pod;

void amb_plain_accepted(struct amb_pod *pod, int fd, const struct amb_endpoint *src);

#endif
