/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer of the engine that says exactly what a test wants: TLS by tls.c and record.c, frames
 * written by hand, answers kept as words ("settings ping:ack rst1:8 goaway:0:11 alert:0 eof").
 */
#ifndef SELFTESTS_RAW_H
#define SELFTESTS_RAW_H

#include "pair.h"

#include <nghttp2/nghttp2.h>

struct raw {
	int fd;
	bool server; /* the raw side's role */
	struct amb_tls *tls;
	struct amb_record *tx, *rx;
	struct amb_h2_parser parser;
	nghttp2_hd_inflater *inflater;
	nghttp2_hd_deflater *deflater;
	uint8_t in[1 << 18];
	size_t nin;
	char text[8192]; /* what was said */
	size_t ntext;
	char settings[2048]; /* " number=value" of each entry that came */
	uint64_t data; /* DATA payload received */
	bool bad_data; /* not the pattern of seed */
	uint32_t seed;
	bool eof, up, deaf;
	uint8_t pong[8]; /* last PING's payload */
	bool answer_pings;
	uint8_t out[1 << 16]; /* plaintext being collected */
	size_t nout;
};

/* When set, what would be sent is collected here. */
static uint8_t *raw_hold;
static size_t raw_held;

static void raw_write(struct raw *r, const uint8_t *p, size_t n)
{
	int tries = 0;

	if (raw_hold) {
		memcpy(raw_hold + raw_held, p, n);
		raw_held += n;
		return;
	}

	while (n && tries < 100000) {
		ssize_t k = send(r->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k < 0 && errno != EAGAIN)
			return;
		if (k > 0) {
			p += k;
			n -= k;
		} else {
			turns(1); /* the engine must read before more fits */
			tries++;
		}
	}
}

static int raw_output(void *ctx, const uint8_t *p, size_t n)
{
	raw_write(ctx, p, n);
	return 0;
}

/* Seals @n bytes as one record of @type. */
UNUSED static void raw_record(struct raw *r, const void *p, size_t n, enum amb_record_type type)
{
	uint8_t rec[AMB_RECORD_MAX];
	int len;

	memcpy(rec + AMB_RECORD_HEAD, p, n);
	len = amb_record_seal(r->tx, rec, n, type);
	if (len > 0)
		raw_write(r, rec, len);
}

/* Sends what was collected, in records of at most @step bytes. */
UNUSED static void raw_flush(struct raw *r, size_t step)
{
	size_t at;

	for (at = 0; at < r->nout; at += step)
		raw_record(r, r->out + at, AMB_MIN(step, r->nout - at), AMB_RECORD_DATA);
	r->nout = 0;
}

UNUSED static void raw_add(struct raw *r, const void *p, size_t n)
{
	if (r->nout + n > sizeof(r->out))
		raw_flush(r, 16384);
	if (n)
		memcpy(r->out + r->nout, p, n);
	r->nout += n;
}

UNUSED static void raw_frame(struct raw *r, uint8_t type, uint8_t flags, uint32_t stream,
			     const void *p, size_t n)
{
	uint8_t head[AMB_H2_HEAD];

	amb_h2_write_head(head, n, type, flags, stream);
	raw_add(r, head, sizeof(head));
	raw_add(r, p, n);
}

UNUSED static void raw_u32(struct raw *r, uint8_t type, uint32_t stream, uint32_t value)
{
	uint8_t frame[AMB_H2_SMALL_FRAME];

	raw_add(r, frame, amb_h2_write_u32(frame, type, stream, value));
}

/* @fields: name, value, ... NULL */
UNUSED static void raw_headers(struct raw *r, uint32_t stream, bool end, const char *const *fields)
{
	nghttp2_nv nv[16];
	uint8_t block[8192];
	size_t n = 0;
	ssize_t len;

	for (; fields[0]; fields += 2, n++)
		nv[n] = (nghttp2_nv){ (uint8_t *)fields[0], (uint8_t *)fields[1], strlen(fields[0]),
				      strlen(fields[1]), 0 };
	len = nghttp2_hd_deflate_hd(r->deflater, block, sizeof(block), nv, n);
	raw_frame(r, AMB_H2_HEADERS, AMB_H2_END_HEADERS | (end ? AMB_H2_END_STREAM : 0), stream,
		  block, len);
}

