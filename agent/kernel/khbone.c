// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests to hbone.ko. Two sockets: one asks, and owns what is handed over; the other listens, so
 * that an answer never waits behind events. A request is served within send(), so its answer is
 * there when we look for it.
 */
#include "khbone.h"

#include "base/cleanup.h"
#include "base/util.h"
#include "nl.h"

#include <netlink/genl/ctrl.h>
#include <netlink/genl/family.h>
#include <netlink/genl/genl.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_BUFFER (1 << 20) /* some thousand events */
#define EVENTS_TURN 256 /* read before others of the loop have their turn */
#define ANSWER_MAX (1 << 16) /* a frame of the largest size that the module takes */

struct amb_khbone {
	struct nl_sock *ask, *listen;
	int family;
};

/* What becomes of an answer. */
struct answer {
	int err;
	struct amb_khbone_event ev;
	void *frame; /* where a frame is to go */
	size_t room;
	ssize_t got; /* its length */
	bool refused;
};

static void cleanup_msg(struct nl_msg **m)
{
	nlmsg_free(*m);
}

/* --- answers --------------------------------------------------------------------------------- */

static uint32_t u32(struct nlattr **a, int attr)
{
	return a[attr] ? nla_get_u32(a[attr]) : 0;
}

static uint64_t u64(struct nlattr **a, int attr)
{
	return a[attr] ? nla_get_u64(a[attr]) : 0;
}

static int read_message(struct nl_msg *msg, struct nlattr **a, struct amb_khbone_event *ev)
{
	if (genlmsg_parse(nlmsg_hdr(msg), 0, a, HBONE_A_MAX, NULL))
		return -EBADMSG;
	*ev = (struct amb_khbone_event){
		.cmd = genlmsg_hdr(nlmsg_hdr(msg))->cmd,
		.conn = u32(a, HBONE_A_CONN),
		.stream = u32(a, HBONE_A_STREAM),
		.reason = u32(a, HBONE_A_REASON),
		.error = u32(a, HBONE_A_ERROR),
		.last = u32(a, HBONE_A_LAST_LOCAL),
		.err = -(int)u32(a, HBONE_A_ERRNO),
		.rx_bytes = u64(a, HBONE_A_RX_BYTES),
		.tx_bytes = u64(a, HBONE_A_TX_BYTES),
	};
	return 0;
}

static int on_error(struct sockaddr_nl *who, struct nlmsgerr *e, void *arg)
{
	struct answer *to = arg;

	(void)who;
	to->err = e->error;
	return NL_STOP;
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	struct answer *to = arg;

	(void)msg;
	to->err = 0;
	return NL_STOP;
}

static int on_answer(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[HBONE_A_MAX + 1];
	struct answer *to = arg;

	to->err = read_message(msg, a, &to->ev);
	if (to->err || !to->frame || !a[HBONE_A_FRAME])
		return NL_STOP;
	to->refused = u32(a, HBONE_A_FLAGS) & HBONE_F_REFUSED;
	to->got = nla_len(a[HBONE_A_FRAME]);
	if ((size_t)to->got > to->room)
		to->got = -EMSGSIZE;
	else
		memcpy(to->frame, nla_data(a[HBONE_A_FRAME]), to->got);
	return NL_STOP;
}

static int in_order(struct nl_msg *msg, void *arg)
{
	(void)msg;
	(void)arg;
	return NL_OK;
}

static struct nl_msg *request(struct amb_khbone *k, uint8_t cmd, int flags, size_t size)
{
	struct nl_msg *m = nlmsg_alloc_size(256 + size);

	if (m && !genlmsg_put(m, NL_AUTO_PORT, NL_AUTO_SEQ, k->family, 0, NLM_F_REQUEST | flags,
			      cmd, HBONE_GENL_VERSION)) {
		nlmsg_free(m);
		m = NULL;
	}
	return m;
}

