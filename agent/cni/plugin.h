/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ambient-cni, a chained CNI plugin: tells the agent of this node where a pod is, and lets the
 * pod start when it is in the mesh. A pod that the agent does not want passes; it joins later
 * should the mesh change its mind.
 */
#ifndef AMB_PLUGIN_H
#define AMB_PLUGIN_H

#include "call.h"

/* One call of the plugin: what it prints goes to @out. Returns the exit status, 0 or 1. */
int amb_plugin_run(const struct amb_call_env *env, FILE *in, FILE *out);

#endif
