// SPDX-License-Identifier: GPL-2.0
/*
 * Connections.
 *
 * A connection lives from hbone_conn_create to hbone_conn_end, whoever calls that: a request, its
 * own work (the peer closed or erred), the orphan timer, or its network namespace. It only sets
 * ENDING and queues end_work, which, alone and once,
 *   1. leaves the socket's wait queue: no wake function of the connection runs any more;
 *   2. closes all streams, which leave theirs; hbone_stream_create looks at ENDING after it has put
 *      one into the table, and one that is being closed is its closer's, so none is left behind;
 *   3. waits for rx_work, tx_work and retry_work, which, when they find ENDING, do nothing, and
 *      frees what they kept of closed streams: their backlogs do not wait for 5;
 *   4. tells that it ended, and sets GONE: user space finds it no more;
 *   5. sends what waits for the peer, good-bye and FIN, and gives the socket back;
 *   6. leaves the namespace's table, waits for orphan_work, and drops the table's reference.
 * Requests hold a reference while they run and may, in between, queue work that then finds
 * ENDING; the last put therefore waits for work once more. Work holds no reference, and streams
 * hold none: 3 and 2 have seen to them. Each connection holds a reference to the module and none
 * to its network namespace, which waits in hbone_conn_end_all until the last of its own is freed.
 * hbone_conn_owner_gone and hbone_conn_end_all hold no reference: as long as hn->lock is held none
 * leaves the table, whose reference it is.
 *
 * Work comes to its end. It never waits for a peer, nor for a socket to have room; what it does for
 * a budget of buffers it leaves to its next run, and ENDING is looked at between two of them. It
 * waits for locks: ours, which nobody holds while he waits, and those of sockets. A socket's own is
 * not held by who sleeps in a call on it. Kernel TLS has one more for all who send (tx_lock), and
 * that is: who kept a descriptor of the connection's socket and sends on it, blocking, holds it as
 * long as the peer does not read. sock.c looks first whether it is held, and then says that there
 * is no room; who takes it between that and the call has tx_work or the good-bye stand behind him.
 * So a run of end_work has the socket reset when it takes more than HBONE_CONN_END_MS: then the
 * sleeper wakes up, with EPIPE, as does each who follows him. Who holds both locks in a page fault
 * that nobody serves holds up all who use the socket in the kernel, and this as well.
 *
 * Step 5 waits for the peer, by end_work that queues itself. What the socket took is told as sent,
 * and is lost when TCP resets itself: it does when something comes that nobody reads. So all that
 * comes is read until the peer's end. A peer that takes nothing, or little, gets no more than
 * HBONE_CONN_BYE_QUIET_MS or HBONE_CONN_BYE_MS; a namespace that ends sets HURRY, and asks for one
 * more run of end_work if it is GONE: that looks at HURRY before it queues itself, and when it is
 * asked then, queues nothing new.
 *
 * rx_work and tx_work run one at a time each, and at the same time as the other. What belongs to
 * one alone needs no lock (conn.h). conn->lock is for what they share, and is never held when a
 * socket is called or memory is allocated.
 */
#include <linux/jiffies.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <net/sock.h>

#include "conn.h"
#include "event.h"
#include "main.h"
#include "mib.h"
#include "rx.h"
#include "stream.h"
#include "trace.h"
#include "tx.h"

/* Idle it is this and no buffer, beside its socket: it may be 32 KB. */
static_assert(sizeof(struct hbone_conn) < 8192);

void hbone_conn_kick_rx(struct hbone_conn *c)
{
	if (!hbone_conn_ending(c))
		hbone_work_kick(&c->rx_work);
}

void hbone_conn_kick_tx(struct hbone_conn *c)
{
	if (!hbone_conn_ending(c))
		hbone_work_kick(&c->tx_work);
}

static void retry_work(struct work_struct *work)
{
	struct hbone_conn *c = container_of(to_delayed_work(work), struct hbone_conn, retry_work);

	hbone_conn_kick_rx(c);
	hbone_conn_kick_tx(c);
}

