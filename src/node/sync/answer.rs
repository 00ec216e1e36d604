//! Reads the answer of a node to a GETLOG tolerantly: an invalid row is left out, an invalid field is replaced.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::code::Code;
use crate::model::history::{HistoryName, RowOrigin};
use crate::model::node_id::NodeId;
use crate::model::{packed, text};

use crate::node::json;

/// A `ctime` above this (the year 5138) is invalid.
const CTIME_MAX: f64 = 1e11;
/// Maximum number of messages of one answer.
const PARTS_MAX: usize = 100_000;
/// Maximum size of the rows of a packed message.
const UNPACKED_MAX_BYTES: usize = 32 << 20;
/// Maximum number of characters of a token, the width of the original's column.
const TOKEN_LEN_MAX: usize = 2_048;

/// The rows of an answer, in ascending order of id.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::node) struct Answer {
    /// The valid rows.
    pub rows: Vec<AnsweredRow>,
    /// Number of rows left out because of an invalid `ctime`.
    pub left_out: usize,
    /// Greatest id that the node looked at; only a peer that pages reports it.
    pub last_id: Option<i64>,
    /// Whether the node remembers the tokens that it has taken.
    pub runs_once: bool,
    /// The number of the node's history; 0 if it reports none.
    pub history: i64,
    /// Whether there are more rows.
    pub more: bool,
    /// Greatest id of the node's history, if there are more rows; only our own kind reports it.
    pub newest_id: Option<i64>,
    /// Number of messages that make up the answer.
    pub parts: usize,
    /// The number of the sync that it answers; only our own kind repeats it.
    pub sync: Option<u64>,
    /// Those of the query's tokens that the node will still end; only our own kind reports them.
    pub open: Option<BTreeSet<String>>,
}

/// One row with the node's own id and times.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::node) struct AnsweredRow {
    pub id: i64,
    pub ctime: f64,
    pub etime: i64,
    pub token: Option<String>,
    pub code: Code,
    pub instant: bool,
    /// JSON text, or any other text that the node has stored.
    pub data: String,
    /// Where it was first written, if not at the node itself.
    pub origin: Option<RowOrigin>,
}

#[derive(Deserialize)]
struct RawAnswer<'a> {
    #[serde(default)]
    action: Value,
    #[serde(borrow, default)]
    result: Option<Vec<RawRow<'a>>>,
    #[serde(borrow, default)]
    packed: Option<Cow<'a, str>>,
    #[serde(default)]
    last_id: Value,
    #[serde(default)]
    history: Value,
    #[serde(default)]
    more: Value,
    #[serde(default)]
    newest_id: Value,
    #[serde(default)]
    nb_total_msg: Value,
    #[serde(default)]
    sync: Option<u64>,
    #[serde(default)]
    open: Option<BTreeSet<String>>,
    #[serde(default)]
    once: Value,
}

#[derive(Deserialize)]
struct RawRow<'a> {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    ctime: Value,
    #[serde(default)]
    etime: Value,
    #[serde(default)]
    token: Value,
    #[serde(default)]
    code: Value,
    #[serde(default)]
    instant: Value,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    origin: Value,
}

impl Answer {
    /// Reads the `data` member of a reply; `None` if it is not an answer to a GETLOG.
    pub(in crate::node) fn read(data: &str) -> Option<Self> {
        let raw: RawAnswer<'_> = serde_json::from_str(data).ok()?;
        if raw.action.as_str() != Some("getlog") {
            return None;
        }
        let unpacked = raw.packed.map(|packed| packed::unpack(&packed, UNPACKED_MAX_BYTES));
        let result = match &unpacked {
            Some(text) => serde_json::from_str(text.as_ref()?).ok()?,
            None => raw.result?,
        };
        let told = result.len();
        let mut rows: Vec<AnsweredRow> = result.into_iter().filter_map(RawRow::read).collect();
        let left_out = told.saturating_sub(rows.len());
        // A Perl daemon sorts ids as text.
        rows.sort_unstable_by_key(|row| row.id);
        let parts = json::integer(&raw.nb_total_msg).and_then(|parts| usize::try_from(parts).ok());
        let parts = parts.unwrap_or(1).clamp(1, PARTS_MAX);
        let history = number(&raw.history).unwrap_or(0);
        if history == 0 {
            rows.iter_mut().for_each(AnsweredRow::mend_letters);
        }
        let (last_id, more) = (json::integer(&raw.last_id), json::is_true(&raw.more));
        let newest_id = json::integer(&raw.newest_id).filter(|_| more);
        let runs_once = json::is_true(&raw.once);
        Some(Self {
            rows,
            left_out,
            last_id,
            runs_once,
            history,
            more,
            newest_id,
            parts,
            sync: raw.sync,
            open: raw.open,
        })
    }
}

/// Reads the number of a history or of a row in one.
fn number(value: &Value) -> Option<i64> {
    json::integer(value).filter(|number| (1..1 << 53).contains(number))
}

fn origin(value: &Value) -> Option<RowOrigin> {
    let [node, history, id] = value.as_array()?.as_slice() else { return None };
    let history = HistoryName { node: NodeId::from_json(node).ok()?, number: number(history)? };
    Some(RowOrigin { history, id: number(id)? })
}

