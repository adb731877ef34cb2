// SPDX-License-Identifier: GPL-2.0-or-later
/* Says of a directory of manifests what the agent would say of it, without an agent. */
#include "ctl.h"

#include "control/manifest.h"

#include <stdio.h>
#include <string.h>

#define S(n) ((n) == 1 ? "" : "s")

struct report {
	const struct ctl *ctl;
	json_t *problems;
};

static void tell(void *ctx, const struct amb_manifest_problem *p)
{
	struct report *r = ctx;
	char text[AMB_MANIFEST_TEXT_MAX];
	const char *level = p->error ? "error" : "warning";
	const char *on = !r->ctl->colour || !p->error ? "" : "\033[31m";

	if (r->ctl->json) {
		json_array_append_new(r->problems,
				      json_pack("{s:s,s:s,s:i,s:s,s:s,s:s}", "level", level, "file",
						p->file, "line", (int)p->line, "object", p->object,
						"field", p->field, "reason", p->reason));
		return;
	}
	amb_manifest_format(p, text, sizeof(text));
	printf("%s%s%s: %s\n", on, level, *on ? "\033[0m" : "", text);
}

static json_t *summary(const struct amb_manifest_counts *c, json_t *problems)
{
	return json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:o}", "files", (int)c->files, "objects",
			 (int)c->objects, "errors", (int)c->errors, "warnings", (int)c->warnings,
			 "workloads", (int)c->workloads, "services", (int)c->services, "policies",
			 (int)c->policies, "problems", problems);
}

int ctl_validate(const struct ctl *ctl)
{
	struct report r = { .ctl = ctl, .problems = json_array() };
	struct amb_manifest_counts c = { 0 };
	int err = amb_manifest_validate(ctl->arg[0], tell, &r, &c), status = CTL_OK;
	json_t *o;

	if (err) {
		json_decref(r.problems);
		ctl_error("validate: %s: %s", ctl->arg[0], strerror(-err));
		return CTL_REFUSED;
	}
	o = summary(&c, r.problems);
	if (ctl->json)
		status = ctl_print_json(o);
	else
		printf("%u file%s, %u object%s: %u workload%s, %u service%s, %u polic%s; "
		       "%u error%s, %u warning%s\n",
		       c.files, S(c.files), c.objects, S(c.objects), c.workloads, S(c.workloads),
		       c.services, S(c.services), c.policies, c.policies == 1 ? "y" : "ies",
		       c.errors, S(c.errors), c.warnings, S(c.warnings));
	json_decref(o);
	return status ? status : c.errors ? CTL_REFUSED : CTL_OK;
}
