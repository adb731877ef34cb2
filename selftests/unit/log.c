// SPDX-License-Identifier: GPL-2.0-or-later
/* The log: filter syntax, both forms of a line, a bounded queue that loses nothing. */
#include "base/log.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <regex.h>
#include <sys/stat.h>
#include <unistd.h>

static char out[1 << 16];

/* Runs @fn with the log on a pipe and leaves what was written in out. */
static void capture(bool json, void (*fn)(void))
{
	ssize_t n, len = 0;
	int p[2];

	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(amb_log_init(p[1], json), 0);
	fn();
	amb_log_uninit();
	close(p[1]);
	while ((n = read(p[0], out + len, sizeof(out) - 1 - len)) > 0)
		len += n;
	out[len] = 0;
	close(p[0]);
}

static bool matches(const char *pattern, const char *text)
{
	regex_t re;
	bool ok;

	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB))
		return false;
	ok = !regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	return ok;
}

TEST(filter)
{
	static const struct {
		const char *filter;
		int err;
		enum amb_log_level main, access, xds;
		const char *shown;
	} rows[] = {
		{ "info", 0, AMB_LOG_INFO, AMB_LOG_INFO, AMB_LOG_INFO, "info" },
		{ "", 0, AMB_LOG_INFO, AMB_LOG_INFO, AMB_LOG_INFO, "info" },
		{ "WARN", 0, AMB_LOG_WARN, AMB_LOG_WARN, AMB_LOG_WARN, "warn" },
		{ "info,access=off", 0, AMB_LOG_INFO, AMB_LOG_OFF, AMB_LOG_INFO,
		  "info,access=off" },
		{ "access=debug", 0, AMB_LOG_INFO, AMB_LOG_DEBUG, AMB_LOG_INFO, "access=debug" },
		{ "access=off,trace", 0, AMB_LOG_TRACE, AMB_LOG_OFF, AMB_LOG_TRACE,
		  "access=off,trace" },
		{ "info, access=warn ,access=error", 0, AMB_LOG_INFO, AMB_LOG_ERROR, AMB_LOG_INFO,
		  "info,access=error" },
		{ "warn,ztunnel::xds::client=trace", 0, AMB_LOG_WARN, AMB_LOG_WARN, AMB_LOG_TRACE,
		  "warn,ztunnel::xds::client=trace" },
		{ "info,hickory_server=off", 0, AMB_LOG_INFO, AMB_LOG_INFO, AMB_LOG_INFO,
		  "info,hickory_server=off" },
		{ "xdsx=trace", 0, AMB_LOG_INFO, AMB_LOG_INFO, AMB_LOG_INFO, "xdsx=trace" },
		{ "loud", -EINVAL, 0, 0, 0, NULL },
		{ "access=loud", -EINVAL, 0, 0, 0, NULL },
		{ "=info", -EINVAL, 0, 0, 0, NULL },
		{ "a b=info", -EINVAL, 0, 0, 0, NULL },
	};
	size_t i;
	char buf[256];

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].filter);
		CHECK_EQ(amb_log_set_filter("error,main=debug"), 0);
		CHECK_EQ(amb_log_set_filter(rows[i].filter), rows[i].err);
		if (rows[i].err) {
			CHECK_STR(amb_log_filter(buf, sizeof(buf)), "error,main=debug");
			CHECK(amb_log_enabled(AMB_LOG_MAIN, AMB_LOG_DEBUG));
			continue;
		}
		CHECK_STR(amb_log_filter(buf, sizeof(buf)), rows[i].shown);
		CHECK(amb_log_enabled(AMB_LOG_MAIN, rows[i].main));
		CHECK(!amb_log_enabled(AMB_LOG_MAIN, rows[i].main + 1));
		CHECK(amb_log_enabled(AMB_LOG_ACCESS, rows[i].access));
		CHECK(!amb_log_enabled(AMB_LOG_ACCESS, rows[i].access + 1));
		CHECK(amb_log_enabled(AMB_LOG_XDS, rows[i].xds));
		CHECK(!amb_log_enabled(AMB_LOG_XDS, rows[i].xds + 1));
	}
	CHECK_EQ(amb_log_set_filter("info"), 0);
}

