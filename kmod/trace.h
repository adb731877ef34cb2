/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints, below events/hbone. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hbone

#if !defined(HBONE_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define HBONE_TRACE_H

#include <linux/tracepoint.h>

#include "h2frame.h"

TRACE_EVENT(hbone_rx_frame,
	TP_PROTO(u32 conn, const struct hbone_h2_event *ev),
	TP_ARGS(conn, ev),
	TP_STRUCT__entry(
		__field(u32, conn)
		__field(u32, stream)
		__field(u32, length)
		__field(u32, piece)
		__field(u32, value)
		__field(u8, type)
	),
	TP_fast_assign(
		__entry->conn = conn;
		__entry->stream = ev->stream;
		__entry->length = ev->length;
		__entry->piece = ev->n;
		__entry->value = ev->value;
		__entry->type = ev->type;
	),
	TP_printk("conn=%u stream=%u type=%u length=%u piece=%u value=%u", __entry->conn,
		  __entry->stream, __entry->type, __entry->length, __entry->piece, __entry->value)
);

TRACE_EVENT(hbone_tx_data,
	TP_PROTO(u32 conn, u32 stream, u32 length, u8 flags),
	TP_ARGS(conn, stream, length, flags),
	TP_STRUCT__entry(
		__field(u32, conn)
		__field(u32, stream)
		__field(u32, length)
		__field(u8, flags)
	),
	TP_fast_assign(
		__entry->conn = conn;
		__entry->stream = stream;
		__entry->length = length;
		__entry->flags = flags;
	),
	TP_printk("conn=%u stream=%u length=%u flags=%x", __entry->conn, __entry->stream,
		  __entry->length, __entry->flags)
);

TRACE_EVENT(hbone_stream_close,
	TP_PROTO(u32 conn, u32 stream, u32 reason, u32 code),
	TP_ARGS(conn, stream, reason, code),
	TP_STRUCT__entry(
		__field(u32, conn)
		__field(u32, stream)
		__field(u32, reason)
		__field(u32, code)
	),
	TP_fast_assign(
		__entry->conn = conn;
		__entry->stream = stream;
		__entry->reason = reason;
		__entry->code = code;
	),
	TP_printk("conn=%u stream=%u reason=%u code=%d", __entry->conn, __entry->stream,
		  __entry->reason, __entry->code)
);

TRACE_EVENT(hbone_conn_end,
	TP_PROTO(u32 conn, u32 reason, u32 code, int error),
	TP_ARGS(conn, reason, code, error),
	TP_STRUCT__entry(
		__field(u32, conn)
		__field(u32, reason)
		__field(u32, code)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->conn = conn;
		__entry->reason = reason;
		__entry->code = code;
		__entry->error = error;
	),
	TP_printk("conn=%u reason=%u code=%u error=%d", __entry->conn, __entry->reason,
		  __entry->code, __entry->error)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
