// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections in hbone.ko. What goes down is a connection of which nothing has begun: each side
 * has the other's SETTINGS, and bytes that were read behind those go along. A client therefore
 * waits for the peer's SETTINGS before its first request: one round trip, once for a tunnel.
 *
 * The descriptor stays here as well, for the record counts of kernel TLS; nobody reads or writes
 * it. It is closed when the connection ends: the module says the last words, with its own.
 *
 * Order: the module tells of the end of a stream behind the headers that came before, and headers
 * are all taken when it tells that there are some. So events in their order are the truth; where
 * some were lost, everything is asked for again.
 *
 * Nothing that we say may depend on what was said before (HPACK's table): a header block can be
 * refused, its stream being gone, and the next one must still be understood.
 */
#include "kmod.h"

#include "base/log.h"
#include "base/reason.h"
#include "base/util.h"
#include "conn.h"
#include "kernel/khbone.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUCKETS 256
#define SECOND 1000000000ull
/* Streams whose end the module tells before it counts them out: of each direction's work one. */
#define ENDING_MAX 2
#define FRAME_MAX (AMB_H2_HEAD + 32768)

/* What an agent before left. */
struct orphan {
	struct orphan *next;
	uint64_t since; /* first listed */
	struct amb_khbone_orphan o;
	char note[];
};

struct amb_kmod {
	struct amb_io io;
	struct amb_bytes *bytes;
	struct amb_khbone *k;
	bool refused; /* said once */
	bool lost; /* events were: to be looked at when the queue is empty */
	struct orphan *orphans, *listed; /* and those of the list before, while it is made anew */
	struct amb_hbone *conns[BUCKETS]; /* by number */
	uint8_t frame[FRAME_MAX];
};

static struct amb_hbone **bucket(struct amb_kmod *m, uint32_t id)
{
	return &m->conns[id % BUCKETS];
}

static struct amb_hbone *find(struct amb_kmod *m, uint32_t id)
{
	struct amb_hbone *c = *bucket(m, id);

	while (c && c->kmod_id != id)
		c = c->kmod_next;
	return c;
}

static struct amb_kmod *module_of(const struct amb_hbone *c)
{
	return c->bytes->kmod;
}

/* --- handing over ---------------------------------------------------------------------------- */

static void begun(struct amb_hbone *c)
{
	c->tell_room = true;
	amb_hbone_later(c);
	if (!c->server && c->ops->up)
		c->ops->up(c, c->owner);
}

/* The agent goes on by itself, with what it kept first. */
static void give_up(struct amb_hbone *c)
{
	uint8_t *held = c->held;
	uint32_t n = c->nheld;

	c->kmod = AMB_KMOD_NO;
	c->held = NULL;
	c->nheld = 0;
	/* Else it is counted when the kernel takes its keys, or does not. */
	if (c->wire.tier == AMB_TIER_USER || amb_wire_tier(&c->wire) == AMB_TIER_KTLS)
		AMB_BYTES_COUNT(c->bytes, tiers[amb_wire_tier(&c->wire)], 1);
	begun(c);
	if (n) {
		amb_frames_input(c, held, n);
		amb_stream_flush_all(c->bytes);
	}
	free(held);
	/* Its socket was not read meanwhile, and tells nobody again. */
	c->more = true;
}

void amb_kmod_hold(struct amb_hbone *c, const uint8_t *p, size_t n)
{
	uint8_t *more = NULL;

	if (c->nheld + n <= HBONE_INPUT_MAX && n)
		more = realloc(c->held, c->nheld + n);
	if (more) {
		memcpy(more + c->nheld, p, n);
		c->held = more;
		c->nheld += n;
	}
	c->kmod = AMB_KMOD_HELD;
	amb_hbone_later(c);
	if (n && !more) {
		/* More than the module takes: the agent keeps it, in order. */
		give_up(c);
		amb_frames_input(c, (uint8_t *)p, n);
	}
}

bool amb_kmod_full(const struct amb_hbone *c)
{
	return c->kmod == AMB_KMOD_HELD && amb_wire_tier(&c->wire) == AMB_TIER_KTLS;
}

/* The agent's pings end where the module begins; TCP says when a peer is gone. */
static void keep_alive(const struct amb_hbone *c)
{
	const struct amb_hbone_config *f = &c->bytes->config;
	int on = 1, idle = AMB_MAX(f->ping_interval_ns / SECOND, 1ull),
	    timeout = (f->ping_interval_ns + f->ping_timeout_ns) / 1000000, probes = 3,
	    each = AMB_MAX(f->ping_timeout_ns / SECOND / 3, 1ull), fd = c->io.fd;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &each, sizeof(each));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

static int hand_over(struct amb_hbone *c)
{
	const struct amb_hbone_config *f = &c->bytes->config;
	struct amb_khbone_conn conn = {
		.fd = c->io.fd,
		.server = c->server,
		.window = f->stream_window,
		.max_frame = f->frame_size,
		.max_streams = f->max_streams,
		.peer_window = c->peer_window,
		.peer_streams = c->server ? HBONE_STREAMS_MAX : c->peer_streams,
		.send_window = c->send_window,
		.recv_window = c->recv_window,
		.last_local = c->next_id > 1 ? c->next_id - 2 : 0,
		.last_peer = c->last_id,
		.input = c->held,
		.input_len = c->nheld,
	};

	/* It has to be a number, and none is none. */
	if (!conn.peer_streams)
		return -ENOSPC;
	keep_alive(c);
	return amb_khbone_add(module_of(c)->k, &conn, &c->kmod_id);
}

static void refused(struct amb_hbone *c, int err)
{
	struct amb_kmod *m = module_of(c);

	if (err == -ENOSPC)
		return;
	if (!m->refused)
		amb_warn(TLS, "hbone.ko took no connection (%s), continuing without; counted",
			 strerror(-err));
	m->refused = true;
	AMB_BYTES_COUNT(c->bytes, tier_refused, 1);
}

static void enter(struct amb_hbone *c)
{
	struct amb_hbone **b = bucket(module_of(c), c->kmod_id);

	c->kmod = AMB_KMOD_THERE;
	c->kmod_next = *b;
	*b = c;
	amb_hbone_arm(c, c->bytes->config.ping_interval_ns);
}

static void there(struct amb_hbone *c)
{
	amb_loop_del(c->bytes->loop, &c->io);
	free(c->held);
	c->held = NULL;
	c->nheld = 0;
	c->more = c->pinging = false;
	if (c->peer_streams > 2 * ENDING_MAX)
		c->peer_streams -= ENDING_MAX;
	enter(c);
	AMB_BYTES_COUNT(c->bytes, tiers[AMB_TIER_KMOD], 1);
	begun(c);
}

void amb_kmod_turn(struct amb_hbone *c)
{
	int err;

	if (c->kmod != AMB_KMOD_HELD || c->state != AMB_CONN_UP || c->broken)
		return;
	/* Kernel TLS took no keys, and we are about to stay; or all that is left is the end. */
	if (c->wire.tier != AMB_TIER_KTLS || c->draining || c->goaway_in) {
		give_up(c);
		return;
	}
	if (c->backlog || c->nobjects || c->wire.updating || !amb_kmod_full(c))
		return;
	err = hand_over(c);
	if (!err) {
		there(c);
		return;
	}
	refused(c, err);
	give_up(c);
}

/* --- requests -------------------------------------------------------------------------------- */

void amb_kmod_drain(struct amb_hbone *c, bool final)
{
	amb_khbone_drain(module_of(c)->k, c->kmod_id, final);
}

void amb_kmod_end(struct amb_hbone *c, uint32_t code)
{
	struct amb_kmod *m = module_of(c);
	struct amb_hbone **p;
	struct amb_stream *s;
	int err = 0;

	for (s = c->streams; s && !c->kmod_gone; s = s->next)
		amb_kmod_count(s);
	for (p = bucket(m, c->kmod_id); *p != c; p = &(*p)->kmod_next)
		;
	*p = c->kmod_next;
	c->kmod = AMB_KMOD_NO;
	if (!c->kmod_gone && !c->kmod_left)
		err = amb_khbone_del(m->k, c->kmod_id, code);
	/* The socket is ours as well. */
	if (err && err != -ENOENT && c->io.fd >= 0)
		shutdown(c->io.fd, SHUT_RDWR);
	/* Whatever is to be said and read, the module does. */
	c->shut = c->eof = true;
}

int amb_kmod_send(struct amb_hbone *c, const uint8_t *frame, size_t n)
{
	int err = amb_khbone_send(module_of(c)->k, c->kmod_id, frame, n);

	/* The peer goes or went, which is told late; or it allows less than it did. */
	if (err == -ESHUTDOWN || (err == -ENOENT && !c->server)) {
		c->goaway_in = c->tell_room = true;
		amb_hbone_later(c);
	} else if (err == -ENOSPC) {
		/* The one that was to be opened is counted. */
		c->peer_streams = AMB_MIN(c->peer_streams, c->nactive - 1);
	}
	return err;
}

int amb_kmod_attach(struct amb_stream *s)
{
	struct amb_hbone *c = s->c;
	char note[HBONE_NOTE_MAX];
	size_t n = 0;
	int err;

	if (s->ops && s->ops->note)
		n = s->ops->note(s, s->owner, note, sizeof(note));
	err = amb_khbone_attach(module_of(c)->k, c->kmod_id, s->id, s->io.fd, note, n);
	if (err)
		return err;
	amb_loop_del(c->bytes->loop, &s->io);
	close(s->io.fd);
	s->io.fd = -1;
	return 0;
}

void amb_kmod_reset(struct amb_hbone *c, uint32_t stream, uint32_t code)
{
	int err = amb_khbone_reset(module_of(c)->k, c->kmod_id, stream, code);

	/* One that is gone is what we want; one that goes on would be nobody's. */
	if (err && err != -ENOENT)
		amb_hbone_fail(c, AMB_REASON_INTERNAL, AMB_H2_INTERNAL_ERROR,
			       "hbone.ko does not end a stream");
}

/* Not what an agent before counted. */
static void counted(struct amb_stream *s, uint64_t rx, uint64_t tx)
{
	s->to_app = rx - s->before[0];
	s->from_app = tx - s->before[1];
}

void amb_kmod_count(struct amb_stream *s)
{
	uint64_t rx, tx;

	/* One that is gone told its counts, or will. */
	if (!s->dead && s->in_table &&
	    !amb_khbone_bytes(module_of(s->c)->k, s->c->kmod_id, s->id, &rx, &tx))
		counted(s, rx, tx);
}

void amb_kmod_look(struct amb_hbone *c)
{
	uint64_t sent, received;

	amb_wire_counts(&c->wire, &sent, &received);
	if (AMB_MAX(sent, received) >= AMB_RECORD_HARD_LIMIT) {
		amb_hbone_fail(c, AMB_REASON_TLS, AMB_H2_NO_ERROR, "the key is used up");
	} else if (AMB_MAX(sent, received) >= c->wire.limit && !c->retired) {
		c->retired = c->tell_room = true;
		amb_hbone_later(c);
	}
}

/* --- events ---------------------------------------------------------------------------------- */

static void take_frames(struct amb_hbone *c)
{
	struct amb_kmod *m = module_of(c);
	bool refused;
	ssize_t n;

	while (c->state == AMB_CONN_UP && c->kmod == AMB_KMOD_THERE && !c->broken) {
		n = amb_khbone_recv(m->k, c->kmod_id, m->frame, sizeof(m->frame), &refused);
		if (n == -EAGAIN || n == -ENOENT)
			return;
		/* What came before was another agent's to decode; what comes is refused. */
		if (n < 0)
			amb_hbone_fail(c, AMB_REASON_INTERNAL, AMB_H2_INTERNAL_ERROR,
				       "headers are lost");
		else if (c->inflater)
			amb_frames_headers(c, m->frame, n, refused);
	}
}

static enum amb_reason reason_of(uint32_t reason, uint32_t code)
{
	switch (reason) {
	case HBONE_REASON_DONE:
		return AMB_REASON_NONE;
	case HBONE_REASON_PEER_RESET:
		return code == AMB_H2_REFUSED_STREAM ? AMB_REASON_H2 : AMB_REASON_RESET;
	case HBONE_REASON_PROTOCOL:
		return AMB_REASON_H2;
	case HBONE_REASON_TLS:
	case HBONE_REASON_KEY:
		return AMB_REASON_TLS;
	case HBONE_REASON_MEMORY:
		return AMB_REASON_MEMORY;
	default:
		return AMB_REASON_RESET;
	}
}

static const char *text_of(uint32_t reason, uint32_t code)
{
	switch (reason) {
	case HBONE_REASON_PEER_RESET:
	case HBONE_REASON_PROTOCOL:
		return amb_h2_error_text(code);
	case HBONE_REASON_TLS:
		return "the peer sent a TLS alert, or changed its keys";
	case HBONE_REASON_KEY:
		return "the key is used up";
	case HBONE_REASON_CONN:
		return "peer closed the connection";
	case HBONE_REASON_SOCKET:
		return "connection was reset by the peer";
	default:
		return NULL;
	}
}

static void stream_closed(struct amb_hbone *c, const struct amb_khbone_event *ev)
{
	struct amb_stream *s = amb_stream_find(c, ev->stream);

	if (!s)
		return;
	/* As in frames.c: opened and reset is work for us and none for the peer. */
	if (c->server && ev->reason == HBONE_REASON_PEER_RESET && !ev->rx_bytes && !ev->tx_bytes)
		amb_hbone_charge(c, AMB_ABUSE_RESET);
	counted(s, ev->rx_bytes, ev->tx_bytes);
	amb_stream_finish(s, reason_of(ev->reason, ev->error), text_of(ev->reason, ev->error));
}

static void conn_closed(struct amb_hbone *c, uint32_t reason, uint32_t code)
{
	if (reason == HBONE_REASON_PROTOCOL)
		AMB_BYTES_COUNT(c->bytes, conn_errors, 1);
	c->kmod_gone = true;
	amb_hbone_fail(c, reason_of(reason, code), AMB_CONN_NO_GOAWAY, text_of(reason, code));
}

static void on_told(void *ctx, const struct amb_khbone_event *ev)
{
	struct amb_kmod *m = ctx;
	struct amb_hbone *c = find(m, ev->conn);

	/* Another thread's, or over. */
	if (!c)
		return;
	switch (ev->cmd) {
	case HBONE_CMD_FRAME_READY:
		take_frames(c);
		break;
	case HBONE_CMD_STREAM_CLOSED:
		stream_closed(c, ev);
		break;
	case HBONE_CMD_GOAWAY:
		c->goaway_in = c->tell_room = true;
		amb_hbone_later(c);
		break;
	case HBONE_CMD_CONN_CLOSED:
		if (ev->reason != HBONE_REASON_DONE && ev->reason != HBONE_REASON_REQUEST)
			amb_info(POOL, "hbone.ko ended connection %u: %s (%s)", ev->conn,
				 text_of(ev->reason, ev->error) ?: "lost",
				 ev->err ? strerror(-ev->err) : amb_h2_error_text(ev->error));
		conn_closed(c, ev->reason, ev->error);
		break;
	}
}

/* A stream that the module does not have. */
static struct amb_stream *lost(struct amb_hbone *c)
{
	uint64_t rx, tx;
	struct amb_stream *s;

	for (s = c->streams; s; s = s->next) {
		if (s->in_table &&
		    amb_khbone_bytes(module_of(c)->k, c->kmod_id, s->id, &rx, &tx) == -ENOENT)
			return s;
	}
	return NULL;
}

/* Events were lost: what the module has is the truth. */
static void look_again(struct amb_kmod *m)
{
	struct amb_stream *s;
	struct amb_hbone *c;
	int i;

	amb_warn(POOL, "events of hbone.ko were lost, everything is asked for again");
	for (i = 0; i < BUCKETS; i++) {
		/* Ends come at the turn's end, so the list stays as it is. */
		for (c = m->conns[i]; c; c = c->kmod_next) {
			take_frames(c);
			while ((s = lost(c)))
				amb_stream_finish(s, AMB_REASON_RESET, "its end was not told");
			if (amb_khbone_alive(m->k, c->kmod_id) == -ENOENT)
				conn_closed(c, HBONE_REASON_CONN, 0);
		}
	}
}

static void on_event(struct amb_io *io, uint32_t events)
{
	struct amb_kmod *m = AMB_CONTAINER_OF(io, struct amb_kmod, io);
	int n;

	(void)events;
	do {
		n = amb_khbone_events(m->k, on_told, m);
		m->lost |= n == -ENOBUFS;
		/*
		 * To the end, when some were: until the queue was empty once the kernel drops what
		 * comes, and says so no more.
		 */
	} while (n < 0 || (n && m->lost));
	if (!m->lost)
		return;
	m->lost = false;
	look_again(m);
}

/* --- from one agent to the next -------------------------------------------------------------- */

static struct amb_hbone *first_there(struct amb_bytes *b)
{
	struct amb_hbone *c = b->conns;

	while (c && c->kmod != AMB_KMOD_THERE)
		c = c->next;
	return c;
}

static struct amb_stream *first_carried(const struct amb_hbone *c)
{
	struct amb_stream *s = c->streams;

	while (s && !(s->in_table && s->open && s->io.fd < 0))
		s = s->next;
	return s;
}

void amb_kmod_leave(struct amb_bytes *b)
{
	struct amb_stream *s;
	struct amb_hbone *c;

	while ((c = first_there(b))) {
		/* Who comes next cannot decode what the peer says in headers. */
		amb_kmod_drain(c, true);
		while ((s = first_carried(c))) {
			amb_kmod_count(s);
			c->kmod_left = true;
			amb_stream_finish(s, AMB_REASON_NONE, NULL);
		}
		if (c->kmod == AMB_KMOD_THERE)
			amb_hbone_abort(c, AMB_REASON_DRAIN, NULL);
	}
}

static int keep_orphan(void *ctx, const struct amb_khbone_orphan *o)
{
	struct amb_kmod *m = ctx;
	struct orphan *n = malloc(sizeof(*n) + o->note_len), *before = m->listed;

	if (!n)
		return -ENOMEM;
	while (before && (before->o.conn != o->conn || before->o.stream != o->stream))
		before = before->next;
	n->since = before ? before->since : amb_loop_now(m->bytes->loop);
	n->o = *o;
	if (o->note_len)
		memcpy(n->note, o->note, o->note_len);
	n->o.note = n->note;
	n->next = m->orphans;
	m->orphans = n;
	return 0;
}

static void free_orphans(struct orphan *n)
{
	struct orphan *next;

	for (; n; n = next) {
		next = n->next;
		free(n);
	}
}

bool amb_kmod_list_orphans(struct amb_bytes *b)
{
	struct amb_kmod *m = b->kmod;
	int err;

	m->listed = m->orphans;
	m->orphans = NULL;
	err = amb_khbone_orphans(m->k, keep_orphan, m);
	free_orphans(m->listed);
	m->listed = NULL;
	if (err)
		amb_err(POOL, "connections of an agent before are not all known: %s",
			strerror(-err));
	return m->orphans;
}

void amb_kmod_each_orphan(struct amb_bytes *b,
			  bool (*fn)(void *ctx, const struct amb_khbone_orphan *o), void *ctx)
{
	struct orphan **p, *n;

	for (p = &b->kmod->orphans; (n = *p);) {
		if (fn(ctx, &n->o)) {
			*p = n->next;
			free(n);
		} else {
			p = &n->next;
		}
	}
}

void amb_kmod_end_orphans(struct amb_bytes *b)
{
	struct amb_kmod *m = b->kmod;
	uint64_t now = amb_loop_now(b->loop);
	unsigned int ended = 0;
	struct orphan *n;

	for (n = m->orphans; n; n = n->next)
		ended += now - n->since >= AMB_KMOD_ORPHAN_NS && !amb_kmod_end_orphan(b, &n->o);
	if (ended)
		amb_warn(POOL, "%u connections of an agent before were nobody's, and were ended",
			 ended);
}

int amb_kmod_end_orphan(struct amb_bytes *b, const struct amb_khbone_orphan *o)
{
	int err = amb_khbone_reset(b->kmod->k, o->conn, o->stream, AMB_H2_CONNECT_ERROR);

	return err == -ENOENT ? 0 : err;
}

/* First what memory is for: one that has an owner, who does not know it, is looked for no more. */
static struct amb_hbone *adopt_conn(struct amb_bytes *b, const struct amb_khbone_orphan *o,
				    struct amb_identity *peer, uint16_t suite)
{
	struct amb_hbone *c = amb_hbone_adopt(b, o->server, peer, suite);
	int err;

	if (!c)
		return NULL;
	c->kmod_id = o->conn;
	enter(c);
	err = amb_khbone_own(b->kmod->k, o->conn);
	if (err) {
		/* Not ours to end. */
		c->kmod_left = true;
		amb_hbone_abort(c, AMB_REASON_INTERNAL, NULL);
		errno = -err;
		return NULL;
	}
	amb_kmod_drain(c, true);
	AMB_BYTES_COUNT(b, tiers[AMB_TIER_KMOD], 1);
	return c;
}

struct amb_stream *amb_kmod_adopt(struct amb_bytes *b, const struct amb_khbone_orphan *o,
				  struct amb_identity *peer, uint16_t suite)
{
	struct amb_hbone *c = find(b->kmod, o->conn);
	struct amb_stream *s;

	if (!c)
		c = adopt_conn(b, o, peer, suite);
	if (!c)
		return NULL;
	s = amb_stream_new(c, o->stream);
	if (!s) {
		amb_hbone_later(c);
		errno = ENOMEM;
		return NULL;
	}
	s->open = true;
	s->before[0] = o->rx_bytes;
	s->before[1] = o->tx_bytes;
	/* Its end may have been told before there was somebody to hear it. */
	if (amb_khbone_bytes(b->kmod->k, o->conn, o->stream, &s->to_app, &s->from_app)) {
		amb_stream_finish(s, AMB_REASON_NONE, NULL);
		errno = ENOENT;
		return NULL;
	}
	counted(s, s->to_app, s->from_app);
	return s;
}

/* --- beginning and end ----------------------------------------------------------------------- */

struct amb_kmod *amb_kmod_create(struct amb_bytes *b)
{
	struct amb_kmod *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return NULL;
	m->bytes = b;
	m->k = amb_khbone_create();
	err = m->k ? 0 : -errno;
	if (!err) {
		m->io.fn = on_event;
		m->io.fd = amb_khbone_fd(m->k);
		err = amb_loop_add(b->loop, &m->io, EPOLLIN);
	}
	if (err) {
		amb_khbone_destroy(m->k);
		free(m);
		errno = -err;
		return NULL;
	}
	return m;
}

void amb_kmod_destroy(struct amb_kmod *m)
{
	if (!m)
		return;
	free_orphans(m->orphans);
	amb_loop_del(m->bytes->loop, &m->io);
	amb_khbone_destroy(m->k);
	free(m);
}
