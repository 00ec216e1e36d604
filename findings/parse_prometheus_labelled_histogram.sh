#!/usr/bin/env bash
# parse-prometheus-text-format 1.1.1 (npm) keeps one of the labelled series of a histogram, without its labels.
#
# Expected: a histogram with the label `node` has one entry for each node, with buckets, sum, count and the label, as a
#   counter with labels has; prom-client 15.1.3 writes the text.
# Happens: no error, and one entry for the whole histogram: its buckets are those of the node that stands last, and label,
#   sum and count are gone. A summary loses its quantiles in the same way. Without labels both are read whole.
# Output seen (Node.js 20; two nodes, three observations at node 2, one at node 3):
#   counter: {"node":"2"} 3, {"node":"3"} 1
#   histogram: {"buckets":{"1":"1","+Inf":"1"}}
#   summary: {"quantiles":{"0.5":"5"}}
#   histogram without labels: {"buckets":{"1":"1","+Inf":"1"},"count":"1","sum":"0.5"}
# Exit status: 0 as stated, 1 changed, 2 the packages could not be had.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 2
npm install --silent --no-audit --no-fund --prefix "$folder" parse-prometheus-text-format@1.1.1 prom-client@15.1.3 \
    >/dev/null 2>&1 || { echo "the packages could not be had"; exit 2; }
cat >read.js <<'JAVASCRIPT'
const client = require("prom-client");
const parser = require("parse-prometheus-text-format");
const parse = parser.default || parser;
const labelNames = ["node"];
const counter = new client.Counter({ name: "commands_total", help: "h", labelNames });
const histogram = new client.Histogram({ name: "seconds", help: "h", labelNames, buckets: [1] });
const summary = new client.Summary({ name: "sizes", help: "h", labelNames, percentiles: [0.5] });
const plain = new client.Histogram({ name: "plain_seconds", help: "h", buckets: [1] });
for (const node of ["2", "2", "2", "3"]) {
  counter.inc({ node });
  histogram.observe({ node }, 0.5);
  summary.observe({ node }, node === "2" ? 1 : 5);
}
plain.observe(0.5);
client.register.metrics().then((text) => {
  const read = Object.fromEntries(parse(text).map((family) => [family.name, family.metrics]));
  const series = read.commands_total.map((metric) => `${JSON.stringify(metric.labels)} ${metric.value}`);
  console.log(`counter: ${series.join(", ")}`);
  console.log(`histogram: ${read.seconds.map((metric) => JSON.stringify(metric)).join(", ")}`);
  console.log(`summary: ${read.sizes.map((metric) => JSON.stringify(metric)).join(", ")}`);
  console.log(`histogram without labels: ${read.plain_seconds.map((metric) => JSON.stringify(metric)).join(", ")}`);
});
JAVASCRIPT
seen=$(node read.js)
echo "$seen"
[ "$seen" = 'counter: {"node":"2"} 3, {"node":"3"} 1
histogram: {"buckets":{"1":"1","+Inf":"1"}}
summary: {"quantiles":{"0.5":"5"}}
histogram without labels: {"buckets":{"1":"1","+Inf":"1"},"count":"1","sum":"0.5"}' ] ||
    { echo "changed: what is read differs from what is stated"; exit 1; }
