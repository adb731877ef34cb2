// SPDX-License-Identifier: GPL-2.0-or-later
/* Namespaces and the sockets made in them. Needs root: it makes namespaces of its own. */
#include "harness.h"

#include "base/cleanup.h"
#include "kernel/netns.h"
#include "kernel/sockdiag.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/*
 * A namespace nobody else has: made by a thread that ends at once. Its loopback is up, since
 * without any route the kernel takes every address for its own.
 */
static void *make_ns(void *arg)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return NULL;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &ifr) == 0)
		*(struct amb_netns **)arg = amb_netns_open("/proc/thread-self/ns/net");
	close(fd);
	return NULL;
}

static struct amb_netns *fresh_ns(void)
{
	struct amb_netns *ns = NULL;
	pthread_t t;

	CHECK_EQ(pthread_create(&t, NULL, make_ns, &ns), 0);
	pthread_join(t, NULL);
	CHECK(ns);
	return ns;
}

static ino_t where(void)
{
	struct stat st;

	CHECK_EQ(stat("/proc/thread-self/ns/net", &st), 0);
	return st.st_ino;
}

static int get_int(int fd, int level, int option)
{
	socklen_t len = sizeof(int);
	int value = -1;

	CHECK_EQ(getsockopt(fd, level, option, &value, &len), 0);
	return value;
}

TEST(enter_and_return)
{
	ino_t home = where();
	struct amb_netns *a = fresh_ns(), *b = fresh_ns();

	CHECK_EQ(amb_netns_enter(NULL), 0);
	CHECK_EQ(where(), home);
	CHECK_EQ(amb_netns_enter(a), 0);
	CHECK_EQ(where(), a->ino);
	CHECK_EQ(amb_netns_enter(b), 0);
	CHECK_EQ(where(), b->ino);
	CHECK(a->ino != b->ino);
	CHECK_EQ(amb_netns_enter(NULL), 0);
	CHECK_EQ(where(), home);
	amb_netns_put(a);
	amb_netns_put(b);
}

struct visit {
	int err;
	ino_t ino;
};

static void *enter_own(void *arg)
{
	struct visit *v = arg;
	struct stat st = { 0 };

	v->err = amb_netns_enter(NULL);
	stat("/proc/thread-self/ns/net", &st);
	v->ino = st.st_ino;
	return NULL;
}

TEST(thread_born_elsewhere)
{
	struct visit v = { 1, 0 };
	ino_t home = where();
	struct amb_netns *a = fresh_ns();
	pthread_t t;

	CHECK_EQ(amb_netns_enter(a), 0);
	CHECK_EQ(pthread_create(&t, NULL, enter_own, &v), 0);
	pthread_join(t, NULL);
	CHECK_EQ(v.err, 0);
	CHECK_EQ(v.ino, home);
	CHECK_EQ(amb_netns_enter(NULL), 0);
	amb_netns_put(a);
}

TEST(not_a_namespace)
{
	static const struct {
		const char *path;
		int err;
	} rows[] = {
		{ "/proc/self/ns/mnt", EINVAL },
		{ "/proc/self/status", EINVAL },
		{ "/dev/null", EINVAL },
		{ "/nowhere", ENOENT },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CASE(rows[i].path);
		errno = 0;
		CHECK(!amb_netns_open(rows[i].path));
		CHECK_EQ(errno, rows[i].err);
	}
	amb_netns_put(NULL);
}

TEST(same_namespace_is_equal)
{
	struct amb_netns *a = amb_netns_open("/proc/self/ns/net");
	struct amb_netns *b = amb_netns_open("/proc/thread-self/ns/net");

	CHECK(a && b);
	CHECK_EQ(a->ino, b->ino);
	CHECK_EQ(a->dev, b->dev);
	CHECK(amb_netns_get(a) == a);
	amb_netns_put(a);
	CHECK_EQ(a->refs, 1);
	amb_netns_put(a);
	amb_netns_put(b);
}

