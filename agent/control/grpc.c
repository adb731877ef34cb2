// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * gRPC channels and calls. A call belongs to one connection from its opening to its end; it is
 *
 *   waiting   id 0: the connection is not open yet, or the turn is not over
 *   running   nghttp2 has its stream
 *   over      its owner has heard done(), or cancelled; the stream may not be closed yet
 *
 * Lifetime: nghttp2 has the call as its stream's user data, so a call that was submitted is freed
 * when nghttp2 closes the stream, or with the session. The owner's pointer ends with "over".
 */
#include "grpc_priv.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "grpc_h2.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct message {
	struct message *next;
	uint32_t len, off; /* with its head */
	uint8_t bytes[];
};

struct amb_grpc_call {
	struct amb_grpc_call *next, **prev;
	struct amb_gconn *conn;
	const struct amb_grpc_handler *handler;
	void *ctx;
	int32_t id;
	bool over;
	bool no_more; /* to send */
	struct message *head, **tail;
	size_t queued;
	struct amb_grpc_reader reader;
	unsigned int http_status;
	bool is_grpc, has_status;
	struct amb_grpc_status status;
	char path[];
};

/* Calls */

static void call_free(struct amb_grpc_call *call)
{
	struct amb_gconn *c = call->conn;
	struct message *m;

	*call->prev = call->next;
	if (call->next)
		call->next->prev = call->prev;
	while ((m = call->head)) {
		call->head = m->next;
		free(m);
	}
	free(call);
	if (!--c->ncalls)
		amb_gconn_idle(c);
}

/* It is over; the stream, if there is one, ends without us. */
static void call_done(struct amb_grpc_call *call, const struct amb_grpc_status *status)
{
	if (call->over)
		return;
	call->over = true;
	call->handler->done(call->ctx, status);
}

static void AMB_PRINTF(3, 4)
	call_fail(struct amb_grpc_call *call, enum amb_grpc_code code, const char *fmt, ...)
{
	struct amb_grpc_status status = { .code = code };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(status.message, sizeof(status.message), fmt, ap);
	va_end(ap);
	call_done(call, &status);
}

static void stream_reset(struct amb_grpc_call *call)
{
	struct amb_gconn *c = call->conn;

	nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL);
	amb_gconn_wake(c);
}

/* The server has said all it will: what does it come to? */
static void call_concluded(struct amb_grpc_call *call)
{
	struct amb_grpc_status *s = &call->status;

	if (call->has_status && s->code == AMB_GRPC_OK && !amb_grpc_reader_idle(&call->reader))
		call_fail(call, AMB_GRPC_INTERNAL, "the server ended within a message");
	else if (call->has_status)
		call_done(call, s);
	else if (call->http_status && call->http_status != 200)
		call_fail(call, amb_grpc_code_of_http(call->http_status), "HTTP status %u",
			  call->http_status);
	else if (!call->is_grpc)
		call_fail(call, AMB_GRPC_UNKNOWN, "the answer is not gRPC");
	else
		call_fail(call, AMB_GRPC_INTERNAL, "the server ended without a status");
}

struct amb_grpc_call *amb_grpc_open(struct amb_grpc *ch, const char *path, uint32_t max,
				    const struct amb_grpc_handler *handler, void *ctx)
{
	struct amb_gconn *c = ch->conn ?: amb_gconn_create(ch);
	struct amb_grpc_call *call = calloc(1, sizeof(*call) + strlen(path) + 1);

	if (!c || !call) {
		free(call);
		errno = ENOMEM;
		return NULL;
	}
	call->conn = c;
	call->handler = handler;
	call->ctx = ctx;
	call->tail = &call->head;
	call->reader.max = max;
	strcpy(call->path, path);
	call->prev = &c->calls;
	call->next = c->calls;
	if (call->next)
		call->next->prev = &call->next;
	c->calls = call;
	if (!c->ncalls++)
		amb_gconn_busy(c);
	amb_gconn_wake(c);
	return call;
}

static void more_to_send(struct amb_grpc_call *call)
{
	if (call->id && call->conn->h2)
		nghttp2_session_resume_data(call->conn->h2, call->id);
	amb_gconn_wake(call->conn);
}

uint8_t *amb_grpc_send(struct amb_grpc_call *call, uint32_t len)
{
	struct message *m;

	if (len > AMB_GRPC_QUEUE_MAX || call->queued + len > AMB_GRPC_QUEUE_MAX) {
		errno = ENOBUFS;
		return NULL;
	}
	m = malloc(sizeof(*m) + AMB_GRPC_HEAD + len);
	if (!m)
		return NULL;
	amb_grpc_head_write(m->bytes, len);
	m->next = NULL;
	m->off = 0;
	m->len = AMB_GRPC_HEAD + len;
	*call->tail = m;
	call->tail = &m->next;
	call->queued += len;
	more_to_send(call);
	return m->bytes + AMB_GRPC_HEAD;
}

