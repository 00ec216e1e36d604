#!/usr/bin/env bash
# pycron 3.3.0 (PyPI), cronosjs 1.7.1 and @datasert/cronjs-matcher 1.4.0 with its parser 1.4.0 (npm): Sunday as 7.
#
# Expected: `5-7` and `fri-sun` are Friday, Saturday and Sunday, and `0-7` is each day, as Debian's cron, cronsim and
#   croniter read them; a library that knows no 7 refuses the line.
# Happens: none of the three refuses it, and each loses days without a word. pycron never runs a job of `7`, and loses the
#   Sunday of `5-7` and of `fri-sun`; cronosjs reads `0-7` as Sunday alone; cronjs-matcher takes `7` alone for Sunday and
#   loses it at the end of `5-7` and of `fri-sun`.
# Output seen (days of the week that are due between 2026-02-01 and 2026-02-14, 0 = Sunday; Python 3.11, Node.js 20):
#   pycron     7: -      5-7: 5 6      fri-sun: 5 6      0-7: 0 1 2 3 4 5 6
#   cronosjs   7: 0      5-7: 0 5 6    fri-sun: 0 5 6    0-7: 0
#   cronjs     7: 0      5-7: 5 6      fri-sun: 5 6      0-7: 0 1 2 3 4 5 6
# Exit status: 0 as stated, 1 changed, 2 the packages could not be had.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 2
{ python3 -m venv venv && venv/bin/pip install --quiet --disable-pip-version-check pycron==3.3.0 &&
    npm install --silent --no-audit --no-fund --prefix "$folder" cronosjs@1.7.1 @datasert/cronjs-matcher@1.4.0 \
        @datasert/cronjs-parser@1.4.0; } >/dev/null 2>&1 || { echo "the packages could not be had"; exit 2; }

cat >days.py <<'PYTHON'
import datetime
import pycron

for field in ("7", "5-7", "fri-sun", "0-7"):
    start = datetime.datetime(2026, 2, 1)
    due = {(start + datetime.timedelta(days=day)).isoweekday() % 7 for day in range(14)
           if pycron.is_now(f"0 0 * * {field}", start + datetime.timedelta(days=day))}
    print("pycron", field, *sorted(due) or "-")
PYTHON
cat >days.js <<'JAVASCRIPT'
const { CronosExpression } = require("cronosjs");
const { getFutureMatches } = require("@datasert/cronjs-matcher");
const start = new Date(Date.UTC(2026, 0, 31, 12));
const end = new Date(Date.UTC(2026, 1, 14, 12));
const libraries = {
  cronosjs: (line) => CronosExpression.parse(line, { timezone: "UTC" }).nextNDates(start, 20),
  cronjs: (line) =>
    getFutureMatches(line, { startAt: start.toISOString(), matchCount: 20, timezone: "UTC" }).map((text) => new Date(text)),
};
for (const [name, dates] of Object.entries(libraries))
  for (const field of ["7", "5-7", "fri-sun", "0-7"]) {
    const due = new Set(dates(`0 0 * * ${field}`).filter((date) => date < end).map((date) => date.getUTCDay()));
    console.log(name, field, [...due].sort().join(" "));
  }
JAVASCRIPT
seen=$(venv/bin/python days.py; TZ=UTC node days.js)
echo "$seen"
[ "$seen" = "pycron 7 -
pycron 5-7 5 6
pycron fri-sun 5 6
pycron 0-7 0 1 2 3 4 5 6
cronosjs 7 0
cronosjs 5-7 0 5 6
cronosjs fri-sun 0 5 6
cronosjs 0-7 0
cronjs 7 0
cronjs 5-7 5 6
cronjs fri-sun 5 6
cronjs 0-7 0 1 2 3 4 5 6" ] || { echo "changed: the days differ from those stated"; exit 1; }
