// SPDX-License-Identifier: GPL-2.0-or-later
/* Texts of ways and reasons: one table for log, counters and tools. */
#include "reason.h"

#define AMB_X(n, id, text) [n] = text,
static const char *const reasons[] = { AMB_REASONS(AMB_X) };
static const char *const ways[] = { AMB_WAYS(AMB_X) };
#undef AMB_X

const char *amb_reason_text(enum amb_reason reason)
{
	return (unsigned int)reason < AMB_REASON_MAX ? reasons[reason] : "unknown";
}

const char *amb_reason_way_text(enum amb_way way)
{
	return (unsigned int)way < AMB_WAY_MAX ? ways[way] : "unknown";
}
