// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ZDS: the codec as a table of bytes, the client as a table of scripts that a CNI made of this
 * file plays over a real socket. Network namespaces are played by named memory files.
 */
#include "harness.h"
#include "spin.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "control/zds.h"
#include "control/zds_packet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ADD_U "\x0a\x11\x0a\x01u\x12\x0c\x0a\x01n\x12\x02ns\x1a\x03sa1"

/* The codec */

TEST(packets)
{
	static const struct {
		const char *what, *bytes;
		size_t len;
		unsigned int nfds;
		int ret;
		enum amb_zds_kind kind;
		const char *uid, *text; /* ns/name/sa, fault, or reason */
	} rows[] = {
#define ROW(what, bytes, ...) { what, bytes, sizeof(bytes) - 1, __VA_ARGS__ }
		ROW("add", ADD_U, 1, 0, AMB_ZDS_ADD, "u", "ns/n/sa1"),
		ROW("add without fd", ADD_U, 0, -EPROTO, 0, "",
		    "a pod without its network namespace"),
		ROW("add with two", ADD_U, 2, -EPROTO, 0, "",
		    "a pod with more than one descriptor"),
		ROW("add without info", "\x0a\x03\x0a\x01u", 1, -EPROTO, 0, "",
		    "a pod without a name"),
		ROW("add without uid", "\x0a\x0e\x12\x0c\x0a\x01n\x12\x02ns\x1a\x03sa1", 1, 0,
		    AMB_ZDS_ADD, "", "uid, namespace, name and service account have to be names"),
		ROW("add with a slash", "\x0a\x11\x0a\x01u\x12\x0c\x0a\x01n\x12\x02ns\x1a\x03s/1",
		    1, 0, AMB_ZDS_ADD, "u",
		    "uid, namespace, name and service account have to be names"),
		ROW("add with a newline",
		    "\x0a\x11\x0a\x01u\x12\x0c\x0a\x01\n\x12\x02ns\x1a\x03sa1", 1, 0, AMB_ZDS_ADD,
		    "u", "uid, namespace, name and service account have to be names"),
		ROW("add of a later version",
		    "\x0a\x11\x0a\x01u\x12\x0c\x0a\x01n\x12\x02ns\x1a\x03sa1"
		    "\x9a\x06\x02xx",
		    1, 0, AMB_ZDS_ADD, "u", "ns/n/sa1"),
		ROW("del: field 2", "\x12\x03\x12\x01u", 0, 0, AMB_ZDS_DEL, "u", ""),
		ROW("del: field 1 is another", "\x12\x03\x0a\x01u", 0, 0, AMB_ZDS_DEL, "", ""),
		ROW("del with fd", "\x12\x03\x12\x01u", 1, -EPROTO, 0, "",
		    "a descriptor with a request that takes none"),
		ROW("snapshot_sent", "\x1a\x00", 0, 0, AMB_ZDS_SNAPSHOT_SENT, "", ""),
		ROW("keep", "\x2a\x03\x0a\x01u", 0, 0, AMB_ZDS_KEEP, "u", ""),
		ROW("unknown", "\x4a\x00", 0, 0, AMB_ZDS_UNKNOWN, "", ""),
		ROW("unknown with fd", "\x4a\x00", 1, 0, AMB_ZDS_UNKNOWN, "", ""),
		ROW("empty", "", 0, 0, AMB_ZDS_UNKNOWN, "", ""),
		ROW("garbage", "\xff\xff\xff", 0, -EPROTO, 0, "", "a packet that cannot be read"),
		ROW("cut", "\x0a\x11\x0a\x01u\x12", 1, -EPROTO, 0, "",
		    "a packet that cannot be read"),
#undef ROW
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		struct amb_zds_packet p = { .uid = "" };
		const char *why = "";
		char text[128];

		CASE(rows[i].what);
		CHECK_EQ(amb_zds_packet_read(&p, rows[i].bytes, rows[i].len, rows[i].nfds, &why),
			 rows[i].ret);
		CHECK_STR(p.uid, rows[i].uid);
		if (rows[i].ret) {
			CHECK_STR(why, rows[i].text);
			continue;
		}
		CHECK_EQ(p.kind, rows[i].kind);
		snprintf(text, sizeof(text), "%s/%s/%s", p.ns, p.name, p.sa);
		CHECK_STR(p.fault ? p.fault : p.kind == AMB_ZDS_ADD ? text : "", rows[i].text);
		amb_zds_packet_uninit(&p);
	}
}

