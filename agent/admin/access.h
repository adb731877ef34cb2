/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The access log: one line a connection, fields and levels of ztunnel-interop 7.4. */
#ifndef AMB_ACCESS_H
#define AMB_ACCESS_H

#include "proxy/flow.h"

/* All of them are cheap when the filter has the line switched off. Any thread. */

/* "connection opened", debug. */
void amb_access_opened(const struct amb_flow *f);
/* "connection complete": info, or error when the flow has an error or a flag. */
void amb_access_closed(const struct amb_flow *f);
/* "connection failed", warn: an early reject. */
void amb_access_failed(const struct amb_flow *f);

#endif
