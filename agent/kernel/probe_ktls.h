/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether this kernel's TLS does what the record layer needs of it. Rows of probe.c. */
#ifndef AMB_PROBE_KTLS_H
#define AMB_PROBE_KTLS_H

struct amb_probe;

/* Takes the keys of both ciphers and carries bytes both ways. */
int amb_probe_ktls(struct amb_probe *row);
/* Takes new keys for old ones, in both directions. */
int amb_probe_rekey(struct amb_probe *row);

#endif