TEST(what_is_written)
{
	uint8_t buf[AMB_ZDS_PACKET_MAX];
	char endless[4096];

	CHECK_EQ(amb_zds_packet_hello(buf), 2);
	CHECK(!memcmp(buf, "\x08\x01", 2));
	CHECK_EQ(amb_zds_packet_answer(NULL, buf), 2);
	CHECK(!memcmp(buf, "\x0a\x00", 2));
	CHECK_EQ(amb_zds_packet_answer("no", buf), 6);
	CHECK(!memcmp(buf, "\x0a\x04\x0a\x02no", 6));
	memset(endless, 'x', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = 0;
	CHECK(amb_zds_packet_answer(endless, buf) < AMB_ZDS_PACKET_MAX);
}

/* The client */

static struct {
	struct amb_loop *loop;
	struct amb_zds *zds;
	int listener, conn;
	char dir[64], path[80];
	char calls[1024];
	char packet[AMB_ZDS_PACKET_MAX];
	ssize_t len;
} t;

static void note(const char *fmt, ...) AMB_PRINTF(1, 2);
static void note(const char *fmt, ...)
{
	size_t at = strlen(t.calls);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t.calls + at, sizeof(t.calls) - at, fmt, ap);
	va_end(ap);
}

/* What the pod's uid begins with is what becomes of it. */
static int op_add(void *ctx, const struct amb_zds_pod *pod, int netns, char *err, size_t errlen)
{
	char link[64], name[64] = "";

	(void)ctx;
	CHECK(netns >= 0);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", netns);
	CHECK(readlink(link, name, sizeof(name) - 1) > 0);
	name[strcspn(name, " ")] = 0;
	close(netns);
	note("add %s %s/%s/%s %s; ", pod->uid, pod->ns, pod->name, pod->sa, strrchr(name, ':') + 1);
	if (*pod->uid == 'f') {
		snprintf(err, errlen, "no port");
		return -EIO;
	}
	return *pod->uid == 'w' ? -EINPROGRESS : 0;
}

static int op_del(void *ctx, const char *uid)
{
	(void)ctx;
	note("del %s; ", uid);
	return *uid == 'w' ? -EINPROGRESS : 0;
}

static void op_synced(void *ctx, bool synced)
{
	(void)ctx;
	note(synced ? "synced; " : "lost; ");
}

