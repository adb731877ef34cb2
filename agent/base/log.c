// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The agent's log: one line an event, levels by subsystem, text or JSON.
 *
 * A line is formatted by the thread that writes it and handed to one writer thread, so that no
 * worker waits for a pipe or a disk. The queue is bounded in lines and bytes; when it is full the
 * callers wait, because a log with holes is worth less than a slow moment.
 *
 * Locking: log.lock guards queue, sink and filter text. The levels are read without it.
 */
#include "log.h"

#include "cleanup.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/uio.h>
#include <time.h>

#define LINE_MAX_BYTES 8192 /* longer lines are cut */
#define MESSAGE_MAX 2048 /* of a formatted message */
#define QUEUE_BYTES (8u * 1024 * 1024) /* beside AMB_LOG_QUEUE lines */
#define CHUNK 16384 /* bytes of lines that wait together */
#define BATCH 64 /* chunks of one writev */
#define LINGER_NS 5000000 /* what comes this soon after a line is written with it */
#define DIRECTIVES 64 /* of a filter */
#define DIRECTIVE_MAX 128 /* characters of a directive's target */
#define WRITER_STACK (64 * 1024)

/* Whole lines, one behind the other; more than CHUNK bytes only when one line is. */
struct chunk {
	struct chunk *next;
	size_t len, lines;
	char text[];
};

struct directive {
	char target[DIRECTIVE_MAX]; /* "" for all */
	uint8_t level;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t work, room;
	pthread_t writer;
	bool running, stop, idle;
	bool json;
	int fd;
	struct chunk *head, *tail;
	size_t nlines, nbytes;
	struct directive filter[DIRECTIVES];
	size_t nfilter;
} logger = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.room = PTHREAD_COND_INITIALIZER,
	.fd = STDERR_FILENO,
	.filter = { { "", AMB_LOG_INFO } },
	.nfilter = 1,
};

static uint8_t levels[AMB_LOG_TARGET_MAX] = { [0 ... AMB_LOG_TARGET_MAX - 1] = AMB_LOG_INFO };

#define AMB_X(id, text) text,
static const char *const targets[] = { AMB_LOG_TARGETS(AMB_X) };
#undef AMB_X

static const char *const level_names[] = { "off", "error", "warn", "info", "debug", "trace" };

/* Filter */

