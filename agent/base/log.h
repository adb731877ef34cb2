/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's log: one line an event, levels by subsystem, text or JSON. */
#ifndef AMB_LOG_H
#define AMB_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

enum amb_log_level {
	AMB_LOG_OFF,
	AMB_LOG_ERROR,
	AMB_LOG_WARN,
	AMB_LOG_INFO,
	AMB_LOG_DEBUG,
	AMB_LOG_TRACE,
};

/* Subsystem tokens; a filter names them ("info,access=off,pool=debug"). */
#define AMB_LOG_TARGETS(X)                                                                       \
	X(MAIN, "main")                                                                          \
	X(STATE, "state")                                                                        \
	X(POLICY, "policy")                                                                      \
	X(MANIFEST, "manifest")                                                                  \
	X(CA, "ca")                                                                              \
	X(KERNEL, "kernel")                                                                      \
	X(PROXY, "proxy")                                                                        \
	X(POOL, "pool")                                                                          \
	X(HBONE, "hbone")                                                                        \
	X(TLS, "tls")                                                                            \
	X(ACCESS, "access")                                                                      \
	X(ADMIN, "admin")                                                                        \
	X(XDS, "xds")                                                                            \
	X(ZDS, "zds")                                                                            \
	X(DNS, "dns")

#define AMB_X(id, text) AMB_LOG_##id,
enum amb_log_target { AMB_LOG_TARGETS(AMB_X) AMB_LOG_TARGET_MAX };
#undef AMB_X

/* One field of a structured line. A NULL value leaves the field out. */
struct amb_log_field {
	const char *key;
	const char *value;
	bool quoted; /* in text form print key="value" (JSON always quotes unless @number) */
	bool number; /* in JSON print bare */
};

/*
 * Starts the log on @fd. @json chooses the form. Lines are queued without blocking up to
 * AMB_LOG_QUEUE of them, then writers wait (lossless), as ztunnel does. Before init, and
 * after uninit, lines are written at once. Returns 0 or -errno.
 */
#define AMB_LOG_QUEUE 10000
int amb_log_init(int fd, bool json);

/* Writes what is queued and stops the writer. */
void amb_log_uninit(void);

/*
 * Sets the filter, RUST_LOG syntax: "level" or "target=level", comma separated; unknown
 * targets (a Rust path) are accepted and kept for amb_log_filter(). 0 or -EINVAL.
 */
int amb_log_set_filter(const char *filter);

/* Writes the present filter into @buf. Returns @buf. */
const char *amb_log_filter(char *buf, size_t len);

/* True when a line of @level for @target would be written: cheap, for hot paths. */
bool amb_log_enabled(enum amb_log_target target, enum amb_log_level level);

/* Writes a line. */
void amb_log(enum amb_log_target target, enum amb_log_level level, const char *fmt, ...)
	AMB_PRINTF(3, 4);

/* Writes a line with fields; @n of them. */
void amb_log_fields(enum amb_log_target target, enum amb_log_level level, const char *message,
		    const struct amb_log_field *fields, size_t n);

/*
 * For lines that somebody else can bring about: true at most once in @every nanoseconds, with
 * the number of times it was false since then in @held. Zero-initialised; for one thread.
 */
struct amb_log_limit {
	uint64_t next; /* when a line may be written again */
	uint64_t held;
};
bool amb_log_limit(struct amb_log_limit *l, uint64_t now, uint64_t every, uint64_t *held);

#define amb_err(target, ...) amb_log(AMB_LOG_##target, AMB_LOG_ERROR, __VA_ARGS__)
#define amb_warn(target, ...) amb_log(AMB_LOG_##target, AMB_LOG_WARN, __VA_ARGS__)
#define amb_info(target, ...) amb_log(AMB_LOG_##target, AMB_LOG_INFO, __VA_ARGS__)
#define amb_debug(target, ...)                                                                   \
	do {                                                                                     \
		if (amb_log_enabled(AMB_LOG_##target, AMB_LOG_DEBUG))                            \
			amb_log(AMB_LOG_##target, AMB_LOG_DEBUG, __VA_ARGS__);                   \
	} while (0)

#endif
