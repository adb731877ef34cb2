// SPDX-License-Identifier: GPL-2.0-or-later
/* One question to the agent over its control socket. */
#include "ask.h"

#include "base/cleanup.h"
#include "base/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int dial(const char *path, uint64_t ns)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const uint64_t us = AMB_MAX(ns / 1000, (uint64_t)1); /* 0 would be no limit */
	const struct timeval limit = { .tv_sec = us / 1000000, .tv_usec = us % 1000000 };

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	return take_fd(&fd);
}

static int send_line(int fd, const json_t *request)
{
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
	size_t len, at = 0;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	text[len++] = '\n'; /* in place of the NUL */
	while (at < len) {
		ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? n : 0;
	}
	return 0;
}

static size_t receive(void *buf, size_t len, void *arg)
{
	ssize_t n;

	do {
		n = recv(*(int *)arg, buf, len, 0);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? (size_t)-1 : (size_t)n;
}

static const char *hint(int err)
{
	if (err == ENOENT || err == ECONNREFUSED)
		return " (is ambientd running?)";
	return err == EACCES ? " (are you root?)" : "";
}

int amb_ask(const char *socket, uint64_t ns, json_t *request, json_t **reply, char *err,
	    size_t errlen)
{
	_cleanup_fd_ int fd = dial(socket, ns);
	const char *refused;
	json_error_t why;
	json_t *o;
	int ret;

	ret = fd < 0 ? fd : request ? send_line(fd, request) : -ENOMEM;
	json_decref(request);
	if (ret) {
		snprintf(err, errlen, "%s: %s%s", socket, strerror(-ret), hint(-ret));
		return ret;
	}
	o = json_load_callback(receive, &fd, JSON_DISABLE_EOF_CHECK, &why);
	if (!o) {
		snprintf(err, errlen, "%s: the answer cannot be read: %s", socket, why.text);
		return -EBADMSG;
	}
	if (json_object_get(o, "error")) {
		refused = json_string_value(json_object_get(o, "error"));
		snprintf(err, errlen, "%s", refused ? refused : "");
		json_decref(o);
		return -EREMOTE;
	}
	*reply = o;
	return 0;
}
