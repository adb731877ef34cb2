# SPDX-License-Identifier: GPL-2.0-or-later
# How often a byte is copied on its way through sockets, on behalf of programs and of the kernel:
# probes at what copies for TCP and kernel TLS, with a histogram of each program. To be sourced, for
# use in a VM: the probes are the whole machine's.

COPIES_TRACE=/sys/kernel/tracing
# Reads of TCP, and of records that were not opened in place; writes to TCP, but for those of kernel
# TLS, which hands over pages; writes to kernel TLS that it copies before it encrypts.
COPIES_PROBES=(
	"p:copies/read skb_copy_datagram_iter bytes=\$arg4:s32"
	"r:copies/write tcp_sendmsg bytes=\$retval:s32"
	"p:copies/tls_write sk_msg_memcopy_from_iter bytes=\$arg4:s32"
)
COPIES_TRIGGER="hist:keys=common_pid.execname:vals=bytes if bytes > 0"

copies_names() { printf '%s\n' "${COPIES_PROBES[@]}" | sed 's,.:copies/\([^ ]*\).*,\1,'; }

# copies_begin: fails where the kernel cannot.
copies_begin() {
	local p
	[ -w $COPIES_TRACE/kprobe_events ] || return
	for p in "${COPIES_PROBES[@]}"; do
		echo "$p" >>$COPIES_TRACE/kprobe_events || return
	done
	for p in $(copies_names); do
		echo "$COPIES_TRIGGER" >$COPIES_TRACE/events/copies/"$p"/trigger || return
	done
}

# copies_end: for each byte that amb-traffic wrote, how many all programs have copied since then.
copies_end() {
	local p
	for p in $(copies_names); do
		sed "s/^/$p /" $COPIES_TRACE/events/copies/"$p"/hist
		echo "!$COPIES_TRIGGER" >$COPIES_TRACE/events/copies/"$p"/trigger
		echo "-:copies/$p" >>$COPIES_TRACE/kprobe_events
	done | awk '/ bytes: / {
			all += $NF
			if ($1 == "write" && / amb-traffic /)
				sent += $NF
		}
		END { if (sent) printf "%.3f\n", all / sent; else print "null" }'
}
