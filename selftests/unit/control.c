// SPDX-License-Identifier: GPL-2.0-or-later
/* The control socket: commands, errors that name the object, rude clients, the file itself. */
#include "admin/commands.h"
#include "admin/control.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char path[108];
static struct amb_loop *loop;
static struct amb_control *control;
static struct amb_admin_ops ops;

static void each_pod(void *ctx, amb_admin_pod_fn *fn, void *arg)
{
	const struct amb_admin_pod p = { "u", "ns", "p", "sa", "/run/netns/p", true, "up", "" };

	(void)ctx;
	fn(arg, &p);
}

static json_t *status(void *ctx)
{
	(void)ctx;
	return json_pack("{s:s}", "node", "n1");
}

static int enroll(void *ctx, const char *pod, const char *netns, char *err, size_t errlen)
{
	(void)ctx;
	if (!strcmp(pod, "ns/p") && !strcmp(netns, "/run/netns/p"))
		return 0;
	if (!strcmp(pod, "ns/q"))
		return -EPERM;
	snprintf(err, errlen, "pod %s: not to be served here", pod);
	return -ENOENT;
}

static int attach(void *ctx, const char *pod, const char *netns, struct amb_admin_attached *out,
		  char *err, size_t errlen)
{
	(void)ctx;
	if (strcmp(netns, "/run/netns/p")) {
		snprintf(err, errlen, "pod %s: %s: no such place", pod, netns);
		return -ENOENT;
	}
	out->wanted = !strcmp(pod, "ns/p");
	out->failed = out->wanted;
	snprintf(out->reason, sizeof(out->reason), "%s", out->wanted ? "tired" : "");
	return 0;
}

static void start(void)
{
	snprintf(path, sizeof(path), "/tmp/ambient-control-test.%d/s", getpid());
	amb_log_set_filter("info,access=warn");
	loop = amb_loop_create();
	ops = (struct amb_admin_ops){
		.loop = loop,
		.version = "v",
		.each_pod = each_pod,
		.status = status,
		.enroll = enroll,
		.attach = attach,
	};
	control = amb_control_create(&ops, path);
	CHECK(control);
}

static void stop(void)
{
	struct stat st;
	char folder[108];

	amb_control_destroy(control);
	CHECK(stat(path, &st) && errno == ENOENT);
	snprintf(folder, sizeof(folder), "/tmp/ambient-control-test.%d", getpid());
	rmdir(folder);
	amb_loop_destroy(loop);
}

static int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = 30 };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	strcpy(a.sun_path, path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return -1;
	}
	return fd;
}

struct exchange {
	const char *request;
	size_t len;
	char reply[65536];
};

static struct amb_work stop_work;

static void stop_loop(struct amb_work *w)
{
	(void)w;
	amb_loop_stop(loop);
}

static void *client(void *arg)
{
	struct exchange *x = arg;
	size_t sent = 0, got = 0;
	int fd = dial();
	ssize_t n;

	while (sent < x->len && (n = send(fd, x->request + sent, x->len - sent, MSG_NOSIGNAL)) > 0)
		sent += n;
	while ((n = recv(fd, x->reply + got, sizeof(x->reply) - 1 - got, 0)) > 0)
		got += n;
	x->reply[got] = 0;
	close(fd);
	amb_loop_post(loop, &stop_work);
	return NULL;
}

static const char *ask(const char *request, size_t len)
{
	static struct exchange x;
	pthread_t thread;

	memset(&x, 0, sizeof(x));
	x.request = request;
	x.len = len;
	stop_work.fn = stop_loop;
	CHECK_EQ(pthread_create(&thread, NULL, client, &x), 0);
	CHECK_EQ(amb_loop_run(loop), 0);
	pthread_join(thread, NULL);
	return x.reply;
}

