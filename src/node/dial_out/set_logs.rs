//! Answers to GETLOG as SETLOGS: one message over ZeroMQ, parts of limited size over a WebSocket.
//!
//! A central of our own kind pages by row id and takes all parts. A Perl central continues by `ctime`, and older ones
//! take only the first part of an answer. So parts are in the order of `ctime` and never split rows of one `ctime`; a
//! central that was seen to take one part gets one, and is told that there is more.

use crate::node::context::Context;
use crate::node::dial_out::DialledOut;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::{ClientId, ParentKind};
use crate::model::history::{HistoryRow, LogFilter, LogPage, PageLimit};
use crate::model::message::{Message, Outgoing};
use crate::model::token::Token;

use crate::node::get_log::{CTIME_TOLERANCE_SECONDS, Paged, rows_json};
use crate::node::json;
use crate::node::output::Output;
use crate::node::timers::Timer;

/// Maximum size of a message that a Perl central takes, in encoded characters.
const ENCODED_BYTES_MAX: usize = 262_144;
/// Maximum size of the rows of one message, limited by the send queue of a connection.
const ROW_BYTES_MAX: usize = 16 << 20;
/// Maximum length in characters of the text around the rows of a part.
const FRAME_BYTES: usize = 1_024;
/// Time after which a central that took a part is told that there is more.
const PACE: Duration = Duration::from_secs(1);
/// The separator between two rows.
const COMMA: Size = Size { plain_chars: 1, encoded_bytes: 1, least_bytes: 1 };

/// What is known about the way a central takes our rows.
#[derive(Debug)]
pub(super) struct PartsTaken {
    /// The end of the first part of the last answer.
    first_end: Option<Position>,
    /// Whether it continues after the first of several parts.
    takes_one: bool,
    /// Maximum encoded size in bytes of a row that it takes; larger ones are cut.
    row_bytes_max: usize,
    /// Whether a part larger than [`ENCODED_BYTES_MAX`] was sent and no message has arrived since.
    large_is_open: bool,
}

impl Default for PartsTaken {
    fn default() -> Self {
        Self { first_end: None, takes_one: false, row_bytes_max: ROW_BYTES_MAX, large_is_open: false }
    }
}

impl PartsTaken {
    /// Handles a query by `ctime`. Sets how much to read, and from where: after the last row that it took, even if
    /// others have the same `ctime`.
    fn asked(&mut self, filter: &mut LogFilter, limit: PageLimit, chars_max: usize) -> (PageLimit, Option<Position>) {
        self.large_is_open = false;
        let is_same = |ctime: f64, end: &Position| (ctime - end.ctime).abs() < CTIME_TOLERANCE_SECONDS;
        let behind = self.first_end.filter(|end| filter.after_ctime.is_some_and(|ctime| is_same(ctime, end)));
        if let Some(end) = behind {
            self.takes_one |= end.is_not_last;
            filter.after_ctime = Some(end.ctime - CTIME_TOLERANCE_SECONDS);
        }
        let limit = if self.takes_one { PageLimit { rows: 1_000, bytes: chars_max, ..limit } } else { limit };
        (limit, behind)
    }

    /// Notes a Perl central, which takes only the first part.
    pub(super) const fn is_perl(&mut self) {
        self.takes_one = true;
    }

    /// Notes the loss of the connection.
    pub(super) fn lost(&mut self) {
        self.first_end = None;
        if std::mem::take(&mut self.large_is_open) {
            self.row_bytes_max = ENCODED_BYTES_MAX;
        }
    }
}

/// The place of a row in the order of all rows.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::node) struct Position {
    ctime: f64,
    id: i64,
    /// Whether further parts follow.
    is_not_last: bool,
}

impl Position {
    /// Returns whether a row was in an answer that ended here.
    pub(in crate::node) fn covers(&self, row: &HistoryRow) -> bool {
        row.ctime <= self.ctime && row.id <= self.id
    }
}

/// Size of a text: its characters, and its bytes after HTML escaping with entities: of all characters, or only of those
/// that a reader needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    plain_chars: usize,
    encoded_bytes: usize,
    least_bytes: usize,
}