static const struct amb_log_field fields[] = {
	{ .key = "src.addr", .value = "10.0.0.1:80" },
	{ .key = "src.workload" },
	{ .key = "direction", .value = "inbound", .quoted = true },
	{ .key = "bytes_sent", .value = "12", .number = true },
	{ .key = "error", .value = "a \"b\"\n\xff\xc3\xa9", .quoted = true },
	{ .key = "odd", .value = "two words" },
};

static void one_line(void)
{
	amb_log_fields(AMB_LOG_ACCESS, AMB_LOG_INFO, "connection complete", fields,
		       AMB_ARRAY_SIZE(fields));
}

TEST(text_form)
{
	char *tab;

	capture(false, one_line);
	CHECK(matches("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z\t", out));
	tab = strchr(out, '\t');
	CHECK_STR(tab, "\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:80 "
		       "direction=\"inbound\" bytes_sent=12 "
		       "error=\"a \\\"b\\\"\\n\\u00ff\xc3\xa9\" odd=\"two words\"\n");
}

TEST(json_form)
{
	json_t *j;

	capture(true, one_line);
	CHECK(matches("^\\{\"level\":\"info\",\"time\":\"[^\"]*Z\",\"scope\":\"access\",", out));
	j = json_loads(out, 0, NULL);
	CHECK(j);
	CHECK_STR(json_string_value(json_object_get(j, "message")), "connection complete");
	CHECK_STR(json_string_value(json_object_get(j, "src.addr")), "10.0.0.1:80");
	CHECK_EQ(json_integer_value(json_object_get(j, "bytes_sent")), 12);
	CHECK_STR(json_string_value(json_object_get(j, "error")), "a \"b\"\n\xc3\xbf\xc3\xa9");
	CHECK(!json_object_get(j, "src.workload"));
	json_decref(j);
}

/* Texts of every make: what surrounds a byte that is escaped must not change its fate. */
static const struct {
	const char *value, *shown;
} escapes[] = {
	{ "plain", "plain" },
	{ "\n", "\\n" },
	{ "a\tb\r\nc", "a\\tb\\r\\nc" },
	{ "\"", "\\\"" },
	{ "\\\\x", "\\\\\\\\x" },
	{ "\x7f", "\\u007f" },
	{ "\x01z\x1f", "\\u0001z\\u001f" },
	{ "\xc3\xa9\xe2\x82\xac", "\xc3\xa9\xe2\x82\xac" },
	{ "a\xf0\x9f\x98\x80z", "a\xf0\x9f\x98\x80z" },
	{ "\xe2\x82", "\\u00e2\\u0082" },
	{ "\xc0\xaf-", "\\u00c0\\u00af-" },
};

static void escaped_lines(void)
{
	for (size_t i = 0; i < AMB_ARRAY_SIZE(escapes); i++) {
		struct amb_log_field f = { .key = "k", .value = escapes[i].value, .quoted = true };

		amb_log_fields(AMB_LOG_MAIN, AMB_LOG_INFO, "m", &f, 1);
	}
}

TEST(escapes)
{
	char *line, *next;

	capture(false, escaped_lines);
	line = out;
	for (size_t i = 0; i < AMB_ARRAY_SIZE(escapes); i++, line = next) {
		char want[64];

		next = strchr(line, '\n');
		CHECK(next);
		*next++ = 0;
		snprintf(want, sizeof(want), "k=\"%s\"", escapes[i].shown);
		CHECK_STR(strstr(line, "k="), want);
	}
}

TEST(numbers)
{
	static const uint64_t values[] = { 0, 9, 10, 4294967296, 9999999999, UINT64_MAX };
	char buf[AMB_U64_STRLEN], want[32];

	for (size_t i = 0; i < AMB_ARRAY_SIZE(values); i++) {
		int n = snprintf(want, sizeof(want), "%llu", (unsigned long long)values[i]);

		CHECK_EQ(amb_util_put_u64(buf, values[i]), n);
		CHECK_STR(buf, want);
	}
	CHECK_EQ(amb_util_ascii_len("ab\x7f\xc3\xa9", 9), 3);
	CHECK_EQ(amb_util_ascii_len("abc", 2), 2);
	CHECK_EQ(amb_util_ascii_len("", 2), 0);
}