/* Sends it and reads what the module says. */
static int ask(struct amb_khbone *k, struct nl_msg *m, struct answer *to)
{
	struct nl_cb *cb = nl_socket_get_cb(k->ask);
	int n;

	to->err = -EIO;
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, to);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, to);
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_answer, to);
	n = nl_send_auto(k->ask, m);
	if (n >= 0)
		n = nl_recvmsgs(k->ask, cb);
	nl_cb_put(cb);
	return n < 0 && to->err == -EIO ? amb_nl_errno(n) : to->err;
}

/* For requests that are only acknowledged. */
static int order(struct amb_khbone *k, struct nl_msg *m, uint32_t id, uint32_t stream)
{
	struct answer to = { 0 };

	if (nla_put_u32(m, HBONE_A_CONN, id) || (stream && nla_put_u32(m, HBONE_A_STREAM, stream)))
		return -ENOMEM;
	return ask(k, m, &to);
}

/* --- requests -------------------------------------------------------------------------------- */

static int put_settings(struct nl_msg *m, int attr, uint32_t window, uint32_t max_frame,
			uint32_t max_streams)
{
	struct nlattr *nest = nla_nest_start(m, attr);

	if (!nest || nla_put_u32(m, HBONE_SET_INITIAL_WINDOW, window) ||
	    (max_frame && nla_put_u32(m, HBONE_SET_MAX_FRAME, max_frame)) ||
	    nla_put_u32(m, HBONE_SET_MAX_STREAMS,
			AMB_MAX(1u, AMB_MIN(max_streams, (uint32_t)HBONE_STREAMS_MAX))))
		return -ENOMEM;
	nla_nest_end(m, nest);
	return 0;
}

int amb_khbone_add(struct amb_khbone *k, const struct amb_khbone_conn *c, uint32_t *id)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_CONN_ADD, 0, c->input_len);
	struct answer to = { 0 };
	int err;

	if (!m || nla_put_u32(m, HBONE_A_VERSION, HBONE_GENL_VERSION) ||
	    nla_put_u32(m, HBONE_A_FD, c->fd) ||
	    (c->server && nla_put_u32(m, HBONE_A_FLAGS, HBONE_F_SERVER)) ||
	    put_settings(m, HBONE_A_LOCAL, c->window, c->max_frame, c->max_streams) ||
	    put_settings(m, HBONE_A_PEER, c->peer_window, 0, c->peer_streams) ||
	    nla_put_s32(m, HBONE_A_SEND_WINDOW, c->send_window) ||
	    nla_put_s32(m, HBONE_A_RECV_WINDOW, c->recv_window) ||
	    nla_put_u32(m, HBONE_A_LAST_LOCAL, c->last_local) ||
	    nla_put_u32(m, HBONE_A_LAST_PEER, c->last_peer) ||
	    (c->input_len && nla_put(m, HBONE_A_INPUT, c->input_len, c->input)))
		return -ENOMEM;
	err = ask(k, m, &to);
	*id = to.ev.conn;
	return err;
}

int amb_khbone_drain(struct amb_khbone *k, uint32_t id, bool final)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_CONN_DRAIN, NLM_F_ACK, 0);

	if (!m || (final && nla_put_u32(m, HBONE_A_FLAGS, HBONE_F_FINAL)))
		return -ENOMEM;
	return order(k, m, id, 0);
}

int amb_khbone_del(struct amb_khbone *k, uint32_t id, uint32_t code)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_CONN_DEL, NLM_F_ACK, 0);

	if (!m || nla_put_u32(m, HBONE_A_ERROR, code))
		return -ENOMEM;
	return order(k, m, id, 0);
}

int amb_khbone_alive(struct amb_khbone *k, uint32_t id)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_CONN_GET, 0, 0);

	return m ? order(k, m, id, 0) : -ENOMEM;
}

