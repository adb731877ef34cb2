// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The CNI plugin as a runtime sees it: environment and configuration in, result or error out;
 * with an agent of this file where one is asked. And what the plugin and the agent remember.
 */
#include "harness.h"

#include "base/cleanup.h"
#include "base/util.h"
#include "cni/attachment.h"
#include "cni/plugin.h"
#include "places.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[64];

/* An agent that answers each question with the next of these lines, and notes the questions. */
static struct {
	pthread_t thread;
	int listener;
	const char *answers; /* lines; an empty one is a question without an answer */
	bool forever; /* begins again behind the last one */
	useconds_t slow; /* before the first one */
	char heard[4096];
} agent;

static void *answer_all(void *arg)
{
	const char *line = agent.answers;
	char nothing;
	int fd;

	(void)arg;
	while (*line && (fd = accept(agent.listener, NULL, NULL)) >= 0) {
		size_t n = strcspn(line, "\n"), at = agent.forever ? 0 : strlen(agent.heard);
		ssize_t got = recv(fd, agent.heard + at, sizeof(agent.heard) - at - 1, 0);

		agent.heard[at + (got > 0 ? got : 0)] = 0;
		usleep(agent.slow);
		agent.slow = 0;
		/* Without an answer, until the other side has had enough. */
		if (n ? send(fd, line, n, MSG_NOSIGNAL) != (ssize_t)n : recv(fd, &nothing, 1, 0))
			break;
		close(fd);
		line += n + (line[n] == '\n');
		if (!*line && agent.forever)
			line = agent.answers;
	}
	close(agent.listener);
	return NULL;
}

static void agent_start(const char *answers)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	agent.answers = answers;
	agent.heard[0] = 0;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/s", dir);
	agent.listener = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(!bind(agent.listener, (struct sockaddr *)&a, sizeof(a)));
	CHECK(!listen(agent.listener, 16));
	CHECK(!pthread_create(&agent.thread, NULL, answer_all, NULL));
}

/* All of its answers have to be asked for. */
static void agent_stop(void)
{
	char path[80];

	if (agent.forever)
		shutdown(agent.listener, SHUT_RDWR);
	pthread_join(agent.thread, NULL);
	agent.forever = false;
	snprintf(path, sizeof(path), "%s/s", dir);
	unlink(path);
}

static void start(void)
{
	strcpy(dir, "/tmp/ambient-cni-test.XXXXXX");
	CHECK(mkdtemp(dir));
}

static bool remove_it(void *ctx, const struct amb_attachment *a)
{
	amb_attachment_remove(ctx, a->container, a->ifname);
	return true;
}

static void stop(void)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/att", dir);
	amb_attachment_each(path, remove_it, path);
	rmdir(path);
	CHECK(!rmdir(dir));
}

/* What the plugin says to "COMMAND args" and @conf, DIR being our directory. */
static const char *run(const char *command, const char *args, const char *conf, int *status)
{
	static char out[8192];
	const struct amb_call_env env = {
		.command = command,
		.container = "c1",
		.netns = "/run/netns/x",
		.ifname = "eth0",
		.args = args,
	};
	char in[8192];
	FILE *i, *o;

	out[0] = 0;
	snprintf(in, sizeof(in), "{\"socket\":\"%s/s\",\"attachmentDir\":\"%s/att\",%s}", dir, dir,
		 conf);
	i = fmemopen(in, strlen(in), "r");
	o = fmemopen(out, sizeof(out), "w");
	CHECK(i && o);
	*status = amb_plugin_run(&env, i, o);
	fclose(i);
	fclose(o);
	out[strcspn(out, "\n")] = 0;
	return out;
}

static bool count(void *ctx, const struct amb_attachment *a)
{
	(void)a;
	++*(int *)ctx;
	return true;
}

static int attachments(void)
{
	char path[80];
	int n = 0;

	snprintf(path, sizeof(path), "%s/att", dir);
	CHECK_EQ(amb_attachment_each(path, count, &n), 0);
	return n;
}

#define POD "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=web"
#define V11 "\"cniVersion\":\"1.1.0\",\"name\":\"net\""
#define CHAINED                                                                                    \
	V11 ",\"prevResult\":{\"cniVersion\":\"1.1.0\",\"ips\":[{\"address\":\"10.0.0.2/24\"}]}"