void amb_grpc_send_end(struct amb_grpc_call *call)
{
	call->no_more = true;
	more_to_send(call);
}

void amb_grpc_cancel(struct amb_grpc_call *call)
{
	call->over = true;
	if (call->id && call->conn->h2)
		stream_reset(call);
	else
		call_free(call);
}

void amb_gcall_end(struct amb_gconn *c, bool unconnected, const char *text)
{
	struct amb_grpc_status status = { .code = AMB_GRPC_UNAVAILABLE,
					  .unconnected = unconnected };
	struct amb_grpc_call *call;

	snprintf(status.message, sizeof(status.message), "%s", text ? text : "");
	while ((call = c->calls)) {
		call->id = 0;
		if (text)
			call_done(call, &status);
		call_free(call);
	}
}

/* Requests */

static bool is_token(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s <= ' ' || *s >= 127)
			return false;
	}
	return true;
}

/* "Bearer TOKEN" in @out; 0, or -errno with the reason. The caller wipes. */
static int bearer(const char *token, char *out, size_t room, const char **why)
{
	_cleanup_free_ char *text = NULL;
	long n = amb_util_read_file(token, AMB_GRPC_TOKEN_MAX, &text);

	/* A path of a file that is not there (yet) is no token. */
	if (n == -ENOENT && *token != '/' && *token != '.')
		n = (text = strdup(token)) ? (long)strlen(text) : -ENOMEM;
	if (n < 0) {
		*why = strerror(-n);
		return n;
	}
	while (n && isspace((unsigned char)text[n - 1]))
		text[--n] = 0;
	if (is_token(text) && snprintf(out, room, "Bearer %s", text) < (int)room)
		n = 0;
	else
		n = -EINVAL;
	*why = *text ? "it is no token" : "it is empty";
	explicit_bzero(text, strlen(text));
	return n;
}

/* nghttp2 asks for up to @len bytes to send. */
static ssize_t give_data(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *source, void *user)
{
	struct amb_grpc_call *call = nghttp2_session_get_stream_user_data(h2, id);
	size_t n = 0;

	(void)source;
	(void)user;
	while (call && call->head && n < len) {
		struct message *m = call->head;
		size_t k = AMB_MIN(len - n, (size_t)(m->len - m->off));

		memcpy(buf + n, m->bytes + m->off, k);
		n += k;
		m->off += k;
		if (m->off < m->len)
			break;
		call->queued -= m->len - AMB_GRPC_HEAD;
		call->head = m->next;
		if (!call->head)
			call->tail = &call->head;
		free(m);
	}
	if (call && !call->head && call->no_more)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	else if (!n)
		return NGHTTP2_ERR_DEFERRED;
	return n;
}

static void submit(struct amb_grpc_call *call)
{
	struct amb_gconn *c = call->conn;
	struct amb_grpc *ch = c->ch;
	nghttp2_nv nv[AMB_GRPC_HEADERS_MAX + 9];
	const nghttp2_data_provider data = { .read_callback = give_data };
	char auth[AMB_GRPC_TOKEN_MAX + 8] = "";
	const char *why;
	size_t n = 0, i;

	nv[n++] = amb_grpc_h2_field(":method", "POST");
	nv[n++] = amb_grpc_h2_field(":scheme", *ch->path ? "http" : "https");
	nv[n++] = amb_grpc_h2_field(":path", call->path);
	nv[n++] = amb_grpc_h2_field(":authority", ch->authority);
	nv[n++] = amb_grpc_h2_field("te", "trailers");
	nv[n++] = amb_grpc_h2_field("content-type", AMB_GRPC_H2_TYPE);
	nv[n++] = amb_grpc_h2_field("user-agent", "ambientd/" AMB_VERSION);
	for (i = 0; i < ch->nheaders; i++)
		nv[n++] = amb_grpc_h2_field(ch->headers[i].name, ch->headers[i].value);
	if (ch->token) {
		if (bearer(ch->token, auth, sizeof(auth), &why)) {
			call_fail(call, AMB_GRPC_UNAUTHENTICATED, "token %.100s: %s",
				  *ch->token == '/' || *ch->token == '.' ? ch->token : "", why);
			call_free(call);
			return;
		}
		/* It must not stay in anybody's table of header fields. */
		nv[n] = amb_grpc_h2_field("authorization", auth);
		nv[n++].flags = NGHTTP2_NV_FLAG_NO_INDEX;
	}
	call->id = nghttp2_submit_request(c->h2, NULL, nv, n, &data, call);
	explicit_bzero(auth, sizeof(auth));
	if (call->id > 0)
		return;
	call_fail(call, AMB_GRPC_UNAVAILABLE, "%s", nghttp2_strerror(call->id));
	call->id = 0;
	call_free(call);
}

