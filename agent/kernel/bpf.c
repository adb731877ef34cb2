// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * BPF programs and maps of the node.
 *
 * Order when there is something to take over: check that the rows can be read; void the verdicts,
 * since identities have other numbers in another agent; load new programs over the old maps;
 * exchange the programs link by link, each atomically. At no moment is a hook without program.
 *
 * What libbpf needs for loading (the ELF object, its types) is given back at once: only
 * descriptors stay.
 */
#include "bpf.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "amb.skel.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "pins.h"
#include "rows.h"

#define BPFFS_MAGIC 0xcafe4a11
#define CGROUP2_MAGIC 0x63677270
#define CGROUP_ROOT_INO 1 /* kernfs gives it to the first directory of a hierarchy */
#define ETH_HLEN 14
#define USED "another agent uses %s"

static const char *const map_names[AMB_BPF_MAPS] = {
	[AMB_BPF_META] = "amb_meta",	 [AMB_BPF_POD] = "amb_pod",
	[AMB_BPF_ADDR] = "amb_addr",	 [AMB_BPF_CIDR] = "amb_cidr",
	[AMB_BPF_SVC] = "amb_svc",	 [AMB_BPF_END] = "amb_end",
	[AMB_BPF_POLICY] = "amb_policy", [AMB_BPF_FLIGHT] = "amb_flight",
	[AMB_BPF_CONN] = "amb_conn",	 [AMB_BPF_IDENT] = "amb_ident",
	[AMB_BPF_IF] = "amb_if",	 [AMB_BPF_LISTENER] = "amb_listener",
	[AMB_BPF_SPLICE] = "amb_splice", [AMB_BPF_SPLICED] = "amb_spliced",
	[AMB_BPF_STAT] = "amb_stat",	 [AMB_BPF_EVENTS] = "amb_events",
};

static const char *const prog_names[AMB_BPF_PROGS] = {
	[AMB_BPF_ASK] = "amb_ask",	 [AMB_BPF_FROM_POD] = "amb_from_pod",
	[AMB_BPF_TO_POD] = "amb_to_pod", [AMB_BPF_LOOKUP] = "amb_lookup",
	[AMB_BPF_LO] = "amb_lo",
};

/* Programs at the root of the cgroups, and the names of their links. */
static const struct {
	const char *prog, *link;
	enum bpf_attach_type type;
} hooks[] = {
	{ "amb_sockops", "links/sockops", BPF_CGROUP_SOCK_OPS },
	{ "amb_peername4", "links/peername4", BPF_CGROUP_INET4_GETPEERNAME },
	{ "amb_peername6", "links/peername6", BPF_CGROUP_INET6_GETPEERNAME },
	{ "amb_recvmsg4", "links/recvmsg4", BPF_CGROUP_UDP4_RECVMSG },
	{ "amb_recvmsg6", "links/recvmsg6", BPF_CGROUP_UDP6_RECVMSG },
	{ "amb_sendmsg4", "links/sendmsg4", BPF_CGROUP_UDP4_SENDMSG },
	{ "amb_sendmsg6", "links/sendmsg6", BPF_CGROUP_UDP6_SENDMSG },
	/* Last: what they send away has to be found again. */
	{ "amb_connect4", "links/connect4", BPF_CGROUP_INET4_CONNECT },
	{ "amb_connect6", "links/connect6", BPF_CGROUP_INET6_CONNECT },
};

/* libbpf tells causes in words only; the last of them is worth an error message. */
static char last_words[160];

static int print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char text[sizeof(last_words)];

	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = 0;
	if (level == LIBBPF_WARN)
		memcpy(last_words, text, sizeof(last_words));
	amb_debug(KERNEL, "%s", text);
	return 0;
}

static int __attribute__((format(printf, 4, 5)))
say(int code, char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return code;
}

/* Where the pins are */

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (uint32_t)fs.f_type == BPFFS_MAGIC;
}

