/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interception by nftables: the rules of istio-cni (ztunnel-interop 3.7, 3.8) in a pod's
 * namespace, for pods that no CNI has prepared; and the policy routing that goes with them.
 */
#ifndef AMB_NFT_H
#define AMB_NFT_H

#include <stdbool.h>

struct amb_netns;

struct amb_nft_config {
	bool ipv6;
	bool dns_capture; /* redirect port 53 to 15053 */
	bool ingress_mode; /* ambient.istio.io/bypass-inbound-capture */
};

/*
 * Installs the rules in @ns, replacing what an earlier agent left; all or nothing.
 * 0 or -errno; -EOPNOTSUPP when the kernel lacks a piece (@err says which).
 */
int amb_nft_install(struct amb_netns *ns, const struct amb_nft_config *config, char *err,
		    unsigned long errlen);

/* Has @ns our table? False when that cannot be told. Leaves the thread in @ns. */
bool amb_nft_has(struct amb_netns *ns);

/* Removes everything that install made; fine when nothing is there. */
int amb_nft_remove(struct amb_netns *ns);
/* The same but for the routes: something else captures now, and needs them. As amb_nft_has(). */
int amb_nft_remove_rules(struct amb_netns *ns);

/*
 * The same of the table that leads connections with AMB_DIRECT_MARK past the rules of a CNI,
 * which stay as they are.
 */
int amb_nft_direct_install(struct amb_netns *ns, bool ipv6, char *err, unsigned long errlen);
bool amb_nft_direct_has(struct amb_netns *ns);
int amb_nft_direct_remove(struct amb_netns *ns);

#endif
