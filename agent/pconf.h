/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ProxyConfig of a mesh, as far as ztunnel reads it: the variable PROXY_CONFIG, and
 * defaultConfig of the mounted mesh configuration. The environment wins over the first, that over
 * the second.
 */
#ifndef AMB_PCONF_H
#define AMB_PCONF_H

#include <stddef.h>
#include <stdint.h>

#define AMB_PCONF_MESH "./etc/istio/config/mesh"

struct amb_pconf {
	uint16_t admin_port, stats_port; /* 0: not said */
	int concurrency; /* -1: not said, 0: one for each CPU */
};

/*
 * Reads both. discoveryAddress becomes XDS_ADDRESS and proxyMetadata ISTIO_META_* in the
 * process's environment, where these are not set; so it comes before others look there, and
 * before threads. Ends the process (64, one line) on what cannot be meant.
 */
void amb_pconf_read(struct amb_pconf *p);
/* What the variable says, over what is in @p. 0, or -EINVAL and @why. */
int amb_pconf_text(struct amb_pconf *p, const char *text, char *why, size_t room);

#endif
