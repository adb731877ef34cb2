// SPDX-License-Identifier: GPL-2.0-or-later
/* ZDS packets read and written: pure, no I/O. */
#include "zds_packet.h"

#include "zds.pb-c.h"

#include "base/util.h"

#include <errno.h>
#include <stdio.h>

_Static_assert(AMB_ZDS_ERROR_MAX + 16 < AMB_ZDS_PACKET_MAX, "an answer fits into a packet");

/*
 * Names become parts of a SPIFFE ID, paths of log lines and keys of tables, so nothing but
 * visible ASCII, and no slash. What a Kubernetes API server lets through is narrower.
 */
static bool is_name(const char *s)
{
	const char *c;

	for (c = s; *c; c++) {
		if (*c <= ' ' || *c > '~' || *c == '/')
			return false;
	}
	return c != s;
}

static int read_add(struct amb_zds_packet *p, const Istio__Workload__Zds__AddWorkload *add,
		    unsigned int nfds, const char **why)
{
	const Istio__Workload__Zds__WorkloadInfo *info = add->workload_info;

	if (!info || nfds != 1) {
		*why = !info ? "a pod without a name" :
		       nfds  ? "a pod with more than one descriptor" :
			       "a pod without its network namespace";
		return -EPROTO;
	}
	p->kind = AMB_ZDS_ADD;
	p->uid = add->uid;
	p->ns = info->namespace_;
	p->name = info->name;
	p->sa = info->service_account;
	if (!is_name(p->uid) || !is_name(p->ns) || !is_name(p->name) || !is_name(p->sa))
		p->fault = "uid, namespace, name and service account have to be names";
	return 0;
}

static int read_other(struct amb_zds_packet *p, const Istio__Workload__Zds__WorkloadRequest *r)
{
	switch (r->payload_case) {
	case ISTIO__WORKLOAD__ZDS__WORKLOAD_REQUEST__PAYLOAD_DEL:
		p->kind = AMB_ZDS_DEL;
		p->uid = r->del->uid;
		return 0;
	case ISTIO__WORKLOAD__ZDS__WORKLOAD_REQUEST__PAYLOAD_KEEP:
		p->kind = AMB_ZDS_KEEP;
		p->uid = r->keep->uid;
		return 0;
	case ISTIO__WORKLOAD__ZDS__WORKLOAD_REQUEST__PAYLOAD_SNAPSHOT_SENT:
		p->kind = AMB_ZDS_SNAPSHOT_SENT;
		return 0;
	default:
		p->kind = AMB_ZDS_UNKNOWN;
		return 0;
	}
}

int amb_zds_packet_read(struct amb_zds_packet *p, const void *data, size_t len, unsigned int nfds,
			const char **why)
{
	Istio__Workload__Zds__WorkloadRequest *r;
	int err;

	r = istio__workload__zds__workload_request__unpack(NULL, len, data);
	if (!r) {
		*why = "a packet that cannot be read";
		return -EPROTO;
	}
	*p = (struct amb_zds_packet){ .uid = "", .message = r };
	if (r->payload_case == ISTIO__WORKLOAD__ZDS__WORKLOAD_REQUEST__PAYLOAD_ADD) {
		err = read_add(p, r->add, nfds, why);
	} else {
		err = read_other(p, r);
		/* A later version may send one with what we do not know. */
		if (nfds && p->kind != AMB_ZDS_UNKNOWN) {
			*why = "a descriptor with a request that takes none";
			err = -EPROTO;
		}
	}
	if (err)
		amb_zds_packet_uninit(p);
	return err;
}

void amb_zds_packet_uninit(struct amb_zds_packet *p)
{
	istio__workload__zds__workload_request__free_unpacked(p->message, NULL);
	*p = (struct amb_zds_packet){ .uid = "" };
}

size_t amb_zds_packet_hello(uint8_t buf[AMB_ZDS_PACKET_MAX])
{
	Istio__Workload__Zds__ZdsHello hello = ISTIO__WORKLOAD__ZDS__ZDS_HELLO__INIT;

	hello.version = ISTIO__WORKLOAD__ZDS__VERSION__V1;
	return istio__workload__zds__zds_hello__pack(&hello, buf);
}

size_t amb_zds_packet_answer(const char *error, uint8_t buf[AMB_ZDS_PACKET_MAX])
{
	Istio__Workload__Zds__WorkloadResponse response =
		ISTIO__WORKLOAD__ZDS__WORKLOAD_RESPONSE__INIT;
	Istio__Workload__Zds__Ack ack = ISTIO__WORKLOAD__ZDS__ACK__INIT;
	char text[AMB_ZDS_ERROR_MAX + 1];

	snprintf(text, sizeof(text), "%s", error ? error : "");
	ack.error = text;
	response.payload_case = ISTIO__WORKLOAD__ZDS__WORKLOAD_RESPONSE__PAYLOAD_ACK;
	response.ack = &ack;
	return istio__workload__zds__workload_response__pack(&response, buf);
}
