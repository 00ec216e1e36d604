//! A poller in a cgroup of 12 MB does all that it can and is not killed.
//!
//! By default the amounts are small; `FULL=1` runs 10,000 commands, a copy of 1 GB and a sync of 100,000 rows, for
//! which `STHENO_PROGRAM` should be a release build. Without a cgroup for memory the test is skipped.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::copies;
use crate::platform::client::Client;
use crate::platform::{Daemon, Plan, Platform, program, seconds, until};

const LIMIT_BYTES: usize = 12 << 20;

/// A cgroup for memory (version 2, or version 1 where that is what there is); removed at the end.
struct Cgroup {
    folder: PathBuf,
    /// The file that counts what was killed.
    kills: &'static str,
}

impl Cgroup {
    fn new() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let name = format!("stheno-test-{}", std::process::id());
        let path = |start: &str| own.lines().find_map(|line| line.split_once(start).map(|(_, path)| path.to_owned()));
        let limit = LIMIT_BYTES.to_string();
        let first = path(":memory:").map(|path| {
            let base = PathBuf::from(format!("/sys/fs/cgroup/memory{path}"));
            (base, vec![("memory.limit_in_bytes", limit.as_str())], "memory.oom_control")
        });
        let second = path("0::").map(|path| {
            let base = PathBuf::from(format!("/sys/fs/cgroup{path}"));
            (base, vec![("memory.swap.max", "0"), ("memory.max", limit.as_str())], "memory.events")
        });
        [first, second].into_iter().flatten().find_map(|(base, settings, kills)| {
            let made = Self { folder: base.join(&name), kills };
            fs::create_dir(&made.folder).ok()?;
            settings.iter().all(|(file, value)| fs::write(made.folder.join(file), value).is_ok()).then_some(made)
        })
    }

    /// A command that runs the program in it.
    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        let line = format!("echo $$ > '{}/cgroup.procs' && exec '{}' run \"$@\"", self.folder.display(), program());
        command.args(["-c", &line, "sh"]);
        command
    }

    /// Number of processes that were killed for want of memory.
    fn killed(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join(self.kills)).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap_or("0");
        count.trim().parse().unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _still_used = fs::remove_dir(&self.folder);
    }
}

fn amount(small: usize, full: usize) -> usize {
    if std::env::var_os("FULL").is_some() { full } else { small }
}

#[test]
fn a_poller_in_twelve_megabytes_runs_commands_takes_copies_and_is_synchronised() {
    let Some(cgroup) = Cgroup::new() else {
        eprintln!("SKIPPED: no cgroup for memory can be made here");
        return;
    };
    let platform = Platform::new();
    let plan = platform.plan("poller", 2).with_action(&format!("copy_roots: ['{}']", platform.path("").display()));
    let poller = Daemon::start_as(Plan { has_proxy: false, ..plan }, cgroup.command());
    fill(&poller, amount(5_000, 100_000));
    let state = |what: &str| {
        let (resident, killed) = (poller.resident_kib(), cgroup.killed());
        eprintln!("{what}: {resident} KiB resident, {killed} killed");
        assert_eq!(killed, 0, "{what}");
    };
    state("rows");
    let mut central = Daemon::start(platform.central_with(&[&poller]));
    central.api().wait_for_pong(2, seconds(20));
    let newest = poller.database().query_row("SELECT max(id) FROM gorgone_history", [], |row| row.get::<_, i64>(0));
    let newest = newest.unwrap();
    until("the central has every row", seconds(200), || {
        let sql = "SELECT coalesce(max(last_id), 0) FROM gorgone_synchistory WHERE id = 2";
        (central.database().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() >= newest).then_some(())
    });
    state("sync");
    run(&central, amount(300, 10_000), "true");
    state("commands");
    run(&central, 64, "sleep 1");
    state("commands at once");
    copy(&platform, &central, amount(40, 1_000));
    state("copy");
    central.assert_running();
}

/// Puts rows into the history of the poller.
fn fill(poller: &Daemon, count: usize) {
    const AT_ONCE: usize = 500;
    let mut client = poller.client();
    let put = |client: &mut Client, number: usize| {
        let data = json!({ "message": "a row of the usual size, which the central is to have", "number": number });
        let row = json!({ "code": 4, "etime": 1, "token": format!("row-{number}"), "instant": 0, "data": data });
        client.send("PUTLOG", &format!("put-{number}"), "", &row).unwrap();
    };
    for number in 0..count + AT_ONCE {
        if number >= AT_ONCE {
            assert_eq!(client.receive().unwrap().json["data"]["message"], json!("message inserted"));
        }
        if number < count {
            put(&mut client, number);
        }
    }
}

/// Runs commands, 64 requests at once, and waits for their ends.
fn run(central: &Daemon, count: usize, line: &str) {
    let api = central.api();
    let mut left = count;
    while left > 0 {
        let tokens: Vec<String> = (0..left.min(64)).map(|_| api.command(2, line)).collect();
        left -= tokens.len();
        for token in tokens {
            let rows = api.finished_rows(2, &token, seconds(60));
            let results = rows.iter().filter(|row| row["data"].to_string().contains("\\\"exit_code\\\":0")).count();
            assert!(results == 1, "{rows:?}");
        }
    }
}

fn copy(platform: &Platform, central: &Daemon, megabytes: usize) {
    let (source, destination) = (platform.path("source"), platform.path("copied"));
    let mut file = File::create(&source).unwrap();
    let mut megabyte = vec![0; 1 << 20];
    File::open("/dev/urandom").unwrap().read_exact(&mut megabyte).unwrap();
    for number in 0..megabytes {
        megabyte[0] = u8::try_from(number % 256).unwrap();
        file.write_all(&megabyte).unwrap();
    }
    let body = json!({
        "source": source, "destination": destination, "cache_dir": platform.path(""), "type": "regular"
    });
    let token = copies::start(central, 2, &body);
    let rows = central.api().finished_rows(2, &token, seconds(300));
    let last = rows.last().unwrap();
    assert!(last.to_string().contains("process copy finished successfully"), "{last}");
    assert!(same(&source, &destination));
}

fn same(one: &Path, other: &Path) -> bool {
    Command::new("cmp").arg("-s").args([one, other]).status().unwrap().success()
}
