/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verdicts handed down to the kernel: what the policy engine says of a connection that the
 * kernel had to ask about, so that it need not ask for the next one like it.
 */
#ifndef AMB_VERDICT_H
#define AMB_VERDICT_H

#include "base/addr.h"

struct amb_env;
struct amb_identity;
struct amb_workload;

/*
 * Judges a connection of @peer (NULL: nobody) from @src to @dst, an address and port of @local,
 * and keeps the verdict if @local is a pod that BPF programs of this node capture.
 */
void amb_verdict_keep(const struct amb_env *env, const struct amb_workload *local,
		      const struct amb_identity *peer, const struct amb_endpoint *src,
		      const struct amb_endpoint *dst);

#endif
