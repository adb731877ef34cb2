#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The test runner itself: that no broken test passes for a good one. Table: what the file does,
# and the sum that the runner must print for it alone.
set -uo pipefail
run=$(cd "$(dirname "$0")/.." && pwd)/run
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
. "$(dirname "$run")/tap.sh"

# ended SUM STATUS PATTERN: the runner's output, $text, and $status are so.
ended() {
	printf 'status %s, wanted %s and: %s\n%s\n' "$status" "$2" "$1" "$text"
	[ "$(tail -n 1 <<<"$text")" = "$1" ] && [ "$status" -eq "$2" ] && grep -q "$3" <<<"$text"
}

# row DESCRIPTION SUM STATUS: standard input is the script.
row() {
	local file=$dir/t/file text status
	mkdir -p "$dir/t"
	{ echo '#!/bin/bash'; cat; } >"$file"
	chmod +x "$file"
	text=$("$run" -o "$dir/logs" -s "$dir/skips" --group g --timeout 2 "$file" 2>&1)
	status=$?
	check "$1" ended "$2" "$3" "${4:-}"
}

echo "t/file needs a moon" >"$dir/skips"
row "two good results" "2 passed, 0 failed" 0 <<<'echo 1..2; echo ok 1 - a; echo ok 2 - b'
row "plan at the end" "1 passed, 0 failed" 0 <<<'echo ok 1 - a; echo 1..1'
row "a bad result" "1 passed, 1 failed" 1 <<<'echo 1..2; echo ok 1; echo not ok 2; exit 1'
row "a bad result by its name at the end" "1 passed, 1 failed" 1 "^  g: t/file: worse$" \
	<<<'echo 1..2; echo ok 1; echo not ok 2 - worse'
row "of many failures some" "0 passed, 50 failed" 1 "^  and 10 more$" \
	<<<'echo 1..50; for i in {1..50}; do echo not ok $i - bad; done'
row "a bad result and status 0" "0 passed, 1 failed" 1 <<<'echo 1..1; echo not ok 1'
row "a good result and status 3" "1 passed, 1 failed" 1 <<<'echo 1..1; echo ok 1; exit 3'
row "fewer results than planned" "1 passed, 1 failed" 1 <<<'echo 1..2; echo ok 1'
row "more results than planned" "2 passed, 1 failed" 1 <<<'echo 1..1; echo ok 1; echo ok 2'
row "no plan" "1 passed, 1 failed" 1 <<<'echo ok 1'
row "nothing at all" "0 passed, 1 failed" 1 <<<':'
row "killed" "1 passed, 1 failed" 1 <<<'echo 1..2; echo ok 1; kill -SEGV $$'
row "too slow" "1 passed, 1 failed" 1 <<<'echo 1..1; echo ok 1; sleep 60'
row "a skip that is allowed" "1 passed, 0 failed" 0 "^Skipped: 1$" \
	<<<'echo 1..2; echo ok 1; echo "ok 2 # SKIP needs a moon base"'
row "a skip that is not" "1 passed, 1 failed" 1 \
	<<<'echo 1..2; echo ok 1; echo "ok 2 # SKIP needs a sun"'
row "a file skipped, allowed" "0 passed, 0 failed" 0 "^Skipped: 1$" \
	<<<'echo "1..0 # SKIP needs a moon"; exit 4'
row "a file skipped, not allowed" "0 passed, 1 failed" 1 <<<'echo "1..0 # SKIP no"; exit 4'
row "a sanitizer's finding" "1 passed, 1 failed" 1 \
	<<<'echo 1..1; echo ok 1; echo "x.c:1:2: runtime error: shift"'