void hbone_conn_retry(struct hbone_conn *c)
{
	hbone_mib_inc(c->hn, STARVED);
	if (!hbone_conn_ending(c))
		queue_delayed_work(hbone_main_wq, &c->retry_work,
				   msecs_to_jiffies(HBONE_CONN_RETRY_MS));
}

/* In any context, with the socket's wait queue locked. */
static void tls_wake(struct hbone_sock *hs, __poll_t events)
{
	struct hbone_conn *c = container_of(hs, struct hbone_conn, tls);

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))
		hbone_conn_kick_rx(c);
	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		hbone_conn_kick_tx(c);
}

void hbone_conn_owe(struct hbone_conn *c, u32 bytes)
{
	lockdep_assert_held(&c->lock);
	c->owed += bytes;
}

bool hbone_conn_credit(struct hbone_conn *c)
{
	u32 held, give;

	lockdep_assert_held(&c->lock);
	held = c->backlog > HBONE_CONN_BACKLOG ? c->backlog - HBONE_CONN_BACKLOG : 0;
	if (held >= c->owed)
		return false;
	give = c->owed - held;
	if (give < max(1U, c->recv_full / 2))
		return false;
	c->owed -= give;
	c->recv_window += give;
	c->credit += give;
	return true;
}

bool hbone_conn_borrow(struct hbone_conn *c, struct hbone_buffer *buf)
{
	if (hbone_buffer_get(buf))
		return true;
	hbone_mib_inc(c->hn, NO_MEMORY);
	hbone_conn_retry(c);
	return false;
}

struct hbone_frame *hbone_conn_frame(u32 size)
{
	struct hbone_frame *f;

	f = kvmalloc(struct_size(f, data, size), HBONE_CONN_GFP);
	if (!f)
		return NULL;
	f->len = 0;
	f->size = size;
	f->stream = 0;
	f->refused = false;
	return f;
}

bool hbone_conn_frame_in(struct hbone_conn *c, struct hbone_frame *f)
{
	u32 memory = sizeof(*f) + f->size;
	bool fits, first;

	spin_lock(&c->lock);
	first = list_empty(&c->frames_in);
	fits = c->frames_in_bytes + memory <= HBONE_CONN_FRAMES_IN;
	if (fits) {
		list_add_tail(&f->node, &c->frames_in);
		c->frames_in_bytes += memory;
		c->nframes_in++;
	}
	spin_unlock(&c->lock);
	if (!fits)
		kvfree(f);
	else if (first)
		hbone_event_frame_ready(c);
	return fits;
}

static void free_frames(struct list_head *list)
{
	struct hbone_frame *f, *next;

	list_for_each_entry_safe(f, next, list, node) kvfree(f);
}

/* Nobody knows it any more. */
static void conn_free(struct hbone_conn *c)
{
	hbone_sock_uninit(&c->tls);
	free_frames(&c->frames_in);
	free_frames(&c->frames_out);
	kvfree(c->rx_frame);
	kvfree(c->input);
	hbone_buffer_put(&c->rx_buf);
	hbone_buffer_put(&c->tx_buf);
	xa_destroy(&c->streams);
	mem_cgroup_put(c->memcg);
	kfree(c);
}

/* ENDING is set, or nobody has a reference: what still runs finds nothing to do. */
static void wait_for_work(struct hbone_conn *c)
{
	cancel_work_sync(&c->rx_work.work);
	cancel_work_sync(&c->tx_work.work);
	cancel_delayed_work_sync(&c->retry_work);
}

/* As no work runs any more: what it would have seen to. */
static void drop_worked(struct hbone_conn *c)
{
	struct hbone_stream *s;

	hbone_stream_free_dropped(c);
	while ((s = list_first_entry_or_null(&c->tx_ends, struct hbone_stream, end_node))) {
		list_del(&s->end_node);
		hbone_stream_put(s);
	}
}

