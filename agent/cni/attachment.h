/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the CNI plugin did, one small file an attachment: DIR/CONTAINER-IFNAME.json. The plugin
 * writes and removes them whether the agent runs or not; an agent that starts reads them, since
 * nobody tells it of running pods again. The directory is on /run: like the namespaces it does
 * not outlive the machine.
 */
#ifndef AMB_ATTACHMENT_H
#define AMB_ATTACHMENT_H

#include <stdbool.h>

#define AMB_ATTACHMENT_DIR "/run/ambient/cni"
#define AMB_ATTACHMENT_BYTES 8192 /* of a file; longer ones are none of ours */

struct amb_attachment {
	const char *network; /* name in the network configuration */
	const char *container, *ifname; /* together the key */
	const char *pod; /* "ns/name" */
	const char *netns; /* path */
};

/* Writes, whole or not at all; makes @dir when it is missing. 0 or -errno. */
int amb_attachment_write(const char *dir, const struct amb_attachment *a);
/* 0 or -errno; one that is not there is fine. */
int amb_attachment_remove(const char *dir, const char *container, const char *ifname);
/*
 * Calls @fn for each of @dir, in no order; it may remove the one it is called for, and returns
 * false to stop. Files that cannot be read are skipped. 0 or -errno; no directory is fine.
 */
int amb_attachment_each(const char *dir, bool (*fn)(void *ctx, const struct amb_attachment *a),
			void *ctx);

#endif
