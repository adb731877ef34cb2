// SPDX-License-Identifier: GPL-2.0-or-later
/* Asking the agent over its control socket. */
#include "ctl.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ANSWER_SECONDS 60 /* without a byte from the agent */

void ctl_error(const char *fmt, ...)
{
	va_list ap;

	fputs("ambientctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

const char *ctl_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

int ctl_print_json(const json_t *value)
{
	if (json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY) || putchar('\n') == EOF ||
	    fflush(stdout)) {
		ctl_error("cannot write: %s", strerror(errno));
		return CTL_BROKEN;
	}
	return CTL_OK;
}

static int dial(const char *path)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = ANSWER_SECONDS };

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

int ctl_ask(const struct ctl *ctl, json_t *request, json_t **reply)
{
	_cleanup_fd_ int fd = dial(ctl->socket);
	json_error_t why;
	json_t *o;
	int err;

	err = fd < 0 ? fd : request ? send_line(fd, request) : -ENOMEM;
	json_decref(request);
	if (err) {
		ctl_error("%s: %s%s", ctl->socket, strerror(-err), hint(-err));
		return CTL_UNREACHABLE;
	}
	o = json_load_callback(receive, &fd, JSON_DISABLE_EOF_CHECK, &why);
	if (!o) {
		ctl_error("%s: the answer cannot be read: %s", ctl->socket, why.text);
		return CTL_BROKEN;
	}
	if (json_object_get(o, "error")) {
		ctl_error("%s", ctl_text(o, "error"));
		json_decref(o);
		return CTL_REFUSED;
	}
	*reply = o;
	return CTL_OK;
}
