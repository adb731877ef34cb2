// SPDX-License-Identifier: GPL-2.0-or-later
/* PEM bundles and DER certificates, over wolfCrypt's parser. */
#include "pem.h"

#include "cleanup.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define BEGIN "-----BEGIN CERTIFICATE-----"
#define END "-----END CERTIFICATE-----"

int amb_pem_read(const char *text, struct amb_pem *out)
{
	struct amb_pem p = { 0 };
	size_t len = strnlen(text, AMB_PEM_BYTES_MAX + 1), used = 0;
	const char *at, *end;
	int n;

	if (len > AMB_PEM_BYTES_MAX)
		return -EFBIG;
	p.store = malloc(len + 1);
	p.cert = calloc(AMB_PEM_CERTS_MAX, sizeof(*p.cert));
	if (!p.store || !p.cert) {
		amb_pem_clear(&p);
		return -ENOMEM;
	}
	for (at = strstr(text, BEGIN); at; at = strstr(end, BEGIN)) {
		end = strstr(at, END);
		n = -1;
		if (end) {
			end += strlen(END);
			n = wc_CertPemToDer((const uint8_t *)at, end - at, p.store + used,
					    len - used, CERT_TYPE);
		}
		if (n <= 0 || p.n == AMB_PEM_CERTS_MAX) {
			amb_pem_clear(&p);
			return n <= 0 ? -EBADMSG : -EFBIG;
		}
		p.cert[p.n++] = (struct amb_der){ p.store + used, n };
		used += n;
	}
	if (!p.n) {
		amb_pem_clear(&p);
		return -ENODATA;
	}
	*out = p;
	return 0;
}

void amb_pem_clear(struct amb_pem *p)
{
	free(p->store);
	free(p->cert);
	*p = (struct amb_pem){ 0 };
}

char *amb_pem_write(const uint8_t *der, size_t len)
{
	size_t room = len * 2 + 128;
	_cleanup_free_ char *text = malloc(room);
	int n;

	if (!text)
		return NULL;
	n = wc_DerToPem(der, len, (uint8_t *)text, room - 1, CERT_TYPE);
	if (n <= 0) {
		errno = EINVAL;
		return NULL;
	}
	text[n] = 0;
	return take_ptr(text);
}

int64_t amb_pem_time(const uint8_t *field, size_t len)
{
	const uint8_t *date;
	uint8_t format;
	struct tm tm;
	int n;

	if (!field || wc_GetDateInfo(field, len, &date, &format, &n) ||
	    wc_GetDateAsCalendarTime(date, n, format, &tm))
		return -1;
	return timegm(&tm);
}

const char *amb_pem_time_text(int64_t t, char *buf)
{
	time_t when = t;
	struct tm tm;

	if (!gmtime_r(&when, &tm) || !strftime(buf, AMB_PEM_TIME_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm))
		strcpy(buf, "?");
	return buf;
}

/* Peers choose these texts, so that nothing but printable ASCII gets into a log. */
static void printable(char *to, size_t room, const char *from, size_t len)
{
	size_t i;

	for (i = 0; i < len && i < room - 1; i++)
		to[i] = from[i] >= ' ' && from[i] < 127 ? from[i] : '?';
	to[i] = 0;
}

static void serial_text(const DecodedCert *dc, char *out, size_t room)
{
	uint64_t v = 0;
	size_t at = 2;
	int i;

	if (dc->serialSz <= 8) {
		for (i = 0; i < dc->serialSz; i++)
			v = v << 8 | dc->serial[i];
		snprintf(out, room, "%" PRIu64, v);
		return;
	}
	memcpy(out, "0x", 3);
	for (i = 0; i < dc->serialSz && at + 3 <= room; i++, at += 2)
		snprintf(out + at, room - at, "%02x", dc->serial[i]);
}

int amb_pem_info(const struct amb_der *cert, struct amb_pem_info *out)
{
	_cleanup_free_ DecodedCert *dc = malloc(sizeof(*dc));
	const DNS_entry *e;
	int err;

	if (!dc)
		return -ENOMEM;
	InitDecodedCert(dc, cert->data, cert->len, NULL);
	err = ParseCert(dc, CERT_TYPE, NO_VERIFY, NULL);
	if (err) {
		FreeDecodedCert(dc);
		return err == MEMORY_E ? -ENOMEM : -EBADMSG;
	}
	memset(out, 0, sizeof(*out));
	serial_text(dc, out->serial, sizeof(out->serial));
	printable(out->subject, sizeof(out->subject), dc->subject, strlen(dc->subject));
	printable(out->issuer, sizeof(out->issuer), dc->issuer, strlen(dc->issuer));
	out->not_before = amb_pem_time(dc->beforeDate, dc->beforeDateLen);
	out->not_after = amb_pem_time(dc->afterDate, dc->afterDateLen);
	out->is_ca = dc->isCA;
	/* The library lists names last first. */
	for (e = dc->altNames; e; e = e->next) {
		if (e->type == ASN_URI_TYPE)
			printable(out->uri, sizeof(out->uri), e->name, e->len);
	}
	FreeDecodedCert(dc);
	return 0;
}
