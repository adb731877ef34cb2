// SPDX-License-Identifier: GPL-2.0-or-later
/* PROXY_CONFIG, a variable that whoever writes a pod's YAML may fill. */
#include "fuzz.h"

#include "pconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amb_pconf p = { .concurrency = -1 };
	char *text = fuzz_text(data, size), why[256] = "";
	int ret;

	ret = amb_pconf_text(&p, text, why, sizeof(why));
	PROMISE(ret <= 0 && !ret == !*why);
	PROMISE(p.concurrency >= -1 && p.concurrency <= UINT16_MAX);
	/* Metadata and addresses go there. */
	clearenv();
	free(text);
	return 0;
}
