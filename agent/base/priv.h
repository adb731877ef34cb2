/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Giving up what a running agent does not need. */
#ifndef AMB_PRIV_H
#define AMB_PRIV_H

/*
 * Before anything is opened: no core dumps and no ptrace by non-root (keys live in memory),
 * RLIMIT_NOFILE raised to the hard limit, SIGPIPE ignored. 0 or -errno.
 */
int amb_priv_prepare(void);

/*
 * After start, before the first byte of a peer, on the main thread before others are made:
 * keeps CAP_NET_ADMIN, CAP_SYS_ADMIN (setns), CAP_NET_RAW, CAP_DAC_READ_SEARCH and
 * CAP_SYS_PTRACE (/proc/PID/ns of pods) as far as it has them, sets no_new_privs, and refuses
 * system calls with EPERM that the agent never needs. 0 or -errno.
 */
int amb_priv_drop(void);

#endif
