// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What lists name certificates by, and whose keys may sign such a list. A chain was verified before
 * it comes here, so the issuer of each of its certificates that matters is in the chain or among
 * the roots; the peer may have put in others that nobody asked for, which find none.
 */
#include "crl.h"

#include "base/cleanup.h"
#include "crl_priv.h"
#include "signer.h"

#include <errno.h>
#include <stdlib.h>

struct cert {
	const struct amb_der *der;
	struct amb_der serial, issuer, subject, spki;
	struct amb_der authority_key, subject_key; /* identifiers; empty: it has none */
};

static int read_extension(const struct amb_crl_extension *x, struct cert *c)
{
	struct amb_der in = x->value;

	if (amb_crl_extension_is(x, AMB_CRL_OID_AUTHORITY_KEY))
		return amb_crl_authority_key(x, &c->authority_key);
	if (amb_crl_extension_is(x, AMB_CRL_OID_SUBJECT_KEY))
		return amb_der_expect(&in, AMB_DER_OCTETS, &c->subject_key, NULL);
	return 0;
}

/* Extensions of a certificate, whatever stands between. */
static int read_extensions(struct amb_der tbs, struct cert *c)
{
	struct amb_crl_extension x;
	struct amb_der value, seq;
	uint8_t tag;

	while (tbs.len) {
		if (amb_der_next(&tbs, &tag, &value, NULL))
			return -EBADMSG;
		if (tag != AMB_DER_EXPLICIT(3))
			continue;
		if (amb_der_expect(&value, AMB_DER_SEQUENCE, &seq, NULL))
			return -EBADMSG;
		while (seq.len) {
			if (amb_crl_extension(&seq, &x) || read_extension(&x, c))
				return -EBADMSG;
		}
	}
	return 0;
}

/* RFC 5280 4.1 */
static int read_cert(const struct amb_der *der, struct cert *c)
{
	struct amb_der in = *der, outer, tbs, value;

	*c = (struct cert){ .der = der };
	if (amb_der_expect(&in, AMB_DER_SEQUENCE, &outer, NULL) ||
	    amb_der_expect(&outer, AMB_DER_SEQUENCE, &tbs, NULL) ||
	    amb_der_skip(&tbs, AMB_DER_EXPLICIT(0)) ||
	    amb_der_expect(&tbs, AMB_DER_INTEGER, &c->serial, NULL) ||
	    amb_der_expect(&tbs, AMB_DER_SEQUENCE, &value, NULL) ||
	    amb_der_expect(&tbs, AMB_DER_SEQUENCE, &value, &c->issuer) ||
	    amb_der_expect(&tbs, AMB_DER_SEQUENCE, &value, NULL) ||
	    amb_der_expect(&tbs, AMB_DER_SEQUENCE, &value, &c->subject) ||
	    amb_der_expect(&tbs, AMB_DER_SEQUENCE, &value, &c->spki))
		return -EBADMSG;
	c->serial = amb_crl_number(c->serial);
	return read_extensions(tbs, c);
}

/* By name or by key, as the library looks for issuers. */
static bool may_be_issuer(const struct cert *of, const struct cert *c)
{
	return amb_der_equal(&of->issuer, &c->subject) ||
	       (of->authority_key.len && amb_der_equal(&of->authority_key, &c->subject_key));
}

/*
 * Of several, such as roots of one name, the one whose key signed it. Where that cannot be told it
 * is not good: peers may show keys of any name, so that no list would count.
 */
static int signed_by(const struct cert *c, const struct cert *all, size_t n,
		     struct amb_signer **out)
{
	_cleanup_free_ struct amb_signature *sig = NULL;
	struct amb_signer *s;
	size_t i;
	int err = amb_signature_read(c->der, &sig);

	if (err)
		return err == -EOPNOTSUPP ? -EBADMSG : err;
	for (i = 0; i < n; i++) {
		if (!may_be_issuer(c, &all[i]))
			continue;
		s = amb_signer_intern(&all[i].spki);
		if (!s)
			return errno == ENOMEM ? -ENOMEM : -EBADMSG;
		err = amb_signer_made(s, sig);
		if (err > 0) {
			*out = s;
			return 0;
		}
		amb_signer_put(s);
		if (err)
			return err;
	}
	return 0;
}

static int find_signer(const struct cert *c, const struct cert *all, size_t n,
		       struct amb_signer **out)
{
	const struct cert *found = NULL;
	size_t i;

	for (i = 0; i < n; i++) {
		if (!may_be_issuer(c, &all[i]))
			continue;
		if (found && !amb_der_equal(&found->spki, &all[i].spki))
			return signed_by(c, all, n, out);
		found = &all[i];
	}
	if (!found)
		return 0;
	*out = amb_signer_intern(&found->spki);
	return *out ? 0 : errno == ENOMEM ? -ENOMEM : -EBADMSG;
}

static int make_id(const struct cert *c, const struct cert *all, size_t n, struct amb_crl_id *id)
{
	id->cert = amb_crl_hash(&c->issuer, &c->serial);
	if (c->authority_key.len)
		id->key = amb_crl_hash(&c->authority_key, NULL);
	if (!id->cert || (c->authority_key.len && !id->key))
		return -ENOMEM;
	return find_signer(c, all, n, &id->signer);
}

int amb_crl_ids(const struct amb_der *chain, size_t n, const struct amb_pem *roots,
		struct amb_crl_id *out)
{
	size_t nroots = roots ? roots->n : 0, i;
	_cleanup_free_ struct cert *all = calloc(n + nroots, sizeof(*all));
	int err = all ? 0 : -ENOMEM;

	for (i = 0; i < n; i++)
		out[i] = (struct amb_crl_id){ 0 };
	for (i = 0; i < n + nroots && !err; i++)
		err = read_cert(i < n ? &chain[i] : &roots->cert[i - n], &all[i]);
	for (i = 0; i < n && !err; i++)
		err = make_id(&all[i], all, n + nroots, &out[i]);
	if (err)
		amb_crl_ids_put(out, n);
	return err;
}

void amb_crl_ids_put(struct amb_crl_id *ids, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		amb_signer_put(ids[i].signer);
		ids[i].signer = NULL;
	}
}
