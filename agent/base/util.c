// SPDX-License-Identifier: GPL-2.0-or-later
/* Small helpers without a better home. */
#include "util.h"

#include "cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

uint64_t amb_util_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

uint32_t amb_util_hash(const void *data, size_t len, uint32_t seed)
{
	const uint8_t *p = data;
	uint64_t h = 0x9e3779b97f4a7c15ull ^ seed ^ ((uint64_t)len << 32);

	while (len) {
		size_t n = len < 8 ? len : 8;
		uint64_t w = 0;

		memcpy(&w, p, n);
		h = (h ^ w) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
		p += n;
		len -= n;
	}
	h *= 0xc4ceb9fe1a85ec53ull;
	return h ^ h >> 29 ^ h >> 43;
}

static uint64_t draw(void)
{
	uint64_t v = 0;

	if (getrandom(&v, sizeof(v), 0) != sizeof(v))
		v = amb_util_now_ns() * 0x9e3779b97f4a7c15ull;
	return v | 1;
}

uint32_t amb_util_seed(void)
{
	static uint64_t seed;
	uint64_t none = 0;

	if (!__atomic_load_n(&seed, __ATOMIC_RELAXED))
		__atomic_compare_exchange_n(&seed, &none, draw(), false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED);
	return __atomic_load_n(&seed, __ATOMIC_RELAXED);
}

uint64_t amb_util_random(void)
{
	static __thread uint64_t state;
	uint64_t z;

	if (!state)
		state = draw();
	/* splitmix64 */
	state += 0x9e3779b97f4a7c15ull;
	z = state;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

size_t amb_util_utf8_len(const char *s)
{
	unsigned char c = *s;
	size_t n = 0, i;

	if (c < 0x80)
		n = 1;
	else if (c >= 0xc2 && c < 0xe0)
		n = 2;
	else if (c >= 0xe0 && c < 0xf0)
		n = 3;
	else if (c >= 0xf0 && c < 0xf5)
		n = 4;
	for (i = 1; i < n; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Overlong forms, surrogates and numbers past the last plane. */
	if ((c == 0xe0 && (unsigned char)s[1] < 0xa0) ||
	    (c == 0xed && (unsigned char)s[1] > 0x9f) ||
	    (c == 0xf0 && (unsigned char)s[1] < 0x90) || (c == 0xf4 && (unsigned char)s[1] > 0x8f))
		return 0;
	return n;
}

size_t amb_util_ascii_len(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && (unsigned char)s[n] - 1u < 0x7f)
		n++;
	return n;
}

size_t amb_util_put_u64(char *buf, uint64_t v)
{
	char digit[AMB_U64_STRLEN - 1];
	size_t n = sizeof(digit);

	do
		digit[--n] = '0' + v % 10;
	while (v /= 10);
	memcpy(buf, digit + n, sizeof(digit) - n);
	buf[sizeof(digit) - n] = 0;
	return sizeof(digit) - n;
}

int amb_util_parse_port(const char *text, uint16_t *out)
{
	unsigned long v = 0;
	const char *p = text;

	if (!*p)
		return -EINVAL;
	for (; *p; p++) {
		if (!isdigit((unsigned char)*p) || p - text >= 5)
			return -EINVAL;
		v = v * 10 + (*p - '0');
	}
	if (!v || v > 65535)
		return -EINVAL;
	*out = v;
	return 0;
}

int amb_util_parse_duration(const char *text, uint64_t *out)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = {
		{ "ms", 1000000ull },	{ "us", 1000ull },	 { "ns", 1 },
		{ "s", 1000000000ull }, { "m", 60000000000ull }, { "h", 3600000000000ull },
	};
	uint64_t sum = 0;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	while (*text) {
		uint64_t ns = 0, v;
		char *end;
		size_t i;

		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		errno = 0;
		v = strtoull(text, &end, 10);
		if (errno)
			return -EINVAL;
		if (!*end && !sum) {
			ns = 1000000000ull;
		} else {
			for (i = 0; i < AMB_ARRAY_SIZE(units) && !ns; i++) {
				size_t n = strlen(units[i].unit);

				if (!strncmp(end, units[i].unit, n) &&
				    (!end[n] || isdigit((unsigned char)end[n]))) {
					ns = units[i].ns;
					end += n;
				}
			}
		}
		if (!ns || __builtin_mul_overflow(v, ns, &v) ||
		    __builtin_add_overflow(sum, v, &sum))
			return -EINVAL;
		text = end;
	}
	*out = sum;
	return 0;
}

int amb_util_parse_bool(const char *text, bool *out)
{
	if (!strcasecmp(text, "true") || !strcmp(text, "1"))
		*out = true;
	else if (!strcasecmp(text, "false") || !strcmp(text, "0"))
		*out = false;
	else
		return -EINVAL;
	return 0;
}

long amb_util_read_file(const char *path, size_t max, char **out)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *buf = NULL;
	size_t len = 0, cap = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (S_ISREG(st.st_mode) && (size_t)st.st_size > max)
		return -EFBIG;
	for (;;) {
		ssize_t n;

		if (len + 1 >= cap) {
			char *more;

			cap = cap ? cap * 2 : (size_t)st.st_size + 2;
			if (cap < 4096)
				cap = 4096;
			more = realloc(buf, cap);
			if (!more)
				return -ENOMEM;
			buf = more;
		}
		n = read(fd, buf + len, cap - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += n;
		if (len > max)
			return -EFBIG;
	}
	buf[len] = 0;
	*out = take_ptr(buf);
	return len;
}

int amb_util_write_file(const char *path, const void *data, size_t len, unsigned int mode)
{
	_cleanup_fd_ int fd = -1;
	char tmp[PATH_MAX];
	const char *p = data;
	int err;

	if (snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			goto fail;
		p += n;
		len -= n;
	}
	if (fchmod(fd, mode) || fsync(fd) || rename(tmp, path))
		goto fail;
	return 0;
fail:
	err = errno ? -errno : -EIO;
	unlink(tmp);
	return err;
}

static pthread_once_t fd_once = PTHREAD_ONCE_INIT;
static int fd_first_kept;

static void read_fd_limit(void)
{
	struct rlimit l;

	/* So few that nothing can be kept: then nothing is. */
	fd_first_kept = INT_MAX;
	if (!getrlimit(RLIMIT_NOFILE, &l) && l.rlim_cur > 4 * AMB_UTIL_FDS_KEPT &&
	    l.rlim_cur <= INT_MAX)
		fd_first_kept = l.rlim_cur - AMB_UTIL_FDS_KEPT;
}

bool amb_util_fd_kept(int fd)
{
	pthread_once(&fd_once, read_fd_limit);
	return fd >= fd_first_kept;
}

bool amb_util_fds_used_up(void)
{
	_cleanup_fd_ int fd = open("/", O_PATH | O_CLOEXEC);

	return fd < 0 && (errno == EMFILE || errno == ENFILE);
}

int amb_util_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	return 0;
}
