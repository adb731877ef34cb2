// SPDX-License-Identifier: GPL-2.0-or-later
/* A resolver's configuration file. */
#include "dns_conf.h"

#include "base/util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANK " \t\r"
#define TIMEOUT_MAX 30 /* seconds, the C library's RES_MAXRETRANS */

/* The next word of a line at *@at, its length through @n; NULL at the end of the line. */
static const char *next_word(const char **at, const char *end, size_t *n)
{
	const char *p = *at;

	while (p < end && strchr(BLANK, *p))
		p++;
	for (*n = 0; p + *n < end && !strchr(BLANK, p[*n]); ++*n)
		;
	*at = p + *n;
	return *n ? p : NULL;
}

static bool is_word(const char *p, size_t n, const char *word)
{
	return n == strlen(word) && !memcmp(p, word, n);
}

/* A link-local server with its interface ("fe80::1%eth0") means nothing in a pod. */
static void add_server(struct amb_dns_conf *out, const char *p, size_t n)
{
	struct amb_endpoint *e = &out->servers[out->n];
	char text[AMB_ADDR_STRLEN];

	if (n >= sizeof(text) || out->n == AMB_DNS_SERVERS)
		return;
	memcpy(text, p, n);
	text[n] = 0;
	if (amb_addr_parse(text, &e->addr))
		return;
	e->port = AMB_DNS_PORT;
	out->n++;
}

static void set_option(struct amb_dns_conf *out, const char *p, size_t n)
{
	static const char timeout[] = "timeout:";
	unsigned long v = 0;
	size_t i;

	if (n < sizeof(timeout) || memcmp(p, timeout, sizeof(timeout) - 1))
		return;
	for (i = sizeof(timeout) - 1; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return;
		v = AMB_MIN(v * 10 + (p[i] - '0'), (unsigned long)TIMEOUT_MAX);
	}
	out->timeout_s = v;
}

static void parse_line(struct amb_dns_conf *out, const char *at, const char *end)
{
	size_t n;
	const char *p = next_word(&at, end, &n);
	bool search, options;

	if (!p || *p == '#' || *p == ';')
		return;
	if (is_word(p, n, "nameserver")) {
		p = next_word(&at, end, &n);
		if (p)
			add_server(out, p, n);
		return;
	}
	search = is_word(p, n, "search") || is_word(p, n, "domain");
	options = is_word(p, n, "options");
	/* The last of these lines counts. */
	if (search)
		out->search[0] = 0;
	while ((search || options) && (p = next_word(&at, end, &n))) {
		if (search)
			(void)amb_names_search_add(out->search, p, n);
		else
			set_option(out, p, n);
	}
}

void amb_dns_conf_parse(const char *text, struct amb_dns_conf *out)
{
	memset(out, 0, sizeof(*out));
	while (*text) {
		size_t n = strcspn(text, "\n");

		parse_line(out, text, text + n);
		text += n;
		text += *text == '\n';
	}
	if (!out->n)
		add_server(out, "127.0.0.1", 9);
}