impl AnsweredRow {
    /// Mends a row with non-ASCII letters in its command, which a Perl daemon encodes twice.
    fn mend_letters(&mut self) {
        if let Cow::Owned(once) = text::without_double_encoding(&self.data) {
            self.data = once;
        }
    }

    /// Returns where the row was first written, if known: a node of our own kind sends the `number` of its history.
    pub(in crate::node) fn origin_in(&self, node: NodeId, number: i64, pages: bool) -> Option<RowOrigin> {
        let history = HistoryName { node, number };
        let own = (pages && number != 0 && self.id > 0).then_some(RowOrigin { history, id: self.id });
        self.origin.or(own)
    }
}

impl RawRow<'_> {
    fn read(self) -> Option<AnsweredRow> {
        let ctime = json::float(&self.ctime).filter(|ctime| (0.0..CTIME_MAX).contains(ctime))?;
        let data = match self.data {
            None => "null".to_owned(),
            Some(raw) if raw.get().starts_with('"') => serde_json::from_str(raw.get()).unwrap_or_default(),
            Some(raw) => raw.get().to_owned(),
        };
        Some(AnsweredRow {
            id: json::integer(&self.id).unwrap_or(0).max(0),
            ctime,
            etime: json::integer(&self.etime).unwrap_or(0),
            token: json::text(&self.token).filter(|token| token.len() <= TOKEN_LEN_MAX),
            code: Code(json::integer(&self.code).unwrap_or(0)),
            instant: json::is_true(&self.instant),
            data,
            origin: origin(&self.origin),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_a_perl_daemon_has_encoded_twice_is_read_as_it_was_meant() {
        let read = |history: &str, data: &str| {
            let text = format!(r#"{{"action":"getlog"{history},"result":[{{"ctime":1,"id":1,"data":"{data}"}}]}}"#);
            Answer::read(&text).unwrap().rows[0].data.clone()
        };
        let twice: String = "caf\u{e9} \u{20ac}".bytes().map(char::from).collect();
        assert_eq!(read("", &twice), "caf\u{e9} \u{20ac}");
        assert_eq!(read(r#","history":5"#, &twice), twice, "a daemon of our kind means what it says");
        for once in ["caf\u{e9} \u{20ac}", "caf\u{e9}", "caf\u{c3}\u{a9} \u{e9}", "caf\u{c3}\u{a9} \u{20ac}", "plain"] {
            assert_eq!(read("", once), once);
        }
    }

    #[test]
    fn rows_of_a_perl_daemon_are_read_and_put_in_order() {
        let text = r#"{"id":"3","action":"getlog","result":[
            {"instant":0,"token":null,"ctime":1795450538.28194,"code":3,"id":"10","etime":1795450538,"data":"{\"message\":\"x\"}"},
            {"instant":"1","token":"t","ctime":"1795450538.1","code":"2","id":"9","etime":"1795450537","data":{"a":1}},
            {"token":"no ctime","id":11}, {"ctime":1e300}, {"ctime":1,"id":-3,"token":[],"code":{},"data":5}]}"#;
        let answer = Answer::read(text).unwrap();
        let row = |id, ctime, etime, token: Option<&str>, code, instant, data: &str| AnsweredRow {
            id,
            ctime,
            etime,
            token: token.map(str::to_owned),
            code: Code(code),
            instant,
            data: data.to_owned(),
            origin: None,
        };
        assert_eq!(
            answer.rows,
            [
                row(0, 1.0, 0, None, 0, false, "5"),
                row(9, 1_795_450_538.1, 1_795_450_537, Some("t"), 2, true, r#"{"a":1}"#),
                row(10, 1_795_450_538.281_94, 1_795_450_538, None, 3, false, r#"{"message":"x"}"#),
            ]
        );
        assert_eq!((answer.last_id, answer.more), (None, false));
    }

    #[test]
    fn an_answer_of_our_own_kind_tells_where_to_go_on() {
        let answer = Answer::read(r#"{"action":"getlog","result":[],"id":3,"last_id":7,"more":true}"#).unwrap();
        assert_eq!((answer.last_id, answer.more), (Some(7), true));
    }

    #[test]
    fn packed_rows_are_read_like_others_and_a_damaged_pack_is_no_answer() {
        let rows: Vec<String> =
            (1..100).map(|id| format!(r#"{{"id":{id},"ctime":1.5,"code":2,"token":"t","data":"{{}}"}}"#)).collect();
        let rows = format!("[{}]", rows.join(","));
        let plain = Answer::read(&format!(r#"{{"action":"getlog","result":{rows},"last_id":99}}"#)).unwrap();
        let packed = packed::pack(&rows).unwrap();
        let answer = |packed: &str| {
            Answer::read(&format!(r#"{{"action":"getlog","result":[],"packed":"{packed}","last_id":99}}"#))
        };
        assert_eq!(answer(&packed).as_ref(), Some(&plain));
        assert_eq!(answer(&packed[8..]), None);
        assert_eq!(answer(&packed::pack(&"[".repeat(40 << 20)).unwrap()), None);
    }

    #[test]
    fn anything_else_is_no_answer() {
        for text in
            ["null", "{}", r#"{"action":"ping"}"#, r#"{"action":"getlog"}"#, r#"{"action":"getlog","result":{}}"#, "["]
        {
            assert_eq!(Answer::read(text), None, "{text}");
        }
    }
}