int amb_khbone_attach(struct amb_khbone *k, uint32_t id, uint32_t stream, int fd, const void *note,
		      size_t n)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_STREAM_ADD, NLM_F_ACK, n);

	if (!m || nla_put_u32(m, HBONE_A_FD, fd) || (n && nla_put(m, HBONE_A_NOTE, n, note)))
		return -ENOMEM;
	return order(k, m, id, stream);
}

int amb_khbone_reset(struct amb_khbone *k, uint32_t id, uint32_t stream, uint32_t code)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_STREAM_DEL, NLM_F_ACK, 0);

	if (!m || nla_put_u32(m, HBONE_A_ERROR, code))
		return -ENOMEM;
	return order(k, m, id, stream);
}

int amb_khbone_bytes(struct amb_khbone *k, uint32_t id, uint32_t stream, uint64_t *rx, uint64_t *tx)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_STREAM_GET, 0, 0);
	struct answer to = { 0 };
	int err;

	if (!m || nla_put_u32(m, HBONE_A_CONN, id) || nla_put_u32(m, HBONE_A_STREAM, stream))
		return -ENOMEM;
	err = ask(k, m, &to);
	if (err)
		return err;
	*rx = to.ev.rx_bytes;
	*tx = to.ev.tx_bytes;
	return 0;
}

int amb_khbone_send(struct amb_khbone *k, uint32_t id, const void *frames, size_t n)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_FRAME_SEND, NLM_F_ACK, n);

	if (!m || nla_put(m, HBONE_A_FRAME, n, frames))
		return -ENOMEM;
	return order(k, m, id, 0);
}

ssize_t amb_khbone_recv(struct amb_khbone *k, uint32_t id, void *frame, size_t room, bool *refused)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_FRAME_RECV, 0, 0);
	struct answer to = { .frame = frame, .room = room, .got = -EBADMSG };
	int err;

	if (!m || nla_put_u32(m, HBONE_A_CONN, id))
		return -ENOMEM;
	err = ask(k, m, &to);
	*refused = to.refused;
	return err ? err : to.got;
}

int amb_khbone_own(struct amb_khbone *k, uint32_t id)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_CONN_OWN, NLM_F_ACK, 0);

	return m ? order(k, m, id, 0) : -ENOMEM;
}

/* --- dumps ----------------------------------------------------------------------------------- */

struct owned_by_none {
	uint32_t id, flags;
};

struct dump {
	int err;
	bool done;
	struct nlattr *a[HBONE_A_MAX + 1];
	int (*each)(struct dump *d);
	/* connections */
	struct owned_by_none *conns;
	size_t n;
	/* streams */
	struct amb_khbone_orphan o;
	int (*fn)(void *ctx, const struct amb_khbone_orphan *o);
	void *ctx;
};

static int on_row(struct nl_msg *msg, void *arg)
{
	struct dump *d = arg;

	if (d->err)
		return NL_OK;
	if (genlmsg_parse(nlmsg_hdr(msg), 0, d->a, HBONE_A_MAX, NULL))
		d->err = -EBADMSG;
	else
		d->err = d->each(d);
	return NL_OK;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	const struct nlmsghdr *h = nlmsg_hdr(msg);
	struct dump *d = arg;

	/* Its end says also whether it went wrong. */
	if (!d->err && nlmsg_datalen(h) >= (int)sizeof(int))
		d->err = AMB_MIN(*(const int *)nlmsg_data(h), 0);
	d->done = true;
	return NL_STOP;
}

static int on_dump_error(struct sockaddr_nl *who, struct nlmsgerr *e, void *arg)
{
	struct dump *d = arg;

	(void)who;
	d->err = e->error;
	d->done = true;
	return NL_STOP;
}