#define PREV "{\"cniVersion\":\"1.1.0\",\"ips\":[{\"address\":\"10.0.0.2/24\"}]}"
#define FAIL(code, text) "{\"cniVersion\":\"1.1.0\",\"code\":" #code ",\"msg\":\"" text "\"}"
#define ASKED "{\"command\":\"attach\",\"pod\":\"demo/web\",\"netns\":\"/run/netns/x\"}\n"
#define FORGET "{\"command\":\"detach\",\"pod\":\"demo/web\",\"netns\":\"/run/netns/x\"}\n"
#define UP "{\"wanted\":true,\"up\":true,\"failed\":false,\"reason\":\"\"}"
#define LATER "{\"wanted\":true,\"up\":false,\"failed\":false,\"reason\":\"\"}"
#define UNWANTED "{\"wanted\":false,\"up\":false,\"failed\":false,\"reason\":\"\"}"

static const struct row {
	const char *what, *command, *args, *conf;
	const char *answers; /* of the agent; NULL: there is none */
	const char *heard, *out;
	int status, left; /* attachments afterwards */
} rows[] = {
	{ "ADD of a pod of the mesh", "ADD", POD, CHAINED, UP, ASKED, PREV, 0, 1 },
	{ "ADD waits until it is up", "ADD", POD, CHAINED, LATER "\n" LATER "\n" UP,
	  ASKED ASKED ASKED, PREV, 0, 1 },
	{ "ADD of a pod that is not wanted", "ADD", POD, CHAINED, UNWANTED, ASKED, PREV, 0, 1 },
	{ "ADD without a pod's name", "ADD", "IgnoreUnknown=1", CHAINED, NULL, "", PREV, 0, 0 },
	{ "ADD by a runtime that knows no namespaces", "ADD", "K8S_POD_NAME=web",
	  CHAINED ",\"namespace\":\"demo\"", UP, ASKED, PREV, 0, 1 },
	{ "ADD in the default namespace", "ADD", "K8S_POD_NAME=web", CHAINED, UP,
	  "{\"command\":\"attach\",\"pod\":\"default/web\",\"netns\":\"/run/netns/x\"}\n", PREV, 0,
	  1 },
	{ "ADD without arguments", "ADD", NULL, CHAINED, NULL, "", PREV, 0, 0 },
	{ "ADD of an excluded namespace", "ADD", POD,
	  CHAINED ",\"excludeNamespaces\":[\"dem\",\"demo\"]", NULL, "", PREV, 0, 0 },
	{ "ADD: a namespace that only begins so", "ADD", POD,
	  CHAINED ",\"excludeNamespaces\":[\"dem\",\"demon\"]", UP, ASKED, PREV, 0, 1 },
	{ "ADD that fails", "ADD", POD, CHAINED,
	  "{\"wanted\":true,\"up\":false,\"failed\":true,\"reason\":\"listeners: in use\"}\n{}",
	  ASKED FORGET, FAIL(11, "pod demo/web cannot join the mesh: listeners: in use"), 1, 0 },
	{ "ADD that the agent refuses", "ADD", POD, CHAINED, "{\"error\":\"attach: no\"}\n{}",
	  ASKED FORGET, FAIL(100, "ambientd: attach: no"), 1, 0 },
	{ "a time limit that is none", "ADD", POD, CHAINED ",\"timeoutSeconds\":0", NULL, "",
	  FAIL(7, "timeoutSeconds has to be 1 to 3600"), 1, 0 },
	{ "ADD that is not chained", "ADD", POD, V11, NULL, "",
	  FAIL(7, "no prevResult: this plugin is chained behind one that makes the interface"), 1,
	  0 },
	{ "ADD with odd arguments", "ADD", "a", CHAINED, NULL, "",
	  FAIL(4, "CNI_ARGS: \\\"a\\\" is not KEY=VALUE"), 1, 0 },
	{ "ADD with names that are none", "ADD", "K8S_POD_NAMESPACE=a/b;K8S_POD_NAME=c", CHAINED,
	  NULL, "", FAIL(4, "CNI_ARGS: \\\"a/b\\\", \\\"c\\\" are no names"), 1, 0 },
	{ "ADD of an old version", "ADD", NULL,
	  "\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"prevResult\":{\"dns\":{}}", NULL, "",
	  "{\"dns\":{},\"cniVersion\":\"0.3.1\"}", 0, 0 },
	{ "a version too old", "ADD", POD, "\"cniVersion\":\"0.2.0\"", NULL, "",
	  FAIL(1, "cniVersion 0.2.0 is not spoken here, 0.3.0 to 1.1.0 are"), 1, 0 },
	{ "a setting that is none", "ADD", POD, CHAINED ",\"attachmentDir\":1", NULL, "",
	  FAIL(7, "attachmentDir has to be a text"), 1, 0 },
	{ "a list that is none", "ADD", POD, CHAINED ",\"excludeNamespaces\":[1]", NULL, "",
	  FAIL(7, "excludeNamespaces has to be a list of names"), 1, 0 },
	{ "no JSON", "ADD", POD, "x", NULL, "",
	  FAIL(6, "the configuration is no JSON object: string or '}' expected near 'x'"), 1, 0 },
	{ "DEL of what was never added", "DEL", POD, V11, NULL, "", "", 0, 0 },
	{ "GC without a list", "GC", NULL, V11, NULL, "",
	  FAIL(7, "GC without a list cni.dev/valid-attachments"), 1, 0 },
	{ "GC of nothing", "GC", NULL, V11 ",\"cni.dev/valid-attachments\":[]", NULL, "", "", 0,
	  0 },
	{ "CHECK of what was never added", "CHECK", POD, CHAINED, NULL, "",
	  FAIL(3, "container c1 was never added"), 1, 0 },
	{ "CHECK without a pod's name", "CHECK", NULL, CHAINED, NULL, "", "", 0, 0 },
	{ "STATUS", "STATUS", NULL, V11, "{\"pods\":[]}", "{\"command\":\"status\"}\n", "", 0, 0 },
	{ "VERSION", "VERSION", NULL, V11, NULL, "",
	  "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\","
	  "\"1.0.0\",\"1.1.0\"]}",
	  0, 0 },
	{ "no such command", "DANCE", NULL, V11, NULL, "",
	  FAIL(4, "CNI_COMMAND: \\\"DANCE\\\" is no command"), 1, 0 },
	{ "no command", NULL, NULL, V11, NULL, "",
	  FAIL(4, "CNI_COMMAND is missing: a container runtime calls this"), 1, 0 },
};

