// SPDX-License-Identifier: GPL-2.0-or-later
/* What manifests are compiled to: YAML in, resources as one line of text each out. */
#include "harness.h"

#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/manifest_compile.h"
#include "control/manifest_set.h"

/* A message as "{field:value ...}", fields with their default left out. */
static void show(FILE *f, const ProtobufCMessage *m);

static void show_value(FILE *f, const ProtobufCFieldDescriptor *fd, const void *at)
{
	const ProtobufCBinaryData *bytes = at;
	struct amb_addr addr;
	char text[AMB_ADDR_STRLEN];

	switch (fd->type) {
	case PROTOBUF_C_TYPE_STRING:
		fprintf(f, "%s", *(char *const *)at ? *(char *const *)at : "");
		break;
	case PROTOBUF_C_TYPE_BYTES:
		if (!amb_addr_from_bytes(bytes->data, bytes->len, &addr))
			fprintf(f, "%s", amb_addr_format(&addr, text));
		break;
	case PROTOBUF_C_TYPE_BOOL:
		fprintf(f, "%s", *(const protobuf_c_boolean *)at ? "true" : "false");
		break;
	case PROTOBUF_C_TYPE_ENUM:
		fprintf(f, "%s",
			protobuf_c_enum_descriptor_get_value(fd->descriptor, *(const int *)at)
				->name);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		show(f, *(const ProtobufCMessage *const *)at);
		break;
	default:
		fprintf(f, "%u", *(const uint32_t *)at);
		break;
	}
}

static size_t value_size(const ProtobufCFieldDescriptor *fd)
{
	switch (fd->type) {
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	default:
		return 4;
	}
}

static bool is_default(const ProtobufCFieldDescriptor *fd, const void *at)
{
	switch (fd->type) {
	case PROTOBUF_C_TYPE_STRING:
		return !*(char *const *)at || !**(char *const *)at;
	case PROTOBUF_C_TYPE_BYTES:
		return !((const ProtobufCBinaryData *)at)->len;
	case PROTOBUF_C_TYPE_MESSAGE:
		return !*(void *const *)at;
	default:
		return !*(const uint32_t *)at;
	}
}

/* Fields of workloads that are alike in all of these tests; checked apart. */
static bool is_noise(const ProtobufCFieldDescriptor *fd)
{
	return !strcmp(fd->name, "uid") || !strcmp(fd->name, "cluster_id") ||
	       !strcmp(fd->name, "workload_type");
}

static void show(FILE *f, const ProtobufCMessage *m)
{
	const char *sep = "";
	unsigned int i;
	size_t j;

	fputc('{', f);
	for (i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *fd = &m->descriptor->fields[i];
		const char *at = (const char *)m + fd->offset;

		if (fd->label == PROTOBUF_C_LABEL_REPEATED) {
			size_t n = *(const size_t *)((const char *)m + fd->quantifier_offset);
			const char *list = *(const char *const *)at;

			if (!n)
				continue;
			fprintf(f, "%s%s:[", sep, fd->name);
			for (j = 0; j < n; j++) {
				fputs(j ? " " : "", f);
				show_value(f, fd, list + j * value_size(fd));
			}
			fputc(']', f);
		} else if (fd->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
			if (*(const uint32_t *)((const char *)m + fd->quantifier_offset) != fd->id)
				continue;
			fprintf(f, "%s%s:", sep, fd->name);
			show_value(f, fd, at);
		} else {
			if (is_default(fd, at) || is_noise(fd))
				continue;
			fprintf(f, "%s%s:", sep, fd->name);
			show_value(f, fd, at);
		}
		sep = " ";
	}
	fputc('}', f);
}

static char dir[] = "/tmp/amb-manifest-XXXXXX";

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	CHECK(f);
	fputs(text, f);
	fclose(f);
}