void amb_gcall_submit(struct amb_gconn *c)
{
	struct amb_grpc_call *call;

	/* From the beginning each time: who hears of a failure may change the list. */
	do {
		for (call = c->calls; call && (call->id || call->over); call = call->next)
			;
		if (call)
			submit(call);
	} while (call);
}

/* Callbacks of nghttp2 */

static struct amb_grpc_call *call_of(nghttp2_session *h2, int32_t id)
{
	struct amb_grpc_call *call = id ? nghttp2_session_get_stream_user_data(h2, id) : NULL;

	return call && !call->over ? call : NULL;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
		     size_t namelen, const uint8_t *value, size_t len, uint8_t flags, void *user)
{
	struct amb_grpc_call *call = call_of(h2, frame->hd.stream_id);
	const char *text = (const char *)value;

	(void)flags;
	(void)user;
	if (!call)
		return 0;
	if (amb_grpc_h2_is(name, namelen, ":status")) {
		call->http_status = strtoul(text, NULL, 10);
	} else if (amb_grpc_h2_is(name, namelen, "content-type")) {
		call->is_grpc = amb_grpc_h2_is_grpc(value, len);
	} else if (amb_grpc_h2_is(name, namelen, "grpc-status")) {
		call->has_status = true;
		call->status.code = amb_grpc_code_parse(text, len);
	} else if (amb_grpc_h2_is(name, namelen, "grpc-message")) {
		amb_grpc_message_decode(text, len, call->status.message,
					sizeof(call->status.message));
	}
	return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
		   void *user)
{
	struct amb_grpc_call *call = call_of(h2, id);
	struct amb_grpc_piece piece;
	int ret = 0;

	(void)flags;
	(void)user;
	if (!call || call->http_status != 200 || !call->is_grpc)
		return 0;
	while (!call->over && (ret = amb_grpc_read(&call->reader, &p, &n, &piece)) > 0) {
		ret = call->handler->message(call->ctx, &piece);
		if (ret)
			break;
	}
	if (call->over || !ret)
		return 0;
	if (ret == -EMSGSIZE)
		call_fail(call, AMB_GRPC_RESOURCE_EXHAUSTED, "a message of %u bytes is too large",
			  call->reader.len);
	else
		call_fail(call, AMB_GRPC_INTERNAL, "the answer cannot be taken: %s",
			  strerror(-ret));
	stream_reset(call);
	return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
	struct amb_gconn *c = user;
	struct amb_grpc_call *call;

	switch (frame->hd.type) {
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			amb_gconn_pong(c);
		break;
	case NGHTTP2_GOAWAY:
		amb_gconn_goaway(c);
		break;
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		call = frame->hd.flags & NGHTTP2_FLAG_END_STREAM ?
			       call_of(h2, frame->hd.stream_id) :
			       NULL;
		if (!call)
			break;
		call_concluded(call);
		/* The server does not want to hear what we might still say. */
		if (!nghttp2_session_get_stream_local_close(h2, frame->hd.stream_id))
			stream_reset(call);
		break;
	}
	return 0;
}

static int on_close(nghttp2_session *h2, int32_t id, uint32_t error, void *user)
{
	struct amb_grpc_call *call = nghttp2_session_get_stream_user_data(h2, id);

	(void)user;
	if (!call)
		return 0;
	if (!call->over && (error || !call->http_status))
		call_fail(call, amb_grpc_code_of_reset(error), "stream reset: %s",
			  nghttp2_http2_strerror(error));
	else if (!call->over)
		call_concluded(call);
	nghttp2_session_set_stream_user_data(h2, id, NULL);
	call_free(call);
	return 0;
}

nghttp2_session *amb_gcall_session(struct amb_gconn *c)
{
	nghttp2_session_callbacks *cb;
	nghttp2_session *h2 = NULL;

	if (nghttp2_session_callbacks_new(&cb))
		return NULL;
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	if (nghttp2_session_client_new3(&h2, cb, c, NULL, amb_grpc_h2_mem()))
		h2 = NULL;
	nghttp2_session_callbacks_del(cb);
	return h2;
}

/* Channels */

