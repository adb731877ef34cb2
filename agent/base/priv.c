// SPDX-License-Identifier: GPL-2.0-or-later
/* Giving up what a running agent does not need. */
#include "priv.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "util.h"

int amb_priv_prepare(void)
{
	struct rlimit files;

	signal(SIGPIPE, SIG_IGN);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -errno;
	if (getrlimit(RLIMIT_NOFILE, &files))
		return -errno;
	files.rlim_cur = files.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &files) ? -errno : 0;
}

/*
 * A list of what is refused, not of what is allowed: libraries below us may change which
 * harmless calls they make, and an agent that dies of a new libc helps nobody. What is here
 * would turn a bug in the agent into the host's.
 */
static const int refused[] = {
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(reboot),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(adjtimex),
	SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(keyctl),
	SCMP_SYS(quotactl),
	SCMP_SYS(acct),
	SCMP_SYS(unshare),
	SCMP_SYS(personality),
	SCMP_SYS(mknod),
	SCMP_SYS(mknodat),
	SCMP_SYS(open_by_handle_at),
};

static int drop_calls(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int err = 0;
	size_t i;

	if (!ctx)
		return -ENOMEM;
	for (i = 0; i < AMB_ARRAY_SIZE(refused) && !err; i++) {
		err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
		/* A call that this architecture does not have cannot be made either. */
		if (err == -EDOM)
			err = 0;
	}
	if (!err)
		err = seccomp_load(ctx);
	seccomp_release(ctx);
	return err;
}

static const unsigned int kept[] = {
	CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_NET_RAW, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE,
};

/* What a container did not give cannot be kept; what misses it says so itself. */
static int drop_capabilities(void)
{
	const capng_type_t all = CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET;
	bool have[AMB_ARRAY_SIZE(kept)], bounds;
	size_t i;

	if (capng_get_caps_process())
		return -EPERM;
	for (i = 0; i < AMB_ARRAY_SIZE(kept); i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, kept[i]);
	/* Without it the bounding set stays; we exec nothing, and no_new_privs is set. */
	bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	capng_clear(CAPNG_SELECT_BOTH);
	for (i = 0; i < AMB_ARRAY_SIZE(kept); i++) {
		if (have[i] && capng_update(CAPNG_ADD, all, kept[i]))
			return -EPERM;
	}
	return capng_apply(bounds ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

int amb_priv_drop(void)
{
	int err = drop_capabilities();

	if (err)
		return err;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return drop_calls();
}