/* Compiles @yaml; returns all resources, a line each, then all problems. Freed by the caller. */
static char *compile(const char *yaml)
{
	const struct amb_msettings settings = { .cluster = "Kubernetes",
						.domain = "cluster.local",
						.network = "",
						.trust_domain = "cluster.local",
						.root_ns = "istio-system" };
	struct amb_mproblems problems = { 0 };
	struct amb_mcompiled c = { 0 };
	struct amb_mset *set = amb_mset_create(dir);
	char *out = NULL, *at, text[AMB_MANIFEST_TEXT_MAX];
	size_t len;
	FILE *f = open_memstream(&out, &len);
	uint32_t i;

	CHECK(set && f);
	write_file("a.yaml", yaml);
	CHECK_EQ(amb_mset_load(set, &problems), 0);
	CHECK_EQ(amb_mcompile(amb_mset_table(set), &settings, amb_mproblems_add, &problems, &c), 0);
	for (i = 0; i < c.n; i++) {
		const struct amb_mresource *r = &c.res[i];

		if (r->address &&
		    r->address->type_case == ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD) {
			CHECK_STR(r->address->workload->uid, r->name);
			CHECK_STR(r->address->workload->cluster_id, "Kubernetes");
			CHECK_EQ(r->address->workload->workload_type,
				 ISTIO__WORKLOAD__WORKLOAD_TYPE__POD);
		}
		fprintf(f, "%s ", r->name);
		show(f, r->authorization ? &r->authorization->base :
			r->address->type_case == ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE ?
					   &r->address->service->base :
					   &r->address->workload->base);
		fputc('\n', f);
	}
	for (i = 0; i < problems.n; i++) {
		amb_manifest_format(&problems.list[i]->p, text, sizeof(text));
		fprintf(f, "%s %s\n", problems.list[i]->p.error ? "error" : "warning", text);
	}
	fclose(f);
	/* Places in messages, without the folder. */
	while ((at = strstr(out, dir)))
		memmove(at, at + strlen(dir) + 1, strlen(at + strlen(dir)));
	amb_mcompiled_free(&c);
	amb_mproblems_clear(&problems);
	amb_mset_destroy(set);
	return out;
}

/*
 * Tables are text: "## what", the YAML, "=>", what is expected; an empty line before the next
 * "##" is not part of it.
 */
static void run(const char *table)
{
	char path[256], *text, *at, *what, *yaml, *want, *end, *got;
	const char *slash = strrchr(__FILE__, '/');
	int cases = 0;

	snprintf(path, sizeof(path), "%.*s/manifest/%s.txt", slash ? (int)(slash - __FILE__) : 1,
		 slash ? __FILE__ : ".", table);
	CHECK(amb_util_read_file(path, 1 << 20, &text) > 0);
	CHECK(!strncmp(text, "## ", 3));
	for (at = text + 3; at; at = end) {
		what = at;
		at = strchr(at, '\n');
		*at++ = 0;
		CASE(what);
		yaml = at;
		at = strstr(at, "=>\n");
		CHECK(at);
		want = at + 3;
		*at = 0;
		end = strstr(want, "\n## ");
		if (end) {
			/* The line before is the empty one, or nothing is expected. */
			*end = 0;
			end += 4;
		}
		got = compile(yaml);
		CHECK_STR(got, want);
		free(got);
		cases++;
	}
	free(text);
	CHECK(cases > 1);
}

TEST(pods)
{
	run("pods");
}

TEST(services)
{
	run("services");
}

TEST(entries)
{
	run("entries");
}

TEST(authorization)
{
	run("authorization");
}

TEST(peer_authentication)
{
	run("peer_authentication");
}

TEST(waypoints)
{
	run("waypoints");
}

TEST(yaml)
{
	run("yaml");
}

TEST(errors)
{
	run("errors");
}

int main(void)
{
	char path[128];
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = harness_run();
	snprintf(path, sizeof(path), "%s/a.yaml", dir);
	unlink(path);
	rmdir(dir);
	return r;
}
