/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real programs and maps for C tests, pinned in a bpffs that nobody else sees. Cookies of
 * pods that are not there are far from those that the kernel gives, so that the programs, which
 * hang at the root of all cgroups, take no notice of anybody's connections.
 */
#ifndef SELFTESTS_BPFTEST_H
#define SELFTESTS_BPFTEST_H

#include "harness.h"

#include "base/addr.h"
#include "kernel/bpf.h"
#include "kernel/rows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Rows of tables say what they are about and no more. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define KSFT_SKIP 4
#define COOKIE(n) (0xa5a5000000000000ull + (n))

static struct amb_bpf *bt;
static char bt_dir[64];

__attribute__((unused)) static bool bt_load(char *err, size_t errlen)
{
	const struct amb_bpf_config config = { .dir = bt_dir };

	bt = amb_bpf_open(&config, err, errlen);
	return bt;
}

/* False: BPF is not allowed here, which is said; the caller returns KSFT_SKIP. */
__attribute__((unused)) static bool bt_begin(void)
{
	char err[256] = "";

	if (geteuid()) {
		printf("1..0 # SKIP needs root\n");
		return false;
	}
	/* All of it goes with the process. */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/mnt", "tmpfs", 0, NULL) || mkdir("/mnt/bpf", 0700)) {
		printf("1..0 # SKIP no mount namespace: %s\n", strerror(errno));
		return false;
	}
	snprintf(bt_dir, sizeof(bt_dir), "/mnt/bpf/ambient");
	if (bt_load(err, sizeof(err)))
		return true;
	printf("1..0 # SKIP BPF is not allowed: %s\n", err);
	return false;
}

__attribute__((unused)) static int bt_end(int status)
{
	amb_bpf_close(bt, false);
	if (access(bt_dir, F_OK) == 0) {
		printf("# %s is left\n", bt_dir);
		return 1;
	}
	return status;
}

__attribute__((unused)) static struct amb_in6 ip(const char *text)
{
	struct amb_addr a;

	if (amb_addr_parse(text, &a))
		abort();
	return amb_rows_addr(&a);
}

/* Takes all rows out of the maps that have some. */
__attribute__((unused)) static void bt_clear(void)
{
	static const enum amb_bpf_map maps[] = {
		AMB_BPF_POD, AMB_BPF_ADDR,   AMB_BPF_CIDR,   AMB_BPF_SVC,   AMB_BPF_END,
		AMB_BPF_IF,  AMB_BPF_POLICY, AMB_BPF_FLIGHT, AMB_BPF_IDENT,
	};
	char key[64];
	size_t i;

	for (i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		while (amb_rows_next(bt, maps[i], true, key))
			CHECK_EQ(amb_rows_del(bt, maps[i], key), 0);
	}
	CHECK_EQ(amb_rows_set_meta(bt, 0), 0);
}

__attribute__((unused)) static size_t bt_count(enum amb_bpf_map map)
{
	char key[64];
	bool more = amb_rows_next(bt, map, true, key);
	size_t n = 0;

	for (; more; n++)
		more = amb_rows_next(bt, map, false, key);
	return n;
}

__attribute__((unused)) static void bt_addr(const char *addr, uint64_t netns, uint32_t identity,
					    uint32_t flags)
{
	struct amb_addr_row row = { .netns = netns, .identity = identity, .flags = flags };
	struct amb_in6 key = ip(addr);

	CHECK_EQ(amb_rows_put(bt, AMB_BPF_ADDR, &key, &row), 0);
}

__attribute__((unused)) static void bt_cidr(const char *addr, uint32_t bits, uint32_t flags)
{
	struct amb_cidr_key key = { .bits = bits, .addr = ip(addr) };
	struct amb_cidr_row row = { .flags = flags };

	CHECK_EQ(amb_rows_put(bt, AMB_BPF_CIDR, &key, &row), 0);
}

#endif
