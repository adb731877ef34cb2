// SPDX-License-Identifier: GPL-2.0-or-later
/* Unix sockets that somebody listens on. */
#include "unix.h"

#include "cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int make_folder(const char *path)
{
	_cleanup_free_ char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!folder)
		return -ENOMEM;
	if (!slash || slash == folder)
		return 0;
	*slash = 0;
	return mkdir(folder, 0755) && errno != EEXIST ? -errno : 0;
}

/* A socket file without a listener is what a killed agent leaves behind. */
static int remove_stale(const struct sockaddr_un *a)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)a, sizeof(*a)) || errno == EAGAIN)
		return -EADDRINUSE;
	if (errno == ECONNREFUSED && unlink(a->sun_path))
		return -errno;
	return 0;
}

int amb_unix_listen(const char *path, mode_t mode, int backlog)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	int err;

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, path);
	err = make_folder(path) ?: remove_stale(&a);
	if (err)
		return err;
	/* Never, not even for a moment, open to others. */
	mask = umask(0777 & ~mode);
	err = bind(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	umask(mask);
	if (!err && listen(fd, backlog))
		err = -errno;
	return err ? err : take_fd(&fd);
}