TEST(calls)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		int status;

		CASE(rows[i].what);
		start();
		if (rows[i].answers)
			agent_start(rows[i].answers);
		CHECK_STR(run(rows[i].command, rows[i].args, rows[i].conf, &status), rows[i].out);
		CHECK_EQ(status, rows[i].status);
		if (rows[i].answers) {
			agent_stop();
			CHECK_STR(agent.heard, rows[i].heard);
		}
		CHECK_EQ(attachments(), rows[i].left);
		stop();
	}
}

TEST(without_an_agent)
{
	int status;

	start();
	CHECK(strstr(run("ADD", POD, CHAINED, &status),
		     "\"code\":11,\"msg\":\"ambientd does not answer: /tmp/"));
	CHECK_EQ(status, 1);
	CHECK_EQ(attachments(), 0);
	CHECK(strstr(run("STATUS", NULL, V11, &status), "\"code\":50,"));
	CHECK_EQ(status, 1);
	stop();
}

TEST(too_long)
{
	int status;

	start();
	/* One second of a pod that does not come up: nobody counts the questions. */
	agent.forever = true;
	agent_start(LATER);
	CHECK(strstr(run("ADD", POD, CHAINED ",\"timeoutSeconds\":1", &status), "\"code\":11"));
	CHECK_EQ(status, 1);
	agent_stop();
	CHECK_EQ(attachments(), 0);
	stop();
}

