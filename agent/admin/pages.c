// SPDX-License-Identifier: GPL-2.0-or-later
/* What the HTTP servers say: paths, methods and statuses of ztunnel-interop 8.1. */
#include "http_priv.h"

#include "dump.h"
#include "gzip.h"
#include "metrics.h"

#include "base/log.h"
#include "base/util.h"
#include "proxy/proxy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 16384 /* bytes a stream is asked for at a time */

static const char text_plain[] = "text/plain; charset=utf-8";

static enum MHD_Result answer(struct http_request *r, unsigned int status, const char *type,
			      struct MHD_Response *response, const char *allow)
{
	enum MHD_Result res;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
	res = MHD_queue_response(r->conn, status, response);
	MHD_destroy_response(response);
	r->answered = true;
	return res;
}

static enum MHD_Result say(struct http_request *r, unsigned int status, const char *text)
{
	return answer(r, status, text_plain,
		      MHD_create_response_from_buffer(strlen(text), (void *)text,
						      MHD_RESPMEM_MUST_COPY),
		      NULL);
}

static enum MHD_Result wrong_method(struct http_request *r, const char *allow, const char *text)
{
	return answer(r, MHD_HTTP_METHOD_NOT_ALLOWED, text_plain,
		      MHD_create_response_from_buffer(strlen(text), (void *)text,
						      MHD_RESPMEM_MUST_COPY),
		      allow);
}

static bool is_get(const char *method)
{
	return !strcmp(method, MHD_HTTP_METHOD_GET) || !strcmp(method, MHD_HTTP_METHOD_HEAD);
}

static enum MHD_Result page_index(struct http_request *r)
{
	static const char html[] =
		"<!doctype html><html><head><title>ambientd</title></head><body>"
		"<h1>ambientd</h1><ul>"
		"<li><a href=\"config_dump\">config_dump</a>: workloads, services, policies, "
		"certificates, connections</li>"
		"<li>logging: POST, with ?level= to change it</li>"
		"<li>quitquitquit: POST ends the agent</li>"
		"</ul></body></html>\n";

	return answer(r, MHD_HTTP_OK, "text/html; charset=utf-8",
		      MHD_create_response_from_buffer(strlen(html), (void *)html,
						      MHD_RESPMEM_PERSISTENT),
		      NULL);
}

/* config_dump */

static ssize_t dump_reader(void *cls, uint64_t pos, char *buf, size_t max)
{
	ssize_t n = amb_dump_read(cls, buf, max);

	(void)pos;
	return n > 0 ? n : n ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
}

static void dump_free(void *cls)
{
	amb_dump_destroy(cls);
}

static void dump_ready(void *ctx)
{
	amb_http_resume(ctx);
}

static enum MHD_Result page_dump(struct http_request *r)
{
	struct MHD_Response *response;

	if (r->server->h->stopping)
		return say(r, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting down\n");
	if (!r->dump) {
		r->dump = amb_dump_create(r->server->h->ops, AMB_DUMP_ALL, dump_ready, r);
		if (!r->dump)
			return say(r, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory\n");
	}
	if (!amb_dump_is_ready(r->dump)) {
		amb_http_suspend(r);
		return MHD_YES;
	}
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, dump_reader, r->dump,
						     dump_free);
	if (response)
		r->dump = NULL; /* the response's from here on */
	return answer(r, MHD_HTTP_OK, "application/json", response, NULL);
}

/* logging */

static const char logging_help[] =
	"usage: POST /logging                            (to list the current level)\n"
	"usage: POST /logging?level=<level>              (to change the global level)\n"
	"usage: POST /logging?level=<target>=<level>,... (to change levels of targets)\n"
	"usage: POST /logging?reset[&level=...]          (to go back to the first level)\n"
	"\n"
	"levels: error warn info debug trace off\n";

static enum MHD_Result say_level(struct http_request *r)
{
	char filter[1024], text[1100];

	snprintf(text, sizeof(text), "current log level is %s\n",
		 amb_log_filter(filter, sizeof(filter)));
	return say(r, MHD_HTTP_OK, text);
}

static enum MHD_Result page_logging(struct http_request *r)
{
	const char *level, *reset;
	char before[1024], filter[2100];
	size_t n;

	level = MHD_lookup_connection_value(r->conn, MHD_GET_ARGUMENT_KIND, "level");
	/* "?reset" has no value, and so no way to be told from an absent one but the count. */
	reset = MHD_lookup_connection_value_n(r->conn, MHD_GET_ARGUMENT_KIND, "reset", 5, NULL,
					      NULL) == MHD_YES ?
			r->server->h->first_filter :
			NULL;
	if (!level && !reset)
		return say_level(r);
	n = snprintf(filter, sizeof(filter), "%s,%s",
		     reset ? reset : amb_log_filter(before, sizeof(before)), level ? level : "");
	if (n >= sizeof(filter) || amb_log_set_filter(filter)) {
		n = snprintf(filter, sizeof(filter), "Invalid level provided: %.200s\n%s",
			     level ? level : "", logging_help);
		return say(r, MHD_HTTP_BAD_REQUEST, filter);
	}
	amb_info(ADMIN, "log filter is now %s", amb_log_filter(before, sizeof(before)));
	return say_level(r);
}

/* quitquitquit: the answer comes when the agent ends, from amb_http_destroy(). */
static enum MHD_Result page_quit(struct http_request *r)
{
	const struct amb_admin_ops *ops = r->server->h->ops;

