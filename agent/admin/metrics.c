// SPDX-License-Identifier: GPL-2.0-or-later
/* Counting: the hooks by which the proxy tells of connections. */
#include "metrics.h"

#include "access.h"
#include "metrics_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void *opened(void *ctx, unsigned int worker, const struct amb_flow *f)
{
	struct amb_metrics *m = ctx;
	struct amb_series *s = amb_series_find(&m->tables[worker], f);

	amb_access_opened(f);
	s->live++;
	amb_series_add(&s->opened, 1);
	return s;
}

static void closed(void *ctx, unsigned int worker, void *cookie, const struct amb_flow *f)
{
	struct amb_series *s = cookie;

	(void)ctx;
	(void)worker;
	amb_access_closed(f);
	amb_series_add(&s->received, f->bytes_to_dst);
	amb_series_add(&s->sent, f->bytes_to_src);
	amb_series_add(&s->closed[f->flag], 1);
	s->live--;
	s->used_ns = f->end_ns;
}

static void failed(void *ctx, unsigned int worker, const struct amb_flow *f)
{
	(void)ctx;
	(void)worker;
	amb_access_failed(f);
}

/*
 * Bytes of live connections. A connection keeps no count of what it told before: each time all
 * of them are summed anew, beside what ended ones left, and the sum is published at the end.
 * Nothing goes twice or backwards, since this is the thread that ends connections too.
 */
static void bytes_begin(void *ctx, unsigned int worker)
{
	struct amb_metrics *m = ctx;
	struct amb_series *s;

	for (s = m->tables[worker].list; s; s = s->next)
		s->live_sent = s->live_received = 0;
}

static void bytes(void *ctx, unsigned int worker, void *cookie, uint64_t to_dst, uint64_t to_src)
{
	struct amb_series *s = cookie;

	(void)ctx;
	(void)worker;
	s->live_received += to_dst;
	s->live_sent += to_src;
}

static void bytes_end(void *ctx, unsigned int worker)
{
	struct amb_metrics *m = ctx;
	struct amb_series *s;

	for (s = m->tables[worker].list; s; s = s->next) {
		__atomic_store_n(&s->shown_sent, s->sent + s->live_sent, __ATOMIC_RELAXED);
		__atomic_store_n(&s->shown_received, s->received + s->live_received,
				 __ATOMIC_RELAXED);
	}
}

static void dns(void *ctx, unsigned int worker, const struct amb_flow_dns *d)
{
	struct amb_metrics *m = ctx;

	amb_dns_series_count(&m->dns[worker], d);
}

static void resolve(void *ctx, const struct amb_workload *source, amb_str host)
{
	struct amb_metrics *m = ctx;

	amb_host_series_count(&m->hosts, source, host);
}

struct amb_metrics *amb_metrics_create(const struct amb_metrics_config *config)
{
	struct amb_metrics *m = calloc(1, sizeof(*m) + config->workers * sizeof(m->tables[0]));
	unsigned int i;
	int err = 0;

	if (!m)
		return NULL;
	m->config = *config;
	m->hooks = (struct amb_flow_hooks){
		.ctx = m,
		.opened = opened,
		.closed = closed,
		.failed = failed,
		.bytes_begin = bytes_begin,
		.bytes = bytes,
		.bytes_end = bytes_end,
		.dns = dns,
		.resolve = resolve,
	};
	amb_host_series_init(&m->hosts);
	m->version = strdup(config->version);
	m->dns = calloc(config->workers, sizeof(*m->dns));
	for (i = 0; m->dns && i < config->workers; i++)
		amb_dns_series_init(&m->dns[i]);
	for (i = 0; i < config->workers; i++)
		err |= amb_series_table_init(&m->tables[i], AMB_METRICS_SERIES);
	if (err || !m->version || !m->dns) {
		amb_metrics_destroy(m);
		return NULL;
	}
	return m;
}

void amb_metrics_destroy(struct amb_metrics *m)
{
	unsigned int i;

	if (!m)
		return;
	for (i = 0; i < m->config.workers; i++)
		amb_series_table_uninit(&m->tables[i]);
	for (i = 0; m->dns && i < m->config.workers; i++)
		amb_labels_uninit(&m->dns[i]);
	amb_labels_uninit(&m->hosts);
	free(m->dns);
	free(m->version);
	free(m);
}

const struct amb_flow_hooks *amb_metrics_hooks(struct amb_metrics *m)
{
	return &m->hooks;
}

const char *amb_metrics_content_type(const char *accept)
{
	static const char openmetrics[] = "application/openmetrics-text";

	while (accept && *accept) {
		size_t len = strcspn(accept, ","), type;

		while (len && (*accept == ' ' || *accept == '\t')) {
			accept++;
			len--;
		}
		type = strcspn(accept, ",; \t");
		if (type == sizeof(openmetrics) - 1 && !strncasecmp(accept, openmetrics, type))
			return "application/openmetrics-text;charset=utf-8;version=1.0.0";
		accept += len;
		accept += *accept == ',';
	}
	return "text/plain; charset=utf-8";
}
