// SPDX-License-Identifier: GPL-2.0-or-later
/* What the CNI plugin did, one small file an attachment. */
#include "attachment.h"

#include "base/cleanup.h"
#include "base/util.h"

#include <jansson.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int file_name(char *buf, size_t len, const char *dir, const char *container,
		     const char *ifname)
{
	int n = snprintf(buf, len, "%s/%s-%s.json", dir, container, ifname);

	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

/* The directory and the one it stands in; others have to be there. */
static int make_dir(const char *dir)
{
	_cleanup_free_ char *parent = strdup(dir);
	char *slash;

	if (!parent)
		return -ENOMEM;
	slash = strrchr(parent, '/');
	if (slash && slash != parent) {
		*slash = 0;
		if (mkdir(parent, 0755) && errno != EEXIST)
			return -errno;
	}
	return mkdir(dir, 0700) && errno != EEXIST ? -errno : 0;
}

int amb_attachment_write(const char *dir, const struct amb_attachment *a)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	json_t *o;
	int err;

	err = file_name(path, sizeof(path), dir, a->container, a->ifname) ?: make_dir(dir);
	if (err)
		return err;
	o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "network", a->network, "container", a->container,
		      "ifname", a->ifname, "pod", a->pod, "netns", a->netns);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (!text)
		return -EINVAL; /* not UTF-8, or no memory */
	return amb_util_write_file(path, text, strlen(text), 0600);
}

int amb_attachment_remove(const char *dir, const char *container, const char *ifname)
{
	char path[PATH_MAX];
	int err = file_name(path, sizeof(path), dir, container, ifname);

	if (err)
		return err;
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

static bool read_one(const char *path, bool (*fn)(void *, const struct amb_attachment *), void *ctx)
{
	_cleanup_free_ char *text = NULL;
	struct amb_attachment a;
	bool go_on = true;
	json_t *o;

	if (amb_util_read_file(path, AMB_ATTACHMENT_BYTES, &text) < 0)
		return true;
	o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (!json_unpack(o, "{s:s, s:s, s:s, s:s, s:s}", "network", &a.network, "container",
			 &a.container, "ifname", &a.ifname, "pod", &a.pod, "netns", &a.netns))
		go_on = fn(ctx, &a);
	json_decref(o);
	return go_on;
}

int amb_attachment_each(const char *dir, bool (*fn)(void *ctx, const struct amb_attachment *a),
			void *ctx)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	char path[PATH_MAX];

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		const char *end = strrchr(e->d_name, '.');

		if (!end || strcmp(end, ".json") || *e->d_name == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (!read_one(path, fn, ctx))
			break;
	}
	closedir(d);
	return 0;
}