static int parse_level(const char *text, size_t len, uint8_t *out)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(level_names); i++) {
		if (strlen(level_names[i]) == len && !strncasecmp(level_names[i], text, len)) {
			*out = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_directive(const char *text, size_t len, struct directive *d)
{
	const char *eq = memrchr(text, '=', len);
	size_t n = eq ? (size_t)(eq - text) : 0, i;

	if (parse_level(eq ? eq + 1 : text, eq ? len - n - 1 : len, &d->level))
		return -EINVAL;
	if ((eq && !n) || n >= sizeof(d->target))
		return -EINVAL;
	for (i = 0; i < n; i++) {
		if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7f)
			return -EINVAL;
	}
	memcpy(d->target, text, n);
	d->target[n] = 0;
	return 0;
}

/* A later directive for the same target takes the place of the earlier one. */
static int parse_filter(const char *text, struct directive *set, size_t *count)
{
	size_t n = 0, i;

	while (*text) {
		size_t len = strcspn(text, ",");
		struct directive d;

		while (len && *text == ' ') {
			text++;
			len--;
		}
		if (len) {
			size_t end = len;

			while (text[end - 1] == ' ')
				end--;
			if (parse_directive(text, end, &d))
				return -EINVAL;
			for (i = 0; i < n && strcmp(set[i].target, d.target); i++)
				;
			if (i == DIRECTIVES)
				return -EINVAL;
			set[i] = d;
			n += i == n;
		}
		text += len;
		if (*text)
			text++;
	}
	*count = n;
	return 0;
}

/* "ztunnel::xds::client" names our target xds: filters of an existing installation work. */
static bool directive_names(const struct directive *d, const char *target)
{
	const char *t = d->target;
	size_t n = strlen(target);

	if (!strncmp(t, "ztunnel::", 9))
		t += 9;
	return !strncmp(t, target, n) && (!t[n] || !strncmp(t + n, "::", 2));
}

int amb_log_set_filter(const char *filter)
{
	_cleanup_free_ struct directive *set = calloc(DIRECTIVES, sizeof(*set));
	uint8_t all = AMB_LOG_INFO;
	size_t n, i, t;

	if (!set)
		return -ENOMEM;
	if (parse_filter(filter, set, &n))
		return -EINVAL;
	if (!n)
		set[n++].level = AMB_LOG_INFO;
	for (i = 0; i < n; i++) {
		if (!*set[i].target)
			all = set[i].level;
	}
	pthread_mutex_lock(&logger.lock);
	for (t = 0; t < AMB_LOG_TARGET_MAX; t++) {
		uint8_t level = all;

		for (i = 0; i < n; i++) {
			if (*set[i].target && directive_names(&set[i], targets[t]))
				level = set[i].level;
		}
		__atomic_store_n(&levels[t], level, __ATOMIC_RELAXED);
	}
	memcpy(logger.filter, set, n * sizeof(*set));
	logger.nfilter = n;
	pthread_mutex_unlock(&logger.lock);
	return 0;
}

const char *amb_log_filter(char *buf, size_t len)
{
	size_t at = 0, i;

	if (!len)
		return buf;
	*buf = 0;
	pthread_mutex_lock(&logger.lock);
	for (i = 0; i < logger.nfilter && at < len; i++) {
		const struct directive *d = &logger.filter[i];

		at += snprintf(buf + at, len - at, "%s%s%s%s", i ? "," : "", d->target,
			       *d->target ? "=" : "", level_names[d->level]);
	}
	pthread_mutex_unlock(&logger.lock);
	return buf;
}

bool amb_log_enabled(enum amb_log_target target, enum amb_log_level level)
{
	return level <= __atomic_load_n(&levels[target], __ATOMIC_RELAXED);
}

/* Sink */

static void write_all(int fd, struct iovec *iov, int n)
{
	while (n) {
		ssize_t done = writev(fd, iov, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			poll(&p, 1, -1);
			continue;
		}
		/* A sink that is gone (EPIPE, ENOSPC) must not stop the agent: lines are lost. */
		if (done < 0)
			return;
		for (; n && (size_t)done >= iov->iov_len; n--)
			done -= iov++->iov_len;
		if (n) {
			iov->iov_base = (char *)iov->iov_base + done;
			iov->iov_len -= done;
		}
	}
}

/* Takes up to BATCH chunks off the queue; called with the lock held. */
static int take_batch(struct chunk **chunks)
{
	int n = 0;

	while (n < BATCH && logger.head) {
		struct chunk *c = logger.head;

		logger.head = c->next;
		logger.nlines -= c->lines;
		logger.nbytes -= c->len;
		chunks[n++] = c;
	}
	pthread_cond_broadcast(&logger.room);
	return n;
}

/* Puts a line at the end of the queue; called with the lock held. False without memory. */
static bool append(const char *text, size_t len)
{
	struct chunk *c = logger.head ? logger.tail : NULL;

	/* A chunk for some forty lines: the allocator is asked, by two threads, once for them. */
	if (!c || c->len + len > CHUNK) {
		c = malloc(sizeof(*c) + AMB_MAX(len, (size_t)CHUNK));
		if (!c)
			return false;
		c->next = NULL;
		c->len = c->lines = 0;
		if (logger.head)
			logger.tail->next = c;
		else
			logger.head = c;
		logger.tail = c;
	}
	memcpy(c->text + c->len, text, len);
	c->len += len;
	c->lines++;
	logger.nlines++;
	logger.nbytes += len;
	return true;
}

/*
 * Lines come in bursts, and to wake a thread costs more than to write a line: the writer
 * sleeps on for a moment and takes what came meanwhile at once. A full queue or the end
 * shortens that.
 */
static void linger(void)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LINGER_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	while (!logger.stop && logger.nlines < AMB_LOG_QUEUE / 2 &&
	       !pthread_cond_clockwait(&logger.work, &logger.lock, CLOCK_MONOTONIC, &until))
		;
}

