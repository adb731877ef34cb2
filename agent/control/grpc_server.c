// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A small gRPC server on a unix socket.
 *
 * Lifetime: a call is nghttp2's stream user data and is freed when its stream is closed, or with
 * its client. Clients end at the end of a turn (work), never from within nghttp2.
 */
#include "grpc_server.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/unix.h"
#include "base/util.h"
#include "grpc_h2.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define PIECE 16384 /* bytes read at a time */
#define PATH_LEN 128 /* of a method; longer ones are unknown */

struct amb_gserver_call {
	struct amb_gserver_call *next, **prev;
	struct client *client;
	int32_t id;
	void *ctx; /* NULL: not opened, or over */
	char path[PATH_LEN];
	bool post, grpc;
	struct amb_grpc_reader reader;
	struct amb_grpc_whole in; /* request that comes in */
	uint8_t *out; /* message that goes out, with its head */
	uint32_t nout, sent;
	bool ended; /* trailers follow what is left */
	enum amb_grpc_code code;
	char text[128];
};

struct client {
	struct client *next, **prev;
	struct amb_gserver *server;
	struct amb_io io;
	struct amb_work work; /* sends, or ends it */
	nghttp2_session *h2;
	struct amb_gserver_call *calls;
	const uint8_t *out; /* nghttp2's */
	size_t nout;
	bool failed, polling_out;
};

struct amb_gserver {
	struct amb_loop *loop;
	struct amb_io io;
	char *path;
	uid_t uids[AMB_GSERVER_UIDS + 1];
	size_t nuids;
	const struct amb_gserver_handler *handler;
	void *ctx;
	struct client *clients;
	unsigned int nclients;
	struct amb_log_limit refusals;
};

static void wake(struct client *cl)
{
	amb_loop_defer(cl->server->loop, &cl->work);
}

/* Calls */

static void call_close(struct amb_gserver_call *call)
{
	void *ctx = take_ptr(call->ctx);

	if (ctx)
		call->client->server->handler->close(ctx);
}

static void drop_out(struct amb_gserver_call *call)
{
	if (call->out)
		explicit_bzero(call->out, call->nout);
	free(take_ptr(call->out));
	call->nout = call->sent = 0;
}

static void call_free(struct amb_gserver_call *call)
{
	call_close(call);
	*call->prev = call->next;
	if (call->next)
		call->next->prev = call->prev;
	drop_out(call);
	amb_grpc_whole_clear(&call->in);
	free(call);
}

/* Ends it with a status, after what is left to send. */
static void call_end(struct amb_gserver_call *call, enum amb_grpc_code code, const char *text)
{
	if (call->ended)
		return;
	call->ended = true;
	call->code = code;
	snprintf(call->text, sizeof(call->text), "%s", text);
	call_close(call);
	nghttp2_session_resume_data(call->client->h2, call->id);
	wake(call->client);
}

uint8_t *amb_gserver_send(struct amb_gserver_call *call, uint32_t len)
{
	if (call->out) {
		errno = EAGAIN;
		return NULL;
	}
	call->out = malloc(AMB_GRPC_HEAD + len);
	if (!call->out)
		return NULL;
	amb_grpc_head_write(call->out, len);
	call->nout = AMB_GRPC_HEAD + len;
	nghttp2_session_resume_data(call->client->h2, call->id);
	wake(call->client);
	return call->out + AMB_GRPC_HEAD;
}

static int submit_trailers(struct amb_gserver_call *call)
{
	char code[8];
	nghttp2_nv nv[2];

	snprintf(code, sizeof(code), "%d", call->code);
	nv[0] = amb_grpc_h2_field("grpc-status", code);
	nv[1] = amb_grpc_h2_field("grpc-message", call->text);
	return nghttp2_submit_trailer(call->client->h2, call->id, nv, *call->text ? 2 : 1);
}

static ssize_t give_data(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *source, void *user)
{
	struct amb_gserver_call *call = source->ptr;
	size_t n = AMB_MIN(len, (size_t)(call->nout - call->sent));

	(void)h2;
	(void)id;
	(void)user;
	if (n) {
		memcpy(buf, call->out + call->sent, n);
		call->sent += n;
	}
	if (call->out && call->sent == call->nout) {
		drop_out(call);
		if (call->ctx)
			call->client->server->handler->room(call->ctx);
	}
	if (call->ended && !call->out) {
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (submit_trailers(call))
			return NGHTTP2_ERR_CALLBACK_FAILURE;
	} else if (!n) {
		return NGHTTP2_ERR_DEFERRED;
	}
	return n;
}

