/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small TAP harness for C tests: data tables and behaviours.
 *
 *   TEST(name) { CHECK(cond); CHECK_EQ(a, b); CHECK_STR(a, b); }
 *   int main(void) { return harness_run(); }
 *
 * Each TEST is one TAP line; a failed check says where and goes on with the next test.
 */
#ifndef SELFTESTS_HARNESS_H
#define SELFTESTS_HARNESS_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct harness_test {
	const char *name;
	void (*fn)(void);
	struct harness_test *next;
};

static struct harness_test *harness_first, **harness_last = &harness_first;
static const char *harness_case = "";
static int harness_failed;
static jmp_buf harness_out;

__attribute__((unused)) static void harness_add(struct harness_test *t)
{
	*harness_last = t;
	harness_last = &t->next;
}

#define TEST(id)                                                                                 \
	static void test_##id(void);                                                             \
	static struct harness_test harness_##id = { #id, test_##id, NULL };                      \
	__attribute__((constructor)) static void harness_ctor_##id(void)                         \
	{                                                                                        \
		harness_add(&harness_##id);                                                      \
	}                                                                                        \
	static void test_##id(void)

/* Names the row of a table that is being looked at, for the message of a failed check. */
#define CASE(text) (harness_case = (text))

#define CHECK(cond)                                                                              \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			printf("# %s:%d: [%s] not true: %s\n", __FILE__, __LINE__, harness_case, \
			       #cond);                                                           \
			harness_failed = 1;                                                      \
			longjmp(harness_out, 1);                                                 \
		}                                                                                \
	} while (0)

#define CHECK_EQ(a, b)                                                                           \
	do {                                                                                     \
		long long _va = (long long)(a), _vb = (long long)(b);                            \
		if (_va != _vb) {                                                                \
			printf("# %s:%d: [%s] %s is %lld, not %lld (%s)\n", __FILE__, __LINE__,  \
			       harness_case, #a, _va, _vb, #b);                                  \
			harness_failed = 1;                                                      \
			longjmp(harness_out, 1);                                                 \
		}                                                                                \
	} while (0)

#define CHECK_STR(a, b)                                                                          \
	do {                                                                                     \
		const char *_va = (a), *_vb = (b);                                               \
		if (!_va || !_vb || strcmp(_va, _vb)) {                                          \
			printf("# %s:%d: [%s] %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__,   \
			       harness_case, #a, _va ? _va : "(null)", _vb ? _vb : "(null)");    \
			harness_failed = 1;                                                      \
			longjmp(harness_out, 1);                                                 \
		}                                                                                \
	} while (0)

/* Apart from the loop, whose variables a longjmp must not clobber. */
__attribute__((unused, noinline)) static void harness_one(const struct harness_test *t)
{
	harness_failed = 0;
	harness_case = "";
	if (!setjmp(harness_out))
		t->fn();
}

__attribute__((unused)) static int harness_run(void)
{
	struct harness_test *t;
	int n = 0, bad = 0;

	for (t = harness_first; t; t = t->next)
		n++;
	printf("TAP version 13\n1..%d\n", n);
	n = 0;
	for (t = harness_first; t; t = t->next) {
		harness_one(t);
		bad += harness_failed;
		printf("%sok %d - %s\n", harness_failed ? "not " : "", ++n, t->name);
		fflush(stdout);
	}
	return bad ? 1 : 0;
}

#endif
