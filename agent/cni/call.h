/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a container runtime says when it calls a CNI plugin (CNI specification 1.1, section 2). */
#ifndef AMB_CALL_H
#define AMB_CALL_H

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define AMB_CALL_VERSION "1.1.0" /* the newest that is spoken */
#define AMB_CALL_CONF_MAX (1 << 20) /* bytes of a network configuration */
#define AMB_CALL_SECONDS 10 /* default of "timeoutSeconds": for a pod to join */

/* Codes of the specification, section 5; from 100 on they are ours. */
enum amb_call_code {
	AMB_CALL_OK = 0,
	AMB_CALL_VERSION_UNKNOWN = 1,
	AMB_CALL_CONTAINER_UNKNOWN = 3,
	AMB_CALL_ENV = 4,
	AMB_CALL_IO = 5,
	AMB_CALL_DECODE = 6,
	AMB_CALL_CONFIG = 7,
	AMB_CALL_TRY_LATER = 11,
	AMB_CALL_UNAVAILABLE = 50,
	AMB_CALL_REFUSED = 100, /* the agent says no */
	AMB_CALL_NOT_SERVED = 101, /* CHECK: the pod is not in the mesh */
};

/* The environment, as it is; NULL where there is none. */
struct amb_call_env {
	const char *command, *container, *netns, *ifname, *args;
};

struct amb_call {
	struct amb_call_env env;
	json_t *conf;
	const char *version; /* cniVersion of the configuration */
	const char *network; /* its name */
	const char *ns; /* of pods for which the runtime says none */
	const char *socket, *dir; /* of the agent; of attachments */
	unsigned int seconds;
	bool silent; /* the agent did not answer: it is not told of more */
	char pod[512]; /* "ns/name", "" when the runtime says no name */
	enum amb_call_code code; /* of the error */
	char msg[1024];
};

/*
 * Reads the configuration from @in and looks at the environment, as far as the command needs
 * it. False: code and msg say why. The caller owes an amb_call_uninit() either way.
 */
bool amb_call_init(struct amb_call *c, const struct amb_call_env *env, FILE *in);
void amb_call_uninit(struct amb_call *c);

/* True when the pod's namespace is among "excludeNamespaces". */
bool amb_call_is_excluded(const struct amb_call *c);

/* Notes an error. Returns false, for the caller to return. */
bool amb_call_fail(struct amb_call *c, enum amb_call_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The error as the specification wants it, new reference. */
json_t *amb_call_error(const struct amb_call *c);

/* What VERSION answers, new reference. */
json_t *amb_call_versions(const struct amb_call *c);

#endif
