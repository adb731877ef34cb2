/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One engine and a raw peer. */
#ifndef SELFTESTS_LONE_H
#define SELFTESTS_LONE_H

#include "raw.h"

struct lone {
	struct pair p;
	struct raw *r;
	int me; /* place of the engine in p */
};

UNUSED static void lone_start(struct lone *l, bool engine_is_server,
			      const struct amb_hbone_config *config)
{
	struct amb_identity *id = amb_identity_intern("cluster.local", "default", "server");
	struct amb_identset expect = { 0 };
	int fd[2];

	memset(l, 0, sizeof(*l));
	tcp_pair(fd);
	l->me = engine_is_server;
	l->p.b[l->me] = pair_bytes(config);
	amb_identset_add(&expect, id);
	amb_identity_put(id);
	if (engine_is_server)
		l->p.c[1] = amb_hbone_server(l->p.b[1], fd[0], cred_server, &conn_ops, &l->p);
	else
		l->p.c[0] =
			amb_hbone_client(l->p.b[0], fd[0], cred_client, &expect, &conn_ops, &l->p);
	amb_identset_clear(&expect);
	l->r = raw_start(fd[1], !engine_is_server);
	RAW_UNTIL(l->r, l->r->up && l->p.up[l->me]);
	raw_preface(l->r);
	raw_flush(l->r, 16384);
	RAW_UNTIL(l->r, raw_said(l->r, "settings:ack"));
}

UNUSED static void lone_stop(struct lone *l)
{
	raw_stop(l->r);
	pair_stop(&l->p);
}

/* A flow whose client is the raw peer: number 0 of the pair. */
UNUSED static struct flow *lone_flow(struct lone *l)
{
	struct flow *f = calloc(1, sizeof(*f));

	f->pair = &l->p;
	f->app[0].fd = f->app[1].fd = -1;
	f->app[0].seed_tx = 1;
	f->app[0].seed_rx = 2;
	l->r->seed = 2;
	l->p.flow[l->p.nflow++] = f;
	return f;
}

#endif