impl Size {
    fn of(text: &str) -> Self {
        let mut size = Self::default();
        for byte in text.bytes() {
            let continues_character = byte & 0xc0 == 0x80;
            size.plain_chars += usize::from(!continues_character);
            let (usual, least) = match byte {
                b'"' => (6, 1),
                b'&' => (5, 5),
                b'\'' => (5, 1),
                b'<' | b'>' => (4, 1),
                // Each byte of what is not ASCII becomes a number such as `&#195;`.
                0x80.. => (6, 6),
                _ => (1, 1),
            };
            size.encoded_bytes += usual;
            size.least_bytes += least;
        }
        size
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            plain_chars: self.plain_chars + other.plain_chars,
            encoded_bytes: self.encoded_bytes + other.encoded_bytes,
            least_bytes: self.least_bytes + other.least_bytes,
        }
    }

    const fn fits(self, chars_max: usize) -> bool {
        self.plain_chars + FRAME_BYTES <= chars_max && self.encoded_bytes + FRAME_BYTES <= ENCODED_BYTES_MAX
    }
}

/// How rows are divided into parts.
#[derive(Clone, Copy, Debug)]
struct Division {
    /// Maximum number of characters of a part with several rows.
    chars_max: usize,
    /// Maximum number of encoded bytes of a row.
    row_bytes_max: usize,
    /// Whether rows are in the order of `ctime`, and parts never split rows of one `ctime`.
    by_ctime: bool,
}

/// The rows of one message as a JSON array.
#[derive(Debug)]
struct Part {
    rows: String,
    end: Position,
    size: Size,
}

impl Part {
    fn new() -> Self {
        Self { rows: "[".to_owned(), end: Position::default(), size: Size::default() }
    }

    /// Returns whether the part is empty, or another row of this size fits.
    fn takes(&self, size: Size, chars_max: usize) -> bool {
        self.rows.len() <= 1 || self.size.plus(size).fits(chars_max)
    }

    fn push(&mut self, text: &str, size: Size, row: &HistoryRow) {
        if self.rows.len() > 1 {
            self.rows.push(',');
        }
        self.rows.push_str(text);
        self.size = self.size.plus(size);
        self.end = Position { ctime: row.ctime, id: row.id, is_not_last: false };
    }

    fn close(&mut self, is_not_last: bool) -> Self {
        self.rows.push(']');
        self.end.is_not_last = is_not_last;
        std::mem::replace(self, Self::new())
    }
}

/// Divides rows into parts. Returns at least one part, which may be empty.
fn parts(mut rows: Vec<HistoryRow>, division: Division) -> Vec<Part> {
    if division.by_ctime {
        rows.sort_unstable_by(|a, b| a.ctime.total_cmp(&b.ctime).then(a.id.cmp(&b.id)));
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut part = Part::new();
    let stay_together = |a: &HistoryRow, b: &HistoryRow| division.by_ctime && a.ctime.total_cmp(&b.ctime).is_eq();
    for instant in rows.chunk_by(stay_together) {
        let texts = instant.iter().map(|row| {
            let text = row_text(row, division.row_bytes_max);
            let size = Size::of(&text).plus(COMMA);
            (text, size, row)
        });
        let texts: Vec<(String, Size, &HistoryRow)> = texts.collect();
        let whole = texts.iter().fold(Size::default(), |sum, (_, size, _)| sum.plus(*size));
        if !part.takes(whole, division.chars_max) {
            parts.push(part.close(true));
        }
        for (text, size, row) in texts {
            // No message can hold all rows of this `ctime`; see [`PartsTaken::asked`].
            if !part.takes(size, usize::MAX) {
                parts.push(part.close(true));
            }
            part.push(&text, size, row);
        }
    }
    parts.push(part.close(false));
    parts
}

/// Returns a row as JSON, cut if it has more than `bytes_max` encoded bytes.
fn row_text(row: &HistoryRow, bytes_max: usize) -> String {
    let mut row = row.clone();
    let mut len_max = bytes_max - (bytes_max >> 5);
    loop {
        let text = rows_json(std::slice::from_ref(&row));
        let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&text);
        if Size::of(text).least_bytes + FRAME_BYTES <= bytes_max {
            return text.to_owned();
        }
        row.data = if len_max < 1_024 { too_large(row.data.len()) } else { cut(&row.data, len_max) };
        // Only the token can still be too large.
        row.token = row.token.filter(|_| len_max > 0);
        len_max /= 2;
    }
}

