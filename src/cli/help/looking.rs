//! The pages of the commands that look at nodes, running commands and the history.

use super::of_central::of_central;

pub(super) const QUEUE: &str = of_central(
    "\
Usage: stheno queue [--config FILE] [--watch] [--json] [NODE]

Asks the running daemon of FILE, through its REST API, which requests wait on its disk for their nodes, or for the node
with the id NODE, in the order in which they are sent: those that were asked for with a time to live (ttl) or a time
(not_before). 'stheno cancel' takes one out.

  --config FILE   the top file of the daemon that is asked
  --watch         show it again every 2 s until Ctrl-C
  --json          print a list of {\"token\", \"node\", \"action\", \"state\", \"created\", \"expires\", \"bytes\",
                  \"place\"}; state is scheduled, waiting, sent (and not confirmed) or taken (and not ended)

Exit status: 0 it is known what waits, 1 it is not; standard error says why.

Examples:
  stheno queue --config /etc/centreon-gorgone/config.yaml
  stheno queue --config central.yaml --json 2 | jq -r '.[].token'
",
);

pub(super) const RUNNING: &str = of_central(
    "\
Usage: stheno running [--config FILE] [--watch] [--json] NODE

Asks the running daemon of FILE, through its REST API, which commands run or wait on the node with the id NODE (its own
id for itself). The node must be a Stheno daemon, or a host by SSH.

  --config FILE   the top file of the daemon that is asked, /etc/centreon-gorgone/config.yaml by default
  --watch         show it again every 2 s until Ctrl-C
  --json          print a list of {\"token\", \"action\", \"state\", \"command\", \"since\"}; state is running, starting
                  or waiting, since is in seconds since 1970

Exit status: 0 the commands are known, 1 they are not, and standard error says why.

Examples:
  stheno running --config /etc/centreon-gorgone/config.yaml 2
  stheno running --config central.yaml --json 2 | jq -r '.[].token'
",
);

pub(super) const CANCEL: &str = of_central(
    "\
Usage: stheno cancel [--config FILE] [--node NODE] [--json] TOKEN

Asks the running daemon of FILE, through its REST API, to end the command with the token TOKEN. The whole process group
gets SIGTERM, and SIGKILL after 5 s if a process is left; a command that waits for its turn, or in the queue of a node
that is away, is not started. The token ends with code 1 and a message that begins with 'cancelled'.

  --config FILE   the top file of the daemon that is asked, /etc/centreon-gorgone/config.yaml by default
  --node NODE     the node that it runs on; without it, the daemon looks where it has sent the token
  --json          print one line of JSON: {\"ok\", \"token\", \"message\"}

Exit status: 0 it was asked to end, 1 it was not: it has ended already, is not known, or the node cannot do it.

Examples:
  stheno cancel --config /etc/centreon-gorgone/config.yaml 3f0c9b…
  stheno running --config central.yaml --json 2 | jq -r '.[].token' | xargs -n 1 stheno cancel --config central.yaml
",
);

pub(super) const NODES: &str = of_central(
    "\
Usage: stheno nodes [--config FILE] [--watch] [--json] [NODE]

Lists the nodes that the running daemon of FILE knows, those behind relays included, or the one with the id NODE: kind,
state (up, down, never), link, last ping, version, address and name. It asks the REST API (GET /api/status).

  --config FILE   the top file of the daemon that is asked, /etc/centreon-gorgone/config.yaml by default
  --watch         show it again every 2 s until Ctrl-C
  --json          print a list of objects as the API has them: id, through, kind, state, link, since, last_ping, ...

Exit status: 0 done, 1 the daemon does not tell, or knows no such node; standard error says why.

Examples:
  stheno nodes
  stheno nodes --json | jq -r '.[] | select(.state != \"up\").id'
",
);

pub(super) const ROUTES: &str = of_central(
    "\
Usage: stheno routes [--config FILE] [--watch] [--json] [NODE]

Lists the ways to the node with the id NODE, or to all nodes: through which node, which way is in use, and why the
others are not.

  --config FILE   the top file of the daemon that is asked, /etc/centreon-gorgone/config.yaml by default
  --watch         show it again every 2 s until Ctrl-C
  --json          print an object with the ways to each id, as the API has them

Exit status: 0 done, 1 the daemon does not tell; standard error says why.

Examples:
  stheno routes 2
  stheno routes --config central.yaml --json | jq 'keys'
",
);

pub(super) const LOG: &str = of_central(
    "\
Usage: stheno log [--config FILE] [OPTIONS]

Shows rows of the history of the running daemon of FILE, the newest last: time, node, code, message and token. Codes are
0 begun, 1 failed, 2 ended well, 100 result of a command, 101 progress of a copy, 600 output of a running command.

  --config FILE   the top file of the daemon that is asked, /etc/centreon-gorgone/config.yaml by default
  --node NODE     only rows of this node; the daemon's own rows have its own id
  --token TOKEN   only rows of this token
  --since TIME    only rows since then: 30s, 10m, 2h or 1d ago, seconds since 1970, 2026-11-30 or '2026-11-30 09:15'
  --code CODES    only rows with this code, or one of several: 1 or 1,2
  --grep TEXT     only rows with this text in their data, in capitals or not
  --limit N       the newest N of them, 1 to 1000000 (default 100)
  --follow        go on with new rows until Ctrl-C
  --json          print a line of JSON for each row: {\"id\", \"time\", \"node\", \"code\", \"token\", \"data\"}

Exit status: 0 done, 1 the daemon does not tell; standard error says why.

Examples:
  stheno log --code 1 --since 1h
  stheno log --node 2 --grep centengine --follow
  stheno log --json --since 1d | jq -r 'select(.code == 1).data.message' | sort | uniq -c
",
);