TEST(answers)
{
	static const struct {
		const char *request, *reply;
	} rows[] = {
		{ "{\"command\":\"status\"}\n",
		  "{\"node\":\"n1\",\"version\":\"v\",\"pods\":[{\"uid\":\"u\",\"namespace\":\"ns\","
		  "\"name\":\"p\",\"serviceAccount\":\"sa\",\"netns\":\"/run/netns/p\",\"up\":true,"
		  "\"state\":\"up\",\"error\":\"\"}]}\n" },
		{ "{\"command\":\"workloads\"}\n", "{\"workloads\":[]}\n" },
		{ "{\"command\":\"connections\"}\n", "{\"connections\":[]}\n" },
		{ "{\"command\":\"dump\"}\n",
		  "{\"workloads\":[],\"services\":[],\"policies\":[],\"stagedServices\":{},"
		  "\"staticConfig\":{},\"version\":{\"version\":\"v\",\"istioVersion\":\"v\","
		  "\"cryptoProvider\":\"wolfssl\"},\"config\":{},\"certificates\":[],"
		  "\"workloadState\":{\"u\":{\"state\":\"Up\",\"connections\":{\"inbound\":[],"
		  "\"outbound\":[]},\"info\":{\"name\":\"p\",\"namespace\":\"ns\","
		  "\"trustDomain\":\"\",\"serviceAccount\":\"sa\"}}}}\n" },
		{ "{\"command\":\"log\"}\n", "{\"filter\":\"info,access=warn\"}\n" },
		{ "{\"command\":\"log\",\"filter\":\"loud\"}\n",
		  "{\"error\":\"log: \\\"loud\\\" is no filter; it is like "
		  "\\\"info,access=off,pool=debug\\\"\"}\n" },
		{ "{\"command\":\"enroll\",\"pod\":\"ns/p\",\"netns\":\"/run/netns/p\"}\n",
		  "{}\n" },
		{ "{\"command\":\"enroll\",\"pod\":\"ns/x\",\"netns\":\"/n\"}\n",
		  "{\"error\":\"enroll: pod ns/x: not to be served here\"}\n" },
		{ "{\"command\":\"enroll\",\"pod\":\"ns/q\",\"netns\":\"/n\"}\n",
		  "{\"error\":\"enroll ns/q: Operation not permitted\"}\n" },
		{ "{\"command\":\"enroll\",\"pod\":\"x\",\"netns\":\"/n\"}\n",
		  "{\"error\":\"enroll: a pod (NAMESPACE/POD) and its netns are needed\"}\n" },
		{ "{\"command\":\"unenroll\",\"pod\":\"ns/p\"}\n",
		  "{\"error\":\"unenroll: not available in this mode\"}\n" },
		{ "{\"command\":\"attach\",\"pod\":\"ns/p\",\"netns\":\"/run/netns/p\"}\n",
		  "{\"wanted\":true,\"up\":false,\"failed\":true,\"reason\":\"tired\"}\n" },
		{ "{\"command\":\"attach\",\"pod\":\"ns/x\",\"netns\":\"/run/netns/p\"}\n",
		  "{\"wanted\":false,\"up\":false,\"failed\":false,\"reason\":\"\"}\n" },
		{ "{\"command\":\"attach\",\"pod\":\"ns/p\",\"netns\":\"/n\"}\n",
		  "{\"error\":\"attach: pod ns/p: /n: no such place\"}\n" },
		{ "{\"command\":\"attach\",\"pod\":\"ns/p\"}\n",
		  "{\"error\":\"attach: a pod (NAMESPACE/POD) and its netns are needed\"}\n" },
		{ "{\"command\":\"detach\",\"pod\":\"ns/p\",\"netns\":\"/n\"}\n",
		  "{\"error\":\"detach: not available in this mode\"}\n" },
		{ "{\"command\":\"dance\"}\n", "{\"error\":\"unknown command \\\"dance\\\"\"}\n" },
		{ "\n", "{\"error\":\"a request is one line of JSON: {\\\"command\\\": ...}\"}\n" },
		{ "[]\n",
		  "{\"error\":\"a request is one line of JSON: {\\\"command\\\": ...}\"}\n" },
		{ "{\"command\":1}\n",
		  "{\"error\":\"a request is one line of JSON: {\\\"command\\\": ...}\"}\n" },
	};
	size_t i;

	start();
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].request);
		CHECK_STR(ask(rows[i].request, strlen(rows[i].request)), rows[i].reply);
	}
	stop();
}

TEST(endless_request_is_cut)
{
	static char request[4 * AMB_CONTROL_REQUEST_MAX];

	start();
	memset(request, ' ', sizeof(request));
	CHECK_STR(ask(request, sizeof(request)), "");
	CHECK(*ask("{\"command\":\"log\"}\n", 18));
	stop();
}

TEST(clients_are_bounded_and_served_in_turn)
{
	int fd[AMB_CONTROL_CLIENTS], i;

	start();
	for (i = 0; i < AMB_CONTROL_CLIENTS; i++)
		CHECK((fd[i] = dial()) >= 0);
	/* Silent clients hold all places; one leaves, and the next is served. */
	close(fd[0]);
	CHECK_STR(ask("{\"command\":\"log\"}\n", 18), "{\"filter\":\"info,access=warn\"}\n");
	for (i = 1; i < AMB_CONTROL_CLIENTS; i++)
		close(fd[i]);
	stop();
}

TEST(the_file)
{
	struct amb_control *second;
	struct stat st;

	start();
	CHECK(!stat(path, &st));
	CHECK(S_ISSOCK(st.st_mode));
	CHECK_EQ(st.st_mode & 07777, 0600);
	amb_log_set_filter("off");
	second = amb_control_create(&ops, path);
	CHECK(!second);
	CHECK_EQ(errno, EADDRINUSE);
	stop();
}

TEST(stale_file_is_replaced)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char folder[108];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(folder, sizeof(folder), "/tmp/ambient-control-test.%d", getpid());
	mkdir(folder, 0755);
	snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/ambient-control-test.%d/s", getpid());
	CHECK(!bind(fd, (struct sockaddr *)&a, sizeof(a)));
	CHECK(!listen(fd, 1));
	close(fd);
	start();
	CHECK(*ask("{\"command\":\"log\"}\n", 18));
	stop();
}

int main(void)
{
	return harness_run();
}
