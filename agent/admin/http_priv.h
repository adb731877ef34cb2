/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the servers (http) and what they say (pages) share. */
#ifndef AMB_HTTP_PRIV_H
#define AMB_HTTP_PRIV_H

#include "http.h"

#include "base/loop.h"

#include <microhttpd.h>

enum http_kind { HTTP_ADMIN, HTTP_ADMIN6, HTTP_METRICS, HTTP_READY, HTTP_KINDS };

struct amb_dump;

struct http_server {
	struct amb_http *h;
	enum http_kind kind;
	struct MHD_Daemon *daemon;
	struct amb_io io;
	struct amb_timer timer;
	struct amb_timer pause; /* the table of descriptors was full */
	struct amb_work work;
};

/* A connection, for the time limit of its head; the library owns the socket. */
struct http_conn {
	struct http_conn *next, **prev;
	uint64_t deadline; /* 0: a request is being answered */
	int fd;
};

/* A request, from the end of its head to the end of its answer. */
struct http_request {
	struct http_request *next, **prev; /* in amb_http.waiting while it is suspended */
	struct http_server *server;
	struct MHD_Connection *conn;
	struct amb_dump *dump;
	struct http_told *told; /* live connections are telling their bytes */
	bool has_told;
	bool waiting, quit, answered;
};

struct amb_http {
	const struct amb_admin_ops *ops;
	struct http_server server[HTTP_KINDS];
	struct http_conn *conns;
	struct amb_timer conns_timer;
	struct http_request *waiting;
	const char *tasks[AMB_HTTP_TASKS];
	unsigned int ntasks, nameless;
	bool stopping; /* nothing may be suspended any more */
	char first_filter[1024]; /* what ?reset goes back to */
};

/* Belongs to the answer that is awaited; the request may end before. */
struct http_told {
	struct http_request *r;
};

/* Answers a request whose body has come, or suspends it. */
enum MHD_Result amb_http_page(struct http_request *r, const char *method, const char *path);

/* Suspends until resume, and back. */
void amb_http_suspend(struct http_request *r);
void amb_http_resume(struct http_request *r);

#endif
