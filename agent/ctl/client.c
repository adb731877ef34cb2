// SPDX-License-Identifier: GPL-2.0-or-later
/* Asking the agent over its control socket. */
#include "ctl.h"

#include "ask.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_NS 60000000000ull /* without a byte from the agent */
#define ERROR_MAX 4096 /* bytes of a sentence */

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

int ctl_ask(const struct ctl *ctl, json_t *request, json_t **reply)
{
	char text[ERROR_MAX];
	int err = amb_ask(ctl->socket, ANSWER_NS, request, reply, text, sizeof(text));

	if (!err)
		return CTL_OK;
	ctl_error("%s", text);
	if (err == -EREMOTE)
		return CTL_REFUSED;
	return err == -EBADMSG ? CTL_BROKEN : CTL_UNREACHABLE;
}
