#!/usr/bin/env bash
# rrdtool 1.7.2 (Debian 12, package rrdtool 1.7.2-4+b8) driven through its pipe mode (`rrdtool -`), as a collector does.
#
# Expected: each command is answered with OK or ERROR according to what it did; a refused update changes nothing; the exit status tells
# whether anything failed; `fetch` ends at the end that was asked for.
# Seen:
#   - an `update` without arguments and an empty line are answered with the usage text and then with "OK", so a collector that built an
#     empty command line is told that it worked;
#   - an `update` with three values whose second one is too old says ERROR, has kept the first and drops the third: it is neither whole nor
#     nothing, and sending all three again fails at the first;
#   - the process ends with status 0 although errors were answered;
#   - `fetch -s 1000000200 -e 1000000800` with a step of 300 has a last row for 1000001100, after the end.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
absent() { echo "rrdtool-pipe-mode-answers: the packages could not be had: $*" >&2; exit 2; }
changed() { echo "rrdtool-pipe-mode-answers: changed: $*" >&2; exit 1; }

mkdir "$work/debs" "$work/root"
(cd "$work/debs" && apt-get download rrdtool=1.7.2-4+b8 librrd8=1.7.2-4+b8 >/dev/null 2>&1) || absent rrdtool 1.7.2-4+b8
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root" || absent "$deb"; done
libraries=$(dirname "$(find "$work/root" -name 'librrd.so.8' | head -1)")
rrdtool() { LD_LIBRARY_PATH=$libraries "$work/root/usr/bin/rrdtool" "$@"; }
rrdtool --version >/dev/null 2>&1 || absent 'a library that librrd8 needs (libdbi1, libpango-1.0-0, libcairo2, libxml2)'
cd "$work" || exit 2

answer() { printf '%s\n' "$@" quit | rrdtool -; }
answer 'create a.rrd --start 1000000200 --step 300 DS:x:GAUGE:600:U:U RRA:AVERAGE:0.5:1:10' | grep -q '^OK' || changed 'create'

answer 'update' | grep -q '^Usage: rrdtool' || changed 'no usage text for an update without arguments'
[ "$(answer 'update' | grep -c '^OK')" = 1 ] || changed 'an update without arguments is not OK any more'
[ "$(answer '' | grep -c '^OK')" = 1 ] || changed 'an empty line is not OK any more'

text=$(answer 'update a.rrd 1000000500:1 1000000400:2 1000000800:3')
status=$?
grep -q '^ERROR: .*illegal attempt to update using time 1000000400' <<<"$text" || changed "update: $text"
[ "$status" = 0 ] || changed "the pipe ended with $status"
[ "$(rrdtool last a.rrd)" = 1000000500 ] || changed "the last update is $(rrdtool last a.rrd)"

rows=$(rrdtool fetch a.rrd AVERAGE -s 1000000200 -e 1000000800 | grep -o '^[0-9]*' | paste -sd' ')
[ "$rows" = '1000000500 1000000800 1000001100' ] || changed "fetch has the rows $rows"
echo "as stated: usage and OK for an empty update, half an update kept, status 0 after errors, a row after the end ($rows)"