static char huge[20000];

static void huge_lines(void)
{
	struct amb_log_field f[2] = {
		{ .key = "small", .value = "1" },
		{ .key = "huge", .value = huge },
	};

	memset(huge, '\001', sizeof(huge) - 1);
	amb_log_fields(AMB_LOG_MAIN, AMB_LOG_INFO, "m", f, 2);
	amb_log_fields(AMB_LOG_MAIN, AMB_LOG_INFO, huge, f, 1);
}

TEST(oversized_lines_stay_json)
{
	char *second;
	json_t *j;

	capture(true, huge_lines);
	second = strchr(out, '\n') + 1;
	second[-1] = 0;
	CHECK(strlen(out) <= 8192);
	j = json_loads(out, 0, NULL);
	CHECK(j);
	CHECK_STR(json_string_value(json_object_get(j, "small")), "1");
	json_decref(j);
	CHECK(strlen(second) <= 8192);
	j = json_loads(second, 0, NULL);
	CHECK(j);
	json_decref(j);
}

static void below_level(void)
{
	amb_log_set_filter("info,pool=error");
	amb_debug(MAIN, "no %d", 1);
	amb_warn(POOL, "no %d", 2);
	amb_err(POOL, "yes %s", "3\n4");
	amb_log_set_filter("info");
}

TEST(levels_apply)
{
	capture(false, below_level);
	CHECK(matches("^[^\t]*\terror\tpool\tyes 3\\\\n4\n$", out));
}

TEST(init_twice)
{
	CHECK_EQ(amb_log_init(STDERR_FILENO, false), 0);
	CHECK_EQ(amb_log_init(STDERR_FILENO, false), -EALREADY);
	amb_log_uninit();
	amb_log_uninit();
}

#define THREADS 4
#define LINES 8000 /* times THREADS: more than the queue and the pipe hold */

static int sink[2];

static void *flood(void *arg)
{
	long id = (long)arg;
	int i;

	for (i = 0; i < LINES; i++)
		amb_info(MAIN, "t%ld %d", id, i);
	return NULL;
}

static void *drain(void *arg)
{
	int *next = arg;
	FILE *f = fdopen(sink[0], "r");
	char line[256];

	while (fgets(line, sizeof(line), f)) {
		char *m = strrchr(line, '\t');
		int id, i;

		if (!m || sscanf(m, "\tt%d %d", &id, &i) != 2 || id < 0 || id >= THREADS ||
		    next[id] != i)
			break;
		next[id]++;
	}
	fclose(f);
	return NULL;
}

TEST(full_queue_loses_nothing)
{
	pthread_t threads[THREADS], reader;
	int next[THREADS] = { 0 };
	long i;

	CHECK_EQ(pipe(sink), 0);
	/* A sink that says EAGAIN must be waited for too. */
	CHECK_EQ(fcntl(sink[1], F_SETFL, O_NONBLOCK), 0);
	CHECK_EQ(amb_log_init(sink[1], false), 0);
	for (i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, flood, (void *)i), 0);
	CHECK_EQ(pthread_create(&reader, NULL, drain, next), 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	amb_log_uninit();
	close(sink[1]);
	pthread_join(reader, NULL);
	for (i = 0; i < THREADS; i++)
		CHECK_EQ(next[i], LINES);
}

TEST(limit)
{
	static const struct {
		uint64_t now;
		bool due;
		uint64_t held;
	} rows[] = {
		{ 5, true, 0 },	  { 5, false, 0 },  { 14, false, 0 }, { 15, true, 2 },
		{ 24, false, 0 }, { 100, true, 1 }, { 110, true, 0 },
	};
	struct amb_log_limit l = { 0 };
	uint64_t held;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		held = 0;
		CHECK_EQ(amb_log_limit(&l, rows[i].now, 10, &held), rows[i].due);
		CHECK_EQ(held, rows[i].held);
	}
}

int main(void)
{
	return harness_run();
}