/* The headers are there. */
static int call_begin(struct amb_gserver_call *call)
{
	const struct amb_gserver *s = call->client->server;
	const nghttp2_nv nv[] = { amb_grpc_h2_field(":status", "200"),
				  amb_grpc_h2_field("content-type", AMB_GRPC_H2_TYPE) };
	const nghttp2_data_provider data = { .source.ptr = call, .read_callback = give_data };

	if (nghttp2_submit_response(call->client->h2, call->id, nv, 2, &data))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (call->post && call->grpc)
		call->ctx = s->handler->open(s->ctx, call, call->path);
	if (!call->ctx)
		call_end(call, AMB_GRPC_UNIMPLEMENTED, "no such method");
	return 0;
}

static int take_piece(struct amb_gserver_call *call, const struct amb_grpc_piece *piece)
{
	int ret = amb_grpc_gather(&call->in, piece);

	if (ret <= 0)
		return ret;
	ret = call->client->server->handler->message(call->ctx, call->in.p, call->in.len);
	amb_grpc_whole_clear(&call->in);
	return ret;
}

/* Callbacks of nghttp2 */

static int on_begin(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
	struct client *cl = user;
	struct amb_gserver_call *call;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	call = calloc(1, sizeof(*call));
	if (!call)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	call->client = cl;
	call->id = frame->hd.stream_id;
	call->reader.max = AMB_GSERVER_MESSAGE;
	call->prev = &cl->calls;
	call->next = cl->calls;
	if (call->next)
		call->next->prev = &call->next;
	cl->calls = call;
	nghttp2_session_set_stream_user_data(h2, call->id, call);
	return 0;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
		     size_t namelen, const uint8_t *value, size_t len, uint8_t flags, void *user)
{
	struct amb_gserver_call *call =
		nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);

	(void)flags;
	(void)user;
	if (!call)
		return 0;
	if (amb_grpc_h2_is(name, namelen, ":method"))
		call->post = amb_grpc_h2_is(value, len, "POST");
	else if (amb_grpc_h2_is(name, namelen, ":path") && len < PATH_LEN)
		memcpy(call->path, value, len);
	else if (amb_grpc_h2_is(name, namelen, "content-type"))
		call->grpc = amb_grpc_h2_is_grpc(value, len);
	return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
		   void *user)
{
	struct amb_gserver_call *call = nghttp2_session_get_stream_user_data(h2, id);
	struct amb_grpc_piece piece;
	int ret = 0;

	(void)flags;
	(void)user;
	while (call && call->ctx && (ret = amb_grpc_read(&call->reader, &p, &n, &piece)) > 0) {
		ret = take_piece(call, &piece);
		if (ret)
			break;
	}
	if (ret < 0 && call->ctx)
		call_end(call, AMB_GRPC_INVALID_ARGUMENT, "the request cannot be taken");
	return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
	struct amb_gserver_call *call =
		nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
	int ret = 0;

	(void)user;
	if (!call || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		ret = call_begin(call);
	/* It has nothing more to ask. */
	if (!ret && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		call_end(call, AMB_GRPC_OK, "");
	return ret;
}

static int on_close(nghttp2_session *h2, int32_t id, uint32_t error, void *user)
{
	struct amb_gserver_call *call = nghttp2_session_get_stream_user_data(h2, id);

	(void)error;
	(void)user;
	if (call)
		call_free(call);
	return 0;
}

static nghttp2_session *session(struct client *cl)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, AMB_GSERVER_CALLS },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16384 },
	};
	nghttp2_session_callbacks *cb;
	nghttp2_session *h2 = NULL;

	if (nghttp2_session_callbacks_new(&cb))
		return NULL;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	if (nghttp2_session_server_new3(&h2, cb, cl, NULL, amb_grpc_h2_mem()))
		h2 = NULL;
	nghttp2_session_callbacks_del(cb);
	if (h2 && nghttp2_submit_settings(h2, NGHTTP2_FLAG_NONE, settings, 2)) {
		nghttp2_session_del(h2);
		h2 = NULL;
	}
	return h2;
}

/* Clients */

static void client_destroy(struct client *cl)
{
	struct amb_gserver *s = cl->server;

	*cl->prev = cl->next;
	if (cl->next)
		cl->next->prev = cl->prev;
	amb_loop_del(s->loop, &cl->io);
	amb_loop_undefer(s->loop, &cl->work);
	while (cl->calls)
		call_free(cl->calls);
	nghttp2_session_del(cl->h2);
	close(cl->io.fd);
	free(cl);
	if (s->nclients-- == AMB_GSERVER_CLIENTS)
		amb_loop_mod(s->loop, &s->io, EPOLLIN);
}