TEST(socket_options)
{
	static const struct {
		const char *text;
		int family;
		unsigned int flags;
	} rows[] = {
		{ "plain v4", AF_INET, 0 },
		{ "plain v6", AF_INET6, 0 },
		{ "listener v4", AF_INET, AMB_SOCK_LISTENER | AMB_SOCK_TRANSPARENT },
		{ "listener v6", AF_INET6, AMB_SOCK_LISTENER | AMB_SOCK_TRANSPARENT },
		{ "exclusive v4", AF_INET, AMB_SOCK_LISTENER | AMB_SOCK_EXCLUSIVE },
		{ "exclusive v6", AF_INET6, AMB_SOCK_LISTENER | AMB_SOCK_EXCLUSIVE },
		{ "dialled v4", AF_INET, AMB_SOCK_KEEPALIVE | AMB_SOCK_TRANSPARENT },
		{ "dialled v6", AF_INET6, AMB_SOCK_KEEPALIVE | AMB_SOCK_TRANSPARENT },
	};
	struct amb_netns *ns = fresh_ns();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool v6 = rows[i].family == AF_INET6;
		unsigned int flags = rows[i].flags;
		char cc[16] = "";
		socklen_t len = sizeof(cc);
		int fd;

		CASE(rows[i].text);
		fd = amb_netns_socket(ns, rows[i].family, flags);
		CHECK(fd >= 0);
		CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
		CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		CHECK_EQ(get_int(fd, SOL_SOCKET, SO_MARK), AMB_MARK);
		CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_NODELAY), 1);
		CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, cc, &len), 0);
		CHECK_STR(cc, AMB_CONGESTION);
		CHECK_EQ(get_int(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
				 v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT),
			 !!(flags & AMB_SOCK_TRANSPARENT));
		CHECK_EQ(get_int(fd, SOL_SOCKET, SO_REUSEPORT),
			 (flags & (AMB_SOCK_LISTENER | AMB_SOCK_EXCLUSIVE)) == AMB_SOCK_LISTENER);
		CHECK_EQ(get_int(fd, SOL_SOCKET, SO_KEEPALIVE), !!(flags & AMB_SOCK_KEEPALIVE));
		if (flags & AMB_SOCK_KEEPALIVE) {
			CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_KEEPIDLE), 180);
			CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_KEEPINTVL), 180);
			CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_KEEPCNT), 9);
		}
		if (v6 && (flags & AMB_SOCK_LISTENER))
			CHECK_EQ(get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
		close(fd);
	}
	CHECK_EQ(amb_netns_enter(NULL), 0);
	amb_netns_put(ns);
}

TEST(keepalive)
{
	static const struct amb_keepalive defaults = AMB_KEEPALIVE_DEFAULTS;
	static const struct {
		const char *text;
		struct amb_keepalive k;
		int timeout_ms;
	} rows[] = {
		{ "off", { .time_s = 180, .interval_s = 180, .probes = 9 }, 0 },
		{ "other times",
		  { .enabled = true, .time_s = 10, .interval_s = 2, .probes = 5 },
		  0 },
		{ "a timeout of its own",
		  { .enabled = true,
		    .user_timeout = true,
		    .time_s = 10,
		    .interval_s = 2,
		    .probes = 5 },
		  20000 },
		{ "a timeout alone",
		  { .user_timeout = true, .time_s = 180, .interval_s = 180, .probes = 9 },
		  1800000 },
		{ "the largest",
		  { .enabled = true,
		    .user_timeout = true,
		    .time_s = AMB_KEEPALIVE_S_MAX,
		    .interval_s = AMB_KEEPALIVE_S_MAX,
		    .probes = 63 },
		  2097088000 },
	};
	struct amb_netns *ns = fresh_ns();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct amb_keepalive *k = &rows[i].k;
		int fd;

		CASE(rows[i].text);
		amb_netns_set_keepalive(k);
		fd = amb_netns_socket(ns, AF_INET, AMB_SOCK_KEEPALIVE);
		CHECK(fd >= 0);
		CHECK_EQ(get_int(fd, SOL_SOCKET, SO_KEEPALIVE), k->enabled);
		CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), rows[i].timeout_ms);
		if (k->enabled) {
			CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_KEEPIDLE), k->time_s);
			CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_KEEPINTVL), k->interval_s);
			CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_KEEPCNT), k->probes);
		}
		close(fd);
		CASE("others are not probed");
		fd = amb_netns_socket(ns, AF_INET, 0);
		CHECK_EQ(get_int(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
		CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
		close(fd);
	}
	amb_netns_set_keepalive(&defaults);
	CHECK_EQ(amb_netns_enter(NULL), 0);
	amb_netns_put(ns);
}

