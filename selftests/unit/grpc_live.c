// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The gRPC channel and the ADS client's on-demand mode against grpcio over loopback
 * (peers/control_plane.py): how calls end, what cancels them, connections that are renewed.
 */
#include "mesh.h"
#include "pki.h"
#include "spin.h"

#include "discovery.pb-c.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/resolve.h"
#include "control/ca.h"
#include "control/grpc.h"
#include "control/node.h"
#include "control/tls_client.h"
#include "control/xds.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define CSR "/istio.v1.auth.IstioCertificateService/CreateCertificate"
#define ADS "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

static char dir[] = "/tmp/grpc.XXXXXX";
static char root[64], control[64], token[64], url[64];
static pid_t server;
static struct amb_loop *loop;
static struct amb_resolver *resolver;

/* The server */

static char *at(const char *what)
{
	static char buf[4][PATH_MAX];
	static int i;
	char here[] = __FILE__;

	i = (i + 1) % 4;
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", dirname(here), what);
	return buf[i];
}

static int free_port(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	CHECK_EQ(bind(fd, (struct sockaddr *)&sin, len), 0);
	CHECK_EQ(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	close(fd);
	return ntohs(sin.sin_port);
}

/* A command; its output is compared with @want unless that is NULL. */
static void ask(const char *command, const char *want)
{
	char line[1024], got[256] = "";
	FILE *f;

	snprintf(line, sizeof(line), "/usr/bin/python3 %s ask %s %s",
		 at("../peers/control_plane.py"), control, command);
	f = popen(line, "r");
	CHECK(f);
	if (!fgets(got, sizeof(got), f))
		got[0] = 0;
	got[strcspn(got, "\n")] = 0;
	CHECK_EQ(pclose(f), 0);
	if (want)
		CHECK_STR(got, want);
}

static void stop_server(void)
{
	char cmd[64];

	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		fprintf(stderr, "%s stays\n", dir);
}

static void run_server(const char *listen, const char *log)
{
	char ca[80];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(ca, sizeof(ca), "%s/ca/root.key", dir);
	if (!freopen(log, "w", stdout))
		_exit(1);
	execl("/usr/bin/python3", "python3", at("../peers/control_plane.py"), "serve", "--proto",
	      at("../../agent/control/proto"), "--proto", at("../../agent/mesh/proto"), "--listen",
	      listen, "--control", control, "--ca", ca, "--roots", root, "--tls-issuer", ca,
	      "--host", "localhost", "--host", "istiod.test", NULL);
	_exit(127);
}

static void write_token(const char *text)
{
	CHECK_EQ(amb_util_write_file(token, text, strlen(text), 0600), 0);
}

static void start_server(void)
{
	char ca[64], err[AMB_CA_ERROR_LEN], listen[32], log[64];
	struct stat st;
	int port = free_port(), i;

	CHECK(mkdtemp(dir));
	atexit(stop_server);
	snprintf(ca, sizeof(ca), "%s/ca", dir);
	snprintf(root, sizeof(root), "%s/ca/root.pem", dir);
	snprintf(control, sizeof(control), "%s/control", dir);
	snprintf(token, sizeof(token), "%s/token", dir);
	snprintf(log, sizeof(log), "%s/log", dir);
	snprintf(listen, sizeof(listen), "127.0.0.1:%d", port);
	/* By name, so that the resolver has something to do. */
	snprintf(url, sizeof(url), "https://localhost:%d", port);
	CHECK_EQ(amb_ca_init(ca, "cluster.local", NULL, err), 0);
	write_token("secret\n");
	fflush(stdout);
	server = fork();
	CHECK(server >= 0);
	if (!server)
		run_server(listen, log);
	for (i = 0; i < 6000 && stat(control, &st); i++)
		usleep(10000);
	CHECK_EQ(stat(control, &st), 0);
}

/* Calls that remember */

struct call {
	struct amb_grpc_call *call;
	unsigned int messages;
	size_t bytes;
	bool done;
	struct amb_grpc_status status;
};

static int on_message(void *ctx, const struct amb_grpc_piece *piece)
{
	struct call *c = ctx;

	c->bytes += piece->n;
	c->messages += piece->last;
	return 0;
}

static void on_done(void *ctx, const struct amb_grpc_status *status)
{
	struct call *c = ctx;

	CHECK(!c->done);
	c->done = true;
	c->status = *status;
	c->call = NULL;
}

static const struct amb_grpc_handler handler = { on_message, on_done };

static struct amb_grpc *channel(const char *to, const char *alt, const char *tok)
{
	struct amb_grpc *ch;

	ch = amb_grpc_create(loop, resolver,
			     &(struct amb_grpc_config){
				     .url = to, .roots = root, .alt_name = alt, .token = tok });
	CHECK(ch);
	return ch;
}

static struct call *waited;

static bool waited_done(void)
{
	return waited->done;
}

static void open_call(struct amb_grpc *ch, struct call *c, const char *path, uint32_t max)
{
	memset(c, 0, sizeof(*c));
	c->call = amb_grpc_open(ch, path, max, &handler, c);
	CHECK(c->call && !c->done);
}

/* A unary call with a request of no bytes. */
static void unary(struct amb_grpc *ch, struct call *c, const char *path, uint32_t max)
{
	open_call(ch, c, path, max);
	CHECK(amb_grpc_send(c->call, 0));
	amb_grpc_send_end(c->call);
	waited = c;
	CHECK(spin(loop, waited_done));
}

static void begin(void)
{
	loop = amb_loop_create();
	resolver = amb_resolver_create();
	CHECK(loop && resolver);
	if (!server)
		start_server();
}

static void end(struct amb_grpc *ch)
{
	amb_grpc_destroy(ch);
	amb_resolver_destroy(resolver);
	amb_loop_destroy(loop);
}

TEST(how_calls_end)
{
	struct amb_grpc *ch;
	struct call c;

	begin();
	ch = channel(url, NULL, token);
	/* An empty CSR: the service breaks, which grpcio calls UNKNOWN. */
	unary(ch, &c, CSR, 1000);
	CHECK_EQ(c.status.code, AMB_GRPC_UNKNOWN);
	CHECK(!c.status.unconnected && *c.status.message);
	unary(ch, &c, "/no.such/Method", 1000);
	CHECK_EQ(c.status.code, AMB_GRPC_UNIMPLEMENTED);
	ask("tokens other", "null");
	unary(ch, &c, CSR, 1000);
	CHECK_EQ(c.status.code, AMB_GRPC_UNAUTHENTICATED);
	CHECK_STR(c.status.message, "token is not valid: 100%?\xc3\xa9");
	end(ch);
}

TEST(tokens)
{
	struct amb_grpc *ch;
	struct call c;

	begin();
	ask("tokens", "null");
	/* The token itself instead of a file. */
	ch = channel(url, NULL, "by-hand");
	ask("tokens by-hand", "null");
	unary(ch, &c, CSR, 1000);
	CHECK_EQ(c.status.code, AMB_GRPC_UNKNOWN);
	amb_grpc_destroy(ch);
	ask("tokens", "null");
	ch = channel(url, NULL, token);
	write_token(" \n");
	unary(ch, &c, CSR, 1000);
	CHECK_EQ(c.status.code, AMB_GRPC_UNAUTHENTICATED);
	CHECK(strstr(c.status.message, "it is empty"));
	write_token("two words\n");
	unary(ch, &c, CSR, 1000);
	CHECK(strstr(c.status.message, "it is no token"));
	CHECK_EQ(unlink(token), 0);
	unary(ch, &c, CSR, 1000);
	CHECK_EQ(c.status.code, AMB_GRPC_UNAUTHENTICATED);
	CHECK(strstr(c.status.message, "No such file"));
	/* The connection lived through all that. */
	write_token("secret");
	unary(ch, &c, CSR, 1000);
	CHECK_EQ(c.status.code, AMB_GRPC_UNKNOWN);
	end(ch);
}

TEST(no_connection)
{
	struct amb_grpc *ch;
	struct call c;
	char to[64];

	begin();
	snprintf(to, sizeof(to), "127.0.0.1:%d", free_port());
	ch = channel(to, NULL, NULL);
	unary(ch, &c, CSR, 1000);
	CHECK(c.status.code == AMB_GRPC_UNAVAILABLE && c.status.unconnected);
	CHECK_STR(c.status.message, "connect: Connection refused");
	amb_grpc_destroy(ch);
	ch = channel("https://no.such.name.invalid:1", NULL, NULL);
	unary(ch, &c, CSR, 1000);
	CHECK(c.status.unconnected);
	CHECK_STR(c.status.message, "no.such.name.invalid: name does not resolve");
	amb_grpc_destroy(ch);
	/* The certificate is for localhost, not for its address; or for the other name. */
	snprintf(to, sizeof(to), "127.0.0.1:%s", strrchr(url, ':') + 1);
	ch = channel(to, NULL, token);
	unary(ch, &c, CSR, 1000);
	CHECK(c.status.unconnected);
	CHECK_STR(c.status.message, "TLS: certificate is not for 127.0.0.1");
	amb_grpc_destroy(ch);
	ch = channel(to, "other.test", token);
	unary(ch, &c, CSR, 1000);
	CHECK_STR(c.status.message, "TLS: certificate is not for 127.0.0.1 or other.test");
	amb_grpc_destroy(ch);
	ch = channel(to, "istiod.test", token);
	unary(ch, &c, CSR, 1000);
	CHECK_EQ(c.status.code, AMB_GRPC_UNKNOWN);
	end(ch);
}

TEST(roots)
{
	static const struct {
		const char *roots, *message;
	} rows[] = {
		{ "/no/such/file", "roots: /no/such/file: No such file or directory" },
		{ "/etc/hostname", "roots: /etc/hostname: no certificate in it" },
		{ "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		  "roots: roots: " },
	};
	_cleanup_free_ char *pem = NULL;
	struct amb_grpc_config config = { .url = url, .token = token };
	struct amb_grpc *ch;
	struct call c;
	size_t i;

	begin();
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].message);
		config.roots = rows[i].roots;
		ch = amb_grpc_create(loop, resolver, &config);
		unary(ch, &c, CSR, 1000);
		CHECK(c.status.unconnected);
		CHECK(!strncmp(c.status.message, rows[i].message, strlen(rows[i].message)));
		amb_grpc_destroy(ch);
	}
	/* The text itself. */
	CHECK(amb_util_read_file(root, 1 << 20, &pem) > 0);
	config.roots = pem;
	ch = amb_grpc_create(loop, resolver, &config);
	unary(ch, &c, CSR, 1000);
	CHECK_EQ(c.status.code, AMB_GRPC_UNKNOWN);
	amb_grpc_destroy(ch);
	/* The system's, by SSL_CERT_FILE: first ours, then one that did not sign. */
	config.roots = AMB_TLS_ROOTS_SYSTEM;
	setenv("SSL_CERT_FILE", root, 1);
	ch = amb_grpc_create(loop, resolver, &config);
	unary(ch, &c, CSR, 1000);
	CHECK_EQ(c.status.code, AMB_GRPC_UNKNOWN);
	amb_grpc_destroy(ch);
	{
		struct pki_file other = pki_read("other", "crt");

		config.roots = other.text;
		ch = amb_grpc_create(loop, resolver, &config);
		unary(ch, &c, CSR, 1000);
		CHECK_STR(c.status.message,
			  "TLS: certificate of localhost: not signed by our roots");
		free(other.text);
	}
	end(ch);
}

