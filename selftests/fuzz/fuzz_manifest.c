// SPDX-License-Identifier: GPL-2.0-or-later
/* Manifests: YAML, the objects in it, and what they are compiled to. */
#include "fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "control/manifest_compile.h"

static uint32_t lines;

static void on_problem(void *ctx, const struct amb_manifest_problem *p)
{
	char text[AMB_MANIFEST_TEXT_MAX];

	(void)ctx;
	PROMISE(p->line <= lines);
	PROMISE(*p->reason);
	PROMISE(strlen(amb_manifest_format(p, text, sizeof(text))) < sizeof(text));
}

/* What goes to the state can be said on the wire and comes back the same size. */
static void check(const struct amb_mcompiled *c)
{
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		const ProtobufCMessage *m = c->res[i].authorization ?
						    &c->res[i].authorization->base :
						    &c->res[i].address->base;
		size_t len = protobuf_c_message_get_packed_size(m);
		uint8_t *bytes = malloc(len + 1);
		ProtobufCMessage *back;

		PROMISE(bytes);
		PROMISE(protobuf_c_message_pack(m, bytes) == len);
		/* Broken UTF-8 is not YAML, so nothing of it gets here. */
		back = protobuf_c_message_unpack(m->descriptor, NULL, len, bytes);
		PROMISE(back);
		protobuf_c_message_free_unpacked(back, NULL);
		free(bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct amb_msettings settings = { "Kubernetes", "cluster.local", "", "cluster.local",
						"istio-system" };
	struct amb_arena scratch = { 0 }, temp = { 0 };
	struct amb_mobj_read read = {
		.file = "f", .report = on_problem, .scratch = &scratch, .temp = &temp
	};
	struct amb_mtable table = { 0 };
	struct amb_mcompiled c;
	struct amb_yaml_reader *r;
	const struct amb_yaml *doc;
	const char *list_kind;
	char *text = fuzz_text(data, size);
	uint32_t i, line;
	size_t at;
	int err;

	/* CR, NEL, LS and PS end lines too, so any byte may be part of an end. */
	lines = 2;
	for (at = 0; at < size; at++)
		lines += text[at] == '\n' || text[at] == '\r' || (text[at] & 0x80);
	r = amb_yaml_open(-1, text, size);
	PROMISE(r);
	while ((err = amb_yaml_next(r, &doc, &list_kind)) != 0) {
		if (err < 0) {
			PROMISE(*amb_yaml_problem(r, &line) && line <= lines);
			if (err != -EINVAL)
				break;
			continue;
		}
		PROMISE(doc->type == AMB_YAML_MAP && doc->size <= 2 * AMB_YAML_NODES_MAX);
		if (amb_mobj_read(&read, doc, list_kind) != AMB_MOBJ_OK)
			continue;
		if (amb_mtable_find(&table, read.kind, read.ns, read.name) ||
		    amb_mtable_add(&table, read.obj, "f"))
			amb_mobj_put(read.obj);
	}
	amb_yaml_close(r);
	PROMISE(!amb_mcompile(&table, &settings, on_problem, NULL, &c));
	check(&c);
	amb_mcompiled_free(&c);
	for (i = 0; i < table.n; i++)
		amb_mobj_put(table.rows[i].obj);
	amb_mtable_free(&table);
	amb_arena_free(&scratch);
	amb_arena_free(&temp);
	free(text);
	return 0;
}
