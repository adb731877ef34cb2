// SPDX-License-Identifier: GPL-2.0-or-later
/* Pinned BPF objects. */
#include "pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"

/* libbpf pins by path only; @dir is there to look before. */
static int path_of(char *to, const char *path, const char *name, const char *suffix)
{
	int n = snprintf(to, PATH_MAX, "%s/%s%s", path, name, suffix);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : n;
}

int amb_pins_reuse(struct bpf_object *obj, const char *path)
{
	struct bpf_map *map;
	char full[PATH_MAX];
	int err;

	bpf_object__for_each_map(map, obj)
	{
		/* Sections of constants belong to one version of the programs. */
		if (bpf_map__is_internal(map))
			continue;
		err = path_of(full, path, bpf_map__name(map), "");
		if (err < 0)
			return err;
		if (bpf_map__set_pin_path(map, full))
			return -errno;
	}
	return 0;
}

int amb_pins_get(int dir, const char *path, const char *name)
{
	char full[PATH_MAX];
	int fd;

	if (faccessat(dir, name, F_OK, 0))
		return -errno;
	fd = path_of(full, path, name, "");
	if (fd < 0)
		return fd;
	fd = bpf_obj_get(full);
	return fd < 0 ? -errno : fd;
}

/* Beside the old one first, so that the hook is never without a program. */
static int make_link(int dir, const char *path, const char *name, int prog, int target,
		     enum bpf_attach_type type)
{
	_cleanup_fd_ int link = bpf_link_create(prog, target, type, NULL);
	char next[PATH_MAX];
	int n;

	if (link < 0)
		return -errno;
	n = path_of(next, path, name, "-new");
	if (n < 0)
		return n;
	if ((unlink(next) && errno != ENOENT) || bpf_obj_pin(link, next) ||
	    renameat(AT_FDCWD, next, dir, name))
		return -errno;
	return 0;
}

int amb_pins_link(int dir, const char *path, const char *name, int prog, int target,
		  enum bpf_attach_type type)
{
	_cleanup_fd_ int link = amb_pins_get(dir, path, name);

	if (link >= 0 && !bpf_link_update(link, prog, NULL))
		return 0;
	/* There is none, or its cgroup, namespace or interface went away. */
	return make_link(dir, path, name, prog, target, type);
}

int amb_pins_remove(int dir, const char *name)
{
	return unlinkat(dir, name, 0) && errno != ENOENT ? -errno : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return type == FTW_DP ? rmdir(path) : unlink(path);
}

int amb_pins_remove_all(const char *path)
{
	return nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS) && errno != ENOENT ? -errno : 0;
}