/* Of the time there is, not that much for each question. */
TEST(hangs_late)
{
	uint64_t before;
	int status;

	start();
	agent.slow = 2500000;
	agent_start(LATER "\n\n{}");
	before = amb_util_now_ns();
	CHECK_STR(run("ADD", POD, CHAINED ",\"timeoutSeconds\":3", &status),
		  FAIL(11, "pod demo/web does not join the mesh within 3 s"));
	CHECK_EQ(status, 1);
	CHECK((amb_util_now_ns() - before) / 1000000 < 5000);
	agent_stop();
	CHECK_STR(agent.heard, ASKED ASKED FORGET);
	CHECK_EQ(attachments(), 0);
	stop();
}

TEST(a_life)
{
	int status;

	start();
	agent_start(UP);
	CHECK_STR(run("ADD", POD, CHAINED, &status), PREV);
	agent_stop();
	agent_start(UP);
	CASE("ADD again");
	CHECK_STR(run("ADD", POD, CHAINED, &status), PREV);
	agent_stop();
	CHECK_EQ(attachments(), 1);
	CASE("CHECK of a pod that is up");
	agent_start("{\"pods\":[{\"namespace\":\"dem\",\"name\":\"o/web\",\"state\":\"x\"},"
		    "{\"namespace\":\"demo\",\"name\":\"web\",\"up\":true,\"state\":\"up\"}]}");
	CHECK_STR(run("CHECK", POD, CHAINED, &status), "");
	CHECK_EQ(status, 0);
	agent_stop();
	CASE("CHECK of a pod that is not");
	agent_start("{\"pods\":[{\"namespace\":\"demo\",\"name\":\"web\",\"up\":false,"
		    "\"state\":\"failed\"}]}");
	CHECK_STR(run("CHECK", POD, CHAINED, &status),
		  FAIL(101, "pod demo/web is not in the mesh: failed"));
	agent_stop();
	CASE("CHECK of a pod that nobody wants");
	agent_start("{\"pods\":[]}");
	CHECK_STR(run("CHECK", POD, CHAINED, &status), "");
	agent_stop();
	CASE("GC that knows it");
	CHECK_STR(run("GC", NULL,
		      V11 ",\"cni.dev/valid-attachments\":[{\"containerID\":\"c1\","
			  "\"ifname\":\"eth0\"}]",
		      &status),
		  "");
	CHECK_EQ(attachments(), 1);
	CASE("GC of another network");
	CHECK_STR(run("GC", NULL,
		      "\"cniVersion\":\"1.1.0\",\"name\":\"x\",\"cni.dev/valid-attachments\":[]",
		      &status),
		  "");
	CHECK_EQ(attachments(), 1);
	CASE("GC that does not");
	agent_start("{}");
	CHECK_STR(run("GC", NULL, V11 ",\"cni.dev/valid-attachments\":[]", &status), "");
	CHECK_EQ(status, 0);
	agent_stop();
	CHECK_STR(agent.heard, FORGET);
	CHECK_EQ(attachments(), 0);
	CASE("DEL without an agent");
	agent_start(UP);
	CHECK_STR(run("ADD", POD, CHAINED, &status), PREV);
	agent_stop();
	CHECK_STR(run("DEL", POD, V11, &status), "");
	CHECK_EQ(status, 0);
	CHECK_EQ(attachments(), 0);
	stop();
}

/* One that hangs is not waited for once more for each of them. */
TEST(gc_of_many_while_it_hangs)
{
	const struct amb_attachment a = { "net", "c1", "eth0", "demo/web", "/run/netns/x" };
	struct amb_attachment b;
	char path[80], name[8];
	uint64_t before;
	int status, i;

	start();
	snprintf(path, sizeof(path), "%s/att", dir);
	for (i = 0; i < 4; i++) {
		b = a;
		snprintf(name, sizeof(name), "c%d", i);
		b.container = name;
		CHECK_EQ(amb_attachment_write(path, &b), 0);
	}
	agent.forever = true;
	agent_start("\n");
	before = amb_util_now_ns();
	CHECK_STR(run("GC", NULL, V11 ",\"cni.dev/valid-attachments\":[]", &status), "");
	CHECK_EQ(status, 0);
	/* 2 s once. */
	CHECK((amb_util_now_ns() - before) / 1000000 < 4000);
	agent_stop();
	CHECK_EQ(attachments(), 0);
	stop();
}

