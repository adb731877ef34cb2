/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading DER (X.690), element by element, without a copy. Pure. */
#ifndef AMB_DER_H
#define AMB_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct amb_der {
	const uint8_t *data;
	size_t len;
};

#define AMB_DER_BOOL 0x01
#define AMB_DER_INTEGER 0x02
#define AMB_DER_BITS 0x03
#define AMB_DER_OCTETS 0x04
#define AMB_DER_OID 0x06
#define AMB_DER_UTC_TIME 0x17
#define AMB_DER_GENERAL_TIME 0x18
#define AMB_DER_SEQUENCE 0x30
#define AMB_DER_CONTEXT(n) (0x80 | (n)) /* [n] IMPLICIT of something primitive */
#define AMB_DER_EXPLICIT(n) (0xa0 | (n))

/*
 * Takes the next element of @in off: its tag, its value, and (unless NULL) all of it. 0, or
 * -EBADMSG: there is none, it is not whole, or its head is of a form that nobody uses.
 */
int amb_der_next(struct amb_der *in, uint8_t *tag, struct amb_der *value, struct amb_der *whole);
/* The same of one that has to have this tag. */
int amb_der_expect(struct amb_der *in, uint8_t want, struct amb_der *value, struct amb_der *whole);
/* Does one with this tag come next? */
bool amb_der_is(const struct amb_der *in, uint8_t tag);
/* Takes one off that may be there. 0 or -EBADMSG. */
int amb_der_skip(struct amb_der *in, uint8_t tag);

/* The same bytes? */
bool amb_der_equal(const struct amb_der *a, const struct amb_der *b);

#endif
