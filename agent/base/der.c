// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading DER. Lengths of more than four bytes and tags of more than one are refused. */
#include "der.h"

#include <errno.h>
#include <string.h>

int amb_der_next(struct amb_der *in, uint8_t *tag, struct amb_der *value, struct amb_der *whole)
{
	const uint8_t *start = in->data;
	size_t head = 2, len, i;

	if (in->len < 2 || (start[0] & 0x1f) == 0x1f)
		return -EBADMSG;
	len = start[1];
	if (len & 0x80) {
		size_t bytes = len & 0x7f;

		if (!bytes || bytes > 4 || in->len < 2 + bytes)
			return -EBADMSG;
		for (len = 0, i = 0; i < bytes; i++)
			len = len << 8 | start[2 + i];
		head += bytes;
	}
	if (len > in->len - head)
		return -EBADMSG;
	*tag = start[0];
	*value = (struct amb_der){ start + head, len };
	if (whole)
		*whole = (struct amb_der){ start, head + len };
	in->data += head + len;
	in->len -= head + len;
	return 0;
}

int amb_der_expect(struct amb_der *in, uint8_t want, struct amb_der *value, struct amb_der *whole)
{
	uint8_t tag;

	return amb_der_next(in, &tag, value, whole) ?: tag == want ? 0 : -EBADMSG;
}

bool amb_der_is(const struct amb_der *in, uint8_t tag)
{
	return in->len && in->data[0] == tag;
}

int amb_der_skip(struct amb_der *in, uint8_t tag)
{
	struct amb_der value;

	return amb_der_is(in, tag) ? amb_der_expect(in, tag, &value, NULL) : 0;
}

bool amb_der_equal(const struct amb_der *a, const struct amb_der *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}
