/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standalone mode: a directory of Kubernetes and Istio YAML as the control plane. Compiled to
 * Workload API resources as istiod does (ztunnel-interop 1.9, 6.4, 10.4) and handed to
 * amb_state_apply(); edits are picked up while running.
 *
 * An object with an error keeps its last good state, so does every object of a file that is
 * no YAML at the moment; a load becomes visible whole or not at all. Main thread only.
 *
 * A policy with an error and no last good state fails closed: DENY of everything (for
 * PeerAuthentication: STRICT) under its name, for its selector if that can be read, else its
 * namespace. For what cannot be read at all of a file at the first load, "<root
 * namespace>/unreadable-<file>" denies everything in the mesh until it is mended.
 */
#ifndef AMB_MANIFEST_H
#define AMB_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct amb_loop;
struct amb_manifest;
struct amb_state;

#define AMB_MANIFEST_FILES_MAX 4096 /* files of a directory that are read */
#define AMB_MANIFEST_OBJECTS_MAX 262144 /* objects in all of them */
#define AMB_MANIFEST_PROBLEMS_MAX 256 /* problems of one load that are told, then counted */
#define AMB_MANIFEST_SETTLE_NS 100000000ull /* quiet time after the last event before a load */
#define AMB_MANIFEST_DELAY_NS 2000000000ull /* ... and the longest wait when events go on */

/* What is wrong with a document. Strings are valid during the call. */
struct amb_manifest_problem {
	bool error; /* else a warning: the object is used */
	const char *file; /* path; the directory's when it is about the directory */
	uint32_t line; /* 1.., 0 = the file as a whole */
	const char *object; /* "Pod web/front-1", "" when not known */
	const char *field; /* "spec.ports[0].targetPort", "" = the object as a whole */
	const char *reason;
};

typedef void amb_manifest_report_fn(void *ctx, const struct amb_manifest_problem *p);

/* Longest text of a problem, NUL included; longer ones are cut. */
#define AMB_MANIFEST_TEXT_MAX 1024

/* Writes "file:line: object: field: reason". Returns @buf. */
const char *amb_manifest_format(const struct amb_manifest_problem *p, char *buf, size_t len);

struct amb_manifest_counts {
	uint32_t files, objects, errors, warnings;
	uint32_t workloads, services, policies; /* what they were compiled to */
};

/*
 * Reads and compiles @dir and applies it to a scratch state, telling each problem. Returns 0
 * (look at @counts->errors), or -errno when the directory cannot be read.
 */
int amb_manifest_validate(const char *dir, amb_manifest_report_fn *report, void *ctx,
			  struct amb_manifest_counts *counts);

/* NULL members take the default in brackets. */
struct amb_manifest_config {
	const char *dir;
	const char *node; /* own node name [""]: pods with this spec.nodeName are local */
	const char *cluster; /* [Kubernetes] */
	const char *domain; /* [cluster.local] */
	const char *trust_domain; /* when no ConfigMap istio says it [cluster.local] */
	const char *root_ns; /* when no ConfigMap istio says it [istio-system] */
	const char *network; /* when no label of the root namespace says it [""] */
};

/*
 * Reads the directory, and watches it from here on. Problems are logged; a directory that
 * cannot be read is one of them (it is tried again once a second). NULL: errno ENOMEM. Strings
 * of @config are copied.
 */
struct amb_manifest *amb_manifest_create(struct amb_loop *loop,
					 const struct amb_manifest_config *config);
/* Stops; what was applied stays in the state. NULL is accepted. */
void amb_manifest_destroy(struct amb_manifest *m);

/* Settings of the mesh as a whole, from the directory or the configuration. */
struct amb_manifest_mesh {
	const char *trust_domain, *network; /* as at creation; as long as the manifest lives */
	const char *root_ns; /* until the next load */
};
const struct amb_manifest_mesh *amb_manifest_mesh(const struct amb_manifest *m);

/* Applies what was read to @st (which outlives @m), now and after each change. 0 or -ENOMEM. */
int amb_manifest_start(struct amb_manifest *m, struct amb_state *st);

/* Reads the directory now (SIGHUP). Returns the number of errors, or -errno. */
int amb_manifest_reload(struct amb_manifest *m);

/* A pod of this node. Strings are valid during the call. */
struct amb_manifest_pod {
	const char *uid, *ns, *name, *sa;
	const char *netns; /* annotation ambientd.io/netns as a path, or NULL */
	const char *reroute_ifs; /* annotation istio.io/reroute-virtual-interfaces, or NULL */
	bool enrolled; /* label istio.io/dataplane-mode of pod or namespace */
	bool ingress_mode; /* annotation ambient.istio.io/bypass-inbound-capture */
	bool always_tunnel; /* annotation ambientd.io/always-tunnel of pod or namespace */
	bool splice; /* annotation ambientd.io/splice */
	int dns_capture; /* annotation ambient.istio.io/dns-capture: 0, 1, -1 = unset */
	/*
	 * Search domains of its resolver (mesh/names.h), NULL: not said. From annotation
	 * ambientd.io/dns-search, else spec.dnsConfig; those alone with the annotation or
	 * spec.dnsPolicy None.
	 */
	const char *dns_search;
	bool dns_search_only;
};

/* The annotation that says where a pod's namespace is: a path, or a name of /run/netns. */
#define AMB_MANIFEST_NETNS "ambientd.io/netns"
#define AMB_MANIFEST_ALWAYS_TUNNEL "ambientd.io/always-tunnel"
#define AMB_MANIFEST_SPLICE "ambientd.io/splice"
/* The annotation that says which domains a pod's resolver searches, separated by blanks. */
#define AMB_MANIFEST_DNS_SEARCH "ambientd.io/dns-search"

/* Walks this node's pods, enrolled or not; @fn returns false to stop. */
void amb_manifest_each_pod(const struct amb_manifest *m,
			   bool (*fn)(void *ctx, const struct amb_manifest_pod *pod), void *ctx);

/* Called after each load that changed this node's pods (any field above). One listener. */
void amb_manifest_on_pods(struct amb_manifest *m, void (*fn)(void *ctx), void *ctx);

struct amb_manifest_status {
	const char *dir;
	struct amb_manifest_counts counts; /* of the last load */
	uint64_t loads, failures; /* failures: loads with an error */
	uint64_t changed; /* resources sent to the state so far */
	int64_t loaded_at; /* wall clock seconds, 0 = never */
	uint64_t load_ns; /* how long the last load took */
	bool watching; /* false: the directory is polled once a second */
};
void amb_manifest_status(const struct amb_manifest *m, struct amb_manifest_status *out);

/* Tells the problems of the last load again, for "ambientctl status". */
void amb_manifest_each_problem(const struct amb_manifest *m,
			       void (*fn)(void *ctx, bool error, const char *text), void *ctx);

#endif