static int run_dump(struct amb_khbone *k, struct nl_msg *m, struct dump *d)
{
	struct nl_cb *cb = nl_socket_get_cb(k->ask);
	int n;

	nl_cb_err(cb, NL_CB_CUSTOM, on_dump_error, d);
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_row, d);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, d);
	n = nl_send_auto(k->ask, m);
	/* To its end in any case: what is left would be the next one's answer. */
	while (n >= 0 && !d->done)
		n = nl_recvmsgs(k->ask, cb);
	nl_cb_put(cb);
	return d->err ? d->err : amb_nl_errno(AMB_MIN(n, 0));
}

static int take_conn(struct dump *d)
{
	struct owned_by_none *more;

	if (u32(d->a, HBONE_A_OWNER))
		return 0;
	more = reallocarray(d->conns, d->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	d->conns = more;
	more[d->n].id = u32(d->a, HBONE_A_CONN);
	more[d->n++].flags = u32(d->a, HBONE_A_FLAGS);
	return 0;
}

static int take_stream(struct dump *d)
{
	struct nlattr *note = d->a[HBONE_A_NOTE];

	d->o.stream = u32(d->a, HBONE_A_STREAM);
	d->o.attached = u32(d->a, HBONE_A_FLAGS) & HBONE_F_ATTACHED;
	d->o.rx_bytes = u64(d->a, HBONE_A_RX_BYTES);
	d->o.tx_bytes = u64(d->a, HBONE_A_TX_BYTES);
	d->o.note = note ? nla_data(note) : NULL;
	d->o.note_len = note ? nla_len(note) : 0;
	return d->fn(d->ctx, &d->o);
}

static int dump_streams(struct amb_khbone *k, struct dump *d, const struct owned_by_none *c)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_STREAM_GET, NLM_F_DUMP, 0);
	int err;

	if (!m || nla_put_u32(m, HBONE_A_CONN, c->id))
		return -ENOMEM;
	d->each = take_stream;
	d->done = false;
	d->o.conn = c->id;
	d->o.server = c->flags & HBONE_F_SERVER;
	err = run_dump(k, m, d);
	if (err != -ENOENT)
		return err;
	/* It ended meanwhile. */
	d->err = 0;
	return 0;
}

int amb_khbone_orphans(struct amb_khbone *k,
		       int (*fn)(void *ctx, const struct amb_khbone_orphan *o), void *ctx)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_CONN_GET, NLM_F_DUMP, 0);
	struct dump d = { .each = take_conn, .fn = fn, .ctx = ctx };
	size_t i;
	int err;

	err = m ? run_dump(k, m, &d) : -ENOMEM;
	for (i = 0; i < d.n && !err; i++)
		err = dump_streams(k, &d, &d.conns[i]);
	free(d.conns);
	return err;
}

static int remove_all(struct amb_khbone *k, unsigned int *n)
{
	_cleanup_(cleanup_msg) struct nl_msg *m = request(k, HBONE_CMD_CONN_GET, NLM_F_DUMP, 0);
	struct dump d = { .each = take_conn };
	int err = m ? run_dump(k, m, &d) : -ENOMEM, ret;
	size_t i;

	for (i = 0; i < d.n; i++) {
		ret = amb_khbone_del(k, d.conns[i].id, 0);
		*n += !ret;
		if (!err && ret != -ENOENT)
			err = ret;
	}
	free(d.conns);
	return err;
}

int amb_khbone_remove_orphans(unsigned int *n)
{
	struct amb_khbone *k = amb_khbone_create();
	int err;

	*n = 0;
	if (!k)
		return errno == ENOENT ? 0 : -errno;
	err = remove_all(k, n);
	amb_khbone_destroy(k);
	return err;
}

/* --- events ---------------------------------------------------------------------------------- */

struct listener {
	void (*fn)(void *ctx, const struct amb_khbone_event *ev);
	void *ctx;
};

static int on_event(struct nl_msg *msg, void *arg)
{
	struct nlattr *a[HBONE_A_MAX + 1];
	struct amb_khbone_event ev;
	const struct listener *l = arg;

	if (!read_message(msg, a, &ev))
		l->fn(l->ctx, &ev);
	return NL_OK;
}

