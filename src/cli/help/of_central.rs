//! The pages of the commands for a central's nodes, which a build for pollers does not have.

use crate::cli::FOR_CENTRAL;

/// The page, or a sentence in a build for pollers.
pub(super) const fn of_central(page: &'static str) -> &'static str {
    if FOR_CENTRAL {
        page
    } else {
        "This build is for pollers and has no such command: use the program of the central.\n"
    }
}

pub(super) const COPY: &str = of_central(
    "\
Usage: stheno copy --config FILE [OPTIONS] SOURCE NODES:DESTINATION
       stheno copy --config FILE [OPTIONS] NODES:SOURCE DESTINATION

Asks the running daemon of FILE, through its REST API, to copy SOURCE (a file or directory that this daemon can read) to
NODES, and shows its progress: bytes, rate and time left. NODES is the id of a node, several with commas between them
(2,3,5), or 'all': every node that the daemon knows, also behind relays, but not the daemon itself. A DESTINATION that
ends with '/' gets the name of the file; a directory is merged into DESTINATION, and a Stheno node gets only the files
that differ by size or time. When the command ends, all is complete and on the disk of the node. After 2 s without a
sign of a node it says what it waits for; after 16 s it ends.

In the second form SOURCE is read on a node that is a Stheno daemon, below 'read_roots' of its module action (empty by
default), and written here by the daemon of FILE below its 'copy_roots'. A file that is being written to, such as a log,
is copied as long as it was at the beginning. From several nodes, DESTINATION is a directory, where each copy gets the
name of the source with the node's id behind it (messages.2). What stands before ':' are nodes only if it has nothing
but digits, commas and 'all': any other word is a file here, and so is ./2:name.

With several nodes, ten get their copy at once. On a terminal, one line per node is updated in place, otherwise a line
is printed every 2 s, both on standard error; a table follows on standard output. An id that is given twice counts once.
An unknown id, or the daemon's own, fails while the others continue.

  --config FILE     the top file of the daemon that sends or fetches
  --cache-dir DIR   directory for unfinished copies at both ends (default /tmp)
  --owner USER, --group GROUP, --mode OCTAL
                    owner, group and permissions of the file
  --delete          delete in DESTINATION what the directory SOURCE does not have (Stheno nodes only)
  --checksum        compare the files of a directory by digest, even if size and time are equal
  --ttl SECONDS     where a node cannot be reached, let the copy wait for it, up to 2592000 s
  --at-once N       number of nodes that get their copy at once, 1 to 100 (default 10)
  --json            print JSON. One node: a line for each step, {\"received\", \"total\", \"bytes_per_second\"}, and
                    in the end {\"node\", \"token\", \"exit_code\", \"ok\", \"message\", ...}. Several: that last
                    line for each node, as they end; exit_code is 0, 1, or null if the end is not known

Exit status: 0 each node has it; 1 a node does not, and standard error says why. Ctrl-C (130) ends the waiting but not
the copies that have begun.

Examples:
  stheno copy --config /etc/centreon-gorgone/config.yaml /etc/hosts 2:/var/lib/centreon/
  stheno copy --config central.yaml --mode 0640 plugins 2,3,5:/var/lib/centreon/plugins
  stheno copy --config central.yaml /etc/centreon-engine/resource.cfg all:/etc/centreon-engine/
  stheno copy --config central.yaml 2:/var/log/centreon-engine/centengine.log /tmp/
",
);

pub(super) const EXEC: &str = of_central(
    "\
Usage: stheno exec --config FILE [OPTIONS] NODES -- COMMAND

Asks the running daemon of FILE, through its REST API, to run COMMAND in a shell on NODES, and prints its output: while
it runs if the node is a Stheno daemon, otherwise when it has ended. NODES is the id of a node (the daemon's own id for
itself), several with commas between them (2,3,5), or 'all': every node that the daemon knows, also behind relays, but
not the daemon itself. The words behind '--' are joined with blanks, as ssh does. Ctrl-C ends the waiting; on a terminal
it asks whether to end the command, too. After 2 s without a sign of a node it says what it waits for; after 16 s it
ends.

With several nodes, the command runs on ten at once. Each line begins with the id of its node, and a table follows. An
id that is given twice counts once. An unknown id fails while the others continue.

  --config FILE        the top file of the daemon that passes the command on
  --timeout SECONDS    end the command after this time; the node has a time of its own (command_timeout). Waiting ends
                       15 s later at the latest
  --ttl SECONDS        where a node cannot be reached, let the command wait for it, up to 2592000 s; waiting ends 15 s
                       later. After Ctrl-C it waits on: 'stheno queue' shows it, 'stheno cancel' takes it out
  --at-once N          number of nodes at once, 1 to 100 (default 10)
  --cancel-on-interrupt
                       end the command at Ctrl-C, without a question
  --by-node            of several nodes: print the output of each in one piece when its command has ended
  --json               print a line of JSON for each node when its command has ended: {\"node\", \"token\",
                       \"exit_code\", \"stdout\"}, \"stderr\" where it comes apart (by SSH), and \"message\" where
                       exit_code is null because the command was not run or its end is not known

Exit status for one node: that of the command; 128 and the number of the signal that killed it; 255 if it was not run or
its end is not known, and standard error says why; 130 after Ctrl-C. For several, and for 'all': 0 if the command ended
with 0 on each, else 1; 130 after Ctrl-C.

Examples:
  stheno exec --config /etc/centreon-gorgone/config.yaml 2 -- uptime
  stheno exec --config central.yaml --timeout 300 2,3 -- 'systemctl is-active centengine'
  stheno exec --config central.yaml --json all -- df -P / | jq -r 'select(.exit_code != 0).node'
",
);

pub(super) const NODE: &str = of_central(
    "\
Usage: stheno node add ID --kind pull|pullwss|push_zmq [--address HOST[:PORT]] [--central HOST[:PORT]] [--config FILE]
       stheno node remove ID [--config FILE]
       stheno node list [--json] [--config FILE]

'add' registers a new node with the running daemon of FILE, at once and permanently, and prints one word. 'stheno join'
with this word makes keys and configuration on the machine of the node. The word is valid for an hour and works once;
'add' for an existing node makes another word. 'remove' removes the node with its keys and tokens. 'list' shows the
nodes of the register file and those that were added.

Added nodes are stored in a separate file beside the database; the register file is not changed.

  --kind KIND       pull: the node connects to the external socket; pullwss: to the WebSocket; push_zmq: this daemon
                    connects to the node
  --address HOST[:PORT]
                    where a push_zmq node listens; port 5556 by default
  --central HOST[:PORT]
                    where the node finds this daemon, if not by the name of this machine and the configured port
  --config FILE     the top file of the daemon, /etc/centreon-gorgone/config.yaml by default
  --json            print JSON

Examples:
  stheno node add 7 --kind pullwss --central central.example.org
  stheno node add 2 --kind push_zmq --address 10.0.0.2
  stheno node remove 7
",
);

pub(super) const TOKEN: &str = of_central(
    "\
Usage: stheno token add NAME [--node ID] [--config FILE]
       stheno token remove NAME [--config FILE]
       stheno token list [--config FILE]

Tokens of pullwss nodes, beside those of the configuration. 'add' makes a token, prints it and has the running daemon
accept it; only its hash is stored. 'remove' closes the connections that use it.

  --node ID       the only node that may use it
  --config FILE   the top file of the daemon, /etc/centreon-gorgone/config.yaml by default

Examples:
  stheno token add paris --node 7
  stheno token remove paris
",
);

pub(super) const MIGRATE_STORE: &str = of_central(
    "\
Usage: stheno migrate-store FILE [--back] [--config FILE]

Moves the history in FILE (SQLite) to the database server that the configuration names ('gorgone_db_type: mysql'):
rows, sessions, keys, marks, open tokens, the queue. The daemon must not run. Nothing is deleted: FILE stays as it is.
A move that is cut off goes on when it is started again; a daemon does not start on half of one. In the end the rows of
each table are counted on both sides.

  --back          move the history of the server into FILE, which does not exist or has part of it
  --config FILE   the top file of the daemon, /etc/centreon-gorgone/config.yaml by default

Examples:
  stheno migrate-store /var/lib/centreon-gorgone/history.sdb
  stheno migrate-store --back /var/lib/centreon-gorgone/again.sdb
",
);

pub(super) const DEMO: &str = of_central(
    "\
Usage: stheno demo [--once] [--ssh] [--keep] [--central CMD] [--nodes CMD]
       stheno demo --central [--once] [--keep]

Makes a central and a node of each kind (push, pull, pullwss over TLS) in a temporary directory, with keys, certificate
and YAML files, starts them as real processes, runs a command on each through the REST API and prints the rows as they
arrive. It stays up until Ctrl-C. The certificate is made by 'openssl'; where that is not installed, there is no TLS.

  --once   end after the round trip
  --ssh    add a node without a daemon: an sshd with its own port, keys and configuration, without PAM, is started if
           one is installed
  --keep   keep the directory
  --central       run a whole central instead: MariaDB with the tables of Centreon, two pollers, engines that read their
                  pipes and a web interface that writes command files; an export, a reload, an acknowledgement and a
                  downtime are carried out
  --central CMD   the program to run as the central, instead of this one
  --nodes CMD     the program to run as the nodes: another version, or one for another processor under an emulator

Examples:
  stheno demo --once
  stheno demo --central --once
  stheno demo --once --nodes ./stheno-0.1
",
);