/* Whatever the runtime calls a container, it stays inside of the directory. */
TEST(names)
{
	static const struct {
		const char *container, *ifname, *netns;
		const char *msg;
	} rows[] = {
		{ NULL, "eth0", "/n", "CNI_CONTAINERID is missing or no name" },
		{ "", "eth0", "/n", "CNI_CONTAINERID is missing or no name" },
		{ "../x", "eth0", "/n", "CNI_CONTAINERID is missing or no name" },
		{ "a/b", "eth0", "/n", "CNI_CONTAINERID is missing or no name" },
		{ "a", NULL, "/n", "CNI_IFNAME is missing or no interface's name" },
		{ "a", "..", "/n", "CNI_IFNAME is missing or no interface's name" },
		{ "a", "eth/0", "/n", "CNI_IFNAME is missing or no interface's name" },
		{ "a", "a-name-too-long1", "/n", "CNI_IFNAME is missing or no interface's name" },
		{ "a", "eth0", NULL, "CNI_NETNS is missing" },
		{ "a", "eth0", "", "CNI_NETNS is missing" },
	};
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		const struct amb_call_env env = { "ADD", rows[i].container, rows[i].netns,
						  rows[i].ifname, POD };
		char in[] = "{" CHAINED "}";
		_cleanup_file_ FILE *f = fmemopen(in, strlen(in), "r");
		struct amb_call c;

		CASE(rows[i].msg);
		CHECK(!amb_call_init(&c, &env, f));
		CHECK_EQ(c.code, AMB_CALL_ENV);
		CHECK_STR(c.msg, rows[i].msg);
		amb_call_uninit(&c);
	}
}

/* What is none of ours is left alone. */
TEST(strange_files)
{
	static const char *const texts[] = {
		"", "x", "[]", "{}", "{\"pod\":1}", "{\"network\":\"n\",\"container\":\"c\"}"
	};
	const struct amb_attachment good = { "n", "c", "i", "a/b", "/x" };
	char path[128], att[80];
	size_t i;

	start();
	snprintf(att, sizeof(att), "%s/att", dir);
	CHECK_EQ(amb_attachment_write(att, &good), 0);
	for (i = 0; i < AMB_ARRAY_SIZE(texts); i++) {
		snprintf(path, sizeof(path), "%s/%zu.json", att, i);
		CHECK_EQ(amb_util_write_file(path, texts[i], strlen(texts[i]), 0600), 0);
	}
	CHECK_EQ(attachments(), 1);
	for (i = 0; i < AMB_ARRAY_SIZE(texts); i++) {
		snprintf(path, sizeof(path), "%s/%zu.json", att, i);
		CHECK(!unlink(path));
	}
	stop();
}

TEST(places)
{
	struct amb_places p = { 0 };
	char name[32];
	int i;

	CHECK(!amb_places_get(&p, "a/b"));
	CHECK_EQ(amb_places_set(&p, "a/b", "/1"), 0);
	CHECK_EQ(amb_places_set(&p, "a/c", "/2"), 0);
	CHECK_STR(amb_places_get(&p, "a/b"), "/1");
	CHECK_EQ(amb_places_set(&p, "a/b", "/3"), 0);
	CHECK_STR(amb_places_get(&p, "a/b"), "/3");
	CHECK_EQ(p.n, 2);
	/* A late word about the pod's predecessor. */
	amb_places_drop(&p, "a/b", "/1");
	CHECK_STR(amb_places_get(&p, "a/b"), "/3");
	amb_places_drop(&p, "a/b", "/3");
	CHECK(!amb_places_get(&p, "a/b"));
	CHECK_STR(amb_places_get(&p, "a/c"), "/2");
	for (i = 0; i < AMB_PLACES_MAX - 1; i++) {
		snprintf(name, sizeof(name), "n/%d", i);
		CHECK_EQ(amb_places_set(&p, name, "/"), 0);
	}
	CHECK_EQ(amb_places_set(&p, "one/more", "/"), -ENOSPC);
	CHECK_EQ(amb_places_set(&p, "a/c", "/4"), 0);
	amb_places_uninit(&p);
	CHECK_EQ(p.n, 0);
}

int main(void)
{
	return harness_run();
}
