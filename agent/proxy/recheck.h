/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Live connections judged again by revocation lists that changed. */
#ifndef AMB_RECHECK_H
#define AMB_RECHECK_H

struct amb_bytes;

/* Ends the thread's connections whose peers are named by now (crl.h). Worker thread. */
void amb_recheck_conns(struct amb_bytes *b);

#endif
