/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What metrics (counting) and scrape (showing) share. */
#ifndef AMB_METRICS_PRIV_H
#define AMB_METRICS_PRIV_H

#include "dns_series.h"
#include "host_series.h"
#include "metrics.h"
#include "series.h"

struct amb_metrics {
	struct amb_metrics_config config;
	struct amb_flow_hooks hooks;
	char *version;
	struct amb_labels *dns; /* by worker */
	struct amb_labels hosts;
	struct amb_series_table tables[]; /* by worker */
};

#endif