/* And what is not sent any more. */
static void drop_streams(struct hbone_conn *c)
{
	struct hbone_stream *s;

	drop_worked(c);
	for (;;) {
		spin_lock(&c->lock);
		s = list_first_entry_or_null(&c->ctl, struct hbone_stream, ctl_node);
		if (s)
			list_del_init(&s->ctl_node);
		spin_unlock(&c->lock);
		if (!s)
			return;
		hbone_stream_put(s);
	}
}

void hbone_conn_put(struct hbone_conn *c)
{
	struct hbone_net *hn = c->hn;

	if (!refcount_dec_and_test(&c->refs))
		return;
	wait_for_work(c);
	/* A request may have closed a stream after end_work had looked. */
	drop_streams(c);
	conn_free(c);
	/* From here on the namespace may be gone: its address alone is used. */
	if (atomic_dec_and_test(&hn->nconns))
		wake_up_var(&hn->nconns);
	module_put(THIS_MODULE);
}

static void close_streams(struct hbone_conn *c)
{
	struct hbone_stream *s;
	unsigned long id = 0;

	/* One that somebody else is closing is still in the table: it is not waited for here. */
	for (; (s = hbone_stream_get_next(c, &id)); id++) {
		hbone_stream_close(s, HBONE_REASON_CONN, HBONE_STREAM_NO_RST);
		hbone_stream_put(s);
	}
}

static void abort_work(struct work_struct *work)
{
	struct hbone_conn *c = container_of(to_delayed_work(work), struct hbone_conn, abort_work);

	hbone_sock_abort(&c->tls);
}

/*
 * Not on our workqueue: it may be full of those that wait for this. tls must be there until
 * let_end, and nothing else may wait for it.
 */
static void force_end(struct hbone_conn *c)
{
	schedule_delayed_work(&c->abort_work, msecs_to_jiffies(HBONE_CONN_END_MS));
}

static void let_end(struct hbone_conn *c)
{
	cancel_delayed_work_sync(&c->abort_work);
}

/* Ended, for all but the peer. */
static void leave(struct hbone_conn *c)
{
	hbone_sock_unwatch(&c->tls);
	close_streams(c);
	wait_for_work(c);
	drop_worked(c);
	trace_hbone_conn_end(c->id, c->end_reason, c->end_code, c->end_errno);
	hbone_event_conn_closed(c);
	c->bye_began = jiffies;
	c->bye_moved = jiffies;
	c->bye_acked = hbone_sock_acked(&c->tls);
	set_bit(HBONE_CONN_GONE, &c->flags);
	/* hbone_conn_end_all sets HURRY and looks for GONE, we the other way round. */
	smp_mb__after_atomic();
}

static bool bye_late(struct hbone_conn *c)
{
	u32 acked = hbone_sock_acked(&c->tls);

	if (acked != c->bye_acked) {
		c->bye_acked = acked;
		c->bye_moved = jiffies;
	}
	return test_bit(HBONE_CONN_HURRY, &c->flags) ||
	       time_after(jiffies, c->bye_moved + msecs_to_jiffies(HBONE_CONN_BYE_QUIET_MS)) ||
	       time_after(jiffies, c->bye_began + msecs_to_jiffies(HBONE_CONN_BYE_MS));
}

/* True: both sides said their last, or there is nobody to hear it, or no time. */
static bool bye(struct hbone_conn *c)
{
	struct mem_cgroup *old = set_active_memcg(c->memcg);
	int err = c->bye_shut ? 0 : hbone_tx_goodbye(c);

	if (!err && !c->bye_shut) {
		hbone_sock_shutdown(&c->tls);
		c->bye_shut = true;
	}
	if (!c->bye_heard)
		c->bye_heard = hbone_rx_discard(c);
	set_active_memcg(old);
	return (err && err != -EAGAIN) || (c->bye_shut && c->bye_heard) || bye_late(c);
}