	if (r->quit || !ops->quit || r->server->h->stopping)
		return say(r, MHD_HTTP_OK, "shutdown now\n");
	r->quit = true;
	amb_http_suspend(r);
	ops->quit(ops->ctx);
	return MHD_YES;
}

static enum MHD_Result serve_admin(struct http_request *r, const char *method, const char *path)
{
	bool get = is_get(method), post = !strcmp(method, MHD_HTTP_METHOD_POST);

	if (!strcmp(path, "/"))
		return get ? page_index(r) : wrong_method(r, "GET", "method not allowed\n");
	if (!strcmp(path, "/config_dump"))
		return get ? page_dump(r) : wrong_method(r, "GET", "method not allowed\n");
	if (!strcmp(path, "/logging"))
		return post ? page_logging(r) : wrong_method(r, "POST", logging_help);
	if (!strcmp(path, "/quitquitquit"))
		return post ? page_quit(r) : wrong_method(r, "POST", "method not allowed\n");
	return say(r, MHD_HTTP_NOT_FOUND, "not found\n");
}

/* Metrics */

struct scrape {
	struct amb_scrape *text;
	struct amb_gzip *gzip; /* NULL: as it is */
};

static ssize_t read_text(void *ctx, char *buf, size_t max)
{
	return amb_scrape_read(ctx, buf, max);
}

static ssize_t scrape_reader(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct scrape *s = cls;
	ssize_t n = s->gzip ? amb_gzip_read(s->gzip, buf, max) : amb_scrape_read(s->text, buf, max);

	(void)pos;
	return n > 0 ? n : n ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
}

static void scrape_free(void *cls)
{
	struct scrape *s = cls;

	if (!s)
		return;
	amb_gzip_destroy(s->gzip);
	amb_scrape_destroy(s->text);
	free(s);
}

/* Without memory to compress it, the text goes out as it is. */
static struct scrape *scrape_create(struct amb_metrics *m, bool gzip)
{
	struct scrape *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->text = amb_metrics_scrape(m);
	if (!s->text) {
		free(s);
		return NULL;
	}
	if (gzip)
		s->gzip = amb_gzip_create(read_text, s->text);
	return s;
}

static void told(void *ctx, int err)
{
	struct http_told *t = ctx;

	(void)err;
	if (t->r) {
		t->r->told = NULL;
		amb_http_resume(t->r);
	}
	free(t);
}

/* True when the request has to wait until the live connections told their bytes. */
static bool wait_for_bytes(struct http_request *r)
{
	struct amb_http *h = r->server->h;

	if (r->has_told || h->stopping || !h->ops->proxy)
		return false;
	r->has_told = true;
	r->told = calloc(1, sizeof(*r->told));
	if (!r->told)
		return false;
	r->told->r = r;
	if (h->ops->tell_bytes)
		h->ops->tell_bytes(h->ops->ctx);
	amb_proxy_tell_bytes(h->ops->proxy, told, r->told);
	return r->told;
}

static enum MHD_Result page_metrics(struct http_request *r)
{
	struct amb_metrics *m = r->server->h->ops->metrics;
	struct MHD_Response *response;
	const char *accept, *encodings;
	struct scrape *s;

	if (wait_for_bytes(r)) {
		amb_http_suspend(r);
		return MHD_YES;
	}
	encodings = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND,
						MHD_HTTP_HEADER_ACCEPT_ENCODING);
	s = m ? scrape_create(m, amb_gzip_accepted(encodings)) : NULL;
	if (!s)
		return say(r, MHD_HTTP_SERVICE_UNAVAILABLE, "not available\n");
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, scrape_reader, s,
						     scrape_free);
	if (!response) {
		scrape_free(s);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
	if (s->gzip)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
	accept = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	return answer(r, MHD_HTTP_OK, amb_metrics_content_type(accept), response, NULL);
}

static enum MHD_Result serve_metrics(struct http_request *r, const char *method, const char *path)
{
	if (strcmp(path, "/metrics") && strcmp(path, "/stats/prometheus"))
		return say(r, MHD_HTTP_NOT_FOUND, "not found\n");
	return is_get(method) ? page_metrics(r) : wrong_method(r, "GET", "method not allowed\n");
}

/* Readiness */

static enum MHD_Result page_ready(struct http_request *r)
{
	const struct amb_http *h = r->server->h;
	char text[512];
	size_t n;
	unsigned int i;

	if (!h->ntasks && !h->nameless)
		return say(r, MHD_HTTP_OK, "ready\n");
	n = snprintf(text, sizeof(text), "not ready, pending: ");
	for (i = 0; i < h->ntasks && n < sizeof(text); i++)
		n += snprintf(text + n, sizeof(text) - n, "%s%s", i ? ", " : "", h->tasks[i]);
	if (h->nameless && n < sizeof(text))
		n += snprintf(text + n, sizeof(text) - n, ", and %u more", h->nameless);
	if (n < sizeof(text))
		snprintf(text + n, sizeof(text) - n, "\n");
	return say(r, MHD_HTTP_INTERNAL_SERVER_ERROR, text);
}

static enum MHD_Result serve_ready(struct http_request *r, const char *method, const char *path)
{
	if (strcmp(path, "/healthz/ready"))
		return say(r, MHD_HTTP_NOT_FOUND, "not found\n");
	return is_get(method) ? page_ready(r) : wrong_method(r, "GET", "method not allowed\n");
}

enum MHD_Result amb_http_page(struct http_request *r, const char *method, const char *path)
{
	/* After an answer the library may call once more, with the request's end. */
	if (r->answered)
		return MHD_YES;
	switch (r->server->kind) {
	case HTTP_METRICS:
		return serve_metrics(r, method, path);
	case HTTP_READY:
		return serve_ready(r, method, path);
	default:
		return serve_admin(r, method, path);
	}
}
