//! The pages of `help` and `--help`.

mod looking;
mod of_central;

use looking::{CANCEL, LOG, NODES, QUEUE, ROUTES, RUNNING};
use of_central::{COPY, DEMO, EXEC, MIGRATE_STORE, NODE, TOKEN};

macro_rules! topics {
    ($($topic:ident: $name:literal, $page:ident;)*) => {
        /// A help page.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Topic {
            /// The overview page.
            All,
            $(#[doc = concat!("`", $name, "`")] $topic,)*
        }

        impl Topic {
            /// The names of all commands.
            pub(super) const NAMES: &'static [&'static str] = &[$($name),*];

            /// Returns the page of the command `name`.
            pub(super) fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$topic),)*
                    _ => None,
                }
            }

            /// Returns the command that prints this page.
            pub(super) const fn command(self) -> &'static str {
                match self {
                    Self::All => "stheno help",
                    $(Self::$topic => concat!("stheno help ", $name),)*
                }
            }

            /// Returns the text of the page.
            pub(super) const fn text(self) -> &'static str {
                match self {
                    Self::All => ALL,
                    $(Self::$topic => $page,)*
                }
            }
        }
    };
}

topics! {
    Run: "run", RUN;
    Check: "check", CHECK;
    Keys: "keys", KEYS;
    Copy: "copy", COPY;
    Exec: "exec", EXEC;
    Queue: "queue", QUEUE;
    Running: "running", RUNNING;
    Cancel: "cancel", CANCEL;
    Nodes: "nodes", NODES;
    Routes: "routes", ROUTES;
    Log: "log", LOG;
    Status: "status", STATUS;
    Doctor: "doctor", DOCTOR;
    Node: "node", NODE;
    Token: "token", TOKEN;
    Join: "join", JOIN;
    Backup: "backup", BACKUP;
    Restore: "restore", RESTORE;
    MigrateStore: "migrate-store", MIGRATE_STORE;
    Demo: "demo", DEMO;
    Help: "help", HELP;
    Completions: "completions", COMPLETIONS;
}

const ALL: &str = "\
stheno - one small daemon in the place of a Centreon Gorgone daemon: central, relay or poller

Usage:
  stheno run --config FILE [--logfile FILE] [--severity LEVEL]   start a daemon
  stheno check --config FILE [--json]                            check a configuration, change nothing
  stheno keys generate DIR [--bits N]                            make a key pair
  stheno keys thumbprint FILE                                    print the thumbprint of a key
  stheno keys hash-password                                      print the hash of a password of an API user
  stheno keys hash-token                                         print the hash of a token of a pullwss node
  stheno keys new-token                                          make a token of a pullwss node
  stheno keys forget --config FILE NODE                          forget the key of a node
  stheno keys trust --config FILE NODE THUMBPRINT                trust another key of a node
  stheno keys rotate [--config FILE] [--overlap TIME]            give the running daemon a new key
  stheno copy --config FILE SOURCE NODES:DESTINATION             copy a file or directory to nodes
  stheno copy --config FILE NODES:SOURCE DESTINATION             copy a file or directory from nodes
  stheno exec --config FILE NODES -- COMMAND                     run a command on nodes
  stheno queue [--watch] [NODE]                                  list the requests that wait for nodes
  stheno running [--watch] NODE                                  list the commands that run on a node
  stheno cancel [--node NODE] TOKEN                              end a command that runs or waits
  stheno nodes [--watch] [NODE]                                  list the nodes
  stheno routes [--watch] [NODE]                                 list the ways to nodes
  stheno log [--follow] [OPTIONS]                                show rows of the history
  stheno status [--watch] [--check]                              show a running daemon and its nodes
  stheno doctor [--config FILE] [--json] [NODE]                  find the cause of a problem
  stheno node add ID --kind KIND | remove ID | list              the nodes of the running daemon
  stheno token add NAME | remove NAME | list                     tokens of pullwss nodes
  stheno join WORD [--dir DIR] [--foreground]                    make this machine a node
  stheno backup FILE [--seal]                                    database, keys and configuration in one file
  stheno restore FILE                                            put a backup back
  stheno migrate-store FILE [--back]                             move the history to a database server, or back
  stheno demo [--once] [--ssh] [--keep]                          a central and a node of each kind, here
  stheno help [COMMAND] [--man]                                  more on one command
  stheno completions SHELL                                       what a shell completes
  stheno --version

Without a command, the original's options start a daemon, so a link named 'gorgoned' can take its place:
  gorgoned --config=/etc/centreon-gorgone/config.yaml --logfile=/var/log/centreon-gorgone/gorgoned.log --severity=error

First steps:
  stheno demo                                              see it work
  stheno check --config /etc/centreon-gorgone/config.yaml  see how it reads your files
  stheno run --config /etc/centreon-gorgone/config.yaml    run it, log to the terminal

Exit status: 0 done, 1 it failed, 2 the command line is wrong, 78 'run' cannot use its configuration; 'exec' on one node
ends with the status of its command.
";

const RUN: &str = "\
Usage: stheno run --config FILE [--logfile FILE] [--severity LEVEL] [--log-format FORM]

