/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two engines in one process on one loop, joined by TCP over loopback, and applications that
 * send and check a known pattern of bytes:
 *
 *   app[0] --tcp-- stream (client engine) == TLS, HTTP/2 == (server engine) stream --tcp-- app[1]
 */
#ifndef SELFTESTS_PAIR_H
#define SELFTESTS_PAIR_H

#include "harness.h"

#include "base/loop.h"
#include "base/util.h"
#include "kernel/probe.h"
#include "kernel/probe_ktls.h"
#include "mesh/identity.h"
#include "proxy/conn.h"
#include "proxy/creds.h"
#include "proxy/hbone.h"
#include "proxy/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
/* The end of all waiting, longer on machines that say so in $DEADLINE (seconds). */
#define PATIENCE_NS patience_ns()

static inline uint64_t patience_ns(void)
{
	const char *s = getenv("DEADLINE");

	return (s ? strtoull(s, NULL, 10) : 60) * 1000000000ull;
}

static struct amb_loop *loop;

/* Sockets */

UNUSED static void tcp_pair(int fd[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), i, one = 1;
	socklen_t len = sizeof(a);

	if (l < 0 || bind(l, (void *)&a, sizeof(a)) || listen(l, 1) ||
	    getsockname(l, (void *)&a, &len))
		abort();
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd[0], (void *)&a, sizeof(a)))
		abort();
	fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	close(l);
	for (i = 0; i < 2; i++) {
		setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(fd[i], IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
		amb_util_nonblock(fd[i]);
	}
}

UNUSED static void reset_on_close(int fd)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* Applications */

struct app {
	int fd;
	uint64_t to_send, sent, got;
	uint32_t seed_tx, seed_rx;
	uint32_t chunk; /* most bytes of one send, 0 = any */
	bool fin_when_sent; /* FIN after to_send bytes */
	bool deaf; /* does not read */
	bool bad; /* wrong bytes came */
	bool fin, eof; /* FIN was sent, FIN came */
	int err; /* of a socket call */
	struct app *next;
};

static struct app *apps;

static inline uint8_t pattern(uint32_t seed, uint64_t at)
{
	uint64_t v = (at >> 3) * 0x9e3779b97f4a7c15ull + seed;

	return v >> (8 * (at & 7)) ^ v >> 56;
}

UNUSED static void app_init(struct app *a, int fd, uint32_t seed_tx, uint32_t seed_rx)
{
	memset(a, 0, sizeof(*a));
	a->fd = fd;
	a->seed_tx = seed_tx;
	a->seed_rx = seed_rx;
	a->next = apps;
	apps = a;
}

UNUSED static void app_close(struct app *a)
{
	struct app **p;

	for (p = &apps; *p && *p != a; p = &(*p)->next)
		;
	if (*p)
		*p = a->next;
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}

