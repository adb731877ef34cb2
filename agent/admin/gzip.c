// SPDX-License-Identifier: GPL-2.0-or-later
/* A text compressed while it is made. */
#include "gzip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define PIECE 16384
/* Of memory for a scrape: 32 KiB of window, 64 KiB of tables. Metrics repeat within less. */
#define WINDOW_BITS 13
#define MEMORY_LEVEL 7
#define GZIP 16 /* that format instead of zlib's own */

struct amb_gzip {
	z_stream z;
	ssize_t (*read)(void *ctx, char *buf, size_t max);
	void *ctx;
	bool last, done;
	char in[PIECE];
};

/* "q=0", "q=0.000" and nothing else. */
static bool is_refused(const char *params, size_t len)
{
	size_t i;

	while (len && (*params == ' ' || *params == '\t' || *params == ';')) {
		params++;
		len--;
	}
	if (len < 3 || strncasecmp(params, "q=", 2))
		return false;
	for (i = 2; i < len && (params[i] == '0' || params[i] == '.'); i++)
		;
	while (i < len && (params[i] == ' ' || params[i] == '\t'))
		i++;
	return i == len;
}

bool amb_gzip_accepted(const char *accept)
{
	/* RFC 9110 12.5.3: "*" is for what is not named. */
	bool any = false;

	while (accept && *accept) {
		size_t len = strcspn(accept, ","), name;

		while (len && (*accept == ' ' || *accept == '\t')) {
			accept++;
			len--;
		}
		name = strcspn(accept, "; \t,");
		if (name > len)
			name = len;
		if ((name == 4 && !strncasecmp(accept, "gzip", 4)) ||
		    (name == 6 && !strncasecmp(accept, "x-gzip", 6)))
			return !is_refused(accept + name, len - name);
		if (name == 1 && *accept == '*')
			any = !is_refused(accept + name, len - name);
		accept += len;
		accept += *accept == ',';
	}
	return any;
}

struct amb_gzip *amb_gzip_create(ssize_t (*read)(void *ctx, char *buf, size_t max), void *ctx)
{
	struct amb_gzip *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->read = read;
	g->ctx = ctx;
	if (deflateInit2(&g->z, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS + GZIP, MEMORY_LEVEL,
			 Z_DEFAULT_STRATEGY) != Z_OK) {
		free(g);
		return NULL;
	}
	return g;
}

static int fill(struct amb_gzip *g)
{
	ssize_t n = g->read(g->ctx, g->in, sizeof(g->in));

	if (n < 0)
		return n;
	g->last = !n;
	g->z.next_in = (Bytef *)g->in;
	g->z.avail_in = n;
	return 0;
}

ssize_t amb_gzip_read(struct amb_gzip *g, char *buf, size_t max)
{
	int err;

	g->z.next_out = (Bytef *)buf;
	g->z.avail_out = max;
	while (!g->done && g->z.avail_out) {
		if (!g->z.avail_in && !g->last) {
			err = fill(g);
			if (err)
				return err;
		}
		err = deflate(&g->z, g->last ? Z_FINISH : Z_NO_FLUSH);
		if (err != Z_OK && err != Z_STREAM_END)
			return -EIO;
		g->done = err == Z_STREAM_END;
	}
	return max - g->z.avail_out;
}

void amb_gzip_destroy(struct amb_gzip *g)
{
	if (!g)
		return;
	deflateEnd(&g->z);
	free(g);
}