int amb_khbone_fd(const struct amb_khbone *k)
{
	return nl_socket_get_fd(k->listen);
}

int amb_khbone_events(struct amb_khbone *k,
		      void (*fn)(void *ctx, const struct amb_khbone_event *ev), void *ctx)
{
	struct nl_cb *cb = nl_socket_get_cb(k->listen);
	struct listener l = { fn, ctx };
	int n = 0, left = EVENTS_TURN;

	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_event, &l);
	while (left-- && n >= 0)
		n = nl_recvmsgs(k->listen, cb);
	nl_cb_put(cb);
	if (n >= 0)
		return 1;
	/* libnl's word for ENOBUFS. */
	return n == -NLE_NOMEM ? -ENOBUFS : 0;
}

/* --- beginning and end ----------------------------------------------------------------------- */

static int open_socket(struct nl_sock **out)
{
	struct nl_sock *s = nl_socket_alloc();
	struct nl_cb *cb;
	int err;

	*out = s;
	if (!s)
		return -ENOMEM;
	err = amb_nl_errno(genl_connect(s));
	if (err)
		return err;
	/* We ask for an acknowledgement where there is no answer, and look at one at a time. */
	nl_socket_disable_auto_ack(s);
	cb = nl_socket_get_cb(s);
	nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, in_order, NULL);
	nl_cb_put(cb);
	return 0;
}

/* The family's number, or -errno. */
static int find_family(struct nl_sock *s)
{
	struct nl_cache *cache = NULL;
	struct genl_family *f;
	int n;

	n = genl_ctrl_resolve(s, HBONE_GENL_NAME);
	if (n < 0)
		return n == -NLE_OBJ_NOTFOUND ? -ENOENT : amb_nl_errno(n);
	if (genl_ctrl_alloc_cache(s, &cache))
		return -ENOMEM;
	f = genl_ctrl_search(cache, n);
	if (!f)
		n = -ENOENT;
	else if (genl_family_get_version(f) != HBONE_GENL_VERSION)
		n = -EPROTONOSUPPORT;
	if (f)
		genl_family_put(f);
	nl_cache_free(cache);
	return n;
}

static int open_listener(struct amb_khbone *k)
{
	int err = open_socket(&k->listen), group, size = EVENTS_BUFFER;

	if (err)
		return err;
	group = genl_ctrl_resolve_grp(k->listen, HBONE_GENL_NAME, HBONE_GENL_GROUP);
	if (group < 0)
		return amb_nl_errno(group);
	/* What anybody may have is a fifth of it by default. */
	if (setsockopt(nl_socket_get_fd(k->listen), SOL_SOCKET, SO_RCVBUFFORCE, &size,
		       sizeof(size)))
		nl_socket_set_buffer_size(k->listen, size, 0);
	err = nl_socket_add_membership(k->listen, group) ?: nl_socket_set_nonblocking(k->listen);
	return amb_nl_errno(err);
}

struct amb_khbone *amb_khbone_create(void)
{
	struct amb_khbone *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return NULL;
	err = open_socket(&k->ask);
	if (!err) {
		/* Asking for more than there is costs a second call for each message. */
		nl_socket_disable_msg_peek(k->ask);
		nl_socket_set_msg_buf_size(k->ask, ANSWER_MAX);
		k->family = find_family(k->ask);
		err = AMB_MIN(k->family, 0);
	}
	if (!err)
		err = open_listener(k);
	if (err) {
		amb_khbone_destroy(k);
		errno = -err;
		return NULL;
	}
	return k;
}

void amb_khbone_destroy(struct amb_khbone *k)
{
	if (!k)
		return;
	nl_socket_free(k->ask);
	nl_socket_free(k->listen);
	free(k);
}

int amb_khbone_probe(void)
{
	struct amb_khbone *k = amb_khbone_create();
	int err = k ? 0 : -errno;

	amb_khbone_destroy(k);
	return err;
}