static void end_work(struct work_struct *work)
{
	struct hbone_conn *c = container_of(to_delayed_work(work), struct hbone_conn, end_work);
	struct hbone_net *hn = c->hn;
	bool done;

	force_end(c);
	if (!test_bit(HBONE_CONN_GONE, &c->flags))
		leave(c);
	done = bye(c);
	let_end(c);
	if (!done) {
		queue_delayed_work(hbone_main_wq, &c->end_work,
				   msecs_to_jiffies(HBONE_CONN_RETRY_MS));
		return;
	}
	drop_streams(c);
	hbone_sock_close(&c->tls);
	hbone_sock_uninit(&c->tls);
	hbone_mib_inc(hn, CONNS_DESTROYED);
	mutex_lock(&hn->lock);
	xa_erase(&hn->conns, c->id);
	mutex_unlock(&hn->lock);
	/* Armed by who finds it in the table, hence only now; this very work needs no run more. */
	cancel_delayed_work_sync(&c->orphan_work);
	cancel_delayed_work(&c->end_work);
	hbone_conn_put(c);
}

void hbone_conn_end(struct hbone_conn *c, enum hbone_reason reason, u32 code, int err)
{
	if (test_and_set_bit(HBONE_CONN_ENDING, &c->flags))
		return;
	c->end_reason = reason;
	c->end_code = code;
	c->end_errno = err;
	if (reason == HBONE_REASON_PROTOCOL)
		hbone_mib_inc(c->hn, CONN_ERRORS);
	queue_delayed_work(hbone_main_wq, &c->end_work, 0);
}

bool hbone_conn_used_up(struct hbone_conn *c, bool sent)
{
	if (hbone_sock_records(&c->tls, sent) < HBONE_CONN_RECORDS)
		return false;
	hbone_conn_end(c, HBONE_REASON_KEY, HBONE_H2_NO_ERROR, 0);
	return true;
}

void hbone_conn_check_done(struct hbone_conn *c)
{
	int failed = READ_ONCE(c->failed);
	bool done;

	spin_lock(&c->lock);
	done = !c->nlocal && !c->npeer;
	spin_unlock(&c->lock);
	if (done && failed)
		hbone_conn_end(c, HBONE_REASON_SOCKET, HBONE_H2_INTERNAL_ERROR, failed);
	else if (done)
		hbone_conn_end(c, HBONE_REASON_DONE, HBONE_H2_NO_ERROR, 0);
}

void hbone_conn_end_all(struct hbone_net *hn)
{
	struct hbone_conn *c;
	unsigned long id;

	mutex_lock(&hn->lock);
	xa_for_each(&hn->conns, id, c)
	{
		hbone_conn_end(c, HBONE_REASON_NETNS, HBONE_H2_NO_ERROR, 0);
		set_bit(HBONE_CONN_HURRY, &c->flags);
		/* See leave. */
		smp_mb__after_atomic();
		if (test_bit(HBONE_CONN_GONE, &c->flags))
			mod_delayed_work(hbone_main_wq, &c->end_work, 0);
	}
	mutex_unlock(&hn->lock);
	/* Not for those of other namespaces, as a flush of the workqueue would. */
	wait_var_event(&hn->nconns, !atomic_read(&hn->nconns));
}

void hbone_conn_drain(struct hbone_conn *c, enum hbone_conn_goaway what)
{
	bool stricter;

	if (!test_bit(HBONE_CONN_SERVER, &c->flags))
		what = HBONE_CONN_GOAWAY_FINAL;
	spin_lock(&c->lock);
	/*
	 * Before tx_work reads last_peer: rx_work sets that, and looks then. Later streams are
	 * refused, and GOAWAY tells it of all of them (RFC 9113, 6.8).
	 */
	if (what == HBONE_CONN_GOAWAY_FINAL) {
		set_bit(HBONE_CONN_DRAINING, &c->flags);
		c->goaway_last = min(c->goaway_last, c->last_peer);
	}
	stricter = what > c->goaway;
	if (stricter)
		c->goaway = what;
	spin_unlock(&c->lock);
	if (stricter)
		hbone_conn_kick_tx(c);
}

/* Of jiffies. Not 0, with which orphan_work would queue itself all the time. */
static unsigned long orphan_delay(void)
{
	return clamp_t(unsigned long, READ_ONCE(hbone_main_orphan_seconds), 1,
		       MAX_JIFFY_OFFSET / HZ) *
	       HZ;
}

