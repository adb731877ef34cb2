/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pinned BPF objects: found, made, exchanged, removed. Private to kernel/. */
#ifndef AMB_PINS_H
#define AMB_PINS_H

#include <linux/bpf.h>

struct bpf_object;

/* Has @obj use the maps pinned in @path, or pin its own there. Before it is loaded. 0 or -errno. */
int amb_pins_reuse(struct bpf_object *obj, const char *path);

/* The object pinned as @name in @path, whose descriptor is @dir. -ENOENT or other -errno. */
int amb_pins_get(int dir, const char *path, const char *name);

/*
 * Has @prog run at @target (a cgroup's or namespace's descriptor, or an interface's index): the
 * pinned link @name gets it in place of its old program, or a new link is made and pinned. A link
 * whose target is gone is replaced. 0 or -errno.
 */
int amb_pins_link(int dir, const char *path, const char *name, int prog, int target,
		  enum bpf_attach_type type);

/* Takes a pin away, which ends a link. 0, also when it is not there, or -errno. */
int amb_pins_remove(int dir, const char *name);

/* Removes @path with all that is pinned below. 0 or -errno. */
int amb_pins_remove_all(const char *path);

#endif
