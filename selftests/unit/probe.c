// SPDX-License-Identifier: GPL-2.0-or-later
/* The probe tries each thing and leaves nothing open. */
#include "kernel/probe.h"

#include <dirent.h>
#include <unistd.h>

#include "harness.h"

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

TEST(rows_are_whole)
{
	struct amb_probe rows[AMB_PROBE_MAX];
	size_t n = amb_probe_run(rows), i;

	CHECK(n > 0 && n <= AMB_PROBE_MAX);
	for (i = 0; i < n; i++) {
		CASE(rows[i].name);
		CHECK(rows[i].purpose && *rows[i].purpose);
		CHECK(rows[i].err <= 0);
		/* what failed is named, and nothing is named when nothing did */
		CHECK_EQ(!rows[i].err, !rows[i].detail[0]);
	}
}

TEST(nothing_stays_open)
{
	struct amb_probe rows[AMB_PROBE_MAX];
	int before = open_fds();

	amb_probe_run(rows);
	CHECK_EQ(open_fds(), before);
}

TEST(root_has_what_is_needed)
{
	struct amb_probe rows[AMB_PROBE_MAX];
	size_t n = amb_probe_run(rows), i;

	for (i = 0; i < n && !geteuid(); i++) {
		CASE(rows[i].name);
		CHECK(!rows[i].needed || !rows[i].err);
	}
}

int main(void)
{
	return harness_run();
}
