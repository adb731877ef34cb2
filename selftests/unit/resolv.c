// SPDX-License-Identifier: GPL-2.0-or-later
/* The resolv.conf of a pod by the place of its network namespace. */
#include "harness.h"

#include "resolv.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[] = "/tmp/amb-resolv.XXXXXX";
static char netns[64];
static pid_t child;

static void put(const char *name, const char *text)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* A process whose root is a directory of ours, as a container's is. */
static void set_up(void)
{
	char path[512], byte;
	int fds[2];

	CHECK(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/etc", root);
	CHECK_EQ(mkdir(path, 0755), 0);
	CHECK_EQ(pipe(fds), 0);
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		if (chroot(root) || write(fds[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(fds[1]);
	CHECK_EQ(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	snprintf(netns, sizeof(netns), "/proc/%d/ns/net", child);
}

static void tear_down(void)
{
	static const char *const names[] = { "etc/resolv.conf", "etc", "run/resolv.conf", "run",
					     "" };
	char path[512];
	size_t i;

	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, names[i]);
		remove(path);
	}
}

static void is(const char *path, const char *expect)
{
	char *got = amb_resolv_search(path);

	if (expect)
		CHECK_STR(got, expect);
	else
		CHECK(!got);
	free(got);
}

TEST(of_a_process)
{
	char path[512];

	if (geteuid()) {
		printf("# not root, so not looked at\n");
		return;
	}
	set_up();
	CASE("none");
	is(netns, NULL);
	CASE("plain");
	put("etc/resolv.conf", "nameserver 10.0.0.1\nsearch A.example b.example\n");
	is(netns, "a.example b.example");
	CASE("without search");
	put("etc/resolv.conf", "nameserver 10.0.0.1\n");
	is(netns, "");
	CASE("a link within");
	snprintf(path, sizeof(path), "%s/run", root);
	CHECK_EQ(mkdir(path, 0755), 0);
	put("run/resolv.conf", "search linked.example\n");
	snprintf(path, sizeof(path), "%s/etc/resolv.conf", root);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(symlink("/run/resolv.conf", path), 0);
	is(netns, "linked.example");
	CASE("a link out of it leads nowhere");
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(symlink("../../../../../../etc/passwd", path), 0);
	is(netns, NULL);
	CASE("a pipe does not hold the agent up");
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(mkfifo(path, 0644), 0);
	is(netns, NULL);
	CASE("a directory");
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(mkdir(path, 0755), 0);
	is(netns, NULL);
	tear_down();
}

TEST(other_places)
{
	is("/proc/0/ns/net", NULL);
	is("/proc/-1/ns/net", NULL);
	is("/proc/1/ns/net/x", NULL);
	is("/proc/1/ns/mnt", NULL);
	is("/run/netns/amb-there-is-no-such", NULL);
	is("/run/netns/../../etc", NULL);
	is("/var/run/netns/amb-there-is-no-such", NULL);
	is("/etc/resolv.conf", NULL);
	is("", NULL);
}

int main(void)
{
	return harness_run();
}
