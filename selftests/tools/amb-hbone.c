// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Drives hbone.ko: amb-hbone CASE. It is agent, applications and peers at once, on loopback, with
 * fixed keys for kernel TLS. Status 0: all was as it should be. Without CASE it names them.
 */
#include "hbone/cases.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "sizes", case_sizes },
	{ "chunks", case_chunks },
	{ "many", case_many },
	{ "starved", case_starved },
	{ "split", case_split },
	{ "padded", case_padded },
	{ "early", case_early },
	{ "slow_reader", case_slow_reader },
	{ "late_reader", case_late_reader },
	{ "slow_window", case_slow_window },
	{ "settings", case_settings },
	{ "errors", case_errors },
	{ "floods", case_floods },
	{ "refused", case_refused },
	{ "mutated", case_mutated },
	{ "control", case_control },
	{ "resets", case_resets },
	{ "close_under_load", case_close_under_load },
	{ "last_frames", case_last_frames },
	{ "last_bytes", case_last_bytes },
	{ "last_netns", case_last_netns },
	{ "last_unread", case_last_unread },
	{ "drain", case_drain },
	{ "adopt", case_adopt },
	{ "notes", case_notes },
	{ "idle", case_idle },
	{ "dropped", case_dropped },
	{ "linger", case_linger },
	{ "netns", case_netns },
	{ "paid", case_paid },
	{ "orphan", case_orphan },
	{ "key", case_key },
	{ "abi", case_abi },
	{ "hold", case_hold },
	{ "no_memory", case_no_memory },
};

int main(int argc, char **argv)
{
	struct rlimit files = { 8192, 8192 };
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &files);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (argc < 2) {
			puts(cases[i].name);
		} else if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			return 0;
		}
	}
	return argc < 2 ? 0 : 2;
}
