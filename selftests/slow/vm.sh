#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# scripts/vm from outside: its status is the command's, or tells what became of the VM, and nothing
# is left of a VM, however it ends.
# shellcheck source=selftests/lib.sh
. "$(dirname "$0")/../lib.sh"

KERNEL=6.12
OUT=$TMP/shared
TMPDIR=$TMP/tmp
mkdir "$TMPDIR"
export TMPDIR
# boot NAME TIMEOUT SCRIPT: in the background; what comes of it is in NAME.out, .err and .status.
boot() {
	{
		"$TOP/scripts/vm" run $KERNEL --cpus 1 --timeout "$2" --out "$OUT" -- bash -c "$3" \
			>"$TMP/$1.out" 2>"$TMP/$1.err"
		echo $? >"$TMP/$1.status"
	} &
	LAST_PID=$!
}
status() { cat "$TMP/$1.status"; }
says() { grep -qF -- "$2" "$TMP/$1.err" || { cat "$TMP/$1.err"; false; }; }
has_line() { grep -qF -- "$2" "$TMP/$1.out"; }
# Processes that know the name of our directory: qemu and what it runs under.
qemus() { pgrep -f "qemu-system.*$TMPDIR/" | wc -l; }
nothing_left() { [ "$(qemus)" -eq 0 ]; }

boot good 300 "echo \$PWD; touch $TOP/left-by-vm; cat $TMP/unseen; printf 'a\r\n\0\377b'
	echo result >$OUT/result; exit 7"
boot panics 300 'echo before; echo c >/proc/sysrq-trigger; sleep 1000'
wait
is "the status is the command's" "$(status good)" 7
is "what the command prints arrives, byte for byte" "$(tail -c 6 "$TMP/good.out" | od -An -tx1)" \
	" 61 0d 0a 00 ff 62"
check "it ran in our directory" has_line good "$PWD"
check "the VM has a /tmp of its own" has_line good "$TMP/unseen: No such file"
check "what it wrote stays in the VM" test ! -e "$TOP/left-by-vm"
is "but what it wrote below --out" "$(cat "$OUT/result")" result
is "a panic is a failure" "$(status panics)" 125
check "and named" says panics "vm: $KERNEL: the kernel panicked: Kernel panic - not syncing: sysrq"
check "with what the kernel said" says panics "Kernel panic - not syncing: sysrq"
check "what was printed before it is there" has_line panics before

boot complains 300 'echo "WARNING: made up" >/dev/kmsg'
boot sleeps 20 'sleep 1000'
wait
is "a complaint of the kernel is a failure" "$(status complains)" 125
check "and named" says complains "status was 0): WARNING: made up"
check "and shown" says complains "WARNING: made up"
is "too long is a failure" "$(status sleeps)" 124
check "and named" says sleeps "timed out after 20 s"
is "no file is left" "$(find "$TMPDIR" -mindepth 1)" ""

boot ended 300 'echo up; sleep 1000'
check "a VM runs" busywait has_line ended up
is "as one qemu" "$(pgrep -fc "^qemu-system.*$TMPDIR/")" 1
pkill -TERM -P "$LAST_PID" -f scripts/vm
check "SIGTERM ends it" busywait test -s "$TMP/ended.status"
is "with the status of that" "$(status ended)" 143
check "no process is left" nothing_left
is "no file either" "$(find "$TMPDIR" -mindepth 1)" ""

boot killed 300 'echo up; sleep 1000'
check "another VM runs" busywait has_line killed up
pkill -KILL -P "$LAST_PID" -f scripts/vm
check "SIGKILL leaves no process" busywait nothing_left
finish