static void app_pump(struct app *a)
{
	static uint8_t buf[1 << 16];
	ssize_t n, i;

	if (a->fd < 0 || a->err)
		return;
	if (a->sent < a->to_send) {
		n = AMB_MIN(a->to_send - a->sent, (uint64_t)sizeof(buf));
		if (a->chunk && n > a->chunk)
			n = a->chunk;
		for (i = 0; i < n; i++)
			buf[i] = pattern(a->seed_tx, a->sent + i);
		n = send(a->fd, buf, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			a->sent += n;
		else if (errno != EAGAIN)
			a->err = errno;
	}
	if (a->fin_when_sent && a->sent == a->to_send && !a->fin) {
		a->fin = true;
		shutdown(a->fd, SHUT_WR);
	}
	if (a->deaf || a->eof)
		return;
	n = recv(a->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN)
		a->err = errno;
	if (!n)
		a->eof = true;
	for (i = 0; i < n; i++)
		a->bad |= buf[i] != pattern(a->seed_rx, a->got + i);
	if (n > 0)
		a->got += n;
}

/* The loop, turning until something is so */

struct until {
	struct amb_work work;
	bool (*fn)(void *arg);
	void *arg;
	uint64_t deadline;
	bool ok;
};

static void until_work(struct amb_work *w)
{
	struct until *u = AMB_CONTAINER_OF(w, struct until, work);
	struct app *a;

	for (a = apps; a; a = a->next)
		app_pump(a);
	u->ok = u->fn(u->arg);
	if (u->ok || amb_util_now_ns() > u->deadline)
		amb_loop_stop(loop);
	else
		amb_loop_defer(loop, w);
}

UNUSED static bool until(bool (*fn)(void *arg), void *arg)
{
	struct until u = { .work.fn = until_work, .fn = fn, .arg = arg };

	u.deadline = amb_util_now_ns() + PATIENCE_NS;
	amb_loop_defer(loop, &u.work);
	amb_loop_run(loop);
	amb_loop_undefer(loop, &u.work);
	return u.ok;
}

static bool enough_turns(void *arg)
{
	return !(*(int *)arg)--;
}

UNUSED static void turns(int n)
{
	until(enough_turns, &n);
}

/* UNTIL(expression): a check that waits. */
#define UNTIL(cond)                                                                                \
	do {                                                                                       \
		uint64_t deadline_ = amb_util_now_ns() + PATIENCE_NS;                              \
		while (!(cond) && amb_util_now_ns() < deadline_)                                   \
			turns(1);                                                                  \
		CHECK(cond);                                                                       \
	} while (0)

/* Credentials: a root and leafs, made by openssl(1) once per run */

static struct amb_creds *creds;
static char certs_dir[] = "/tmp/amb-pair-XXXXXX";

static char *slurp(const char *name, long *len)
{
	char path[128], *text = NULL;

	snprintf(path, sizeof(path), "%s/%s", certs_dir, name);
	*len = amb_util_read_file(path, 1 << 20, &text);
	return text;
}

static bool make_certs(void)
{
	char cmd[2048];

	if (!mkdtemp(certs_dir))
		return false;
	snprintf(cmd, sizeof(cmd),
		 "cd %s && exec >log 2>&1 && set -e; "
		 "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
		 "-subj /O=test -keyout ca.key -out ca.pem "
		 "-addext basicConstraints=critical,CA:TRUE "
		 "-addext keyUsage=critical,keyCertSign,cRLSign; "
		 "for n in client server; do "
		 "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj / "
		 "-keyout $n.pem.key -out $n.csr; "
		 "printf 'subjectAltName=critical,URI:spiffe://cluster.local/ns/default/sa/'$n'\\n"
		 "extendedKeyUsage=serverAuth,clientAuth\\nkeyUsage=critical,digitalSignature\\n' "
		 ">$n.ext; "
		 "openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 "
		 "-extfile $n.ext -out $n.pem; "
		 "openssl pkcs8 -topk8 -nocrypt -in $n.pem.key -outform DER -out $n.key; done",
		 certs_dir);
	return !system(cmd);
}

static struct amb_cred *load_cred(const char *name)
{
	struct amb_identity *id = amb_identity_intern("cluster.local", "default", name);
	long keylen, len;
	char file[64], err[200] = "";
	char *key, *chain, *roots;
	struct amb_cred *cred;

	snprintf(file, sizeof(file), "%s.key", name);
	key = slurp(file, &keylen);
	snprintf(file, sizeof(file), "%s.pem", name);
	chain = slurp(file, &len);
	roots = slurp("ca.pem", &len);
	if (amb_creds_install(creds, id, (uint8_t *)key, keylen, chain, roots, err, sizeof(err))) {
		printf("Bail out! credentials of %s: %s\n", name, err);
		exit(1);
	}
	cred = amb_creds_get(creds, id);
	amb_identity_put(id);
	free(key);
	free(chain);
	free(roots);
	return cred;
}

static struct amb_cred *cred_client, *cred_server;

static void no_request(void *ctx UNUSED, struct amb_identity *id UNUSED,
		       enum amb_creds_priority priority UNUSED)
{
}

UNUSED static void pair_init(void)
{
	creds = amb_creds_create(no_request, NULL);
	if (!creds || amb_tls_init() || !make_certs()) {
		printf("Bail out! cannot set up: see %s/log\n", certs_dir);
		exit(1);
	}
	cred_client = load_cred("client");
	cred_server = load_cred("server");
	/* Behind what may take a VM longer than a handshake: a loop knows the time of its turn. */
	loop = amb_loop_create();
	if (!loop) {
		printf("Bail out! no loop\n");
		exit(1);
	}
}

UNUSED static void pair_uninit(void)
{
	char cmd[64];

	amb_cred_put(cred_client);
	amb_cred_put(cred_server);
	amb_creds_destroy(creds);
	amb_tls_uninit();
	amb_loop_destroy(loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", certs_dir);
	if (system(cmd))
		printf("# %s is left\n", certs_dir);
}

static bool pair_ktls(void)
{
	const char *tier = getenv("AMBIENT_TIER");

	return tier && !strcmp(tier, "ktls");
}

/* Key updates can be followed. */
UNUSED static bool pair_rekeys(void)
{
	static int rekeys = -1;
	struct amb_probe row;

	if (rekeys < 0)
		rekeys = !pair_ktls() || !amb_probe_rekey(&row);
	return rekeys;
}

/*
 * Like amb_bytes_create(): in the tier that the environment names, as the agent has it, so that
 * tests of the engine run on kernel TLS where there is one.
 */
UNUSED static struct amb_bytes *pair_bytes(const struct amb_hbone_config *config)
{
	struct amb_hbone_config c = config ? *config : amb_hbone_defaults;

	if (pair_ktls()) {
		c.tier = AMB_TIER_KTLS;
		c.rekeys = pair_rekeys();
	}
	return amb_bytes_create(loop, &c);
}

/* The pair */

struct flow {
	struct pair *pair;
	struct amb_stream *client, *server; /* NULL once closed */
	struct app app[2];
	int status;
	bool closed[2];
	enum amb_reason reason[2];
	uint64_t bytes[2][2]; /* at closing: to_app, from_app */
};

struct pair {
	struct amb_bytes *b[2]; /* client's, server's thread */
	struct amb_hbone *c[2];
	bool up[2], closed[2];
	enum amb_reason reason[2];
	char text[2][128];
	unsigned int rooms;
	/* what the server does with requests */
	int reject; /* status, 0 = accept */
	bool hold; /* answer later */
	uint32_t first_words; /* bytes that an application has said when its stream is opened */
	unsigned int requests;
	struct flow *flow[1024]; /* by order of opening */
	unsigned int nflow;
	char authority[128];
	bool bad;
};

static void on_stream_closed(struct amb_stream *s, void *owner, enum amb_reason reason,
			     const char *text UNUSED)
{
	struct flow *f = owner;
	int i = s == f->server;

	f->closed[i] = true;
	f->reason[i] = reason;
	amb_stream_bytes(s, &f->bytes[i][0], &f->bytes[i][1]);
	if (i)
		f->server = NULL;
	else
		f->client = NULL;
}

static void on_response(struct amb_stream *s UNUSED, void *owner, int status,
			const struct amb_baggage *baggage UNUSED)
{
	((struct flow *)owner)->status = status;
}

static const struct amb_stream_ops stream_ops = { .response = on_response,
						  .closed = on_stream_closed };

UNUSED static void flow_accept(struct flow *f)
{
	int fd[2];

	tcp_pair(fd);
	if (f->app[1].fd > 0)
		app_close(&f->app[1]);
	app_init(&f->app[1], fd[1], f->app[0].seed_rx, f->app[0].seed_tx);
	if (amb_stream_accept(f->server, fd[0], "k8s.cluster.name=Kubernetes"))
		abort();
}

static void on_up(struct amb_hbone *c, void *owner)
{
	struct pair *p = owner;

	p->up[c == p->c[1]] = true;
}

static void on_request(struct amb_hbone *c UNUSED, void *owner, struct amb_stream *s,
		       const struct amb_hbone_request *req)
{
	struct pair *p = owner;
	unsigned int n = req->authority && !req->bad ? atoi(req->authority) : 1024;
	struct flow *f = n < 1024 ? p->flow[n] : NULL;

	p->requests++;
	p->bad |= req->bad;
	snprintf(p->authority, sizeof(p->authority), "%s", req->authority ?: "");
	if (!f) {
		amb_stream_reject(s, 400, AMB_REASON_BAD_AUTHORITY);
		return;
	}
	f->server = s;
	amb_stream_set_owner(s, &stream_ops, f);
	if (p->reject)
		amb_stream_reject(s, p->reject, AMB_REASON_POLICY_DENY);
	else if (!p->hold)
		flow_accept(f);
}

static void on_room(struct amb_hbone *c UNUSED, void *owner)
{
	((struct pair *)owner)->rooms++;
}

static void on_closed(struct amb_hbone *c, void *owner, enum amb_reason reason, const char *text)
{
	struct pair *p = owner;
	int i = c == p->c[1];

	p->closed[i] = true;
	p->reason[i] = reason;
	p->c[i] = NULL;
	snprintf(p->text[i], sizeof(p->text[i]), "%s", text ?: "");
}

static const struct amb_hbone_ops conn_ops = {
	.up = on_up,
	.request = on_request,
	.room = on_room,
	.closed = on_closed,
};

/* The client wants the server to be @name; the server's owner is @ops. The buffers are there. */
static void pair_join(struct pair *p, const char *name, const struct amb_hbone_ops *ops)
{
	struct amb_identity *id = amb_identity_intern("cluster.local", "default", name);
	struct amb_identset expect = { 0 };
	int fd[2];

	tcp_pair(fd);
	amb_identset_add(&expect, id);
	amb_identity_put(id);
	p->c[0] = amb_hbone_client(p->b[0], fd[0], cred_client, &expect, &conn_ops, p);
	p->c[1] = amb_hbone_server(p->b[1], fd[1], cred_server, ops, p);
	amb_identset_clear(&expect);
}

UNUSED static void pair_start_as(struct pair *p, const struct amb_hbone_config *client,
				 const struct amb_hbone_config *server, const char *name,
				 const struct amb_hbone_ops *ops)
{
	memset(p, 0, sizeof(*p));
	p->b[0] = pair_bytes(client);
	p->b[1] = pair_bytes(server);
	pair_join(p, name, ops);
}

UNUSED static void pair_start(struct pair *p, const struct amb_hbone_config *client,
			      const struct amb_hbone_config *server)
{
	pair_start_as(p, client, server, "server", &conn_ops);
}

UNUSED static bool pair_is_up(void *arg)
{
	struct pair *p = arg;

	return p->up[0] && p->up[1] && p->c[0] && p->c[0]->settled && p->c[1]->settled;
}

UNUSED static void pair_stop(struct pair *p)
{
	unsigned int i;

	amb_bytes_destroy(p->b[0]);
	amb_bytes_destroy(p->b[1]);
	apps = NULL;
	for (i = 0; i < p->nflow; i++) {
		app_close(&p->flow[i]->app[0]);
		app_close(&p->flow[i]->app[1]);
		free(p->flow[i]);
	}
}

/* Opens a stream with an application. */
UNUSED static struct flow *flow_open_as(struct pair *p, const struct amb_stream_headers *h)
{
	struct flow *f = calloc(1, sizeof(*f));
	int fd[2];

	f->pair = p;
	f->app[1].fd = -1;
	tcp_pair(fd);
	app_init(&f->app[0], fd[0], p->nflow * 2 + 1, p->nflow * 2 + 2);
	p->flow[p->nflow++] = f;
	f->app[0].to_send = p->first_words;
	app_pump(&f->app[0]);
	f->client = amb_stream_open(p->c[0], fd[1], h, &stream_ops, f);
	if (!f->client)
		close(fd[1]);
	return f;
}

/* The same; its number is the authority. */
UNUSED static struct flow *flow_open(struct pair *p)
{
	char authority[16];
	struct amb_stream_headers h = { .authority = authority,
					.baggage = "k8s.namespace.name=default",
					.forwarded = "for=\"10.0.0.1:1234\"" };

	snprintf(authority, sizeof(authority), "%u:80", p->nflow);
	return flow_open_as(p, &h);
}

/* Sets one application's plan. */
UNUSED static void plan(struct app *a, uint64_t bytes, bool fin)
{
	a->to_send = a->sent + bytes;
	a->fin_when_sent = fin;
}

UNUSED static bool flow_is_open(void *arg)
{
	struct flow *f = arg;

	return f->status == 200 && f->server && f->app[1].fd >= 0;
}

UNUSED static bool flow_is_over(void *arg)
{
	struct flow *f = arg;

	return f->closed[0] && f->closed[1];
}

#endif
