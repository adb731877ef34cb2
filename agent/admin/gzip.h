/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A text compressed while it is made. */
#ifndef AMB_GZIP_H
#define AMB_GZIP_H

#include <stdbool.h>
#include <sys/types.h>

struct amb_gzip;

/* True when a request with this Accept-Encoding (NULL: none) may be answered by gzip. */
bool amb_gzip_accepted(const char *accept);

/*
 * @read gives the next bytes of the text: their number, 0 at the end, -errno. NULL: out of memory.
 */
struct amb_gzip *amb_gzip_create(ssize_t (*read)(void *ctx, char *buf, size_t max), void *ctx);
/* The next bytes of what it is compressed to, as above. */
ssize_t amb_gzip_read(struct amb_gzip *g, char *buf, size_t max);
void amb_gzip_destroy(struct amb_gzip *g);

#endif
