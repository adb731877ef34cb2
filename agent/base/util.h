/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small helpers without a better home. */
#ifndef AMB_UTIL_H
#define AMB_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AMB_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define AMB_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define AMB_MIN(a, b)                                                                            \
	({                                                                                       \
		__typeof__(a) _a = (a);                                                          \
		__typeof__(b) _b = (b);                                                          \
		_a < _b ? _a : _b;                                                               \
	})
#define AMB_MAX(a, b)                                                                            \
	({                                                                                       \
		__typeof__(a) _a = (a);                                                          \
		__typeof__(b) _b = (b);                                                          \
		_a > _b ? _a : _b;                                                               \
	})
#define AMB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#define amb_likely(x) __builtin_expect(!!(x), 1)
#define amb_unlikely(x) __builtin_expect(!!(x), 0)

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t amb_util_now_ns(void);

/* A keyed 32 bit hash (not for secrets); @seed makes tables of peers' input unpredictable. */
uint32_t amb_util_hash(const void *data, size_t len, uint32_t seed);

/* The process's random hash seed, drawn once. */
uint32_t amb_util_seed(void);

/* Cheap per-thread pseudo random number (load balancing, jitter, trace ids); not for secrets. */
uint64_t amb_util_random(void);

/* Length of the UTF-8 sequence at the start of @s (not empty), 0 when it is none. */
size_t amb_util_utf8_len(const char *s);

/* How many of the first @max bytes of @s, at most to its end, are ASCII. */
size_t amb_util_ascii_len(const char *s, size_t max);

/* Writes @v in decimal and a NUL, at most AMB_U64_STRLEN bytes. Returns the length without it. */
#define AMB_U64_STRLEN 21
size_t amb_util_put_u64(char *buf, uint64_t v);

/* Reads a decimal port 1..65535, nothing else in the text. Returns 0 or -EINVAL. */
int amb_util_parse_port(const char *text, uint16_t *out);

/*
 * Reads a duration: "300ms", "5s", "10m", "24h", sums like "1h30m"; a bare number is
 * seconds. Returns nanoseconds through @out and 0, or -EINVAL.
 */
int amb_util_parse_duration(const char *text, uint64_t *out);

/* Reads a boolean as ztunnel's environment has it: true/false/1/0 (any case). 0 or -EINVAL. */
int amb_util_parse_bool(const char *text, bool *out);

/*
 * Reads a whole file of at most @max bytes into a NUL-terminated buffer that the caller
 * frees. Returns its length, or negative errno (-EFBIG when larger).
 */
long amb_util_read_file(const char *path, size_t max, char **out);

/*
 * Replaces @path by @len bytes: a temporary file beside it, fsync, rename; so readers see
 * the old or the new content, whole. @mode is exact (umask does not apply). 0 or -errno.
 */
int amb_util_write_file(const char *path, const void *data, size_t len, unsigned int mode);

/* Sets @fd non-blocking. 0 or -errno. */
int amb_util_nonblock(int fd);

/*
 * Of the descriptors that the process may have, the last AMB_UTIL_FDS_KEPT are kept for those
 * who look after it (readiness, metrics, ambientctl) when connections have taken all others.
 * True when the new descriptor @fd is one of these. The limit is read once, by the first call.
 */
#define AMB_UTIL_FDS_KEPT 32
bool amb_util_fd_kept(int fd);
/* True when no more descriptor can be had at this moment. */
bool amb_util_fds_used_up(void);

#endif
