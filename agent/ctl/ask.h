/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One question to the agent over its control socket (admin/control.h): for programs beside it. */
#ifndef AMB_ASK_H
#define AMB_ASK_H

#include <jansson.h>

#include <stddef.h>
#include <stdint.h>

/* Where the agent listens unless it is told otherwise. */
#define AMB_ASK_SOCKET "/run/ambient/ambientd.sock"

/*
 * Sends @request, which it takes over, and waits for the answer, at most @ns without a
 * byte from the agent. 0 and the answer, a new reference: an object without "error"; else
 * -errno and a sentence in @err: -EREMOTE when the agent refused, -EBADMSG when its answer
 * cannot be read, others when it does not answer.
 */
int amb_ask(const char *socket, uint64_t ns, json_t *request, json_t **reply, char *err,
	    size_t errlen);

#endif
