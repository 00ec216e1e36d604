#!/usr/bin/env bash
# cron-schedule 6.0.0 (npm) takes the number in front of a sign that it does not know.
#
# Expected: a line with `5L` (last Friday), `1#1` (first Monday) or `15W` (weekday nearest to the 15th) is refused by a
#   library that does not have these signs, as it refuses `L` and `?`.
# Happens: no error; what stands behind the number is left out. A job of the last Friday of a month runs each Friday, one
#   of the first Monday each Monday, and one of the 15th's nearest weekday on Sundays and Saturdays too.
# Output seen (four dates from 2026-02-01 on; Node.js 20):
#   0 0 * * 5L: 02-06 02-13 02-20 02-27
#   0 0 * * 1#1: 02-02 02-09 02-16 02-23
#   0 0 15W * *: 02-15 03-15 04-15 05-15
#   0 0 L * *: refused
# Exit status: 0 as stated, 1 changed, 2 the packages could not be had.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 2
npm install --silent --no-audit --no-fund --prefix "$folder" cron-schedule@6.0.0 >/dev/null 2>&1 ||
    { echo "the packages could not be had"; exit 2; }
cat >dates.js <<'JAVASCRIPT'
const { parseCronExpression } = require("cron-schedule");
for (const line of ["0 0 * * 5L", "0 0 * * 1#1", "0 0 15W * *", "0 0 L * *"]) {
  let dates;
  try {
    dates = parseCronExpression(line)
      .getNextDates(4, new Date(2026, 0, 31, 12))
      .map((date) => String(date.getMonth() + 1).padStart(2, "0") + "-" + String(date.getDate()).padStart(2, "0"));
  } catch (error) {
    dates = ["refused"];
  }
  console.log(`${line}: ${dates.join(" ")}`);
}
JAVASCRIPT
seen=$(TZ=UTC node dates.js)
echo "$seen"
[ "$seen" = "0 0 * * 5L: 02-06 02-13 02-20 02-27
0 0 * * 1#1: 02-02 02-09 02-16 02-23
0 0 15W * *: 02-15 03-15 04-15 05-15
0 0 L * *: refused" ] || { echo "changed: the dates differ from those stated"; exit 1; }