static struct call *streaming;

static bool streaming_started(void)
{
	return streaming->messages > 0;
}

/* A stream that has brought its first answer: an empty one. */
static void open_stream(struct amb_grpc *ch, struct call *c, uint32_t max)
{
	Discovery__DeltaDiscoveryRequest m = DISCOVERY__DELTA_DISCOVERY_REQUEST__INIT;
	uint8_t *buf;

	open_call(ch, c, ADS, max);
	m.type_url = (char *)amb_xds_type_url(AMB_XDS_ADDRESS);
	buf = amb_grpc_send(c->call, discovery__delta_discovery_request__get_packed_size(&m));
	CHECK(buf);
	discovery__delta_discovery_request__pack(&m, buf);
	streaming = c;
	CHECK(spin(loop, streaming_started));
}

TEST(cancelled_calls_hear_nothing)
{
	struct amb_grpc *ch;
	struct call a, b, c, d;

	begin();
	ch = channel(url, NULL, token);
	/* before there is a connection, and while it is being made */
	open_call(ch, &a, CSR, 1000);
	amb_grpc_cancel(a.call);
	open_call(ch, &a, CSR, 1000);
	spin_for(loop, NULL, 1000000);
	amb_grpc_cancel(a.call);
	open_stream(ch, &b, 1000000);
	open_call(ch, &c, CSR, 1000);
	CHECK(amb_grpc_send(c.call, 0));
	amb_grpc_cancel(c.call);
	amb_grpc_cancel(b.call);
	unary(ch, &d, CSR, 1000);
	CHECK(!a.done && !b.done && !c.done);
	/* Nor do those of a channel that goes. */
	open_stream(ch, &b, 1000000);
	open_call(ch, &c, CSR, 1000);
	end(ch);
	CHECK(!b.done && !c.done);
}

