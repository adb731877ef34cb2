// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The embedded CA as an issuer. A change of the directory reloads it whole; what cannot be
 * loaded leaves the signer that we have. When the bundle changed, everybody trusts the new one
 * before a certificate under it is presented; when the intermediate changed, all is signed
 * anew.
 */
#include "issuer.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "ca.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#define EXPIRY_WARN_S (30 * 86400)
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB)

struct amb_issuer {
	struct amb_loop *loop;
	struct amb_certs *certs;
	struct amb_ca *ca;
	struct amb_timer timer;
	struct amb_io watch;
	uint64_t ttl_s;
	int64_t warned; /* end of life of the intermediate that was warned of */
	char error[AMB_CA_ERROR_LEN];
	char *dir, *node;
};

static void issue(void *ctx, struct amb_certs *certs, struct amb_certs_ticket *ticket,
		  struct amb_identity *id)
{
	struct amb_issuer *is = ctx;
	struct amb_ca_issued out;
	char err[AMB_CA_ERROR_LEN];

	if (!is->ca) {
		amb_certs_done(certs, ticket, NULL, is->error);
		return;
	}
	if (amb_ca_issue(is->ca, id, is->ttl_s, &out, err)) {
		amb_certs_done(certs, ticket, NULL, err);
		return;
	}
	amb_certs_done(certs, ticket,
		       &(struct amb_certs_result){ .key = out.key,
						   .keylen = out.keylen,
						   .chain_pem = out.chain_pem,
						   .roots_pem = amb_ca_roots(is->ca),
						   .not_before = out.not_before,
						   .not_after = out.not_after },
		       NULL);
	amb_ca_issued_clear(&out);
}

struct amb_certs_issuer amb_issuer_interface(struct amb_issuer *is)
{
	return (struct amb_certs_issuer){ .ctx = is, .issue = issue };
}

void amb_issuer_set_certs(struct amb_issuer *is, struct amb_certs *certs)
{
	is->certs = certs;
}

const char *amb_issuer_error(const struct amb_issuer *is)
{
	return is->ca ? NULL : is->error;
}

const char *amb_issuer_trust_domain(const struct amb_issuer *is)
{
	return is->ca ? amb_ca_trust_domain(is->ca) : NULL;
}

static void warn_of_end(struct amb_issuer *is)
{
	int64_t end = amb_ca_not_after(is->ca), left = end - time(NULL);

	if (left > EXPIRY_WARN_S || is->warned == end)
		return;
	is->warned = end;
	amb_warn(CA, "the intermediate of node %s ends in %lld days: ambientctl ca node %s %s",
		 is->node, (long long)left / 86400, is->dir, is->node);
}

/* Takes over @ca and tells the manager what is new. */
static void adopt(struct amb_issuer *is, struct amb_ca *ca)
{
	struct amb_ca *old = is->ca;
	bool roots = !old || strcmp(amb_ca_roots(old), amb_ca_roots(ca));
	bool signer = !old || !amb_ca_same_signer(old, ca);
	int err;

	is->ca = ca;
	is->error[0] = 0;
	if (roots && is->certs) {
		err = amb_certs_roots(is->certs, amb_ca_roots(ca));
		if (err)
			amb_err(CA, "%s: roots cannot be taken over: %s", is->dir, strerror(-err));
		else if (old)
			amb_info(CA, "%s: the root bundle changed", is->dir);
	}
	if (signer && is->certs) {
		if (old)
			amb_info(CA, "%s: the intermediate of node %s changed: signing anew",
				 is->dir, is->node);
		amb_certs_reissue(is->certs);
	}
	amb_ca_destroy(old);
	warn_of_end(is);
}

static void reload(struct amb_issuer *is)
{
	char err[AMB_CA_ERROR_LEN];
	struct amb_ca *ca = amb_ca_load(is->dir, is->node, err);

	if (ca) {
		adopt(is, ca);
		return;
	}
	/* The same fault is told once, not each minute. */
	if (strcmp(is->error, err))
		amb_err(CA, "%s%s", err, is->ca ? "; continuing with what was there before" : "");
	snprintf(is->error, sizeof(is->error), "%s", err);
}

/* Watches are set again after each change: the folders may be others now. */
static void set_watches(struct amb_issuer *is)
{
	char path[PATH_MAX];

	inotify_add_watch(is->watch.fd, is->dir, EVENTS);
	if (snprintf(path, sizeof(path), "%s/nodes", is->dir) < (int)sizeof(path))
		inotify_add_watch(is->watch.fd, path, EVENTS);
}

static void arm(struct amb_issuer *is, uint64_t delay)
{
	if (amb_loop_timer_set(is->loop, &is->timer, amb_util_now_ns() + delay))
		amb_err(CA, "%s: out of memory, changes will not be seen", is->dir);
}

static void timer(struct amb_timer *t)
{
	struct amb_issuer *is = AMB_CONTAINER_OF(t, struct amb_issuer, timer);

	set_watches(is);
	reload(is);
	arm(is, is->ca ? AMB_ISSUER_RECHECK_NS : AMB_ISSUER_RETRY_NS);
}

static void changed(struct amb_io *io, uint32_t events)
{
	struct amb_issuer *is = AMB_CONTAINER_OF(io, struct amb_issuer, watch);
	char buf[4096];

	(void)events;
	while (read(io->fd, buf, sizeof(buf)) > 0)
		;
	arm(is, AMB_ISSUER_DEBOUNCE_NS);
}

struct amb_issuer *amb_issuer_create(struct amb_loop *loop, const char *dir, const char *node,
				     uint64_t ttl_s)
{
	struct amb_issuer *is = calloc(1, sizeof(*is));
	int err;

	if (!is)
		return NULL;
	is->loop = loop;
	is->ttl_s = ttl_s;
	is->timer.fn = timer;
	is->watch = (struct amb_io){ .fn = changed, .slot = -1 };
	is->watch.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	err = is->watch.fd < 0 ? -errno : 0;
	is->dir = strdup(dir);
	is->node = strdup(node);
	if (!is->dir || !is->node)
		err = -ENOMEM;
	err = err ?: amb_loop_add(loop, &is->watch, EPOLLIN);
	if (err) {
		amb_issuer_destroy(is);
		errno = -err;
		return NULL;
	}
	set_watches(is);
	reload(is);
	arm(is, is->ca ? AMB_ISSUER_RECHECK_NS : AMB_ISSUER_RETRY_NS);
	return is;
}

void amb_issuer_destroy(struct amb_issuer *is)
{
	if (!is)
		return;
	amb_loop_timer_cancel(is->loop, &is->timer);
	if (is->watch.fd >= 0)
		amb_loop_del(is->loop, &is->watch);
	amb_cleanup_fd(&is->watch.fd);
	amb_ca_destroy(is->ca);
	free(is->dir);
	free(is->node);
	free(is);
}