static bool accepted(void)
{
	t.conn = accept4(t.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return t.conn >= 0;
}

/* Something came, or the end of the connection: len 0. */
static bool received(void)
{
	t.len = recv(t.conn, t.packet, sizeof(t.packet), 0);
	if (t.len < 0 && errno == ECONNRESET)
		t.len = 0;
	return t.len >= 0;
}

static void meet(void)
{
	CHECK(spin(t.loop, accepted));
	CHECK(spin(t.loop, received));
	CHECK_EQ(t.len, 2);
	CHECK(!memcmp(t.packet, "\x08\x01", 2));
}

static void start_listening(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	t.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	strcpy(a.sun_path, t.path);
	unlink(t.path);
	CHECK(!bind(t.listener, (struct sockaddr *)&a, sizeof(a)));
	CHECK(!listen(t.listener, 4));
}

static void start(void)
{
	static const struct amb_zds_ops ops = { NULL, op_add, op_del, op_synced };

	amb_log_set_filter("off");
	t.calls[0] = 0;
	t.conn = -1;
	strcpy(t.dir, "/tmp/ambient-zds-test.XXXXXX");
	CHECK(mkdtemp(t.dir));
	snprintf(t.path, sizeof(t.path), "%s/s", t.dir);
	t.loop = amb_loop_create();
	t.zds = amb_zds_create(t.loop, t.path, &ops);
	CHECK(t.zds);
}

static void stop(void)
{
	amb_zds_destroy(t.zds);
	amb_loop_destroy(t.loop);
	close(t.conn);
	close(t.listener);
	unlink(t.path);
	rmdir(t.dir);
}

static void send_fds(const void *data, size_t len, const char *fdname, unsigned int nfds)
{
	union {
		char buf[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = &control.align;
	int fds[8];
	unsigned int i;

	for (i = 0; i < nfds; i++)
		CHECK((fds[i] = memfd_create(fdname, MFD_CLOEXEC)) >= 0);
	if (nfds) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	CHECK_EQ(sendmsg(t.conn, &msg, MSG_NOSIGNAL), len);
	for (i = 0; i < nfds; i++)
		close(fds[i]);
}

static size_t put_field(uint8_t *out, unsigned int number, const void *value, size_t len)
{
	out[0] = number << 3 | 2;
	out[1] = len;
	memcpy(out + 2, value, len);
	return len + 2;
}

static const struct {
	const char *name, *bytes;
	size_t len;
	unsigned int nfds;
} odd[] = {
#define ODD(name, bytes, nfds)                                                                     \
	{                                                                                          \
		name, bytes, sizeof(bytes) - 1, nfds                                               \
	}
	ODD("nofd", ADD_U, 0),
	ODD("twofds", ADD_U, 2),
	ODD("manyfds", ADD_U, 8),
	ODD("badname", "\x0a\x11\x0a\x01u\x12\x0c\x0a\x01n\x12\x02ns\x1a\x03s/1", 1),
	ODD("garbage", "\xff\xff\xff", 0),
	ODD("unknown", "\x4a\x00", 0),
	ODD("unknownfd", "\x4a\x00", 1),
#undef ODD
};

/* "add u net", "del u", "keep u", "end", "odd NAME", "long": sends it. False: none of those. */
static bool play_request(char *verb, const char *uid, const char *net)
{
	static uint8_t zeros[AMB_ZDS_PACKET_MAX + 1];
	uint8_t in[256], out[256], info[64];
	size_t n, i;

	if (!strcmp(verb, "add")) {
		n = put_field(info, 1, "p", 1);
		n += put_field(info + n, 2, "ns", 2);
		n += put_field(info + n, 3, "sa", 2);
		i = put_field(in, 1, uid, strlen(uid));
		i += put_field(in + i, 2, info, n);
		send_fds(out, put_field(out, 1, in, i), net, 1);
	} else if (!strcmp(verb, "del") || !strcmp(verb, "keep")) {
		n = put_field(in, *verb == 'd' ? 2 : 1, uid, strlen(uid));
		send_fds(out, put_field(out, *verb == 'd' ? 2 : 5, in, n), NULL, 0);
	} else if (!strcmp(verb, "end")) {
		send_fds("\x1a\x00", 2, NULL, 0);
	} else if (!strcmp(verb, "long")) {
		send_fds(zeros, sizeof(zeros), NULL, 0);
	} else if (!strcmp(verb, "odd")) {
		for (i = 0; i < AMB_ARRAY_SIZE(odd) && strcmp(odd[i].name, uid); i++)
			;
		CHECK(i < AMB_ARRAY_SIZE(odd));
		send_fds(odd[i].bytes, odd[i].len, "x", odd[i].nfds);
	} else {
		return false;
	}
	return true;
}

/* The answer as a word: "ok", "closed", "nothing", or its text. */
static const char *heard(bool wait)
{
	static char text[AMB_ZDS_PACKET_MAX];

	if (!(wait ? spin(t.loop, received) : spin_for(t.loop, received, 50000000ull)))
		return "nothing";
	if (!t.len)
		return "closed";
	if (t.len == 2 && !memcmp(t.packet, "\x0a\x00", 2))
		return "ok";
	CHECK(t.len > 4 && t.packet[0] == 0x0a && t.packet[2] == 0x0a);
	CHECK_EQ(t.packet[3], t.len - 4);
	snprintf(text, sizeof(text), "%.*s", (int)t.len - 4, t.packet + 4);
	return text;
}

/* One step, "verb args = what is heard". */
static void play(char *step)
{
	char *expect = strstr(step, " = "), *verb, *uid, *net, *save;
	const char *said;

	if (expect) {
		*expect = 0;
		expect += 3;
	}
	verb = strtok_r(step, " ", &save);
	uid = strtok_r(NULL, " ", &save);
	net = strtok_r(NULL, " ", &save);
	if (!strcmp(verb, "meet")) {
		meet();
	} else if (!strcmp(verb, "hang")) {
		close(take_fd(&t.conn));
	} else if (!strcmp(verb, "up")) {
		amb_zds_done(t.zds, uid, NULL);
	} else if (!strcmp(verb, "fail")) {
		amb_zds_done(t.zds, uid, "port taken");
	} else {
		CHECK(play_request(verb, uid, net));
	}
	if (!expect)
		return;
	said = heard(strcmp(expect, "nothing"));
	if (!strcmp(said, "closed"))
		close(take_fd(&t.conn));
	CHECK_STR(said, expect);
}

static const struct script {
	const char *name, *steps, *calls;
} scripts[] = {
	{ "an empty snapshot", "meet\nend = ok", "synced; " },
	{ "a snapshot, then pods come and go",
	  "meet\nadd a n1 = ok\nend = ok\nadd b n2 = ok\ndel a = ok",
	  "add a ns/p/sa n1; synced; add b ns/p/sa n2; del a; " },
	{ "nothing is said unasked",
	  "meet = nothing\nend = ok\nadd a n1 = ok\nhang\nmeet = nothing",
	  "synced; add a ns/p/sa n1; lost; " },
	{ "the same pod again, in its namespace and in another",
	  "meet\nend = ok\nadd a n1 = ok\nadd a n1 = ok\nadd a n2 = ok",
	  "synced; add a ns/p/sa n1; add a ns/p/sa n1; add a ns/p/sa n2; " },
	{ "a pod that nobody knows is gone", "meet\nend = ok\ndel x = ok", "synced; del x; " },
	{ "an answer waits for the start", "meet\nend = ok\nadd w n1 = nothing\nup w = ok",
	  "synced; add w ns/p/sa n1; " },
	{ "a failed start is refused",
	  "meet\nend = ok\nadd w n1 = nothing\nfail w = failure to start proxy: port taken",
	  "synced; add w ns/p/sa n1; " },
	{ "a pod that cannot start is refused, and reconciled as others are",
	  "meet\nadd f n1 = failure to start proxy: no port\nend = ok\nhang\nmeet\nend = ok",
	  "add f ns/p/sa n1; synced; lost; del f; synced; " },
	{ "others' starts are not answers",
	  "meet\nend = ok\nadd w n1 = nothing\nup other = nothing\n"
	  "up w = ok\nup w = nothing",
	  "synced; add w ns/p/sa n1; " },
	{ "a start that takes long is accepted", "meet\nadd w n1 = ok\nend = ok\nup w = nothing",
	  "add w ns/p/sa n1; synced; " },
	{ "an answer waits until nothing is open there",
	  "meet\nend = ok\ndel w = nothing\nup other = nothing\nup w = ok\nup w = nothing",
	  "synced; del w; " },
	{ "an end that takes long is accepted", "meet\nend = ok\ndel w = ok\nup w = nothing",
	  "synced; del w; " },
	{ "a new snapshot drops what it does not name, at its end",
	  "meet\nadd a n1 = ok\nadd b n2 = ok\nadd c n3 = ok\nend = ok\nhang\n"
	  "meet\nadd a n1 = ok\nkeep b = ok\nend = ok",
	  "add a ns/p/sa n1; add b ns/p/sa n2; add c ns/p/sa n3; synced; lost; "
	  "add a ns/p/sa n1; del c; synced; " },
	{ "a snapshot that breaks off drops nothing",
	  "meet\nadd a n1 = ok\nend = ok\nhang\nmeet\nadd b n2 = ok\nhang\n"
	  "meet\nkeep a = ok\nend = ok",
	  "add a ns/p/sa n1; synced; lost; add b ns/p/sa n2; del b; synced; " },
	{ "del within the snapshot",
	  "meet\nadd a n1 = ok\ndel a = ok\nend = ok\nhang\nmeet\nend = ok",
	  "add a ns/p/sa n1; del a; synced; lost; synced; " },
	{ "keep of a pod that we do not have", "meet\nkeep a = ok\nend = ok\nadd a n1 = ok",
	  "synced; add a ns/p/sa n1; " },
	{ "hung up while a pod starts",
	  "meet\nadd w n1 = nothing\nhang\nmeet\nup w = nothing\n"
	  "add w n1 = nothing\nup w = ok\nend = ok",
	  "add w ns/p/sa n1; add w ns/p/sa n1; synced; " },
	{ "keep after the snapshot", "meet\nend = ok\nkeep a = closed\nmeet\nend = ok",
	  "synced; lost; synced; " },
	{ "a second end of the snapshot", "meet\nend = ok\nend = closed\nmeet\nend = ok",
	  "synced; lost; synced; " },
	{ "a pod without descriptor", "meet\nodd nofd = closed\nmeet\nend = ok", "synced; " },
	{ "a pod with two", "meet\nodd twofds = closed\nmeet\nend = ok", "synced; " },
	{ "a pod with more than are looked at", "meet\nodd manyfds = closed\nmeet\nend = ok",
	  "synced; " },
	{ "garbage", "meet\nend = ok\nodd garbage = closed\nmeet", "synced; lost; " },
	{ "a packet that is cut", "meet\nend = ok\nlong = closed\nmeet", "synced; lost; " },
	{ "a request of a later version is refused",
	  "meet\nodd unknown = unknown request\n"
	  "odd unknownfd = unknown request\nend = ok",
	  "synced; " },
	{ "a pod with no proper name",
	  "meet\nodd badname = failure to start proxy: uid, namespace, "
	  "name and service account have to be names\nend = ok",
	  "synced; " },
};

static unsigned int open_fds(void)
{
	unsigned int n = 0;
	int i;

	for (i = 0; i < 256; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

TEST(scripts)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(scripts); i++) {
		_cleanup_free_ char *steps = strdup(scripts[i].steps);
		unsigned int before = open_fds();
		char *step, *save;

		CASE(scripts[i].name);
		start();
		start_listening();
		for (step = strtok_r(steps, "\n", &save); step; step = strtok_r(NULL, "\n", &save))
			play(step);
		CHECK_STR(t.calls, scripts[i].calls);
		stop();
		/* Nothing that came by the socket is left open. */
		CHECK_EQ(open_fds(), before);
	}
}

TEST(requests_are_answered_in_order)
{
	start();
	start_listening();
	meet();
	CHECK(play_request((char[]){ "add" }, "w", "n"));
	CHECK(play_request((char[]){ "del" }, "x", NULL));
	CHECK(play_request((char[]){ "odd" }, "unknown", NULL));
	CHECK(play_request((char[]){ "end" }, NULL, NULL));
	CHECK_STR(heard(false), "nothing");
	CHECK_STR(t.calls, "add w ns/p/sa n; ");
	amb_zds_done(t.zds, "w", "late");
	CHECK_STR(heard(true), "failure to start proxy: late");
	CHECK_STR(heard(true), "ok");
	CHECK_STR(heard(true), "unknown request");
	CHECK_STR(heard(true), "ok");
	CHECK_STR(heard(false), "nothing");
	CHECK_STR(t.calls, "add w ns/p/sa n; del x; synced; ");
	stop();
}

/* The CNI comes later than the agent, goes, and comes again at the same path. */
TEST(waits_for_the_cni)
{
	start();
	t.listener = -1;
	CHECK(!spin_for(t.loop, NULL, 100000000ull));
	start_listening();
	meet();
	send_fds("\x1a\x00", 2, NULL, 0);
	CHECK_STR(heard(true), "ok");
	close(take_fd(&t.listener));
	close(take_fd(&t.conn));
	CHECK(!spin_for(t.loop, NULL, 100000000ull));
	start_listening();
	meet();
	CHECK_STR(t.calls, "synced; lost; ");
	stop();
}

/* A peer that breaks the protocol each time is not met in a tight loop. */
TEST(backs_off)
{
	uint64_t begin = amb_util_now_ns();
	unsigned int i;

	start();
	start_listening();
	for (i = 0; i < 6; i++) {
		meet();
		send_fds("\xff", 1, NULL, 0);
		CHECK_STR(heard(true), "closed");
		close(take_fd(&t.conn));
	}
	CHECK(amb_util_now_ns() - begin >= AMB_ZDS_RETRY_MIN_NS * (1 + 2 + 4 + 8 + 16));
	stop();
}

TEST(a_path_too_long)
{
	static const struct amb_zds_ops ops = { NULL, op_add, op_del, op_synced };
	struct amb_loop *loop = amb_loop_create();
	char path[200];

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	errno = 0;
	CHECK(!amb_zds_create(loop, path, &ops));
	CHECK_EQ(errno, ENAMETOOLONG);
	amb_loop_destroy(loop);
}

int main(void)
{
	return harness_run();
}