fn too_large(len: usize) -> String {
    json::message(&format!("the data of this row is too large for a WebSocket: {len} bytes"))
}

/// Returns JSON with every string cut to `len_max` bytes.
fn cut(data: &str, len_max: usize) -> String {
    fn walk(value: &mut Value, len_max: usize) {
        match value {
            Value::String(text) if text.len() > len_max => {
                let mut end = len_max;
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                text.truncate(end);
                text.push_str(" [cut]");
            }
            Value::Array(values) => values.iter_mut().for_each(|value| walk(value, len_max)),
            Value::Object(members) => members.values_mut().for_each(|value| walk(value, len_max)),
            _ => {}
        }
    }
    let Ok(mut value) = serde_json::from_str::<Value>(data) else { return too_large(data.len()) };
    walk(&mut value, len_max);
    value.to_string()
}

impl DialledOut {
    /// Returns how much to read at most, and from where, for a central that we dialled and that continues by `ctime`.
    pub(in crate::node) fn read_on_for_parent(
        &mut self,
        context: &mut Context,
        kind: ParentKind,
        filter: &mut LogFilter,
        limit: PageLimit,
    ) -> (PageLimit, Option<Position>) {
        let chars_max =
            context.options.modules.pullwss.as_ref().map_or(limit.bytes, |pullwss| pullwss.max_message_size);
        self.parent(kind).taken.asked(filter, limit, chars_max)
    }

