// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Everything that agents have left in the kernel.
 *
 * The maps know pods by the cookies of their namespaces only, so all namespaces are looked at,
 * also for those that a CNI handed over as descriptors: each has a process. On the host one that
 * nobody can find any more has none either: what is inside harms nobody. In a container that does
 * not see the host's processes it may have some; the guard is at the host's end and goes, and what
 * leads past a CNI's rules finds no row and no mark any more. Routes and switches of a pod that
 * programs alone captured stay then, and the filter at its loopback interface, for no effect.
 */
#include "uninstall.h"

#include "attach.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "bpf.h"
#include "khbone.h"
#include "netns.h"
#include "nft.h"
#include "rows.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen {
	ino_t *v;
	size_t n, cap;
};

struct walk {
	const struct amb_bpf *b; /* NULL: no programs */
	struct amb_uninstall *out;
	bool (*wanted)(void *ctx, uint64_t cookie); /* NULL: nobody is, and rows may be lost */
	void *ctx;
	struct seen seen;
	int err;
};

/* True for the first time. */
static bool is_new(struct seen *s, ino_t ino)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		if (s->v[i] == ino)
			return false;
	}
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		ino_t *v = reallocarray(s->v, cap, sizeof(*v));

		if (!v)
			return false;
		s->v = v;
		s->cap = cap;
	}
	s->v[s->n++] = ino;
	return true;
}

static void count_rules(struct walk *w, int err)
{
	if (err && !w->err)
		w->err = err;
	w->out->rules += !err;
}

static void clean(struct walk *w, struct amb_netns *ns)
{
	struct amb_pod_row row;
	uint64_t cookie;

	if (w->b && !amb_attach_cookie(ns, &cookie) &&
	    amb_rows_get(w->b, AMB_BPF_POD, &cookie, &row) &&
	    !(w->wanted && w->wanted(w->ctx, cookie))) {
		amb_attach_remove(w->b, ns, cookie, row.flags);
		(void)amb_rows_del(w->b, AMB_BPF_POD, &cookie);
		w->out->pods++;
	}
	if (w->wanted)
		return;
	if (amb_nft_has(ns))
		count_rules(w, amb_nft_remove(ns));
	/* Beside a CNI's rules; the pod's row may be lost. */
	if (amb_nft_direct_has(ns))
		count_rules(w, amb_nft_direct_remove(ns));
}

static void look_at(struct walk *w, const char *path)
{
	struct amb_netns *ns = amb_netns_open(path);

	if (ns && !amb_netns_is_own(ns) && is_new(&w->seen, ns->ino))
		clean(w, ns);
	amb_netns_put(ns);
}

static void look_in(struct walk *w, const char *dir, const char *below)
{
	DIR *d = opendir(dir);
	char path[PATH_MAX];
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (*e->d_name == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s%s", dir, e->d_name, below);
		look_at(w, path);
	}
	if (d)
		closedir(d);
}

static void look_everywhere(struct walk *w)
{
	look_in(w, "/run/netns", "");
	look_in(w, "/proc", "/ns/net");
}

/* Pods whose namespaces are nowhere to be found; their interfaces may still be here. */
static void clean_rest(struct walk *w)
{
	uint64_t cookie;

	while (amb_rows_next(w->b, AMB_BPF_POD, true, &cookie)) {
		amb_attach_remove(w->b, NULL, cookie, 0);
		if (amb_rows_del(w->b, AMB_BPF_POD, &cookie))
			return;
		w->out->pods++;
		w->out->unseen++;
	}
}

int amb_uninstall(const char *dir, struct amb_uninstall *out)
{
	struct amb_bpf *b = amb_bpf_find(dir);
	struct walk w = { .b = b, .out = out };

	*out = (struct amb_uninstall){ .pins = !!b };
	if (!b && errno != ENOENT)
		return -errno;
	w.err = amb_khbone_remove_orphans(&out->tunnels);
	look_everywhere(&w);
	if (b)
		clean_rest(&w);
	amb_bpf_close(b, false);
	(void)amb_netns_enter(NULL);
	free(w.seen.v);
	return w.err;
}

static bool any_unwanted(const struct walk *w)
{
	uint64_t cookie = 0;
	bool more = amb_rows_next(w->b, AMB_BPF_POD, true, &cookie);

	while (more && w->wanted(w->ctx, cookie))
		more = amb_rows_next(w->b, AMB_BPF_POD, false, &cookie);
	return more;
}

void amb_uninstall_unwanted(const struct amb_bpf *b, bool (*wanted)(void *ctx, uint64_t cookie),
			    void *ctx)
{
	struct amb_uninstall out = { 0 };
	struct walk w = { .b = b, .out = &out, .wanted = wanted, .ctx = ctx };

	if (!any_unwanted(&w))
		return;
	look_everywhere(&w);
	free(w.seen.v);
}