/* The directory above is a bpffs, or becomes one, as other users of BPF do it too. */
static int open_dir(const char *path, char *err, size_t errlen)
{
	_cleanup_free_ char *above = strdup(path);
	_cleanup_fd_ int fd = -1;
	char *slash;

	slash = above ? strrchr(above, '/') : NULL;
	if (!slash || slash == above)
		return say(-EINVAL, err, errlen, "%s is no place for pins", path);
	*slash = 0;
	if (!is_bpffs(above) && mount("bpf", above, "bpf", 0, "mode=0700"))
		return say(-errno, err, errlen, "no bpffs at %s, and none can be mounted: %s",
			   above, strerror(errno));
	if (mkdir(path, 0700) && errno != EEXIST)
		return say(-errno, err, errlen, "%s: %s", path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return say(-errno, err, errlen, "%s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB))
		return say(-EBUSY, err, errlen, USED, path);
	if ((mkdirat(fd, "links", 0700) && errno != EEXIST) ||
	    (mkdirat(fd, "pods", 0700) && errno != EEXIST))
		return say(-errno, err, errlen, "%s: %s", path, strerror(errno));
	return take_fd(&fd);
}

/* The root of all cgroups */

static int open_cgroup(const char *path)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;
	struct stat st;

	if (fd < 0 || fstatfs(fd, &fs) || fstat(fd, &st))
		return -errno;
	if ((uint32_t)fs.f_type != CGROUP2_MAGIC || st.st_ino != CGROUP_ROOT_INO)
		return -ENOTDIR;
	return take_fd(&fd);
}

/* A mount of our own, seen by nobody: for where /sys hides the host's, as in `ip netns exec`. */
static int mount_cgroup(void)
{
	_cleanup_fd_ int fs = fsopen("cgroup2", FSOPEN_CLOEXEC);
	_cleanup_fd_ int fd = -1;
	struct stat st;

	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	return st.st_ino == CGROUP_ROOT_INO ? take_fd(&fd) : -ENOTDIR;
}

static int find_cgroup(const char *path, char *err, size_t errlen)
{
	struct mntent *m;
	int fd = -ENOENT;
	FILE *f;

	if (path) {
		fd = open_cgroup(path);
		if (fd < 0)
			say(fd, err, errlen, "%s is not the root of cgroup v2", path);
		return fd;
	}
	f = setmntent("/proc/self/mounts", "re");
	while (f && fd < 0 && (m = getmntent(f))) {
		if (!strcmp(m->mnt_type, "cgroup2"))
			fd = open_cgroup(m->mnt_dir);
	}
	if (f)
		endmntent(f);
	if (fd < 0)
		fd = mount_cgroup();
	if (fd < 0)
		say(fd, err, errlen,
		    "the root of cgroup v2 is not to be seen (in a container: give it the host's "
		    "/sys/fs/cgroup, and --cgroup)");
	return fd;
}

/* Taking over */

/* Only what is not there is nothing: what cannot be opened now may be a node's whole capture. */
static int find_map(const struct amb_bpf *b, enum amb_bpf_map map, int *fd)
{
	*fd = amb_pins_get(b->dir, b->path, map_names[map]);
	return *fd < 0 && *fd != -ENOENT ? *fd : 0;
}

static int check_meta(const struct amb_bpf *b, bool *there, char *err, size_t errlen)
{
	_cleanup_fd_ int fd = -1;
	int code = find_map(b, AMB_BPF_META, &fd);
	struct amb_meta_row row = { 0 };
	uint32_t zero = 0;

	*there = code || fd >= 0;
	if (code)
		return say(code, err, errlen, "%s/amb_meta: %s", b->path, strerror(-code));
	if (fd < 0)
		return 0;
	if (bpf_map_lookup_elem(fd, &zero, &row))
		return say(-errno, err, errlen, "%s/amb_meta: %s", b->path, strerror(errno));
	/* A start that did not get to the end leaves a row of zeros. */
	if (!row.magic && !row.abi)
		return 0;
	if (row.magic != AMB_MAGIC || row.abi != AMB_ABI)
		return say(
			-EPROTO, err, errlen,
			"%s is of ABI %u, this agent speaks %u; 'ambientctl uninstall' removes it",
			b->path, row.abi, AMB_ABI);
	return 0;
}

/* Nobody's number and nobody's policies: until a pod is published anew the agent is asked. */
static int void_pods(const struct amb_bpf *b)
{
	_cleanup_fd_ int fd = -1;
	int err = find_map(b, AMB_BPF_POD, &fd);
	uint64_t key, *at = NULL;
	struct amb_pod_row row;

	if (fd < 0)
		return err;
	while (!bpf_map_get_next_key(fd, at, &key)) {
		at = &key;
		if (bpf_map_lookup_elem(fd, &key, &row))
			continue;
		row.identity = 0;
		row.stamp = (uint64_t)amb_util_random() << 32 | amb_util_random();
		if (bpf_map_update_elem(fd, &key, &row, BPF_EXIST) && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int delete_verdicts(const struct amb_bpf *b)
{
	_cleanup_fd_ int fd = -1;
	int err = find_map(b, AMB_BPF_POLICY, &fd) ?: void_pods(b);
	struct amb_policy_key key;

	while (!err && fd >= 0 && !bpf_map_get_next_key(fd, NULL, &key)) {
		if (bpf_map_delete_elem(fd, &key) && errno != ENOENT)
			err = -errno;
	}
	return err;
}

/*
 * Identities and policies had other numbers in the agent before, which this one gives again, to
 * others: no verdict of his may be left when the first pod is published.
 */
static int void_verdicts(const struct amb_bpf *b, char *err, size_t errlen)
{
	int code = delete_verdicts(b);

	return code ? say(code, err, errlen, "verdicts in %s: %s", b->path, strerror(-code)) : 0;
}

/* Loading */

static int keep_fd(int fd)
{
	int kept = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return kept < 0 ? -errno : kept;
}

static int keep_fds(struct amb_prog *skel, struct amb_bpf *b)
{
	size_t i;

	for (i = 0; i < AMB_BPF_MAPS; i++) {
		b->map[i] = keep_fd(bpf_object__find_map_fd_by_name(skel->obj, map_names[i]));
		if (b->map[i] < 0)
			return b->map[i];
	}
	for (i = 0; i < AMB_BPF_PROGS; i++) {
		b->prog[i] = keep_fd(bpf_program__fd(
			bpf_object__find_program_by_name(skel->obj, prog_names[i])));
		if (b->prog[i] < 0)
			return b->prog[i];
	}
	return 0;
}

static int write_meta(struct amb_prog *skel, const struct amb_bpf *b)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);
	struct amb_meta_row row = {
		.magic = AMB_MAGIC,
		.abi = AMB_ABI,
		/* Until the state was published whole. */
		.flags = AMB_META_PARTIAL | (b->wait ? AMB_META_WAIT : 0),
	};
	uint32_t zero = 0;

	if (bpf_prog_test_run_opts(bpf_program__fd(skel->progs.amb_whoami), &run))
		return -errno;
	row.agent_pid = run.retval;
	return bpf_map_update_elem(b->map[AMB_BPF_META], &zero, &row, BPF_ANY) ? -errno : 0;
}

static int hang_up(struct amb_prog *skel, const struct amb_bpf *b, int cgroup, char *err,
		   size_t errlen)
{
	size_t i;
	int code;

	for (i = 0; i < AMB_ARRAY_SIZE(hooks); i++) {
		int prog =
			bpf_program__fd(bpf_object__find_program_by_name(skel->obj, hooks[i].prog));

		code = amb_pins_link(b->dir, b->path, hooks[i].link, prog, cgroup, hooks[i].type);
		if (code)
			return say(code, err, errlen, "attaching %s: %s", hooks[i].prog,
				   strerror(-code));
	}
	return 0;
}

static int load(struct amb_bpf *b, int cgroup, char *err, size_t errlen)
{
	struct amb_prog *skel;
	int code;

	last_words[0] = 0;
	libbpf_set_print(print);
	skel = amb_prog__open();
	if (!skel)
		return say(-errno, err, errlen, "BPF object: %s", strerror(errno));
	code = amb_pins_reuse(skel->obj, b->path);
	if (!code)
		code = amb_prog__load(skel);
	if (code)
		say(code, err, errlen, "loading BPF programs: %s%s%s", strerror(-code),
		    *last_words ? ": " : "", last_words);
	if (!code) {
		code = keep_fds(skel, b) ?: write_meta(skel, b);
		if (code)
			say(code, err, errlen, "BPF maps: %s", strerror(-code));
	}
	if (!code)
		code = hang_up(skel, b, cgroup, err, errlen);
	amb_prog__destroy(skel);
	return code;
}

static struct amb_bpf *alloc(const char *path)
{
	struct amb_bpf *b = malloc(sizeof(*b));

	if (!b)
		return NULL;
	/* All descriptors are -1. */
	memset(b, 0xff, sizeof(*b));
	b->adopted = b->wait = false;
	b->path = strdup(path);
	if (!b->path) {
		free(b);
		return NULL;
	}
	return b;
}

static void release(struct amb_bpf *b)
{
	size_t i;

	for (i = 0; i < AMB_BPF_MAPS; i++)
		amb_cleanup_fd(&b->map[i]);
	for (i = 0; i < AMB_BPF_PROGS; i++)
		amb_cleanup_fd(&b->prog[i]);
	amb_cleanup_fd(&b->dir);
	free(b->path);
	free(b);
}

struct amb_bpf *amb_bpf_open(const struct amb_bpf_config *config, char *err, size_t errlen)
{
	_cleanup_fd_ int cgroup = find_cgroup(config->cgroup, err, errlen);
	struct amb_bpf *b;
	int code;

	if (cgroup < 0) {
		errno = -cgroup;
		return NULL;
	}
	b = alloc(config->dir);
	if (!b) {
		say(0, err, errlen, "out of memory");
		return NULL;
	}
	b->wait = config->wait;
	b->dir = code = open_dir(config->dir, err, errlen);
	if (code >= 0)
		code = check_meta(b, &b->adopted, err, errlen);
	if (!code)
		code = void_verdicts(b, err, errlen);
	if (!code)
		code = load(b, cgroup, err, errlen);
	if (code) {
		/* What was there before stays; what is half made of nothing goes. */
		amb_bpf_close(b, b->adopted || b->dir < 0);
		errno = -code;
		return NULL;
	}
	return b;
}

void amb_bpf_close(struct amb_bpf *b, bool keep)
{
	if (!b)
		return;
	if (!keep) {
		/* For a filter in a pod that could not be found: no next agent is waited for. */
		(void)amb_rows_set_meta(b, AMB_META_PARTIAL);
		amb_pins_remove_all(b->path);
	}
	release(b);
}

struct amb_bpf *amb_bpf_find(const char *dir)
{
	struct amb_bpf *b = alloc(dir);
	int err = 0;
	size_t i;

	if (!b)
		return NULL;
	libbpf_set_print(print);
	b->adopted = true;
	b->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->dir < 0)
		err = errno;
	else if (flock(b->dir, LOCK_EX | LOCK_NB))
		err = EBUSY;
	if (err) {
		release(b);
		errno = err;
		return NULL;
	}
	/* A start that was cut short has not pinned all of them. */
	for (i = 0; i < AMB_BPF_MAPS; i++)
		b->map[i] = amb_pins_get(b->dir, b->path, map_names[i]);
	return b;
}

struct amb_bpf *amb_bpf_inherit(const char *dir, char *err, size_t errlen)
{
	struct amb_bpf *b = amb_bpf_find(dir);
	int code = b ? 0 : -errno;
	bool there;

	if (code == -EBUSY)
		say(code, err, errlen, USED, dir);
	else if (code)
		say(code, err, errlen, "%s: %s", dir, strerror(-code));
	else
		code = check_meta(b, &there, err, errlen) ?: void_verdicts(b, err, errlen);
	if (!code)
		return b;
	amb_bpf_close(b, true);
	errno = -code;
	return NULL;
}

int amb_bpf_ask(const struct amb_bpf *b, struct amb_ask *ask)
{
	uint8_t in[ETH_HLEN + sizeof(*ask)] = { 0 }, out[sizeof(in)];
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in, .data_size_in = sizeof(in),
		    .data_out = out, .data_size_out = sizeof(out), .repeat = 1);

	memcpy(in + ETH_HLEN, ask, sizeof(*ask));
	if (bpf_prog_test_run_opts(b->prog[AMB_BPF_ASK], &run))
		return -errno;
	if (run.retval)
		return -ENOENT;
	memcpy(ask, out + ETH_HLEN, sizeof(*ask));
	return 0;
}