    /// Sends a page of our history to a central that we dialled.
    pub(in crate::node) fn set_logs(
        &mut self,
        context: &mut Context,
        kind: ParentKind,
        token: &Token,
        mut page: LogPage,
        paged: Option<&Paged>,
    ) {
        let parent = self.parent(kind);
        if parent.identity.is_none() {
            return;
        }
        let by_ctime = paged.is_none();
        let (rows, mut more) = (std::mem::take(&mut page.rows), page.more);
        let mut parts = match (kind, &context.options.modules.pullwss) {
            (ParentKind::WebSocket, Some(settings)) => {
                // A Perl central would close the connection instead, and lose what it was sending.
                let row_bytes_max = if by_ctime { ENCODED_BYTES_MAX } else { parent.taken.row_bytes_max };
                parts(rows, Division { chars_max: settings.max_message_size, row_bytes_max, by_ctime })
            }
            _ => vec![Part { rows: rows_json(&rows), ..Part::new() }],
        };
        if by_ctime && kind == ParentKind::WebSocket {
            parent.taken.first_end = parts.first().map(|part| part.end).filter(|end| end.id > 0);
            more |= parts.len() > 1;
            if parent.taken.takes_one {
                parts.truncate(1);
            }
        }
        parent.taken.large_is_open |= parts.iter().any(|part| part.size.least_bytes > ENCODED_BYTES_MAX);
        let total = parts.len();
        for (number, part) in parts.into_iter().enumerate() {
            let mut data = format!(
                "{{\"code\":{},\"data\":{{\"action\":\"getlog\",\"id\":{},{}",
                Code::BEGIN.0,
                context.id_json(),
                paged.map_or_else(|| format!("\"result\":{}", part.rows), |paged| paged.echo.result(&part.rows))
            );
            // Writing to a string cannot fail.
            if kind == ParentKind::WebSocket {
                let _ = write!(data, ",\"nb_total_msg\":{total}");
            }
            if let Some(Paged { last_id, echo }) = paged {
                let echo = if number + 1 == total { echo.members.as_str() } else { "" };
                let _ = write!(data, ",\"last_id\":{last_id}{echo}");
                page.write_newest(&mut data);
                context.write_history(&mut data);
            }
            if paged.is_some() || page.more {
                let _ = write!(data, ",\"more\":{more}");
            }
            data.push_str("}}");
            let message =
                Message { action: Action::SetLogs, token: Some(token.clone()), target: Some("".into()), data };
            context.output(Output::SendToParent { kind, outgoing: Outgoing::Request(message) });
        }
        if by_ctime && more {
            context.timers.set(Timer::Subscriber(ClientId::Parent(kind)), context.now.monotonic + PACE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::row;

    fn division(chars_max: usize) -> Division {
        Division { chars_max, row_bytes_max: ENCODED_BYTES_MAX, by_ctime: false }
    }

    fn ids(part: &Part) -> Vec<i64> {
        let rows: Value = serde_json::from_str(&part.rows).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
    }

    #[test]
    fn a_part_for_a_central_that_goes_on_by_ctime_ends_between_two_instants() {
        let at = |id: i64, ctime: f64| HistoryRow { ctime, ..row(id, "t", 0, &"x".repeat(400)) };
        let rows = vec![at(1, 1.0), at(2, 1.0), at(3, 2.0), at(4, 2.0), at(5, 2.0), at(6, 2.0), at(7, 1.5)];
        let by_ctime = Division { by_ctime: true, ..division(2_400) };
        let parts = parts(rows.clone(), by_ctime);
        assert_eq!(parts.iter().map(ids).collect::<Vec<_>>(), [vec![1, 2], vec![7], vec![3, 4, 5, 6]]);
        assert!(parts[0].end.is_not_last && !parts[2].end.is_not_last);
    }

    #[test]
    fn a_central_that_takes_one_part_is_known_by_its_next_question() {
        let mut taken = PartsTaken::default();
        let end = Position { ctime: 1_795_450_538.281_94, id: 7, is_not_last: true };
        taken.first_end = Some(end);
        let limit = PageLimit { rows: 9, bytes: 9, whole_instants: true, as_json: false };
        let mut filter = LogFilter { after_ctime: Some(1_795_450_540.0), ..LogFilter::default() };
        assert_eq!(taken.asked(&mut filter, limit, 5).0, limit);
        let mut filter = LogFilter { after_ctime: Some(end.ctime), ..LogFilter::default() };
        let (limit, behind) = taken.asked(&mut filter, limit, 5);
        assert_eq!(limit, PageLimit { rows: 1_000, bytes: 5, whole_instants: true, as_json: false });
        let at = |id: i64| HistoryRow { ctime: end.ctime, ..row(id, "t", 0, "{}") };
        assert!(behind.unwrap().covers(&at(7)) && !behind.unwrap().covers(&at(8)));
        assert!(taken.takes_one && filter.after_ctime.unwrap() < end.ctime, "rows beside the last one are looked for");
    }

    #[test]
    fn a_row_that_broke_the_connection_is_cut_the_next_time() {
        let mut taken = PartsTaken { large_is_open: true, ..PartsTaken::default() };
        taken.lost();
        assert_eq!(taken.row_bytes_max, ENCODED_BYTES_MAX);
    }

    #[test]
    fn parts_hold_what_fits_and_a_large_row_stands_alone() {
        let data = |len: usize| format!("{{\"x\":\"{}\"}}", "y".repeat(len));
        let rows = vec![row(1, "a", 0, &data(500)), row(2, "b", 0, &data(9_000)), row(3, "c", 0, &data(500))];
        let parts = parts(rows, division(3_000));
        assert_eq!(parts.len(), 3);
        assert!(parts[1].rows.contains("\"id\":2") && parts[1].rows.len() > 9_000);
        let none = super::parts(Vec::new(), division(3_000));
        assert_eq!(none.iter().map(|part| part.rows.as_str()).collect::<Vec<_>>(), ["[]"]);
    }

    #[test]
    fn no_part_is_larger_than_a_receiver_takes_once_it_is_encoded() {
        let data = serde_json::json!({ "stdout": "\"é<".repeat(400_000), "exit_code": 3 }).to_string();
        let rows = (1..4).map(|number| row(number, "t", 100, &data)).chain([row(9, "t", 2, "{}")]).collect();
        let parts = parts(rows, division(10_000_000));
        for part in &parts {
            assert!(Size::of(&part.rows).least_bytes <= ENCODED_BYTES_MAX);
            let rows: Value = serde_json::from_str(&part.rows).unwrap();
            let data: Value = serde_json::from_str(rows[0]["data"].as_str().unwrap()).unwrap();
            assert!(rows[0]["code"] == 2 || data["exit_code"] == 3);
        }
        assert!(parts.len() >= 3);
    }

    #[test]
    fn rows_that_are_no_json_or_all_keys_are_replaced() {
        for data in ["\"".repeat(300_000), format!("{{\"{}\":1}}", "k".repeat(600_000))] {
            let text = row_text(&row(1, "t", 2, &data), ENCODED_BYTES_MAX);
            assert!(text.contains("too large for a WebSocket"), "{text}");
        }
    }
}