int amb_grpc_parse_url(const char *url, char host[AMB_GRPC_HOST_MAX], uint16_t *port)
{
	const char *scheme = strstr(url, "://"), *end, *colon;
	size_t len;

	if (scheme) {
		if (scheme - url != 5 || strncasecmp(url, "https", 5))
			return -EPROTONOSUPPORT;
		url = scheme + 3;
	}
	end = url + strcspn(url, "/?#");
	/* A path would be ignored: only the root's may be there. */
	if (*end && strcmp(end, "/"))
		return -EINVAL;
	if (*url == '[') {
		url++;
		colon = memchr(url, ']', end - url);
		if (!colon)
			return -EINVAL;
		len = colon++ - url;
	} else {
		colon = memchr(url, ':', end - url) ?: end;
		len = colon - url;
	}
	if (!len || len >= AMB_GRPC_HOST_MAX || (colon != end && *colon != ':'))
		return -EINVAL;
	*port = 443;
	if (colon != end) {
		char text[8];

		if (end - colon - 1 >= (long)sizeof(text))
			return -EINVAL;
		snprintf(text, sizeof(text), "%.*s", (int)(end - colon - 1), colon + 1);
		if (amb_util_parse_port(text, port))
			return -EINVAL;
	}
	memcpy(host, url, len);
	host[len] = 0;
	return is_token(host) ? 0 : -EINVAL;
}

/* RFC 9113 8.2.1, and no name that is ours or HTTP/2's to set. */
static bool header_ok(const struct amb_grpc_header *h)
{
	const char *p;

	if (!*h->name || !strcmp(h->name, "authorization") || !strcmp(h->name, "te") ||
	    !strcmp(h->name, "content-type") || !strcmp(h->name, "connection"))
		return false;
	for (p = h->name; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
			return false;
		if (isupper((unsigned char)*p))
			return false;
	}
	for (p = h->value; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	}
	return true;
}

static int copy_headers(struct amb_grpc *ch, const struct amb_grpc_config *config)
{
	size_t i;

	if (config->nheaders > AMB_GRPC_HEADERS_MAX)
		return -EINVAL;
	ch->headers = calloc(config->nheaders + 1, sizeof(*ch->headers));
	for (i = 0; ch->headers && i < config->nheaders; i++) {
		if (!header_ok(&config->headers[i]))
			return -EINVAL;
		ch->headers[i].name = strdup(config->headers[i].name);
		ch->headers[i].value = strdup(config->headers[i].value);
		ch->nheaders++;
		if (!ch->headers[i].name || !ch->headers[i].value)
			return -ENOMEM;
	}
	return ch->headers ? 0 : -ENOMEM;
}

const char *amb_grpc_url_path(const char *url)
{
	if (strncmp(url, "unix:", 5))
		return NULL;
	url += strncmp(url, "unix:///", 8) ? 5 : 7;
	return *url == '/' && strlen(url) < AMB_GRPC_PATH_MAX ? url : NULL;
}

static int set_target(struct amb_grpc *ch, const char *url)
{
	const char *path = amb_grpc_url_path(url);
	int err;

	if (path) {
		/* What gRPC's own library says to a server without a name. */
		snprintf(ch->path, sizeof(ch->path), "%s", path);
		snprintf(ch->authority, sizeof(ch->authority), "localhost");
		return 0;
	}
	err = amb_grpc_parse_url(url, ch->host, &ch->port);
	snprintf(ch->authority, sizeof(ch->authority), strchr(ch->host, ':') ? "[%s]:%u" : "%s:%u",
		 ch->host, ch->port);
	return err;
}

struct amb_grpc *amb_grpc_create(struct amb_loop *loop, struct amb_resolver *resolver,
				 const struct amb_grpc_config *config)
{
	struct amb_grpc *ch = calloc(1, sizeof(*ch));
	int err;

	if (!ch)
		return NULL;
	ch->loop = loop;
	ch->resolver = resolver;
	err = set_target(ch, config->url) ?: copy_headers(ch, config);
	ch->roots = strdup(*ch->path ? "" : config->roots);
	ch->alt_name = config->alt_name ? strdup(config->alt_name) : NULL;
	ch->token = config->token ? strdup(config->token) : NULL;
	if (!ch->roots || (config->alt_name && !ch->alt_name) || (config->token && !ch->token))
		err = err ?: -ENOMEM;
	if (err) {
		amb_grpc_destroy(ch);
		errno = err == -ENOMEM ? ENOMEM : EINVAL;
		return NULL;
	}
	return ch;
}

void amb_grpc_destroy(struct amb_grpc *ch)
{
	size_t i;

	if (!ch)
		return;
	while (ch->conns)
		amb_gconn_destroy(ch->conns, NULL);
	for (i = 0; i < ch->nheaders; i++) {
		free((char *)ch->headers[i].name);
		free((char *)ch->headers[i].value);
	}
	free(ch->headers);
	free(ch->roots);
	free(ch->alt_name);
	if (ch->token)
		explicit_bzero(ch->token, strlen(ch->token));
	free(ch->token);
	free(ch);
}

void amb_grpc_renew(struct amb_grpc *ch)
{
	if (ch->conn)
		amb_gconn_drain(ch->conn);
}

const char *amb_grpc_target(const struct amb_grpc *ch)
{
	return *ch->path ? ch->path : ch->authority;
}
