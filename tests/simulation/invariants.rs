//! Checks of what must hold in every run.

use stheno::model::code::Code;
use stheno::model::history::HistoryRow;
use stheno::model::node_id::NodeId;

use super::world::World;

/// Maximum number of bytes that may wait for one peer, on its stream and before it.
const WAITING_BOUND_BYTES: usize = 4 << 20;
/// Maximum number of bytes of a copy that are sent to a peer that reads nothing.
const COPY_BOUND_BYTES: usize = 512 << 10;

/// Returns whether a row is what remains of `end`, which `node` wrote after its token had ended above: it ends nothing,
/// and has the code and the data of the end.
pub fn is_late_form(row: &HistoryRow, end: &HistoryRow, node: NodeId) -> bool {
    let end_data = serde_json::from_str(&end.data).unwrap_or(serde_json::Value::Null);
    let text = format!("node '{node}' reports the end after the token had ended here");
    let data = serde_json::json!({ "message": text, "code": end.code.0, "data": end_data });
    end.is_last()
        && row.code == Code::COMMAND_RESULT
        && (&row.token, row.etime, row.instant) == (&end.token, end.etime, end.instant)
        && serde_json::from_str::<serde_json::Value>(&row.data).is_ok_and(|found| found == data)
}

impl World {
    pub fn is_finished(&self, token: &str) -> bool {
        self.machines[0].disk.rows.iter().any(|row| row.token.as_deref() == Some(token) && row.is_last())
    }

    pub fn check_bounds(&mut self, what: &str) {
        self.check_waiting(what, WAITING_BOUND_BYTES);
    }

    pub fn check_copy_bounds(&mut self, what: &str) {
        self.check_waiting(what, COPY_BOUND_BYTES);
    }

    fn check_waiting(&mut self, what: &str, bound: usize) {
        for (index, machine) in self.machines.iter_mut().enumerate() {
            let Some(dispatch) = &mut machine.dispatch else { continue };
            for (connection, pipe) in &machine.pipes {
                let pipe = &self.pipes[*pipe];
                let side = usize::from(pipe.ends[0] != Some((index, *connection)));
                let queued = dispatch.send_queue(*connection).map_or(0, |queue| queue.len());
                let len = queued + pipe.directions[side].bytes.len();
                assert!(len <= bound, "{what}: {len} bytes wait for a peer of machine {}", machine.id);
            }
        }
    }

    pub fn check_tokens(&self, what: &str) {
        for token in &self.tokens[self.excused..] {
            let rows: Vec<_> =
                self.machines[0].disk.rows.iter().filter(|row| row.token.as_deref() == Some(token)).collect();
            let ends = rows.iter().filter(|row| row.is_last()).count();
            let seen: Vec<_> = rows.iter().map(|row| (row.code, &row.data)).collect();
            let elsewhere = self.machines[1..].iter().map(|machine| {
                let ends = machine.disk.rows.iter().filter(|row| row.token.as_deref() == Some(token));
                (machine.id, ends.map(|row| row.code.0).collect::<Vec<_>>())
            });
            let elsewhere: Vec<_> = elsewhere.filter(|(_, codes)| !codes.is_empty()).collect();
            assert_eq!(
                ends, 1,
                "{what}: token {token} has {ends} terminal rows in the central: {seen:#?}; in its node: {elsewhere:?}"
            );
        }
        assert!(!self.tokens.is_empty(), "{what}: the run sent no command at all");
    }

    /// Checks that, after everything is repaired, every machine runs commands and the central gets the results.
    pub fn check_service(&mut self, what: &str) {
        let ids: Vec<u64> = self.machines.iter().map(|machine| machine.id).collect();
        let sent: Vec<(u64, String)> = ids.into_iter().map(|id| (id, self.accepted_command(id))).collect();
        let end = self.millis + 20_000;
        while self.millis < end && !sent.iter().all(|(_, token)| self.is_finished(token)) {
            self.advance(50);
            (0..4).for_each(|_| self.deliver_all());
        }
        for (id, token) in &sent {
            assert!(self.is_finished(token), "{what}: a command for machine {id} does not end");
            let machine = &self.machines[usize::try_from(*id).unwrap() - 1];
            let ran = machine
                .disk
                .rows
                .iter()
                .any(|row| row.origin.is_none() && row.token.as_ref() == Some(token) && row.code.0 == 100);
            assert!(ran, "{what}: machine {id} did not run its command");
        }
    }

    /// Checks that every row of a node is in the central exactly once. Of two daemons with the id `twins`, one does not
    /// know what the other does, so their ends may be late.
    pub fn check_rows(&self, what: &str, twins: Option<u64>) {
        let count = |rows: &[HistoryRow], wanted: &HistoryRow| {
            let same = |row: &&HistoryRow| {
                (&row.token, row.code, row.etime, &row.data) == (&wanted.token, wanted.code, wanted.etime, &wanted.data)
            };
            rows.iter().filter(same).count()
        };
        for poller in &self.machines[1..] {
            for row in poller.disk.rows.iter().filter(|row| row.code != Code::STARTED) {
                let here = count(&poller.disk.rows, row);
                let central = &self.machines[0].disk.rows;
                let id = NodeId::new(poller.id).unwrap();
                let may_be_late =
                    twins == Some(poller.id) || row.token.as_ref().is_some_and(|token| self.is_given_up(token));
                let is_late = |found: &&HistoryRow| may_be_late && is_late_form(found, row, id);
                let there = count(central, row) + central.iter().filter(is_late).count();
                assert_eq!(
                    there, here,
                    "{what}: a row of machine {} is in the central {there} times: {row:?}",
                    poller.id
                );
            }
        }
    }

    /// Returns whether a queued request was given up although its node might have run it.
    pub fn is_given_up(&self, token: &str) -> bool {
        let is_end = |row: &&HistoryRow| row.token.as_deref() == Some(token) && row.is_last() && row.origin.is_none();
        let is_queued = self.ledger.accepted.iter().any(|request| request.token == token);
        is_queued && self.machines[0].disk.rows.iter().find(is_end).is_some_and(|row| row.data.contains("may have run"))
    }

    /// Returns a summary for comparing runs.
    pub fn fingerprint(&self) -> (u64, usize, Vec<(Option<String>, Code)>) {
        let rows = self.machines.iter().flat_map(|machine| &machine.disk.rows);
        (self.millis, self.pipes.len(), rows.map(|row| (row.token.clone(), row.code)).collect())
    }
}
