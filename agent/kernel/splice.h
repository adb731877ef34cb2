/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program that moves bytes of spliced connections: loaded when the first pod opts in. */
#ifndef AMB_KERNEL_SPLICE_H
#define AMB_KERNEL_SPLICE_H

struct amb_bpf;

/* Loads and attaches it; fine when it is there. 0, or -errno: this kernel cannot. */
int amb_splice_load(const struct amb_bpf *b);

#endif