UNUSED static void raw_connect(struct raw *r, uint32_t stream, unsigned int flow)
{
	char authority[16];
	const char *fields[] = { ":method", "CONNECT", ":authority", authority, NULL };

	snprintf(authority, sizeof(authority), "%u:80", flow);
	raw_headers(r, stream, false, fields);
}

/* DATA of @n bytes of the pattern from @at on. */
UNUSED static void raw_data(struct raw *r, uint32_t stream, uint32_t seed, uint64_t at, size_t n,
			    bool end)
{
	uint8_t buf[16384];
	size_t i;

	for (i = 0; i < n; i++)
		buf[i] = pattern(seed, at + i);
	raw_frame(r, AMB_H2_DATA, end ? AMB_H2_END_STREAM : 0, stream, buf, n);
}

static void raw_say(struct raw *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void raw_say(struct raw *r, const char *fmt, ...)
{
	va_list ap;

	if (r->ntext >= sizeof(r->text) - 1)
		return;
	if (r->ntext)
		r->text[r->ntext++] = ' ';
	va_start(ap, fmt);
	r->ntext += vsnprintf(r->text + r->ntext, sizeof(r->text) - r->ntext, fmt, ap);
	va_end(ap);
	if (r->ntext >= sizeof(r->text))
		r->ntext = sizeof(r->text) - 1;
}

static void raw_status(void *ctx, const char *name, size_t namelen UNUSED, const char *value,
		       size_t valuelen UNUSED)
{
	if (!strcmp(name, ":status"))
		snprintf(ctx, 8, "%s", value);
}

static void raw_settings(struct raw *r, const struct amb_h2_event *ev)
{
	size_t at = strlen(r->settings);
	uint32_t value, i;
	uint16_t id;

	for (i = 0; i < ev->n / 6; i++) {
		amb_h2_setting_at(ev, i, &id, &value);
		at += snprintf(r->settings + at, sizeof(r->settings) - at, " %u=%u", id, value);
	}
}

static void raw_event(struct raw *r, const struct amb_h2_event *ev)
{
	char status[8] = "?";
	uint32_t i;

	switch (ev->type) {
	case AMB_H2_DATA:
		for (i = 0; i < ev->n; i++)
			r->bad_data |= ev->p[i] != pattern(r->seed, r->data + i);
		r->data += ev->n;
		if (ev->end_stream)
			raw_say(r, "end%u", ev->stream);
		break;
	case AMB_H2_HEADERS:
		amb_h2_inflate(r->inflater, ev->p, ev->n,
			       r->server ? AMB_H2_REQUEST : AMB_H2_RESPONSE, 65536, raw_status,
			       status);
		raw_say(r, "headers%u:%s%s", ev->stream, status, ev->end_stream ? "!" : "");
		break;
	case AMB_H2_SETTINGS:
		raw_settings(r, ev);
		raw_say(r, ev->ack ? "settings:ack" : "settings");
		break;
	case AMB_H2_PING:
		memcpy(r->pong, ev->p, 8);
		raw_say(r, ev->ack ? "ping:ack" : "ping");
		if (!ev->ack && r->answer_pings) {
			uint8_t frame[AMB_H2_SMALL_FRAME];

			raw_add(r, frame, amb_h2_write_ping(frame, true, ev->p));
			raw_flush(r, 16384);
		}
		break;
	case AMB_H2_GOAWAY:
		raw_say(r, "goaway:%u:%u", ev->last, ev->value);
		break;
	case AMB_H2_RST_STREAM:
		raw_say(r, "rst%u:%u", ev->stream, ev->value);
		break;
	case AMB_H2_WINDOW_UPDATE:
		raw_say(r, "window%u:%u", ev->stream, ev->value);
		break;
	default:
		raw_say(r, "other");
		break;
	}
}

static void raw_plain(struct raw *r, uint8_t *p, size_t n, enum amb_record_type type)
{
	struct amb_h2_event ev;
	int k;

	if (type == AMB_RECORD_ALERT) {
		raw_say(r, "alert:%u", n > 1 ? p[1] : 999);
	} else if (type == AMB_RECORD_HANDSHAKE) {
		raw_say(r, "handshake:%u", p[0]);
		if (p[0] == 24)
			amb_record_update(r->rx);
	} else {
		while ((k = amb_h2_next(&r->parser, &p, &n, &ev)) > 0)
			raw_event(r, &ev);
		if (k < 0)
			raw_say(r, "CONFUSED:%d", -k);
	}
}

/* Takes one handshake flight or record from in; returns bytes used. */
static size_t raw_take(struct raw *r)
{
	enum amb_record_type type;
	size_t used = 0;
	int len, got;

	if (r->tls) {
		int k = amb_tls_handshake(r->tls, r->in, r->nin, &used, raw_output, r);
		struct amb_tls_peer peer = { 0 };

		if (k < 0) {
			raw_say(r, "tls-failed");
			return r->nin;
		}
		if (k > 0) {
			amb_tls_finish(r->tls, &r->tx, &r->rx, &peer);
			amb_identity_put(peer.identity);
			amb_tls_destroy(r->tls);
			r->tls = NULL;
			r->up = true;
		}
		return used;
	}
	len = amb_record_length(r->in, r->nin);
	if (len <= 0 || (size_t)len > r->nin)
		return 0;
	got = amb_record_open(r->rx, r->in, len, &type);
	if (got < 0)
		raw_say(r, "BAD-RECORD");
	else
		raw_plain(r, r->in + AMB_RECORD_HEAD, got, type);
	return len;
}

UNUSED static void raw_pump(struct raw *r)
{
	ssize_t n;
	size_t k = 1;

	if (r->eof || r->deaf)
		return;
	n = recv(r->fd, r->in + r->nin, sizeof(r->in) - r->nin, MSG_DONTWAIT);
	if (!n || (n < 0 && errno != EAGAIN)) {
		r->eof = true;
		raw_say(r, n ? "reset" : "eof");
		return;
	}
	if (n > 0)
		r->nin += n;
	while (r->nin && k) {
		k = raw_take(r);
		r->nin -= k;
		memmove(r->in, r->in + k, r->nin);
	}
}

UNUSED static bool raw_said(const struct raw *r, const char *what)
{
	return strstr(r->text, what);
}

/* RAW_UNTIL(raw, condition) */
#define RAW_UNTIL(r, cond)                                                                         \
	do {                                                                                       \
		uint64_t deadline_ = amb_util_now_ns() + PATIENCE_NS;                              \
		while (raw_pump(r), !(cond) && amb_util_now_ns() < deadline_)                      \
			turns(1);                                                                  \
		if (!(cond))                                                                       \
			printf("# said: %s\n", (r)->text);                                         \
		CHECK(cond);                                                                       \
	} while (0)

/* A raw client or server over @fd; the handshake runs while pumped. */
UNUSED static struct raw *raw_start(int fd, bool server)
{
	struct raw *r = calloc(1, sizeof(*r));
	struct amb_identset expect = { 0 };
	struct amb_identity *id = amb_identity_intern("cluster.local", "default", "server");
	size_t used;

	amb_identset_add(&expect, id);
	amb_identity_put(id);
	r->fd = fd;
	r->server = server;
	r->tls = server ? amb_tls_server(cred_server) : amb_tls_client(cred_client, &expect);
	amb_identset_clear(&expect);
	amb_h2_init(&r->parser, server, 1 << 20, 1 << 16);
	nghttp2_hd_inflate_new(&r->inflater);
	nghttp2_hd_deflate_new(&r->deflater, 4096);
	if (!server)
		amb_tls_handshake(r->tls, NULL, 0, &used, raw_output, r);
	return r;
}

UNUSED static void raw_preface(struct raw *r)
{
	if (!r->server)
		raw_add(r, AMB_H2_PREFACE, AMB_H2_PREFACE_LEN);
	raw_frame(r, AMB_H2_SETTINGS, 0, 0, NULL, 0);
}

UNUSED static void raw_stop(struct raw *r)
{
	close(r->fd);
	amb_tls_destroy(r->tls);
	amb_record_destroy(r->tx);
	amb_record_destroy(r->rx);
	amb_h2_uninit(&r->parser);
	nghttp2_hd_inflate_del(r->inflater);
	nghttp2_hd_deflate_del(r->deflater);
	free(r);
}

#endif
