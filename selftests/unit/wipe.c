// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory for secrets: what is wiped when, as malloc's otherwise. */
#include "harness.h"
#include "wiped.h"

#include "base/util.h"
#include "base/wipe.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* What was wiped last, as it was. */
static uint8_t last[256];
static size_t nlast;

static void wiped(const void *p, size_t n)
{
	nlast = n;
	memcpy(last, p, AMB_MIN(n, sizeof(last)));
}

static bool aligned(const void *p)
{
	return !((uintptr_t)p % _Alignof(max_align_t));
}

TEST(free_wipes_the_whole)
{
	static const size_t sizes[] = { 0, 1, 15, 16, 17, 255 };
	size_t i;
	void *p;

	for (i = 0; i < AMB_ARRAY_SIZE(sizes); i++) {
		p = amb_wipe_alloc(sizes[i]);
		CHECK(p && aligned(p));
		memset(p, 'k', sizes[i]);
		nlast = SIZE_MAX;
		amb_wipe_free(p);
		CHECK_EQ(nlast, sizes[i]);
		CHECK(!sizes[i] || (last[0] == 'k' && last[sizes[i] - 1] == 'k'));
	}
	nlast = SIZE_MAX;
	amb_wipe_free(NULL);
	CHECK_EQ(nlast, SIZE_MAX);
}

TEST(calloc_is_zero)
{
	uint8_t *p = amb_wipe_calloc(7, 9);
	size_t i;

	CHECK(p && aligned(p));
	for (i = 0; i < 63; i++)
		CHECK_EQ(p[i], 0);
	amb_wipe_free(p);
	CHECK_EQ(nlast, 63);
}

TEST(realloc_leaves_nothing)
{
	char *p = amb_wipe_realloc(NULL, 4);

	CHECK(p && aligned(p));
	memcpy(p, "abcd", 4);
	/* Larger, the same, smaller. */
	p = amb_wipe_realloc(p, 8);
	CHECK(p && aligned(p) && !memcmp(p, "abcd", 4));
	CHECK(nlast == 4 && !memcmp(last, "abcd", 4));
	memcpy(p, "efghijkl", 8);
	nlast = SIZE_MAX;
	CHECK(amb_wipe_realloc(p, 8) == p);
	CHECK_EQ(nlast, SIZE_MAX);
	p = amb_wipe_realloc(p, 3);
	CHECK(p && !memcmp(p, "efg", 3));
	CHECK(nlast == 8 && !memcmp(last, "efghijkl", 8));
	amb_wipe_free(p);
	CHECK(nlast == 3 && !memcmp(last, "efg", 3));
}

TEST(too_much_is_refused)
{
	char *p = amb_wipe_alloc(3), *q;

	CHECK(p);
	strcpy(p, "ab");
	errno = 0;
	CHECK(!amb_wipe_alloc(SIZE_MAX));
	CHECK_EQ(errno, ENOMEM);
	CHECK(!amb_wipe_alloc(SIZE_MAX - 8));
	errno = 0;
	CHECK(!amb_wipe_calloc(SIZE_MAX / 2, 3));
	CHECK_EQ(errno, ENOMEM);
	/* What there was stays. */
	q = amb_wipe_realloc(p, SIZE_MAX);
	CHECK(!q);
	CHECK_STR(p, "ab");
	amb_wipe_free(p);
}

TEST(text)
{
	char *none = NULL, *text = strdup("secret");

	amb_wipe_text(&text);
	CHECK(nlast == 6 && !memcmp(last, "secret", 6));
	amb_wipe_text(&none);
}

int main(void)
{
	return harness_run();
}