TEST(another_mark)
{
	struct amb_netns *ns = fresh_ns();
	int fd;

	amb_netns_set_mark(0x1234);
	fd = amb_netns_socket(ns, AF_INET, 0);
	amb_netns_set_mark(AMB_MARK);
	CHECK(fd >= 0);
	CHECK_EQ(get_int(fd, SOL_SOCKET, SO_MARK), 0x1234);
	close(fd);
	CHECK_EQ(amb_netns_enter(NULL), 0);
	amb_netns_put(ns);
}

TEST(binds_a_foreign_address)
{
	struct amb_netns *ns = fresh_ns();
	struct amb_endpoint e;
	struct sockaddr_storage ss;
	socklen_t len;
	int fd;

	static const char *const rows[] = { "192.0.2.7:0", "[2001:db8::7]:0" };

	for (size_t i = 0; i < 2; i++) {
		CASE(rows[i]);
		/* The parser refuses port 0, and rightly so. */
		CHECK_EQ(amb_addr_parse(i ? "2001:db8::7" : "192.0.2.7", &e.addr), 0);
		e.port = 0;
		len = amb_endpoint_to_sockaddr(&e, AF_UNSPEC, &ss);
		CHECK(len);
		fd = amb_netns_socket(ns, ss.ss_family, 0);
		CHECK(fd >= 0);
		CHECK_EQ(bind(fd, (struct sockaddr *)&ss, len), -1);
		close(fd);
		fd = amb_netns_socket(ns, ss.ss_family, AMB_SOCK_TRANSPARENT);
		CHECK(fd >= 0);
		CHECK_EQ(bind(fd, (struct sockaddr *)&ss, len), 0);
		close(fd);
	}
	CHECK_EQ(amb_netns_enter(NULL), 0);
	amb_netns_put(ns);
}

TEST(no_original_destination)
{
	struct amb_endpoint out = { .port = 7 };
	int fd = amb_netns_socket(NULL, AF_INET, 0);

	CHECK(fd >= 0);
	CHECK(amb_netns_original_dst(fd, &out) < 0);
	CHECK_EQ(out.port, 7);
	close(fd);
}

static size_t open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* One descriptor for all questions, that goes with the namespace. */
TEST(sockets_of_others)
{
	struct amb_sockdiag_id id = { .cookie = 1 };
	struct amb_netns *ns = fresh_ns();
	size_t before = open_fds();
	uint64_t out, in;
	ino_t home = where();
	int i;

	CHECK_EQ(amb_addr_parse("127.0.0.1", &id.local.addr), 0);
	id.remote = id.local;
	for (i = 0; i < 3; i++) {
		CHECK_EQ(amb_sockdiag_bytes(ns, &id, false, &out, &in), -ENOENT);
		CHECK_EQ(where(), home);
		CHECK_EQ(open_fds(), before + 1);
	}
	CASE("a descriptor that answers nothing is given up");
	CHECK(dup2(STDOUT_FILENO, ns->diag) == ns->diag);
	CHECK(amb_sockdiag_bytes(ns, &id, false, &out, &in) < 0);
	CHECK_EQ(open_fds(), before);
	CHECK_EQ(amb_sockdiag_bytes(ns, &id, false, &out, &in), -ENOENT);
	amb_netns_put(ns);
	CHECK_EQ(open_fds(), before - 1);
}

int main(void)
{
	return harness_run();
}