TEST(limits)
{
	struct amb_grpc *ch;
	struct call c;

	begin();
	ch = channel(url, NULL, token);
	open_stream(ch, &c, 2000);
	CHECK(!amb_grpc_send(c.call, AMB_GRPC_QUEUE_MAX + 1) && errno == ENOBUFS);
	ask("huge name 3000", "1");
	waited = &c;
	CHECK(spin(loop, waited_done));
	CHECK_EQ(c.status.code, AMB_GRPC_RESOURCE_EXHAUSTED);
	/* A request larger than all windows. */
	open_call(ch, &c, CSR, 1000);
	{
		uint8_t *p = amb_grpc_send(c.call, 3 << 20);

		CHECK(p);
		/* field 7, of no meaning */
		memset(p, 0, 3 << 20);
		p[0] = 0x3a;
		p[1] = 0xfb;
		p[2] = 0xff;
		p[3] = 0xbf;
		p[4] = 0x01;
	}
	amb_grpc_send_end(c.call);
	waited = &c;
	CHECK(spin(loop, waited_done));
	CHECK_EQ(c.status.code, AMB_GRPC_UNKNOWN);
	end(ch);
}

TEST(renewed_connections)
{
	struct amb_grpc *ch;
	struct call stream, c;
	unsigned int before;

	begin();
	ch = channel(url, NULL, token);
	open_stream(ch, &stream, 1000000);
	amb_grpc_renew(ch);
	unary(ch, &c, CSR, 1000);
	CHECK_EQ(c.status.code, AMB_GRPC_UNKNOWN);
	/* The old one carries its call on. */
	before = stream.messages;
	ask("huge name 3000", "1");
	while (stream.messages == before)
		spin_for(loop, NULL, 10000000);
	CHECK(!stream.done);
	ask("reset ABORTED 'so be it'", "1");
	waited = &stream;
	CHECK(spin(loop, waited_done));
	CHECK_EQ(stream.status.code, AMB_GRPC_ABORTED);
	CHECK_STR(stream.status.message, "so be it");
	end(ch);
}

