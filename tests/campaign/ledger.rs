//! Records the acknowledged requests and checks that each was carried out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use stheno::model::code::Code;
use stheno::model::history::is_last_row;

use crate::platform::Daemon;

/// Tokens that a central returned, each with the number that its command writes to a file.
#[derive(Default)]
pub struct Ledger {
    accepted: BTreeMap<String, u64>,
    /// Clocks are set back further than a history can compensate by waiting, so its times may go back, too.
    pub clocks_jump: bool,
}

/// The codes of the rows that end a token, in a history.
pub fn ends_of(history: &Connection, token: &str) -> Vec<i64> {
    let mut query = history.prepare_cached("SELECT code, data FROM gorgone_history WHERE token = ?1").unwrap();
    let rows = query.query_map([token], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).unwrap();
    rows.map(Result::unwrap).filter(|(code, data)| is_last_row(Code(*code), data)).map(|(code, _)| code).collect()
}

impl Ledger {
    pub fn accepted(&mut self, token: String, number: u64) {
        self.accepted.insert(token, number);
    }

    pub fn len(&self) -> usize {
        self.accepted.len()
    }

    /// Waits until each token has ended in the central (the first of the daemons) and each row of each daemon is there,
    /// then checks that nothing came twice or out of order.
    #[track_caller]
    pub fn check(&self, daemons: &[Daemon], ran: &Path, limit: Duration) {
        let start = Instant::now();
        while let Err(missing) = self.is_complete(daemons) {
            assert!(start.elapsed() < limit, "not within {limit:?}: {missing}");
            thread::sleep(Duration::from_millis(200));
        }
        let central = daemons[0].database();
        let runs = runs(ran);
        for (token, number) in &self.accepted {
            let (ends, runs) = (ends_of(&central, token), runs.get(number).copied().unwrap_or(0));
            assert_eq!(ends.len(), 1, "token {token} of command {number} ends {} times: {ends:?}", ends.len());
            assert!(runs <= 1, "command {number} ran {runs} times");
            assert!(ends != [2] || runs == 1, "command {number} with token {token} ended well and ran {runs} times");
        }
        daemons.iter().for_each(|daemon| check_order(daemon, self.clocks_jump));
    }

    /// # Errors
    /// Returns what is still missing.
    fn is_complete(&self, daemons: &[Daemon]) -> Result<(), String> {
        let central = daemons[0].database();
        if let Some((token, number)) = self.accepted.iter().find(|(token, _)| ends_of(&central, token).is_empty()) {
            return Err(format!("token {token} of command {number} has no end in the central"));
        }
        let here = rows(&central);
        for daemon in &daemons[1..] {
            for (row, count) in rows(&daemon.database()) {
                let found = here.get(&row).copied().unwrap_or(0);
                if found != count && !row.3.contains("proxy - passed on to node") {
                    return Err(format!("{} has {row:?} {count} times, the central {found} times", daemon.plan.name));
                }
            }
        }
        Ok(())
    }
}

/// Counts the runs of each command by the lines that it wrote.
fn runs(file: &Path) -> BTreeMap<u64, usize> {
    let mut runs = BTreeMap::new();
    for number in fs::read_to_string(file).unwrap().lines().filter_map(|line| line.parse().ok()) {
        *runs.entry(number).or_default() += 1;
    }
    runs
}

/// Counts each row of a token in a history.
fn rows(history: &Connection) -> BTreeMap<(String, i64, i64, String), usize> {
    let sql = "SELECT token, code, etime, data FROM gorgone_history WHERE token IS NOT NULL";
    let mut query = history.prepare(sql).unwrap();
    let found = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    let mut counts = BTreeMap::new();
    found.for_each(|row| *counts.entry(row.unwrap()).or_default() += 1);
    counts
}

/// Times do not go back unless clocks do, and the rows of one history come in the order of their ids.
#[track_caller]
fn check_order(daemon: &Daemon, clocks_jump: bool) {
    let history = daemon.database();
    let sql = "SELECT id, ctime, stheno_node, stheno_history, stheno_row FROM gorgone_history ORDER BY id";
    let mut query = history.prepare(sql).unwrap();
    let mut rows = query.query([]).unwrap();
    let (mut newest, mut seen) = (0.0, BTreeMap::new());
    while let Some(row) = rows.next().unwrap() {
        let (id, ctime): (i64, f64) = (row.get(0).unwrap(), row.get(1).unwrap());
        assert!(ctime >= newest || clocks_jump, "{}: row {id} has the time {ctime}, after {newest}", daemon.plan.name);
        newest = ctime;
        let origin: (Option<i64>, Option<i64>, Option<i64>) =
            (row.get(2).unwrap(), row.get(3).unwrap(), row.get(4).unwrap());
        let (Some(node), Some(number), Some(row_id)) = origin else { continue };
        let last = seen.insert((node, number), row_id).unwrap_or(0);
        assert!(last < row_id, "{}: row {row_id} of node {node} comes after {last}", daemon.plan.name);
    }
}