/* c->lock; tx_buf is tx_work's: it may be gone, or come, right now. */
static bool sends(const struct hbone_conn *c)
{
	return !list_empty(&c->frames_out) || !list_empty(&c->ctl) || READ_ONCE(c->tx_buf.page);
}

/* A peer that takes nothing keeps it for one more time; what waits is then the good-bye's. */
static void orphan_work(struct work_struct *work)
{
	struct hbone_conn *c = container_of(to_delayed_work(work), struct hbone_conn, orphan_work);
	bool alone, empty, idle;

	spin_lock(&c->lock);
	alone = !c->owner;
	empty = !c->nlocal && !c->npeer;
	idle = empty && (c->orphan_waits || !sends(c));
	c->orphan_waits = alone && empty && !idle;
	spin_unlock(&c->lock);
	if (alone && idle)
		hbone_conn_end(c, HBONE_REASON_ORPHAN, HBONE_H2_NO_ERROR, 0);
	else if (alone && !hbone_conn_ending(c))
		queue_delayed_work(hbone_main_wq, &c->orphan_work, orphan_delay());
}

void hbone_conn_own(struct hbone_conn *c, u32 portid)
{
	spin_lock(&c->lock);
	WRITE_ONCE(c->owner, portid);
	spin_unlock(&c->lock);
}

/* Streams that wait for their owner's word wait in vain. */
static void end_unattached(struct hbone_conn *c)
{
	struct hbone_stream *s;
	unsigned long id = 0;

	for (; (s = hbone_stream_get_next(c, &id)); id++) {
		if (!hbone_stream_is(s, HBONE_STREAM_ATTACHED))
			hbone_stream_close(s, HBONE_REASON_ORPHAN, hbone_stream_orphan_code(s));
		hbone_stream_put(s);
	}
}

void hbone_conn_owner_gone(struct hbone_net *hn, u32 portid)
{
	struct hbone_conn *c;
	unsigned long id;
	bool was;

	mutex_lock(&hn->lock);
	xa_for_each(&hn->conns, id, c)
	{
		/* Any netlink socket's end comes here; its requests were before. */
		if (READ_ONCE(c->owner) != portid)
			continue;
		/* Another may own it by now. */
		spin_lock(&c->lock);
		was = c->owner == portid;
		if (was)
			WRITE_ONCE(c->owner, 0);
		spin_unlock(&c->lock);
		if (!was || hbone_conn_ending(c))
			continue;
		/* Root of some container's must not leave work behind that nobody can end. */
		if (hn->net->user_ns != &init_user_ns) {
			hbone_conn_end(c, HBONE_REASON_ORPHAN, HBONE_H2_NO_ERROR, 0);
			continue;
		}
		/* What HPACK's tables held is gone with the owner. */
		hbone_conn_drain(c, HBONE_CONN_GOAWAY_FINAL);
		end_unattached(c);
		mod_delayed_work(hbone_main_wq, &c->orphan_work, orphan_delay());
	}
	mutex_unlock(&hn->lock);
}

struct hbone_conn *hbone_conn_get(struct hbone_net *hn, u32 id)
{
	struct hbone_conn *c;

	mutex_lock(&hn->lock);
	c = xa_load(&hn->conns, id);
	if (c && test_bit(HBONE_CONN_GONE, &c->flags))
		c = NULL;
	if (c)
		refcount_inc(&c->refs);
	mutex_unlock(&hn->lock);
	return c;
}

struct hbone_conn *hbone_conn_get_next(struct hbone_net *hn, unsigned long *id)
{
	struct hbone_conn *c;

	mutex_lock(&hn->lock);
	c = xa_find(&hn->conns, id, ULONG_MAX, XA_PRESENT);
	while (c && test_bit(HBONE_CONN_GONE, &c->flags))
		c = xa_find_after(&hn->conns, id, ULONG_MAX, XA_PRESENT);
	if (c)
		refcount_inc(&c->refs);
	mutex_unlock(&hn->lock);
	return c;
}

