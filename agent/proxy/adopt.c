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
#include "base/reason.h"
#include "base/util.h"
#include "bytes.h"
#include "crl.h"
#include "h2.h"
#include "kernel/khbone.h"
#include "kmod.h"
#include "live.h"
#include "note.h"
#include "pod.h"
#include "worker.h"

#include <string.h>

#define LOOK_NS 10000000000ull
#define LIST_NS 1000000000ull

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
		amb_stream_abort(s, AMB_H2_CONNECT_ERROR, AMB_REASON_MEMORY);
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
	/* One that could not be ended is tried again at the next look. */
	return !err;
}

/*
 * A workload that is new changes no policies, so nobody judges again by itself. Without one there
 * are no other connections of the pod.
 */
static void workload_there(struct amb_pod_waiter *w, bool known)
{
	struct amb_pod *pod = w->pod;

	if (known)
		amb_live_rejudge(pod);
	else if (amb_loop_now(pod->worker->loop) - pod->adopted_ns < AMB_KMOD_ORPHAN_NS)
		amb_pod_wait(pod, w);
	else
		amb_live_abort_all(pod, AMB_REASON_NO_DESTINATION);
}

/* From the list as it is. */
static void adopt(struct amb_pod *pod)
{
	struct adoption a = { .pod = pod };

	amb_kmod_each_orphan(pod->worker->bytes, each, &a);
	if (!a.taken && !a.ended)
		return;
	amb_info(POOL, "%s/%s: %u connections that the kernel carried on, %u of them ended",
		 pod->info->ns, pod->info->name, a.taken + a.ended, a.ended);
	amb_pod_unwait(&pod->adopted);
	if (amb_pod_workload(pod)) {
		amb_live_rejudge(pod);
		return;
	}
	pod->adopted_ns = amb_loop_now(pod->worker->loop);
	pod->adopted.fn = workload_there;
	amb_pod_wait(pod, &pod->adopted);
}

/* Agents may overlap: what one left may be later than the next one's start. */
static void look(struct amb_timer *t)
{
	struct amb_worker *w = AMB_CONTAINER_OF(t, struct amb_worker, adopt);
	struct amb_pod *pod;

	if (amb_kmod_list_orphans(w->bytes)) {
		cds_list_for_each_entry(pod, &w->pods, node)
			adopt(pod);
		amb_kmod_end_orphans(w->bytes);
	}
	if (amb_loop_timer_set(w->loop, t, amb_loop_now(w->loop) + LOOK_NS))
		amb_err(POOL, "no memory to look for connections of agents before");
}

static bool adopts(const struct amb_worker *w)
{
	return w->bytes->kmod && !w->index;
}

int amb_adopt_start(struct amb_worker *w)
{
	w->adopt.fn = look;
	/* The loop has not looked at the clock yet. */
	return adopts(w) ? amb_loop_timer_set(w->loop, &w->adopt, amb_util_now_ns() + LOOK_NS) : 0;
}

void amb_adopt_stop(struct amb_worker *w)
{
	amb_loop_timer_cancel(w->loop, &w->adopt);
}

void amb_adopt_pod(struct amb_pod *pod)
{
	struct amb_worker *w = pod->worker;
	uint64_t now = amb_loop_now(w->loop);

	if (!adopts(w))
		return;
	/* Pods come in crowds, which one list serves. */
	if (!w->adopt_listed || now - w->adopt_listed >= LIST_NS) {
		amb_kmod_list_orphans(w->bytes);
		w->adopt_listed = now;
	}
	adopt(pod);
}