static bool send_frames(struct client *cl)
{
	ssize_t n;

	for (;;) {
		if (!cl->nout) {
			n = nghttp2_session_mem_send(cl->h2, &cl->out);
			if (n <= 0)
				return !n;
			cl->nout = n;
		}
		n = send(cl->io.fd, cl->out, cl->nout, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		cl->out += n;
		cl->nout -= n;
	}
}

static void client_work(struct amb_work *w)
{
	struct client *cl = AMB_CONTAINER_OF(w, struct client, work);
	bool more;

	if (cl->failed || !send_frames(cl) ||
	    (!nghttp2_session_want_read(cl->h2) && !nghttp2_session_want_write(cl->h2))) {
		client_destroy(cl);
		return;
	}
	more = cl->nout;
	if (more != cl->polling_out)
		amb_loop_mod(cl->server->loop, &cl->io, EPOLLIN | (more ? EPOLLOUT : 0));
	cl->polling_out = more;
}

static void client_event(struct amb_io *io, uint32_t events)
{
	struct client *cl = AMB_CONTAINER_OF(io, struct client, io);
	uint8_t buf[PIECE];
	ssize_t n;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		n = recv(io->fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n > 0)
			cl->failed = nghttp2_session_mem_recv(cl->h2, buf, n) < 0;
		else
			cl->failed = !n || errno != EAGAIN;
	}
	wake(cl);
}

/* Anybody may knock as often as they like, but not fill the log by it. */
static void tell_refusal(struct amb_gserver *s, const struct ucred *peer)
{
	char more[64] = "";
	uint64_t held;

	if (!amb_log_limit(&s->refusals, amb_util_now_ns(), AMB_GSERVER_REFUSAL_NS, &held))
		return;
	if (held)
		snprintf(more, sizeof(more), " (%llu more refused since the last such line)",
			 (unsigned long long)held);
	amb_warn(CA, "%s: process %d of user %u may not have secrets%s", s->path, peer->pid,
		 peer->uid, more);
}

static bool allowed(struct amb_gserver *s, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	size_t i;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return false;
	for (i = 0; i < s->nuids; i++) {
		if (s->uids[i] == peer.uid)
			return true;
	}
	tell_refusal(s, &peer);
	return false;
}

static void accept_event(struct amb_io *io, uint32_t events)
{
	struct amb_gserver *s = AMB_CONTAINER_OF(io, struct amb_gserver, io);
	_cleanup_fd_ int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct client *cl;

	(void)events;
	if (fd < 0 || !allowed(s, fd))
		return;
	cl = calloc(1, sizeof(*cl));
	if (!cl)
		return;
	cl->server = s;
	cl->io = (struct amb_io){ .fn = client_event, .fd = fd, .slot = -1 };
	cl->work.fn = client_work;
	cl->h2 = session(cl);
	if (!cl->h2 || amb_loop_add(s->loop, &cl->io, EPOLLIN)) {
		nghttp2_session_del(cl->h2);
		free(cl);
		return;
	}
	take_fd(&fd);
	cl->prev = &s->clients;
	cl->next = s->clients;
	if (cl->next)
		cl->next->prev = &cl->next;
	s->clients = cl;
	/* The next has to wait until one of them is gone. */
	if (++s->nclients == AMB_GSERVER_CLIENTS)
		amb_loop_mod(s->loop, &s->io, 0);
	wake(cl);
}

struct amb_gserver *amb_gserver_create(struct amb_loop *loop, const char *path, const uid_t *uids,
				       size_t n, const struct amb_gserver_handler *handler,
				       void *ctx)
{
	struct amb_gserver *s = calloc(1, sizeof(*s));
	int err = -ENOMEM;

	if (!s)
		return NULL;
	s->loop = loop;
	s->handler = handler;
	s->ctx = ctx;
	s->uids[0] = geteuid();
	s->nuids = 1 + AMB_MIN(n, (size_t)AMB_GSERVER_UIDS);
	memcpy(s->uids + 1, uids, (s->nuids - 1) * sizeof(*uids));
	s->io = (struct amb_io){ .fn = accept_event, .fd = -1, .slot = -1 };
	s->path = strdup(path);
	/* Who may connect is decided by who they are, when they do. */
	if (s->path)
		err = s->io.fd = amb_unix_listen(path, 0666, AMB_GSERVER_CLIENTS);
	if (err >= 0)
		err = amb_loop_add(loop, &s->io, EPOLLIN);
	if (!err)
		return s;
	amb_gserver_destroy(s);
	errno = -err;
	return NULL;
}

void amb_gserver_destroy(struct amb_gserver *s)
{
	if (!s)
		return;
	while (s->clients)
		client_destroy(s->clients);
	if (s->io.fd >= 0) {
		amb_loop_del(s->loop, &s->io);
		close(s->io.fd);
		unlink(s->path);
	}
	free(s->path);
	free(s);
}