/* On demand */

static struct amb_state *st;
static struct amb_xds *xds;
static int answered;

static void on_answer(struct amb_xds_waiter *w)
{
	(void)w;
	answered++;
}

static int want_answered;
static const char *want_uid;

static bool all_answered(void)
{
	return answered >= want_answered;
}

static bool connected(void)
{
	struct amb_xds_stats s;

	amb_xds_stats(xds, &s);
	return s.synced;
}

static bool knows(const char *uid)
{
	bool yes;

	amb_state_read_begin(st);
	yes = amb_state_workload_by_uid(st, uid) != NULL;
	amb_state_read_end(st);
	return yes;
}

static bool knows_wanted(void)
{
	return knows(want_uid);
}

static void put(const char *uid, const char *addr_base64)
{
	char cmd[512];

	snprintf(
		cmd, sizeof(cmd),
		"put <<'X'\n[{\"workload\": {\"uid\": \"%s\", \"name\": \"n\", \"namespace\": \"ns\", "
		"\"addresses\": [\"%s\"]}}]\nX",
		uid, addr_base64);
	ask(cmd, "1");
}

static void want(const char *name, struct amb_xds_waiter *w, int ret)
{
	memset(w, 0, sizeof(*w));
	w->fn = on_answer;
	CHECK_EQ(amb_xds_want(xds, name, w), ret);
}

static void wait_answers(int n)
{
	want_answered = n;
	CHECK(spin(loop, all_answered));
	CHECK_EQ(answered, n);
}