Starts a daemon and stays in the foreground until SIGTERM or SIGINT. SIGHUP reopens the log file and reads the
configuration, the TLS certificates and the register file again: keys, logins, tokens, the allow-list and limits take
effect. The log names the options that need a restart. A file with problems changes nothing.

  --config FILE      the top file; the files that it includes are read as well
  --logfile FILE     append the log to FILE; without it, the log goes to standard error
  --severity LEVEL   debug, info, warning or error, instead of 'log_severity' of the configuration (info)
  --log-format FORM  auto, text, json or journal, instead of 'log_format' of the configuration (auto): without a log
                     file lines become entries of the systemd journal if standard error is connected to it
  --vault FILE       the file that describes the vault, instead of /var/lib/centreon/vault/vault.json

If the configuration has problems, all of them are printed and the daemon does not start. If neither key file exists, a
pair is made. '--flushoutput' of the original is accepted and has no effect.
Exit status: 0 it was stopped, 1 it cannot start or cannot continue, 78 the configuration has problems.

Examples:
  stheno run --config /etc/centreon-gorgone/config.yaml
  stheno run --config poller.yaml --severity debug
  stheno --config=/etc/centreon-gorgone/config.yaml --logfile=/var/log/centreon-gorgone/gorgoned.log --severity=error
";

const CHECK: &str = "\
Usage: stheno check --config FILE [--logfile FILE] [--json] [--syntax]

