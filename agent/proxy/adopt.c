// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections that hbone.ko carried on while no agent ran: their notes tell what they are. They are
 * entered as if they had been opened here, but that what the agent before has counted is not
 * counted again. What cannot be entered is ended: nobody would judge it.
 *
 * The peer's certificate is not in the note, only who showed it. Where certificates can be revoked,
 * such a connection is therefore not taken over.
 */
#include "adopt.h"

#include "base/log.h"
#include "bytes.h"
#include "crl.h"
#include "kernel/khbone.h"
#include "kmod.h"
#include "live.h"
#include "note.h"
#include "pod.h"
#include "worker.h"

#include <string.h>

#define H2_CANCEL 8 /* RFC 9113 section 7 */

struct adoption {
	struct amb_pod *pod;
	unsigned int taken, ended;
};

/* References that the flow needs while the entry is made. */
struct parties {
	struct amb_workload *src, *dst;
	struct amb_service *service;
	struct amb_identity *src_id, *dst_id;
};

static struct amb_identity *identity(const char *spiffe)
{
	return spiffe ? amb_identity_parse(spiffe, strlen(spiffe)) : NULL;
}

/* What the state does not know yet, or no more, stays unknown. */
static void look_up(const struct amb_state *st, const struct amb_note *note, struct parties *p)
{
	amb_state_read_begin(st);
	if (note->src_uid)
		p->src = amb_workload_get(amb_state_workload_by_uid(st, note->src_uid));
	if (note->dst_uid)
		p->dst = amb_workload_get(amb_state_workload_by_uid(st, note->dst_uid));
	if (note->service_ns && note->service_host)
		p->service = amb_service_get(
			amb_state_service_by_host(st, note->service_ns, note->service_host));
	amb_state_read_end(st);
	p->src_id = identity(note->src_identity);
	p->dst_id = identity(note->dst_identity);
}

static void let_go(struct parties *p)
{
	amb_workload_put(p->src);
	amb_workload_put(p->dst);
	amb_service_put(p->service);
	amb_identity_put(p->src_id);
	amb_identity_put(p->dst_id);
}

static struct amb_live *make_entry(struct amb_pod *pod, const struct amb_note *note,
				   const struct parties *p)
{
	const struct amb_flow f = {
		.direction = note->direction,
		.way = AMB_WAY_TUNNEL,
		.protocol = note->protocol,
		.src = note->src,
		.dst = note->dst,
		.actual = note->actual,
		.authority = note->authority,
		.src_workload = p->src,
		.dst_workload = p->dst,
		.dst_service = p->service,
		.src_identity = p->src_id,
		.dst_identity = p->dst_id,
		.mtls = true,
		.start_ns = note->start_ns,
	};
	struct amb_live *l;

	if (!amb_pod_charge(pod))
		return NULL;
	/* Judged by no policies so far. */
	l = amb_live_open(pod, &f, 0, false);
	if (!l) {
		amb_pod_uncharge(pod);
		return NULL;
	}
	if (note->direction == AMB_OUTBOUND)
		amb_worker_count(&pod->worker->stats.open_sockets[AMB_OUTBOUND], 1);
	return l;
}

/* False: it has to be ended. */
static bool take(struct amb_pod *pod, const struct amb_khbone_orphan *o,
		 const struct amb_note *note)
{
	struct parties p = { 0 };
	struct amb_live *l = NULL;
	struct amb_stream *s = NULL;

	look_up(pod->worker->env->st, note, &p);
	if (p.src_id)
		s = amb_kmod_adopt(pod->worker->bytes, o,
				   note->direction == AMB_INBOUND ? p.src_id : p.dst_id,
				   note->suite);
	if (s)
		l = make_entry(pod, note, &p);
	let_go(&p);
	if (l) {
		amb_live_stream(l, s, false);
		amb_stream_set_owner(s, &amb_live_stream_ops, l);
	} else if (s) {
		amb_stream_abort(s, H2_CANCEL, AMB_REASON_MEMORY);
	}
	return l;
}

static bool each(void *ctx, const struct amb_khbone_orphan *o)
{
	struct adoption *a = ctx;
	struct amb_note note;
	int err = 0;

	if (!o->note_len || amb_note_read(o->note, o->note_len, &note))
		return false;
	if (strcmp(note.pod, a->pod->info->uid)) {
		amb_note_clear(&note);
		return false;
	}
	if (o->attached && !amb_crl_generation() && take(a->pod, o, &note)) {
		a->taken++;
	} else {
		err = amb_kmod_end_orphan(a->pod->worker->bytes, o);
		a->ended += !err;
	}
	amb_note_clear(&note);
	/* One that could not be ended is tried again when patience is over. */
	return !err;
}

/* A workload that is new changes no policies, so nobody judges again by itself. */
static void workload_there(struct amb_pod_waiter *w, bool known)
{
	if (known)
		amb_live_rejudge(w->pod);
	else
		amb_pod_wait(w->pod, w);
}

void amb_adopt_pod(struct amb_pod *pod)
{
	struct adoption a = { .pod = pod };

	if (!pod->worker->bytes->kmod || pod->worker->index)
		return;
	amb_kmod_each_orphan(pod->worker->bytes, each, &a);
	if (!a.taken && !a.ended)
		return;
	amb_info(POOL, "%s/%s: %u connections that the kernel carried on, %u of them ended",
		 pod->info->ns, pod->info->name, a.taken + a.ended, a.ended);
	if (amb_pod_workload(pod)) {
		amb_live_rejudge(pod);
	} else {
		pod->adopted.fn = workload_there;
		amb_pod_wait(pod, &pod->adopted);
	}
}
