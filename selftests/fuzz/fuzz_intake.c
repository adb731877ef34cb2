// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Answers of a control plane into a state, several in a row: a byte that says what becomes of
 * the next (0: it breaks off in the middle), two of its length, the answer. Nothing is seen
 * before an answer's end, and nothing of one that fails.
 */
#include "fuzz.h"

#include "control/intake.h"
#include "mesh/state.h"

static void check_result(const struct amb_intake_result *r, const struct amb_state *st,
			 uint64_t before)
{
	PROMISE(!r->nack == !r->refused);
	PROMISE(r->refused <= r->resources && amb_state_version(st) <= before + 1);
	PROMISE(!r->nack || (*r->nack && strlen(r->nack) < AMB_INTAKE_NACK_MAX));
	PROMISE(r->type != AMB_XDS_OTHER || amb_state_version(st) == before);
	PROMISE(amb_xds_type_of(r->type_url) == r->type);
}

static void answer(struct amb_intake *in, struct amb_state *st, uint8_t how, const uint8_t *data,
		   size_t size)
{
	uint64_t before = amb_state_version(st);
	size_t cut = how ? size : size / 2, step = how % 61 + 1, at = 0;
	struct amb_intake_result r;
	int err = 0;

	amb_intake_begin(in, size);
	while (at < cut && !err) {
		size_t n = cut - at < step ? cut - at : step;

		err = amb_intake_feed(in, data + at, n);
		at += n;
	}
	PROMISE(amb_state_version(st) == before);
	if (!err && how)
		err = amb_intake_end(in, &r);
	if (!err && how) {
		check_result(&r, st, before);
	} else {
		amb_intake_drop(in);
		PROMISE(amb_state_version(st) == before);
	}
}

/*
 * What is held can be walked and found again. (That the state has only what is held cannot be
 * promised: a resource whose name is not its own key is removed by that name, not from the state.)
 */
static void check_held(struct amb_intake *in, enum amb_xds_type type)
{
	const struct amb_held *held = amb_intake_held(in, type);
	struct amb_held_entry *e;
	size_t at = 0, n = 0;

	while ((e = amb_held_next(held, &at))) {
		PROMISE(amb_held_find(held, e->name) == e);
		n++;
	}
	PROMISE(n == held->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amb_state_config config = { .node = "node" };
	static bool registered;
	struct amb_intake *in;
	struct amb_state *st;

	if (!registered)
		urcu_memb_register_thread();
	registered = true;
	st = amb_state_create(&config);
	in = st ? amb_intake_create(st) : NULL;
	PROMISE(in);
	amb_intake_stream(in, true);
	while (size >= 3) {
		uint8_t how = data[0];
		size_t len = data[1] << 8 | data[2];

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		answer(in, st, how, data, len);
		data += len;
		size -= len;
	}
	check_held(in, AMB_XDS_ADDRESS);
	check_held(in, AMB_XDS_AUTHORIZATION);
	amb_intake_destroy(in);
	amb_state_destroy(st);
	PROMISE(!amb_str_count());
	return 0;
}
