// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificates as JSON: what they say, and the text itself in base64 as istioctl wants it. */
#include "shape.h"

#include "base/cleanup.h"
#include "base/pem.h"
#include "proxy/creds.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <stdlib.h>
#include <string.h>

#define SERIAL_MAX 64 /* hexadecimal digits of a serial number */

/* Long serials come as 0x...; istioctl reads decimal only. */
static json_t *serial(const char *text)
{
	uint8_t num[SERIAL_MAX];
	char out[SERIAL_MAX * 2 + 1], *p = out + sizeof(out) - 1;
	size_t n = 0, i;
	bool more;

	if (strncmp(text, "0x", 2))
		return json_string(text);
	for (text += 2; *text && n < sizeof(num); text++) {
		const char *at = strchr("0123456789abcdef", *text | 0x20);

		if (!at)
			return json_string("");
		num[n++] = at - "0123456789abcdef";
	}
	*p = 0;
	do {
		unsigned int rest = 0;

		more = false;
		for (i = 0; i < n; i++) {
			rest = rest << 4 | num[i];
			num[i] = rest / 10;
			rest %= 10;
			more |= num[i];
		}
		*--p = '0' + rest;
	} while (more && p > out);
	return json_string(p);
}

static json_t *base64(const char *text)
{
	size_t n = strlen(text);
	word32 len = (n + 2) / 3 * 4 + 1;
	_cleanup_free_ char *out = malloc(len);

	if (!out || Base64_Encode_NoNl((const byte *)text, n, (byte *)out, &len))
		return json_string("");
	return json_stringn(out, strnlen(out, len));
}

static json_t *certificate(const struct amb_der *der)
{
	_cleanup_free_ char *pem = amb_pem_write(der->data, der->len);
	char time[AMB_PEM_TIME_LEN];
	struct amb_pem_info info;
	json_t *o;

	if (!pem || amb_pem_info(der, &info))
		return NULL;
	o = json_object();
	json_object_set_new(o, "pem", base64(pem));
	json_object_set_new(o, "serialNumber", serial(info.serial));
	json_object_set_new(o, "validFrom", json_string(amb_pem_time_text(info.not_before, time)));
	json_object_set_new(o, "expirationTime",
			    json_string(amb_pem_time_text(info.not_after, time)));
	return o;
}

static json_t *chain(const char *text)
{
	json_t *array = json_array();
	struct amb_pem pem = { 0 };
	size_t i;

	if (text && !amb_pem_read(text, &pem)) {
		for (i = 0; i < pem.n; i++) {
			json_t *c = certificate(&pem.cert[i]);

			if (c)
				json_array_append_new(array, c);
		}
	}
	amb_pem_clear(&pem);
	return array;
}

json_t *amb_shape_certificate(const struct amb_cred_info *info)
{
	json_t *o = json_object();

	json_object_set_new(o, "identity", amb_shape_string(info->id->spiffe));
	json_object_set_new(o, "state", amb_shape_string(info->state));
	json_object_set_new(o, "certChain", chain(info->chain_pem));
	json_object_set_new(o, "rootCerts", chain(info->roots_pem));
	return o;
}