static void *writer(void *arg)
{
	struct chunk *chunks[BATCH];
	struct iovec iov[BATCH];
	int fd, n, i;

	(void)arg;
	pthread_mutex_lock(&logger.lock);
	for (;;) {
		if (!logger.head && !logger.stop) {
			logger.idle = true;
			while (!logger.head && !logger.stop)
				pthread_cond_wait(&logger.work, &logger.lock);
			logger.idle = false;
			linger();
		}
		if (!logger.head)
			break;
		n = take_batch(chunks);
		fd = logger.fd;
		pthread_mutex_unlock(&logger.lock);
		for (i = 0; i < n; i++) {
			iov[i].iov_base = chunks[i]->text;
			iov[i].iov_len = chunks[i]->len;
		}
		write_all(fd, iov, n);
		for (i = 0; i < n; i++)
			free(chunks[i]);
		pthread_mutex_lock(&logger.lock);
	}
	/* Under the lock: from here on callers write for themselves. */
	logger.running = false;
	pthread_cond_broadcast(&logger.room);
	pthread_mutex_unlock(&logger.lock);
	return NULL;
}

static void emit(const char *text, size_t len)
{
	pthread_mutex_lock(&logger.lock);
	while (logger.running && (logger.nlines >= AMB_LOG_QUEUE || logger.nbytes >= QUEUE_BYTES))
		pthread_cond_wait(&logger.room, &logger.lock);
	if (logger.running && append(text, len)) {
		if (logger.idle || logger.nlines == AMB_LOG_QUEUE / 2) {
			logger.idle = false;
			pthread_cond_signal(&logger.work);
		}
	} else {
		struct iovec iov = { .iov_base = (void *)text, .iov_len = len };

		write_all(logger.fd, &iov, 1);
	}
	pthread_mutex_unlock(&logger.lock);
}

int amb_log_init(int fd, bool json)
{
	pthread_attr_t attr;
	int err;

	pthread_mutex_lock(&logger.lock);
	if (logger.running) {
		pthread_mutex_unlock(&logger.lock);
		return -EALREADY;
	}
	logger.fd = fd;
	__atomic_store_n(&logger.json, json, __ATOMIC_RELAXED);
	logger.stop = logger.idle = false;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WRITER_STACK);
	err = pthread_create(&logger.writer, &attr, writer, NULL);
	logger.running = !err;
	pthread_mutex_unlock(&logger.lock);
	pthread_attr_destroy(&attr);
	return -err;
}

void amb_log_uninit(void)
{
	pthread_mutex_lock(&logger.lock);
	if (!logger.running || logger.stop) {
		pthread_mutex_unlock(&logger.lock);
		return;
	}
	logger.stop = true;
	pthread_cond_signal(&logger.work);
	pthread_mutex_unlock(&logger.lock);
	pthread_join(logger.writer, NULL);
}

/* Lines */

struct buf {
	char *p;
	size_t len, cap; /* cap leaves room for the end of the line */
};

static void put_bytes(struct buf *b, const char *s, size_t n)
{
	if (n > b->cap - b->len)
		n = b->cap - b->len;
	memcpy(b->p + b->len, s, n);
	b->len += n;
}

static void put(struct buf *b, const char *s)
{
	put_bytes(b, s, strlen(s));
}

/* How much of @s stands in a line as it is. */
static size_t plain_len(const char *s, bool quote)
{
	size_t n = 0;

	while ((unsigned char)s[n] >= ' ' && (unsigned char)s[n] < 0x7f &&
	       !(quote && (s[n] == '"' || s[n] == '\\')))
		n++;
	return n;
}

/*
 * Peers' text never breaks a line in two, nor JSON: control characters and bytes that are not
 * UTF-8 are escaped, whole or not at all.
 */
static void put_escaped(struct buf *b, const char *s, bool quote)
{
	while (*s) {
		size_t n = plain_len(s, quote), seq;
		unsigned char c;
		char esc[8];

		put_bytes(b, s, n);
		s += n;
		c = *s;
		if (!c)
			return;
		seq = amb_util_utf8_len(s);
		if (c == '\n' || c == '\t' || c == '\r') {
			n = snprintf(esc, sizeof(esc), "\\%c",
				     c == '\n' ? 'n' :
				     c == '\t' ? 't' :
						 'r');
		} else if (c < ' ' || c == 0x7f || !seq) {
			n = snprintf(esc, sizeof(esc), "\\u%04x", c);
		} else if (quote && (c == '"' || c == '\\')) {
			n = snprintf(esc, sizeof(esc), "\\%c", c);
		} else {
			memcpy(esc, s, seq);
			n = seq;
		}
		if (n > b->cap - b->len)
			return;
		put_bytes(b, esc, n);
		s += seq ? seq : 1;
	}
}

