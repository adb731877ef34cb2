/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts of ways and reasons: one table for log, counters and tools. */
#ifndef AMB_BASE_REASON_H
#define AMB_BASE_REASON_H

#include "ambient/reason.h"

/* Never NULL; "unknown" for a number out of range. */
const char *amb_reason_text(enum amb_reason reason);
const char *amb_reason_way_text(enum amb_way way);

#endif