Reads the same files as a start, checks the keys and the directories that the daemon writes to, and changes nothing.
With the module 'nodes' it reads the Centreon database once, which takes 60 s at most.
Prints what the daemon would be (role, id, sockets, modules, nodes), or every problem as
'file: key: what is wrong, what is allowed'.

  --config FILE    the top file
  --logfile FILE   the log file of the daemon, to check whether it can be written
  --syntax         check only the files, as a reload of the service does; print nothing unless there is a problem
  --json           print JSON: {\"ok\": true, ...} or {\"ok\": false, \"problems\": [{file, key, text}]}

Run it as the user of the daemon, because another user may have other permissions.
Exit status: 0 it can start (warnings may be printed), 1 it cannot, or the Centreon database refuses it.

Examples:
  stheno check --config /etc/centreon-gorgone/config.yaml
  sudo -u centreon-gorgone stheno check --config /etc/centreon-gorgone/config.yaml
  stheno check --config central.yaml --json | jq .nodes
";

const KEYS: &str = "\
Usage: stheno keys generate DIR [--bits N]
       stheno keys thumbprint FILE
       stheno keys hash-password
       stheno keys hash-token
       stheno keys new-token
       stheno keys forget --config FILE NODE
       stheno keys trust --config FILE NODE THUMBPRINT
       stheno keys rotate [--config FILE] [--overlap TIME]

'generate' writes rsakey.priv.pem (mode 0600) and rsakey.pub.pem (mode 0640) into DIR, which is created if necessary,
and prints the thumbprint. Existing files are never overwritten. A daemon makes its own pair on its first
start.

'thumbprint' prints the thumbprint of a private or public key: the value that the other side lists below
'authorized_clients'. It is the RFC 7638 thumbprint (SHA-256), the same that the original's tools print.

'hash-password' reads a password from standard input, one line, and prints its Argon2 hash, for 'password_hash' of a
user of the REST API. Nothing is stored.

'new-token' makes a random token for a pullwss node and prints it with its hash: the token is for 'token' of the node's
module 'pullwss', the hash for 'tokens' of 'httpserver' of the central's module 'proxy'. 'hash-token' prints the hash
(SHA-256) of an existing token, which it reads from standard input, one line.

'forget' and 'trust' are for a node that got a new key and that the daemon of FILE connects to. They ask this running
daemon through its REST API; the change takes effect at once and is stored. 'forget' lets the next key that the node
shows be judged as that of a first contact (fingerprint_mode, for hosts by SSH strict_serverkey_check), and forgets that
the node was met sealed (link), also of a node of type pull; 'trust' names the key that the node has from now on:
compare it with what 'keys thumbprint' prints there.

'rotate' makes a new key for the running daemon of FILE. The daemon announces it over its links, which the old key
authenticates, and uses it when every peer has stored it, after half of the overlap at the latest; until the end of the
overlap peers take both. Nothing has to be listed by hand, but at Perl daemons and others that cannot learn it: they are
named. Said again before the end of the overlap, it shows how far that is; only after it another key is made.

  --bits N        size of the key, 2048 (default) to 4096
  --config FILE   the top file of the daemon that connects to the node; for 'rotate' that of the daemon itself
  --overlap TIME  10s to 31d, 24h if not given

Examples:
  stheno keys hash-password
  stheno keys new-token
  stheno keys generate /var/lib/centreon-gorgone/.keys
  stheno keys thumbprint /var/lib/centreon-gorgone/.keys/rsakey.pub.pem
  stheno keys trust --config /etc/centreon-gorgone/config.yaml 2 NOKI_HazwKrEonsK_mZnn3-H-IOZmbYzVDcGuePg0Gs
";

const DOCTOR: &str = "\
Usage: stheno doctor [--config FILE] [--logfile FILE] [--json] [NODE]

Searches for the cause of a problem step by step. For each step it prints what it expected, what it saw, and what to do.
It changes nothing.

Without NODE it checks this machine: configuration, keys, certificates, database, disk, ports, unit, time, limits. On
a node that dials in (modules pull, pullwss) it also checks the connection to its central with one of its own:
name, port, TLS and certificate or greeting and key, token.

With NODE, the id of a node, it checks the connection from this daemon to that node: registration, name, port,
greeting, keys, id, PING. It asks the running daemon whether the rows of the node arrive, for its modules and clock, and
whether a harmless command may run there. For a node that dials in, run it there without NODE.

  --config FILE    the top file of the daemon on this machine, /etc/centreon-gorgone/config.yaml by default
  --logfile FILE   the log file of the daemon, to check its disk
  --json           print JSON: {\"cause\": WORD or \"none\", \"steps\": [{step, ok, expected, seen, advice}]}

Run it as root or as the user of the daemon.
Exit status: 0 no problem was found, 1 a problem was found, 2 the command line is wrong.

Examples:
  stheno doctor
  stheno doctor --config central.yaml 2
  stheno doctor --json 2 | jq -r .cause
";

const JOIN: &str = "\
Usage: stheno join WORD [--dir DIR] [--foreground]

Makes this machine the node that 'stheno node add' on the central has printed WORD for: makes keys where there are none,
has the central know them (or a token of its own) over the link itself, writes the configuration, starts the daemon and
prints 'joined' when the central has heard its first answer. A configuration that is there is not overwritten without
asking, keys and database are kept.

  --dir DIR      put all files into DIR, instead of /etc, /var/lib and /var/log/centreon-gorgone
  --foreground   stay as the daemon, log to the terminal; else the service stheno is started, or with --dir a daemon in
                 the background

Exit status: 0 it has joined, 1 it has not; standard error says why.

Examples:
  stheno join stheno-join-AQEB…
  stheno join stheno-join-AQEB… --dir /srv/stheno --foreground
";

const STATUS: &str = "\
Usage: stheno status [--config FILE] [--json] [--watch]
       stheno status [--config FILE] --check [--warning N] [--critical N] [--node NODE]

Shows the running daemon of FILE and all that it knows of its nodes, also of those behind relays: their state and since
when, the last answer to a ping and its time, the age of the copy of their history and the rows that are missing, what
waits and runs, and the last failures. It asks the daemon through its REST API.

  --config FILE   the top file of the daemon (default /etc/centreon-gorgone/config.yaml)
  --json          print what GET /api/status answers
  --watch         repeat it every 2 s until Ctrl-C
  --check         act as a plug-in for Centreon, Nagios or Icinga: one line with performance data
  --warning N     WARNING if more than N nodes are down (default 0)
  --critical N    CRITICAL if more than N nodes are down (default 1)
  --node NODE     only this node counts; CRITICAL if it is not up

Exit status: 0 shown, 1 the daemon does not answer; with '--check' 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.

Examples:
  stheno status
  stheno status --config central.yaml --watch
  stheno status --check --warning 2 --critical 5
";

const BACKUP: &str = "\
Usage: stheno backup FILE [--seal] [--config FILE]

Writes the database as it is at one moment, the key pair, the nodes and tokens that were added, and the configuration
files into the new file FILE (mode 0600). The daemon may go on meanwhile. FILE is a gzipped tar archive.

  --seal          seal FILE by a passphrase, one line of standard input (Argon2id, ChaCha20-Poly1305)
  --config FILE   the top file of the daemon, /etc/centreon-gorgone/config.yaml by default

Run it as root or as the user of the daemon.

Examples:
  stheno backup /root/stheno.tar.gz
  stheno backup --seal /mnt/stheno.sealed < passphrase
";

const RESTORE: &str = "\
Usage: stheno restore FILE [--config FILE]

Puts database, keys and added nodes of a backup to the places that the configuration names. The daemon must not run.
What is there is kept beside, with '.before-restore-' and the time behind its name. Configuration files stay as they
are; 'tar -xzf' takes them out of a backup that is not sealed. The passphrase of a sealed one is a line of standard
input.

  --config FILE   the top file of the daemon, /etc/centreon-gorgone/config.yaml by default

Examples:
  systemctl stop stheno && stheno restore /root/stheno.tar.gz && systemctl start stheno
";

const HELP: &str = "\
Usage: stheno help [COMMAND]
       stheno help --man

Prints the overview, or the page of one command.

  --man   print all pages as a manual page in roff

Examples:
  stheno help check
  stheno help --man > /usr/local/share/man/man8/stheno.8
";

const COMPLETIONS: &str = "\
Usage: stheno completions SHELL

Prints a script that makes SHELL complete commands, options and files. Shells are bash, zsh and fish. The packages
install it.

Examples:
  stheno completions bash > /etc/bash_completion.d/stheno
  stheno completions fish > ~/.config/fish/completions/stheno.fish
";
