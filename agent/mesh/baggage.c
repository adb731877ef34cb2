// SPDX-License-Identifier: GPL-2.0-or-later
/* HBONE's metadata headers, written and read (reference 4.3). */
#include "baggage.h"

#include "base/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const type_keys[] = {
	[AMB_WTYPE_DEPLOYMENT] = "k8s.deployment.name",
	[AMB_WTYPE_CRONJOB] = "k8s.cronjob.name",
	[AMB_WTYPE_POD] = "k8s.pod.name",
	[AMB_WTYPE_JOB] = "k8s.job.name",
};

/* A value goes into a header as it is: no separators, nothing that is not printable ASCII. */
static bool plain(const char *s)
{
	for (; *s; s++) {
		if (*s <= ' ' || *s > '~' || *s == ',')
			return false;
	}
	return true;
}

size_t amb_baggage_write(const struct amb_workload *w, char *buf, size_t len)
{
	const struct {
		const char *key, *value;
	} items[] = {
		{ "k8s.cluster.name", w->cluster },	      { "k8s.namespace.name", w->ns },
		{ type_keys[w->type], w->workload_name },     { "service.name", w->canonical_name },
		{ "service.version", w->canonical_revision }, { "cloud.region", w->region },
		{ "cloud.availability_zone", w->zone },
	};
	size_t at = 0, i;

	if (len)
		buf[0] = 0;
	if (len > AMB_BAGGAGE_MAX)
		len = AMB_BAGGAGE_MAX;
	for (i = 0; i < AMB_ARRAY_SIZE(items); i++) {
		size_t need = strlen(items[i].key) + 1 + strlen(items[i].value) + !!at;

		if (!*items[i].value || !plain(items[i].value) || at + need >= len)
			continue;
		at += snprintf(buf + at, len - at, "%s%s=%s", at ? "," : "", items[i].key,
			       items[i].value);
	}
	return at;
}

static bool is(const char *text, size_t len, const char *key)
{
	return len == strlen(key) && !memcmp(text, key, len);
}

static void copy(char *to, size_t size, const char *from, size_t len)
{
	size_t i;

	if (len >= size)
		len = size - 1;
	/* It goes into labels and logs: what cannot be shown is not kept. */
	for (i = 0; i < len; i++)
		to[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
	to[len] = 0;
}

static void item(const char *text, size_t len, struct amb_baggage *out)
{
	const char *eq = memchr(text, '=', len);
	const struct {
		const char *key;
		char *to;
		size_t size;
	} keys[] = {
		{ "k8s.cluster.name", out->cluster, sizeof(out->cluster) },
		{ "k8s.namespace.name", out->ns, sizeof(out->ns) },
		{ "k8s.deployment.name", out->workload, sizeof(out->workload) },
		{ "k8s.cronjob.name", out->workload, sizeof(out->workload) },
		{ "k8s.pod.name", out->workload, sizeof(out->workload) },
		{ "k8s.job.name", out->workload, sizeof(out->workload) },
		{ "service.name", out->service, sizeof(out->service) },
		{ "service.version", out->version, sizeof(out->version) },
		{ "cloud.region", out->region, sizeof(out->region) },
		{ "cloud.availability_zone", out->zone, sizeof(out->zone) },
	};
	size_t i;

	if (!eq)
		return;
	for (i = 0; i < AMB_ARRAY_SIZE(keys); i++) {
		if (is(text, eq - text, keys[i].key))
			copy(keys[i].to, keys[i].size, eq + 1, text + len - eq - 1);
	}
}

void amb_baggage_parse(const char *text, size_t len, struct amb_baggage *out)
{
	const char *end = text + len;

	while (text < end) {
		const char *comma = memchr(text, ',', end - text);
		const char *next = comma ? comma + 1 : end, *stop = comma ? comma : end;

		/* Optional white space about an item is no part of it. */
		while (text < stop && (*text == ' ' || *text == '\t'))
			text++;
		while (stop > text && (stop[-1] == ' ' || stop[-1] == '\t'))
			stop--;
		item(text, stop - text, out);
		text = next;
	}
}

size_t amb_forwarded_write(const struct amb_endpoint *client, const char *host, char *buf,
			   size_t len)
{
	char text[AMB_ENDPOINT_STRLEN];
	int n;

	amb_endpoint_format(client, text);
	if (host && (!plain(host) || strpbrk(host, ";\"\\")))
		host = NULL;
	n = snprintf(buf, len, "for=\"%s\"%s%s", text, host ? ";host=" : "", host ? host : "");
	if (n < 0 || (size_t)n >= len) {
		if (len)
			buf[0] = 0;
		return 0;
	}
	return n;
}

int amb_forwarded_host(const char *text, size_t len, char *host, size_t hostlen)
{
	const char *p = text, *end = text + len;

	while (p < end) {
		const char *from = p;
		bool quoted = false;
		size_t n;

		/* One parameter: up to a separator outside quotes. */
		for (; p < end && (quoted || (*p != ';' && *p != ',')); p++) {
			if (*p == '"')
				quoted = !quoted;
		}
		n = p++ - from;
		for (; n && (*from == ' ' || *from == '\t'); n--)
			from++;
		if (n < 5 || strncasecmp(from, "host=", 5))
			continue;
		from += 5;
		n -= 5;
		if (n >= 2 && *from == '"' && from[n - 1] == '"') {
			from++;
			n -= 2;
		}
		if (!n || n >= hostlen || memchr(from, 0, n))
			return -ENOENT;
		memcpy(host, from, n);
		host[n] = 0;
		return 0;
	}
	return -ENOENT;
}

void amb_traceparent_write(char *buf)
{
	uint64_t hi = amb_util_random(), lo = amb_util_random(), span = amb_util_random();

	/* All zeroes would be an invalid id. */
	snprintf(buf, AMB_TRACEPARENT_LEN + 1, "00-%016llx%016llx-%016llx-00",
		 (unsigned long long)hi, (unsigned long long)lo | 1, (unsigned long long)span | 1);
}