static void set_params(struct hbone_conn *c, const struct hbone_conn_params *p)
{
	if (p->server)
		__set_bit(HBONE_CONN_SERVER, &c->flags);
	c->local = p->local;
	c->peer = p->peer;
	c->send_window = p->send_window;
	c->recv_window = p->recv_window;
	c->recv_full = p->recv_window;
	c->last_local = p->last_local;
	c->last_peer = p->last_peer;
	c->goaway_last = HBONE_H2_STREAM_MAX;
	c->owner = p->owner;
	c->calm = HBONE_CONN_CALM;
	c->calm_at = jiffies;
	hbone_h2frame_init(&c->reader, p->local.max_frame);
}

static struct hbone_conn *conn_alloc(struct hbone_net *hn, const struct hbone_conn_params *p)
{
	struct hbone_conn *c = kzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);

	if (!c)
		return NULL;
	refcount_set(&c->refs, 1);
	c->hn = hn;
	c->memcg = get_mem_cgroup_from_mm(current->mm);
	INIT_WORK(&c->rx_work.work, hbone_rx_work);
	INIT_WORK(&c->tx_work.work, hbone_tx_work);
	INIT_DELAYED_WORK(&c->end_work, end_work);
	INIT_DELAYED_WORK(&c->retry_work, retry_work);
	INIT_DELAYED_WORK(&c->orphan_work, orphan_work);
	INIT_DELAYED_WORK(&c->abort_work, abort_work);
	spin_lock_init(&c->ready_lock);
	INIT_LIST_HEAD(&c->rd_ready);
	INIT_LIST_HEAD(&c->wr_ready);
	INIT_LIST_HEAD(&c->dropped);
	xa_init_flags(&c->streams, XA_FLAGS_ACCOUNT);
	spin_lock_init(&c->lock);
	INIT_LIST_HEAD(&c->tx_ends);
	INIT_LIST_HEAD(&c->ctl);
	INIT_LIST_HEAD(&c->frames_in);
	INIT_LIST_HEAD(&c->frames_out);
	set_params(c, p);
	if (!p->input_len)
		return c;
	c->input = kvmalloc(p->input_len, GFP_KERNEL_ACCOUNT);
	if (!c->input) {
		conn_free(c);
		return NULL;
	}
	memcpy(c->input, p->input, p->input_len);
	c->input_len = p->input_len;
	return c;
}

/* The number must not come back soon: events tell it to who may be late. */
static int enter_table(struct hbone_net *hn, struct hbone_conn *c)
{
	int err;

	mutex_lock(&hn->lock);
	err = xa_alloc_cyclic(&hn->conns, &c->id, c, XA_LIMIT(1, INT_MAX), &hn->next_id,
			      GFP_KERNEL_ACCOUNT);
	if (err >= 0)
		atomic_inc(&hn->nconns);
	mutex_unlock(&hn->lock);
	return err < 0 ? err : 0;
}

int hbone_conn_create(struct hbone_net *hn, const struct hbone_conn_params *params,
		      struct netlink_ext_ack *extack)
{
	struct hbone_conn *c;
	int id, err;

	c = conn_alloc(hn, params);
	if (!c)
		return -ENOMEM;
	err = hbone_sock_init(&c->tls, params->fd, true, extack);
	if (err)
		goto err_free;
	c->cookie = atomic64_read(&c->tls.sock->sk->sk_cookie);
	/* Not when it is about to go: netlink does not hold it for us. */
	err = try_module_get(THIS_MODULE) ? 0 : -ENODEV;
	if (err)
		goto err_free;
	/* Ours, until we are done with it: once it is watched it may end at any time. */
	refcount_inc(&c->refs);
	err = enter_table(hn, c);
	if (err)
		goto err_put_module;
	id = c->id;
	hbone_mib_inc(hn, CONNS_CREATED);
	hbone_sock_watch(&c->tls, tls_wake);
	/* What came before nobody told us. */
	hbone_conn_kick_rx(c);
	hbone_conn_put(c);
	return id;

err_put_module:
	module_put(THIS_MODULE);
err_free:
	conn_free(c);
	return err;
}
