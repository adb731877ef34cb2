/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events of the BPF programs. The ring wakes its reader only when it fills: who wants to know
 * earlier reads it when he does. Loop thread.
 */
#ifndef AMB_EVENTS_H
#define AMB_EVENTS_H

#include "ambient/rows.h"

struct amb_bpf;
struct amb_events;
struct amb_loop;

/* @fn is called in order, one event at a time; the event is valid within the call. */
typedef void amb_events_fn(void *ctx, const struct amb_event *e);

/* NULL: errno. */
struct amb_events *amb_events_create(struct amb_loop *loop, const struct amb_bpf *b,
				     amb_events_fn *fn, void *ctx);
void amb_events_destroy(struct amb_events *ev);

/* Reads what is there. Returns the number of events. */
int amb_events_read(struct amb_events *ev);

#endif
