// SPDX-License-Identifier: GPL-2.0-or-later
/* What a user configures: durations, booleans, ports, log filters (also by HTTP). */
#include "fuzz.h"

#include "base/log.h"
#include "base/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char filter[256], again[256];
	char *text = fuzz_text(data, size);
	uint64_t ns = 7;
	uint16_t port = 7;
	bool flag;

	if (amb_util_parse_duration(text, &ns))
		PROMISE(ns == 7);
	if (amb_util_parse_port(text, &port))
		PROMISE(port == 7);
	else
		PROMISE(port);
	(void)amb_util_parse_bool(text, &flag);
	if (!amb_log_set_filter(text)) {
		/* What the log says of its filter it also takes. */
		amb_log_filter(filter, sizeof(filter));
		if (strlen(filter) < sizeof(filter) - 1) {
			PROMISE(!amb_log_set_filter(filter));
			PROMISE(!strcmp(amb_log_filter(again, sizeof(again)), filter));
		}
	}
	free(text);
	return 0;
}
