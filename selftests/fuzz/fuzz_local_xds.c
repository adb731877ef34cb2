// SPDX-License-Identifier: GPL-2.0-or-later
/* ztunnel's local configuration as a file that anybody may have written. */
#include "fuzz.h"

#include "control/local_xds.h"
#include "mesh/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amb_state *st = amb_state_create(&(struct amb_state_config){ .node = "n1" });
	char *text = fuzz_text(data, size), err[256] = "";
	int ret;

	PROMISE(st);
	ret = amb_local_xds_load(st, NULL, text, err, sizeof(err));
	PROMISE(ret <= 0 && !ret == !*err);
	amb_state_destroy(st);
	free(text);
	return 0;
}
