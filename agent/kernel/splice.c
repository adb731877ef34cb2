// SPDX-License-Identifier: GPL-2.0-or-later
/* The program that moves bytes of spliced connections. It stays as long as the pinned map. */
#include "splice.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "bpf.h"
#include "pins.h"
#include "splice.skel.h"

int amb_splice_load(const struct amb_bpf *b)
{
	struct splice_prog *skel = splice_prog__open();
	int err;

	if (!skel)
		return -errno;
	err = amb_pins_reuse(skel->obj, b->path);
	if (!err)
		err = splice_prog__load(skel);
	if (!err && bpf_prog_attach(bpf_program__fd(skel->progs.amb_msg), b->map[AMB_BPF_SPLICE],
				    BPF_SK_MSG_VERDICT, 0))
		err = -errno;
	splice_prog__destroy(skel);
	return err;
}