static void put_string(struct buf *b, const char *s)
{
	if (b->cap - b->len < 2)
		return;
	put(b, "\"");
	b->cap--; /* the closing quote always has a place */
	put_escaped(b, s, true);
	b->cap++;
	put(b, "\"");
}

static bool needs_quotes(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s <= ' ' || *s == '"' || *s == 0x7f)
			return true;
	}
	return false;
}

static void put_time(struct buf *b)
{
	/* Many lines are of one second. */
	static __thread struct {
		bool known;
		time_t second;
		char text[32];
	} last;
	char part[] = ".000000Z";
	struct timespec ts;
	struct tm tm;
	long us, i;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (!last.known || last.second != ts.tv_sec) {
		gmtime_r(&ts.tv_sec, &tm);
		strftime(last.text, sizeof(last.text), "%Y-%m-%dT%H:%M:%S", &tm);
		last.second = ts.tv_sec;
		last.known = true;
	}
	put(b, last.text);
	for (us = ts.tv_nsec / 1000, i = 6; i; i--, us /= 10)
		part[i] += us % 10;
	put(b, part);
}

static void put_text_line(struct buf *b, enum amb_log_target target, enum amb_log_level level,
			  const char *message, const struct amb_log_field *f, size_t n)
{
	const char *sep = "\t";
	size_t i;

	put_time(b);
	put(b, "\t");
	put(b, level_names[level]);
	put(b, "\t");
	put(b, targets[target]);
	put(b, "\t");
	put_escaped(b, message, false);
	for (i = 0; i < n; i++) {
		if (!f[i].value)
			continue;
		put(b, sep);
		sep = " ";
		put(b, f[i].key);
		put(b, "=");
		if (f[i].quoted || needs_quotes(f[i].value))
			put_string(b, f[i].value);
		else
			put(b, f[i].value);
	}
}

static void put_json_line(struct buf *b, enum amb_log_target target, enum amb_log_level level,
			  const char *message, const struct amb_log_field *f, size_t n)
{
	size_t i;

	put(b, "{\"level\":\"");
	put(b, level_names[level]);
	put(b, "\",\"time\":\"");
	put_time(b);
	put(b, "\",\"scope\":\"");
	put(b, targets[target]);
	put(b, "\",\"message\":");
	put_string(b, message);
	for (i = 0; i < n; i++) {
		/* The whole field or none of it, or the object would not parse. */
		size_t mark = b->len;

		if (!f[i].value)
			continue;
		put(b, ",\"");
		put(b, f[i].key);
		put(b, "\":");
		if (f[i].number)
			put(b, f[i].value);
		else
			put_string(b, f[i].value);
		if (b->len >= b->cap) {
			b->len = mark;
			break;
		}
	}
	b->p[b->len++] = '}';
}

void amb_log_fields(enum amb_log_target target, enum amb_log_level level, const char *message,
		    const struct amb_log_field *fields, size_t n)
{
	char line[LINE_MAX_BYTES];
	struct buf b = { .p = line, .cap = sizeof(line) - 2 }; /* brace, newline */

	if (!amb_log_enabled(target, level) || level == AMB_LOG_OFF)
		return;
	if (__atomic_load_n(&logger.json, __ATOMIC_RELAXED))
		put_json_line(&b, target, level, message, fields, n);
	else
		put_text_line(&b, target, level, message, fields, n);
	line[b.len++] = '\n';
	emit(line, b.len);
}

void amb_log(enum amb_log_target target, enum amb_log_level level, const char *fmt, ...)
{
	char message[MESSAGE_MAX];
	va_list ap;

	if (!amb_log_enabled(target, level))
		return;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	amb_log_fields(target, level, message, NULL, 0);
}

bool amb_log_limit(struct amb_log_limit *l, uint64_t now, uint64_t every, uint64_t *held)
{
	if (now < l->next) {
		l->held++;
		return false;
	}
	*held = l->held;
	l->held = 0;
	l->next = now + every;
	return true;
}