TEST(on_demand)
{
	struct amb_xds_waiter a, b, c, d;
	struct amb_xds_stats s;
	struct amb_node *node;
	struct amb_grpc *ch;
	char err[100];

	begin();
	ask("tokens", "null");
	put("one", "CgAAAQ=="); /* 10.0.0.1 */
	put("two", "CgAAAg==");
	ch = channel(url, NULL, token);
	st = mesh_state("");
	node = amb_node_create(&(struct amb_node_config){ .pod_name = "z" }, err, sizeof(err));
	xds = amb_xds_create(loop,
			     &(struct amb_xds_config){
				     .channel = ch, .state = st, .node = node, .on_demand = true });
	CHECK(node && xds);
	/* Asked before there is a stream. */
	want("/10.0.0.1", &a, 0);
	CHECK(spin(loop, connected));
	wait_answers(1);
	CHECK(knows("one") && !knows("two"));
	want("/10.0.0.1", &a, -EALREADY);
	/* One that there is, one that there is not; two wait, one gives up. */
	want("/10.0.0.2", &a, 0);
	want("/10.0.0.2", &b, 0);
	want("/10.0.0.9", &c, 0);
	want("/10.0.0.9", &d, 0);
	amb_xds_unwait(&d);
	amb_xds_unwait(&d);
	wait_answers(4);
	CHECK(knows("two"));
	/* That there was nothing does not mean that there is. */
	want("/10.0.0.9", &c, 0);
	wait_answers(5);
	/* What comes to have the name comes by itself, before and after another stream. */
	put("late", "CgAACQ==");
	want_uid = "late";
	CHECK(spin(loop, knows_wanted));
	put("never", "CgAAYw==");
	ask("reset OK", "1");
	put("later", "CgAAAQ==");
	want_uid = "later";
	CHECK(spin(loop, knows_wanted));
	CHECK(!knows("never"));
	/* Removal while there is no stream. */
	ask("forget address two", "null");
	ask("reset OK", NULL);
	while (knows("two"))
		spin_for(loop, NULL, 10000000);
	amb_xds_stats(xds, &s);
	CHECK(s.terminations[AMB_XDS_END_COMPLETE] >= 1 && s.nacks == 0);
	amb_xds_destroy(xds);
	amb_node_destroy(node);
	amb_state_destroy(st);
	mesh_free();
	end(ch);
}

/* Names that stand for nothing make room, those that stand for something or are waited for do not. */
TEST(on_demand_room)
{
	struct amb_xds_waiter a, b, c, d;
	struct amb_node *node;
	struct amb_grpc *ch;
	char err[100];

	begin();
	ask("tokens", "null");
	put("one", "CgAAAQ=="); /* 10.0.0.1 */
	answered = 0;
	ch = channel(url, NULL, token);
	st = mesh_state("");
	node = amb_node_create(&(struct amb_node_config){ .pod_name = "z" }, err, sizeof(err));
	xds = amb_xds_create(loop, &(struct amb_xds_config){ .channel = ch,
							     .state = st,
							     .node = node,
							     .on_demand = true,
							     .wanted_max = 3 });
	CHECK(node && xds);
	want("/10.0.0.1", &a, 0);
	want("/10.1.0.1", &b, 0);
	want("/10.1.0.2", &c, 0);
	CASE("all of them are waited for");
	want("/10.1.0.3", &d, -ENOSPC);
	wait_answers(3);
	CASE("two may go");
	want("/10.1.0.3", &d, 0);
	want("/10.0.0.1", &a, -EALREADY);
	want("/10.1.0.1", &b, 0);
	want("/10.1.0.2", &c, -ENOSPC);
	wait_answers(5);
	CASE("and stay gone with the next stream");
	ask("reset OK", "1");
	want("/10.1.0.2", &c, 0);
	wait_answers(6);
	amb_xds_destroy(xds);
	amb_node_destroy(node);
	amb_state_destroy(st);
	mesh_free();
	end(ch);
}

int main(void)
{
	int rc;

	if (system("/usr/bin/python3 -c 'import grpc, google.protobuf, cryptography' 2>/dev/null")) {
		printf("TAP version 13\n1..0 # SKIP needs python3-grpcio, python3-protobuf\n");
		return 4;
	}
	amb_log_set_filter("off");
	urcu_memb_register_thread();
	rc = harness_run();
	urcu_memb_unregister_thread();
	return rc;
}
