// SPDX-License-Identifier: GPL-2.0-or-later
/* The ProxyConfig of a mesh, as far as ztunnel reads it. */
#include "pconf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "control/manifest.h"
#include "control/manifest_decode.h"

#define META "ISTIO_META_"

struct reading {
	struct amb_decode d;
	struct amb_arena arena;
	struct amb_pconf *p;
	char *why; /* of the first error; empty: none yet */
	size_t room;
};

static void __attribute__((noreturn)) refuse(const char *text)
{
	fprintf(stderr, "ambientd: %s\n", text);
	exit(EX_USAGE);
}

static void report(void *ctx, const struct amb_manifest_problem *p)
{
	struct reading *r = ctx;

	if (p->error && !*r->why)
		amb_manifest_format(p, r->why, r->room);
}

/* Not over what is there: whoever was read first wins. */
static void put_env(struct amb_decode *d, const struct amb_yaml *at, const char *name,
		    const char *value)
{
	if (setenv(name, value, 0))
		amb_decode_error(d, at, "%s", strerror(errno));
}

static void metadata(struct amb_decode *d, const struct amb_yaml *map)
{
	const struct amb_yaml *v = amb_decode_enter(d, map, "proxyMetadata", AMB_YAML_MAP);
	uint32_t i;

	for (i = 0; v && i < v->n; i++) {
		const char *key = v->pairs[i].key->text, *value = NULL;
		char name[256];

		amb_decode_peek(d, v, key, &value);
		snprintf(name, sizeof(name), "%s%.200s",
			 strncmp(key, META, strlen(META)) ? META : "", key);
		if (value)
			put_env(d, v->pairs[i].value, name, value);
	}
	if (v)
		amb_decode_leave(d);
}

static void port(struct amb_decode *d, const struct amb_yaml *map, const char *key, uint16_t *to)
{
	int64_t v = 0;

	amb_decode_int(d, map, key, 1, 65535, &v);
	if (!*to)
		*to = v;
}

static void proxy_config(struct reading *r, const struct amb_yaml *map)
{
	const char *address = NULL;
	int64_t concurrency = -1;

	amb_decode_peek(&r->d, map, "discoveryAddress", &address);
	if (address)
		put_env(&r->d, map, "XDS_ADDRESS", address);
	port(&r->d, map, "proxyAdminPort", &r->p->admin_port);
	port(&r->d, map, "statsPort", &r->p->stats_port);
	amb_decode_int(&r->d, map, "concurrency", 0, UINT16_MAX, &concurrency);
	if (r->p->concurrency < 0)
		r->p->concurrency = concurrency;
	metadata(&r->d, map);
}

static void mesh_config(struct reading *r, const struct amb_yaml *map)
{
	const struct amb_yaml *v = amb_decode_enter(&r->d, map, "defaultConfig", AMB_YAML_MAP);

	if (!v)
		return;
	proxy_config(r, v);
	amb_decode_leave(&r->d);
}

/* The one document of @fd or @text; nothing at all is fine. Else @why is not empty. */
static void read_one(struct amb_pconf *p, const char *name, int fd, const char *text,
		     void (*use)(struct reading *r, const struct amb_yaml *map), char *why,
		     size_t room)
{
	struct amb_yaml_reader *y = amb_yaml_open(fd, text, text ? strlen(text) : 0);
	struct reading r = { .p = p, .why = why, .room = room };
	const struct amb_yaml *map;
	const char *kind;
	uint32_t line;
	int ret;

	*why = 0;
	if (!y) {
		snprintf(why, room, "out of memory");
		return;
	}
	r.d = (struct amb_decode){
		.arena = &r.arena,
		.temp = &r.arena,
		.file = name,
		.object = "",
		.report = report,
		.ctx = &r,
	};
	ret = amb_yaml_next(y, &map, &kind);
	if (ret > 0)
		use(&r, map);
	if (ret < 0)
		snprintf(why, room, "%s: %.200s", name, amb_yaml_problem(y, &line));
	amb_yaml_close(y);
	amb_arena_free(&r.arena);
}

int amb_pconf_text(struct amb_pconf *p, const char *text, char *why, size_t room)
{
	read_one(p, "PROXY_CONFIG", -1, text, proxy_config, why, room);
	return *why ? -EINVAL : 0;
}

void amb_pconf_read(struct amb_pconf *p)
{
	const char *text = getenv("PROXY_CONFIG");
	_cleanup_fd_ int fd = open(AMB_PCONF_MESH, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 ? errno : 0;
	char why[AMB_MANIFEST_TEXT_MAX] = "";

	*p = (struct amb_pconf){ .concurrency = -1 };
	if (text && *text && amb_pconf_text(p, text, why, sizeof(why)))
		refuse(why);
	if (!err)
		read_one(p, AMB_PCONF_MESH, fd, NULL, mesh_config, why, sizeof(why));
	else if (err != ENOENT && err != ENOTDIR)
		snprintf(why, sizeof(why), "%s: %s", AMB_PCONF_MESH, strerror(err));
	if (*why)
		refuse(why);
}
