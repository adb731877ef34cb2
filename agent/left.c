// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Programs that an agent before left, for one that does not use them.
 *
 * Where rules of ours take their place, programs stay in each pod until its rules are there. Both
 * together refuse what comes from the pod or to it, since the agent does not know what the programs
 * send to it; without either it would pass in clear.
 */
#include "left.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "kernel/attach.h"
#include "kernel/bpf.h"
#include "kernel/rows.h"
#include "kernel/uninstall.h"

#include <errno.h>
#include <string.h>

void amb_left_remove(const char *dir)
{
	struct amb_bpf *b = amb_bpf_find(dir);
	struct amb_uninstall out;
	int err;

	if (!b)
		return;
	amb_bpf_close(b, true);
	err = amb_uninstall(dir, &out);
	if (err)
		amb_err(KERNEL, "programs of an agent before cannot be removed: %s, continuing",
			strerror(-err));
	else
		amb_info(KERNEL, "programs of an agent before, with %u pods, are removed",
			 out.pods);
}

static bool nobody(void *ctx, uint64_t cookie)
{
	(void)ctx;
	(void)cookie;
	return false;
}

/* Has the last pod left? */
static void look(struct amb_bpf **left)
{
	uint64_t cookie;

	if (amb_rows_next(*left, AMB_BPF_POD, true, &cookie))
		return;
	amb_attach_sweep(*left, nobody, NULL);
	amb_bpf_close(take_ptr(*left), false);
	amb_info(KERNEL, "programs of an agent before are removed");
}

int amb_left_find(const char *dir, struct amb_bpf **left, char *err, size_t errlen)
{
	*left = amb_bpf_inherit(dir, err, errlen);
	if (*left)
		look(left);
	else if (errno == EACCES || errno == EPERM)
		amb_warn(KERNEL,
			 "whether an agent before left programs cannot be told: %s, continuing",
			 err);
	else if (errno != ENOENT && errno != ENOTDIR)
		return -errno;
	return 0;
}

static bool has(const struct amb_bpf *left, struct amb_netns *ns, uint64_t *cookie, uint32_t *flags)
{
	struct amb_pod_row row;

	if (!left || amb_attach_cookie(ns, cookie) ||
	    !amb_rows_get(left, AMB_BPF_POD, cookie, &row))
		return false;
	*flags = row.flags;
	return true;
}

static void forget(struct amb_bpf **left, uint64_t cookie)
{
	(void)amb_rows_del(*left, AMB_BPF_POD, &cookie);
	look(left);
}

void amb_left_ruled(struct amb_bpf **left, struct amb_netns *ns)
{
	uint64_t cookie;
	uint32_t flags;

	if (!has(*left, ns, &cookie, &flags))
		return;
	if (!(flags & AMB_POD_RULES)) {
		/* The routes are the rules' as well. */
		amb_attach_turn(*left, ns, cookie, flags);
		ns = NULL;
	}
	amb_attach_remove(*left, ns, cookie, flags);
	forget(left, cookie);
}

void amb_left_free(struct amb_bpf **left, struct amb_netns *ns)
{
	uint64_t cookie;
	uint32_t flags;

	if (!has(*left, ns, &cookie, &flags))
		return;
	amb_attach_remove(*left, ns, cookie, flags);
	forget(left, cookie);
}

void amb_left_sweep(struct amb_bpf **left, bool (*wanted)(void *ctx, uint64_t cookie), void *ctx)
{
	uint64_t cookie, next;
	bool more;

	if (!*left)
		return;
	amb_uninstall_unwanted(*left, wanted, ctx);
	amb_attach_sweep(*left, wanted, ctx);
	more = amb_rows_next(*left, AMB_BPF_POD, true, &cookie);
	while (more) {
		next = cookie;
		more = amb_rows_next(*left, AMB_BPF_POD, false, &next);
		if (!wanted(ctx, cookie))
			(void)amb_rows_del(*left, AMB_BPF_POD, &cookie);
		cookie = next;
	}
	look(left);
}

void amb_left_close(struct amb_bpf *left, bool keep)
{
	if (!keep)
		amb_left_sweep(&left, nobody, NULL);
	amb_bpf_close(left, true);
}
