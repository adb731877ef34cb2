// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The file of revocation lists. Its directory is watched, not the file: mounted ConfigMaps and
 * Secrets change by the rename of a link beside it. What cannot be read leaves the lists that
 * were, and is said once.
 */
#include "crl_file.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "control/manifest_watch.h"
#include "proxy/crl.h"

#define RETRY_NS 5000000000ull /* after a failure that may pass by itself */

struct amb_crl_file {
	struct amb_loop *loop;
	struct amb_mwatch *watch;
	struct amb_timer retry;
	void (*changed)(void *ctx);
	void *ctx;
	struct stat seen; /* the file as it was read last */
	char error[320]; /* said last; "": it was good */
	char path[];
};

/* Another one, or the same with other content? What cannot be told counts as another. */
static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int load(struct amb_crl_file *f, char *err, size_t errlen)
{
	_cleanup_free_ char *data = NULL;
	size_t revoked;
	long n = amb_util_read_file(f->path, AMB_CRL_BYTES_MAX, &data);
	int e = n < 0 ? n : 0;

	if (e)
		snprintf(err, errlen, "%s", strerror(-e));
	else
		e = amb_crl_load(data, n, &revoked, err, errlen);
	if (!e)
		amb_info(TLS, "%s: %zu certificates are revoked", f->path, revoked);
	return e;
}

static void look(void *ctx)
{
	struct amb_crl_file *f = ctx;
	struct stat now = { 0 };
	char err[256];
	int e;

	if (stat(f->path, &now))
		now = (struct stat){ 0 };
	if (now.st_ino && same(&now, &f->seen))
		return;
	f->seen = now;
	e = load(f, err, sizeof(err));
	if (!e) {
		f->error[0] = 0;
		f->changed(f->ctx);
		return;
	}
	if (strcmp(err, f->error))
		amb_err(TLS, "%s: %s; what was revoked before stays so", f->path, err);
	snprintf(f->error, sizeof(f->error), "%s", err);
	/* The file may be good, and no event would come: no descriptor, no memory. */
	if (e != -EBADMSG && e != -EFBIG && e != -ENOENT) {
		f->seen = (struct stat){ 0 };
		amb_loop_timer_set(f->loop, &f->retry, amb_loop_now(f->loop) + RETRY_NS);
	}
}

static void retry(struct amb_timer *t)
{
	look(AMB_CONTAINER_OF(t, struct amb_crl_file, retry));
}

static int start(struct amb_crl_file *f, struct amb_loop *loop, char *err, size_t errlen)
{
	_cleanup_free_ char *copy = strdup(f->path);
	size_t none;
	int e;

	snprintf(err, errlen, "out of memory");
	/* First the watch: what changes in between is an event. */
	f->watch = copy ? amb_mwatch_create(loop, dirname(copy), look, f) : NULL;
	if (!f->watch)
		return -ENOMEM;
	if (stat(f->path, &f->seen))
		f->seen = (struct stat){ 0 };
	e = load(f, err, errlen);
	if (e != -ENOENT)
		return e;
	amb_warn(TLS, "%s: not there yet, nothing is revoked until it is", f->path);
	snprintf(f->error, sizeof(f->error), "%s", err);
	/* Peers are kept in mind all the same. */
	return amb_crl_load("", 0, &none, err, errlen);
}

struct amb_crl_file *amb_crl_file_create(struct amb_loop *loop, const char *path,
					 void (*changed)(void *ctx), void *ctx, char *err,
					 unsigned int errlen)
{
	struct amb_crl_file *f = calloc(1, sizeof(*f) + strlen(path) + 1);
	int e = -ENOMEM;

	snprintf(err, errlen, "out of memory");
	if (f) {
		memcpy(f->path, path, strlen(path));
		f->loop = loop;
		f->retry.fn = retry;
		f->changed = changed;
		f->ctx = ctx;
		e = start(f, loop, err, errlen);
	}
	if (e) {
		amb_crl_file_destroy(f);
		errno = -e;
		return NULL;
	}
	return f;
}

void amb_crl_file_destroy(struct amb_crl_file *f)
{
	if (!f)
		return;
	amb_loop_timer_cancel(f->loop, &f->retry);
	amb_mwatch_destroy(f->watch);
	amb_crl_unload();
	free(f);
}