# Things that a test leaves. A number that no process has is in their names.
gone=$(($(cat /proc/sys/kernel/pid_max) + 1))
# leaves DESCRIPTION COMMAND PATTERN: the test does so, and the runner says it.
leaves() {
	local file=$dir/t/file text status
	printf '#!/bin/bash\n%s\necho 1..1; echo ok 1\n' "$2" >"$file"
	text=$(env -u AMB_RUN LEFT_AFTER=1 "$run" -o "$dir/logs" -s "$dir/skips" --group g "$file" 2>&1)
	status=$?
	check "$1" ended "1 passed, ${4:-1} failed" $((${4:-1} > 0)) "$3"
}
if [ "$(id -u)" -eq 0 ]; then
	leaves "a process that is left" "LEAVES=$dir setsid sleep 60 >/dev/null 2>&1 &
		until grep -q sleep /proc/\$!/comm; do :; done" 'failed: process [0-9]* (sleep 60'
	for p in /proc/[0-9]*; do
		! grep -qsF -- "$dir" "$p/environ" || kill "${p#/proc/}"
	done 2>/dev/null
	leaves "a network namespace that is left" "ip netns add amb$gone-n-a" \
		"failed: network namespace amb$gone-n-a"
	leaves "one that was there before is not counted" : "1 passed" 0
	ip netns del amb$gone-n-a
	leaves "a mount that is left" \
		"mkdir -p /tmp/amb$gone.x/bpf && mount -t bpf bpf /tmp/amb$gone.x/bpf" \
		"failed: mount below /tmp/amb$gone.x" 2
	umount /tmp/amb$gone.x/bpf
	rmdir /tmp/amb$gone.x/bpf /tmp/amb$gone.x
	# What bpftool tells: a link that was there before; the test adds one of a test that lives,
	# one of another program, one without a pin and one of a test that is gone.
	mkdir "$dir/bin"
	cat >"$dir/bin/bpftool" <<-'FAKE'
		#!/bin/bash
		[[ $* != *prog* ]] ||
			exec echo '[{"id":1,"name":"amb_connect4"},{"id":2,"name":"other"}]'
		jq -s . "$(dirname "$0")"/link*
	FAKE
	chmod +x "$dir/bin/bpftool"
	link() { printf '{"id":%d,"prog_id":%d,"pinned":[%s]}\n' "$@"; }
	link 10 1 "\"/tmp/amb$gone.before/l\"" >"$dir/bin/link-before"
	{
		link 11 1 "\"/tmp/amb$$.x/l\""
		link 12 2 ''
		link 13 1 ''
		link 14 1 "\"/tmp/amb$gone.x/l\""
	} >"$dir/new"
	PATH=$dir/bin:$PATH leaves "programs that are left" "mv $dir/new $dir/bin/link-new" \
		"failed: program amb_connect4, pinned /tmp/amb$gone.x/l" 2
	leaves "nothing is left" : "1 passed" 0
fi

# A group that runs elsewhere: the other side is "dir/via COMMAND...", for which $AS stands.
cat >"$dir/via" <<'VIA'
#!/bin/bash
eval "$AS"
echo "# words that are no result"
VIA
chmod +x "$dir/via"
printf '#!/bin/bash\necho 1..1; echo ok 1\n' >"$dir/t/other"
chmod +x "$dir/t/other"
# via DESCRIPTION SUM STATUS AS [PATTERN]: of a good file and of standard input, side by side.
via() {
	local text status
	{ echo '#!/bin/bash'; cat; } >"$dir/t/file"
	text=$(AS=$4 "$run" -o "$dir/logs" -s "$dir/skips" --group g "$dir/t/other" --group there \
		--beside --timeout 2 --env GREETING="a b" --via "$dir/via" "$dir/t/other" \
		"$dir/t/file" 2>&1)
	status=$?
	check "$1" ended "$2" "$3" "${5:-}"
}
good='echo 1..2; echo ok 1; [ "$GREETING" = "a b" ] && echo ok 2'
via "elsewhere: good results" "4 passed, 0 failed" 0 '"$@"' 'ok *there *t/file' <<<"$good"
via "elsewhere: a bad result" "3 passed, 1 failed" 1 '"$@"' '    | words' \
	<<<'echo 1..2; echo ok 1; echo not ok 2 - x; echo words'
via "elsewhere: a skip that is allowed" "2 passed, 0 failed" 0 '"$@"' "^Skipped: 1$" \
	<<<'echo "1..0 # SKIP needs a moon"; exit 4'
via "elsewhere: a skip that is not" "2 passed, 1 failed" 1 '"$@"' \
	<<<'echo "1..0 # SKIP no"; exit 4'
via "elsewhere: too slow" "2 passed, 1 failed" 1 '"$@"' 'timed out after 2 s' <<<'sleep 60'
via "elsewhere: the machine failed after all" "4 passed, 1 failed" 1 \
	'"$@"; echo boom >&2; exit 125' '    | boom' <<<"$good"
via "elsewhere: and why" "4 passed, 1 failed" 1 'echo boom >&2; "$@"; exit 125' \
	'^  there: .*/via: exit status 125: .*boom' <<<"$good"
via "elsewhere: it ended in the middle" "2 passed, 2 failed" 1 '"$@" | head -n 1; exit 125' \
	'not run: t/file' <<<"sleep 1; $good"
via "elsewhere: it ended in the middle and says all is well" "2 passed, 1 failed" 1 \
	'"$@" | head -n 1' 'not run: t/file' <<<"sleep 1; $good"
via "elsewhere: nothing at all" "1 passed, 3 failed" 1 'exit 1' <<<"$good"

tap_end
