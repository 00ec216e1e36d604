//! `log`: rows of a daemon's history, which searches it.

use std::collections::VecDeque;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::fail;
use super::remote::{Pause, READER_GONE, Remote};
use super::table::local_time;
use super::view_arguments::LogOptions;
use crate::edge::clock;

/// Time between two questions of `--follow`.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum number of rows that the daemon gives as the newest.
const NEWEST_MAX: usize = 1_000;
/// Maximum number of characters of a message.
const MESSAGE_MAX: usize = 200;

/// Shows the rows.
pub(super) fn run(options: &LogOptions) -> ExitCode {
    match log(options) {
        Ok(code) => code,
        Err(text) => fail(&text),
    }
}

fn log(options: &LogOptions) -> Result<ExitCode, String> {
    let remote = Remote::of_config(&options.config)?;
    let mut search = Search { remote: &remote, options, own_id: remote.own_id(), after: None };
    let mut rows = search.first()?;
    let mut pause = options.follow.then(Pause::new).transpose()?;
    loop {
        let lines: String = rows.iter().map(|row| line(row, search.own_id, options.json)).collect();
        let mut out = std::io::stdout();
        if out.write_all(lines.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(ExitCode::from(READER_GONE));
        }
        if pause.as_mut().is_none_or(|pause| pause.wait(EVERY)) {
            return Ok(ExitCode::SUCCESS);
        }
        rows = search.next()?;
    }
}

/// A search through the history.
struct Search<'a> {
    remote: &'a Remote,
    options: &'a LogOptions,
    own_id: Option<u64>,
    /// The last row that was looked at.
    after: Option<i64>,
}

impl Search<'_> {
    /// Returns the newest rows, up to the limit.
    fn first(&mut self) -> Result<VecDeque<Value>, String> {
        let LogOptions { codes, limit, since, follow, .. } = self.options;
        if *follow {
            let newest = self.remote.call("GET", "/api/log?limit=1", "")?;
            self.after = newest.pointer("/data/0/id").and_then(Value::as_i64);
        }
        let since = since.map(|since| format!("&since={}", since.seconds(clock::read().wall.as_seconds())));
        let since = since.unwrap_or_default();
        if *limit <= NEWEST_MAX && codes.len() <= 1 {
            return self.pages(&format!("&limit={limit}"), &since);
        }
        self.pages("&from=0", &since)
    }

    /// Returns the rows behind those that were looked at.
    fn next(&mut self) -> Result<VecDeque<Value>, String> {
        let first = format!("&from={}", self.after.unwrap_or(0));
        self.pages(&first, "")
    }

    /// Asks for pages until the last one: the first is where `first` says.
    fn pages(&mut self, first: &str, since: &str) -> Result<VecDeque<Value>, String> {
        let LogOptions { node, text, token, codes, limit, .. } = self.options;
        let mut conditions = since.to_owned();
        let code = codes.first().filter(|_| codes.len() == 1);
        let given = [
            node.map(|node| format!("&node={node}")),
            text.as_deref().map(|text| format!("&grep={}", encoded(text))),
            token.as_deref().map(|token| format!("&token={}", encoded(token))),
            code.map(|code| format!("&code={code}")),
        ];
        conditions.extend(given.into_iter().flatten());
        let mut place = first.to_owned();
        let mut found = VecDeque::new();
        loop {
            let answer = self.remote.ask("GET", &format!("/api/log?{}{conditions}", place.trim_start_matches('&')))?;
            if answer.status == 404 {
                return Err("this daemon does not show its history (GET /api/log): it is an older version".to_owned());
            }
            let answer = answer.ok()?;
            for row in answer.get("data").and_then(Value::as_array).into_iter().flatten() {
                self.after = self.after.max(row.get("id").and_then(Value::as_i64));
                let code = row.get("code").and_then(Value::as_i64);
                if codes.is_empty() || code.is_some_and(|code| codes.contains(&code)) {
                    found.push_back(row.clone());
                }
                if found.len() > *limit {
                    found.pop_front();
                }
            }
            if answer.get("more") != Some(&Value::Bool(true)) {
                return Ok(found);
            }
            place = format!("&from={}", self.after.unwrap_or(0));
        }
    }
}

/// Encodes a value of a query.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| {
        let letter = char::from(byte);
        if letter.is_ascii_alphanumeric() || "-._:".contains(letter) {
            letter.to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(byte).collect()
}

/// The node that a row is of: the one that it came from, else the daemon itself.
fn node_of(row: &Value, own_id: Option<u64>) -> Option<u64> {
    row.get("node").and_then(Value::as_u64).or(own_id)
}

/// Formats a row: `TIME NODE CODE MESSAGE TOKEN`, or as JSON.
fn line(row: &Value, own_id: Option<u64>, is_json: bool) -> String {
    let number = |member: &str| row.get(member).and_then(Value::as_i64);
    let node = node_of(row, own_id);
    let text = row.get("data").and_then(Value::as_str).unwrap_or_default();
    let token = row.get("token").and_then(Value::as_str);
    let data: Value = serde_json::from_str(text).unwrap_or_default();
    if is_json {
        let (id, code, time) = (number("id"), number("code"), number("etime"));
        let line = json!({ "id": id, "time": time, "node": node, "code": code, "token": token, "data": data });
        return format!("{line}\n");
    }
    let time = local_time(number("etime").unwrap_or(0));
    let node = node.map_or("-".to_owned(), |node| node.to_string());
    let code = number("code").unwrap_or(0);
    format!("{time}  {node:<4} {code:>3}  {}  {}\n", message(&data, text), token.unwrap_or("-"))
}

/// Returns what a row says on one line.
fn message(data: &Value, text: &str) -> String {
    let word = |pointer: &str| data.pointer(pointer).and_then(Value::as_str);
    let mut said = word("/message").unwrap_or(text).to_owned();
    if let Some(detail) = word("/detail") {
        said.push_str(&format!(" ({detail})"));
    }
    if let Some(exit_code) = data.pointer("/result/exit_code") {
        let output = word("/result/stdout").unwrap_or_default();
        said.push_str(&format!(" (exit code {exit_code}): {output}"));
    }
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut shown: String = said.chars().take(MESSAGE_MAX).map(plain).collect();
    if said.chars().nth(MESSAGE_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_with_its_result() {
        let data =
            json!({ "message": "command has finished successfully", "result": { "exit_code": 3, "stdout": "a\nb" } });
        let row = json!({ "id": 7, "etime": 0, "code": 100, "token": "t", "node": 2, "data": data.to_string() });
        assert_eq!(
            line(&row, Some(1), false),
            "-  2    100  command has finished successfully (exit code 3): a b  t\n"
        );
        let said: Value = serde_json::from_str(&line(&row, None, true)).unwrap();
        assert_eq!((&said["node"], &said["data"]["result"]["exit_code"]), (&json!(2), &json!(3)));
        let own = json!({ "id": 8, "etime": 0, "code": -1, "token": null, "node": null, "data": "no json" });
        assert_eq!(line(&own, Some(1), false), "-  1     -1  no json  -\n");
    }
}
