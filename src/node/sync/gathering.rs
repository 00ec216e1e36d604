//! The messages of one answer wait in memory until all have arrived, so that rows and mark are stored together. If too
//! much waits, the rows of the current node are stored before their mark, and their ids are remembered.

use crate::model::history::SyncMark;
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::SyncRoom;
use super::answer::{Answer, AnsweredRow};
use super::parts::Gathering;
use crate::node::timers::Timer;

/// Maximum number of bytes of rows that wait for the rest of their answer, for all nodes together.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Maximum number of ids of one node that are stored before their mark.
const EARLY_IDS_MAX: usize = 1_000_000;

impl SyncRoom<'_> {
    /// Returns the whole answer when its last part has arrived; an answer in one part is returned unchanged.
    pub(super) fn gather(&mut self, id: NodeId, token: Option<&Token>, answer: Answer) -> Option<Answer> {
        let node = self.nodes.get_mut(id)?;
        if answer.parts <= 1 {
            node.sync.gathering = None;
            return Some(answer);
        }
        let total = answer.parts;
        let belongs = |gathering: &Gathering| gathering.token.as_ref() == token && gathering.total == total;
        // Parts of another answer are dropped: their rows are still after the mark.
        let before = node.sync.gathering.take().filter(belongs);
        let mut gathering = before.unwrap_or_else(|| Gathering::new(token.cloned(), total));
        let is_new = gathering.take(answer);
        let in_progress = node.sync.in_progress;
        if gathering.is_whole() {
            return Some(gathering.into_answer());
        }
        node.sync.gathering = Some(gathering);
        if is_new && in_progress {
            let deadline = self.context.now.monotonic + self.context.proxy_settings().sync_timeout;
            self.context.timers.set(Timer::SyncTimeout(id), deadline);
        }
        let nodes = &*self.nodes;
        let is_gathering = |id: &NodeId| nodes.get(*id).is_some_and(|node| node.sync.gathering.is_some());
        self.state.gathering.insert(id);
        self.state.gathering.retain(is_gathering);
        if self.state.held_bytes(self.nodes) > WAITING_BYTES_MAX {
            self.store_early(id);
        }
        None
    }

    /// Stores the rows that a node has sent so far. Its mark stays until the answer is complete.
    fn store_early(&mut self, id: NodeId) {
        let wall = self.context.now.wall;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let Some(gathering) = &mut node.sync.gathering else { return };
        let mark = node.sync.mark;
        let rows = std::mem::take(&mut gathering.rows);
        gathering.bytes = 0;
        // The mark has to pass these rows in the end.
        let last = rows.values().next_back().cloned();
        let ctime = rows.values().map(|row| row.ctime).fold(0.0, f64::max);
        if node.sync.early.len() + rows.len() > EARLY_IDS_MAX {
            node.sync.gathering = None;
            let text = format!("node '{id}' sends more than {EARLY_IDS_MAX} rows in one answer: the rest is left out");
            self.context.log(LogLine::error("proxy", text).of_node(id));
            return;
        }
        if let Some(last) = last {
            let last = AnsweredRow { ctime, data: String::new(), ..last };
            gathering.rows.insert(last.id, last);
        }
        let (pages, history) = (gathering.last_id.is_some(), gathering.history);
        let mark = if mark.is_of_another(history) { SyncMark::default() } else { mark };
        let mut fresh = Vec::new();
        for (row_id, row) in rows {
            let known = if pages { row.id <= mark.last_id } else { mark.has(row.id, row.ctime, wall) };
            if !known && node.sync.early.insert(row_id) {
                fresh.push(row);
            }
        }
        for row in fresh {
            let origin = row.origin_in(id, history, pages);
            if origin.is_none_or(|origin| !self.state.origins.is_taken(origin, self.context.own_id)) {
                self.add_synced_row(id, row, origin, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::connection::{ClientId, ConnectionId};

    use crate::node::input::Input;
    use crate::node::testing::{Bench, message, options};

    const TIMEOUT: &str = r#"row - 1 {"message":"proxy - getlog in timeout for '6'"}"#;

    /// Returns a central with the WebSocket node 6, which has been asked for its log.
    fn asked() -> Bench {
        let mut bench = Bench::new(options(Vec::new()));
        let registers = r#"{"nodes":[{"id":6,"type":"wss","identity":6}]}"#;
        let outputs = bench.give(says("REGISTERNODES", "", registers));
        assert_eq!(outputs[1], r#"client 70: [GETLOG] [] [] {"ctime":0,"last_id":0}"#);
        bench.give(says("PONG", "", r#"{"code":0,"data":{"id":6,"data":{}}}"#));
        bench
    }

    fn says(action: &str, token: &str, data: &str) -> Input {
        Input::WebSocketMessage {
            client: ClientId::WebSocket(ConnectionId(70)),
            message: message(action, token, Some(""), data),
        }
    }

    /// Returns a part with these rows; the ctime of a row is its id plus a half.
    fn part(token: &str, ids: &[i64], total: usize) -> Input {
        let row = |id: &i64| format!(r#"{{"id":"{id}","ctime":"{id}.5","token":"t{id}","code":0,"data":"{{}}"}}"#);
        let rows = ids.iter().map(row).collect::<Vec<_>>().join(",");
        let data = format!(r#"{{"action":"getlog","id":"6","nb_total_msg":{total},"result":[{rows}]}}"#);
        says("SETLOGS", token, &format!(r#"{{"code":0,"data":{data}}}"#))
    }

    #[test]
    fn parts_in_any_order_and_twice_are_stored_together_with_the_mark() {
        let mut bench = asked();
        // A Perl daemon sorts ids as text.
        assert_eq!(bench.give(part("g", &[2, 3], 3)), Vec::<String>::new());
        assert_eq!(bench.give(part("g", &[1, 10], 3)), Vec::<String>::new());
        assert_eq!(bench.give(part("g", &[2, 3], 3)), Vec::<String>::new());
        let stored = ["row t1 0 {}", "row t2 0 {}", "row t3 0 {}", "row t4 0 {}", "row t10 0 {}", "mark 6 10.5 10"];
        assert_eq!(bench.give(part("g", &[4], 3)), stored);
        assert_eq!(bench.give(part("g", &[4], 3)), Vec::<String>::new());
        assert!(!bench.pass_seconds(50).contains(&TIMEOUT.to_owned()));
    }

    #[test]
    fn a_missing_part_is_asked_for_again_and_the_mark_waits_for_it() {
        let mut bench = asked();
        bench.pass_seconds(20);
        bench.give(part("g", &[1], 2));
        assert_eq!(bench.pass_seconds(29), Vec::<String>::new(), "a part is a reason to wait longer");
        let again = r#"client 70: [GETLOG] [] [] {"ctime":0,"last_id":0}"#;
        assert_eq!(bench.pass_seconds(1), [TIMEOUT, again]);
        bench.give(part("h", &[1], 2));
        assert_eq!(bench.give(part("h", &[2], 2)), ["row t1 0 {}", "row t2 0 {}", "mark 6 2.5 2"]);
    }

    #[test]
    fn parts_of_two_answers_are_not_mixed() {
        let mut bench = asked();
        bench.give(part("g", &[1], 2));
        assert_eq!(bench.give(part("h", &[2], 2)), Vec::<String>::new());
        assert_eq!(bench.give(part("h", &[1], 2)).len(), 3);
    }

    #[test]
    fn a_node_that_is_heard_but_has_no_rows_may_say_nothing() {
        let mut bench = asked();
        bench.pass_seconds(10);
        bench.give(says("REGISTERNODES", "", r#"{"nodes":[{"id":6,"type":"wss","identity":6}]}"#));
        let again = r#"client 70: [GETLOG] [] [] {"ctime":0,"last_id":0}"#;
        assert_eq!(bench.pass_seconds(20), [again], "the third time, the others were before the keep-alive");
        assert_eq!(bench.pass_seconds(29), Vec::<String>::new());
    }

    #[test]
    fn a_node_of_our_own_kind_that_does_not_answer_owes_what_was_sent_to_it() {
        let mut bench = asked();
        let page = r#"{"code":0,"data":{"action":"getlog","id":6,"result":[],"last_id":0,"history":5,"more":false}}"#;
        bench.give(says("SETLOGS", "", page));
        bench.request("COMMAND", "mine", "6", r#"{"content":[{"command":"a"}]}"#);
        assert!(bench.pass_seconds(60).iter().any(|line| line.contains("GETLOG")));
        bench.pass_seconds(45);
        bench.give(says("REGISTERNODES", "", r#"{"nodes":[{"id":6,"type":"wss","identity":6}]}"#));
        bench.pass_seconds(10);
        assert!(bench.core.context.journal.opened_for("mine").is_some(), "its keep-alive confirms nothing");
        bench.give(says("PONG", "", r#"{"code":0,"data":{"id":6,"data":{}}}"#));
        assert!(bench.pass_seconds(20).iter().any(|line| line.contains("GETLOG")));
        bench.give(says("SETLOGS", "", page));
        assert!(bench.core.context.journal.opened_for("mine").is_none(), "its answer does");
    }

    #[test]
    fn what_is_too_much_to_wait_is_stored_before_its_mark_and_only_once() {
        let mut bench = asked();
        let large = |token: &str, id: i64, total: usize| {
            let text = "x".repeat(super::WAITING_BYTES_MAX / 2);
            let row = format!(r#"{{"id":{id},"ctime":{id},"token":"t{id}","code":0,"data":"\"{text}\""}}"#);
            let data = format!(r#"{{"action":"getlog","id":6,"nb_total_msg":{total},"result":[{row}]}}"#);
            says("SETLOGS", token, &format!(r#"{{"code":0,"data":{data}}}"#))
        };
        assert_eq!(bench.give(large("g", 1, 3)).len(), 0);
        assert!(bench.core.held_bytes() >= super::WAITING_BYTES_MAX / 2, "it counts as memory under way");
        assert_eq!(bench.give(large("g", 2, 3)).len(), 2);
        assert_eq!(bench.core.nodes.get(super::NodeId::new(6).unwrap()).unwrap().sync.early.len(), 2);
        bench.pass_seconds(31);
        assert_eq!(bench.give(large("h", 1, 3)).len(), 0);
        assert_eq!(bench.give(part("h", &[3], 3)), Vec::<String>::new());
        assert_eq!(bench.give(part("h", &[2], 3)), ["row t3 0 {}", "mark 6 3.5 3"]);
    }
}
