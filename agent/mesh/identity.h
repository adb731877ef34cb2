/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SPIFFE identities of workloads, interned: one object per identity, compared by pointer. */
#ifndef AMB_IDENTITY_H
#define AMB_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * spiffe://<td>/ns/<ns>/sa/<sa>. Immutable; counted. Two identities are equal exactly when
 * their pointers are.
 */
struct amb_identity {
	uint32_t number; /* of no other identity of this process, never 0: BPF uses it too */
	uint16_t td_len, ns_len, sa_len;
	const char *td, *ns, *sa; /* NUL-terminated, inside the object */
	char spiffe[]; /* the whole URI; spiffe + 9 is the form policies compare */
};

#define AMB_IDENTITY_MAX 1024 /* bytes of the URI, NUL included; longer is refused */

/* Returns a reference, or NULL (errno EINVAL for a part that is empty or holds '/', ENOMEM). */
struct amb_identity *amb_identity_intern(const char *td, const char *ns, const char *sa);

/*
 * Same, but an empty namespace or service account is taken: what a workload without them has.
 * No peer can show such an identity, since amb_identity_parse() refuses it.
 */
struct amb_identity *amb_identity_workload(const char *td, const char *ns, const char *sa);

/* Same from the URI; exactly the shape above is accepted (reference 4.2). @len without NUL. */
struct amb_identity *amb_identity_parse(const char *uri, size_t len);

/* Any thread, lock-free unless the last reference goes. NULL is accepted. */
struct amb_identity *amb_identity_get(struct amb_identity *id);
void amb_identity_put(struct amb_identity *id);

#define AMB_IDENTSET_INLINE 4
/* A set of identities that a peer may have; each entry holds a reference. */
struct amb_identset {
	uint32_t n;
	struct amb_identity *inl[AMB_IDENTSET_INLINE];
	struct amb_identity **more; /* all n of them when n > AMB_IDENTSET_INLINE */
};

/* Adds (takes its own reference, ignores doubles). 0 or -ENOMEM. */
int amb_identset_add(struct amb_identset *set, struct amb_identity *id);
bool amb_identset_has(const struct amb_identset *set, const struct amb_identity *id);
struct amb_identity *amb_identset_at(const struct amb_identset *set, uint32_t i);
bool amb_identset_eq(const struct amb_identset *a, const struct amb_identset *b);
int amb_identset_copy(struct amb_identset *to, const struct amb_identset *from);
void amb_identset_clear(struct amb_identset *set);

#endif
