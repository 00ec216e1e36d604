//! The status page: its files, and the document with the table of nodes, which needs no script.
//!
//! The script shows the same table and keeps it up to date by `GET /api/status`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::OnceLock;

use super::{Machine, behind, json, pack};
use crate::model::api::{ApiAnswer, Document, Wishes};
use crate::model::node_id::NodeId;
use crate::model::status::{NodeState, Overview};

const HTML: &str = include_str!("page/page.html");
const CSS: &[u8] = include_bytes!("page/page.css");
const SCRIPT: &[u8] = include_bytes!("page/page.js");
const ICON: &[u8] = include_bytes!("page/icon.svg");

/// Maximum number of nodes in the document.
const ROWS_MAX: usize = 200;

/// What a browser may do on the page: nothing but load our own files and call our own API.
const POLICY: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

fn headers(content_type: &'static str) -> Vec<Cow<'static, str>> {
    let fixed = [
        content_type,
        POLICY,
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY",
        "Referrer-Policy: no-referrer",
    ];
    fixed.into_iter().map(Cow::Borrowed).collect()
}

/// Answers a request for one of the page's files; `None` for another name.
pub(in crate::daemon) fn file(name: &str, wishes: &Wishes) -> Option<ApiAnswer> {
    static PACKED: [OnceLock<Option<Vec<u8>>>; 3] = [const { OnceLock::new() }; 3];
    const TAG: &str = concat!("\"", env!("CARGO_PKG_VERSION"), "-1\"");
    let (index, bytes, content_type) = match name {
        "page.css" => (0, CSS, "Content-Type: text/css; charset=utf-8"),
        "page.js" => (1, SCRIPT, "Content-Type: text/javascript; charset=utf-8"),
        "icon.svg" => (2, ICON, "Content-Type: image/svg+xml"),
        _ => return None,
    };
    let mut headers = headers(content_type);
    headers.push(format!("ETag: \"{:x}-{:x}\"", bytes.len(), checksum(bytes)).into());
    let tag = headers.last().and_then(|header| header.strip_prefix("ETag: ")).unwrap_or(TAG);
    if wishes.if_none_match.as_deref() == Some(tag) {
        return Some(ApiAnswer::empty(304));
    }
    headers.push("Cache-Control: no-cache".into());
    headers.push("Vary: Accept-Encoding".into());
    let packed =
        PACKED.get(index).filter(|_| wishes.gzip).and_then(|packed| packed.get_or_init(|| pack(bytes)).as_ref());
    let bytes: Cow<'static, [u8]> = match packed {
        Some(packed) => {
            headers.push("Content-Encoding: gzip".into());
            Cow::Owned(packed.clone())
        }
        None => Cow::Borrowed(bytes),
    };
    Some(ApiAnswer { document: Some(Box::new(Document { headers, bytes })), ..ApiAnswer::json(200, "") })
}

/// FNV-1a, so that a browser notices another build.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A text for HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

/// A duration in its largest unit or two.
fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        seconds => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// A row of the table.
struct Row<'a> {
    id: NodeId,
    is_behind: bool,
    name: Option<&'a str>,
    state: NodeState,
    /// In the order of the columns from 'Kind' on.
    cells: [String; 10],
}

const LABELS: [&str; 10] =
    ["Kind", "Since", "Link", "Pong", "Sync", "Waiting", "Running", "Version", "Memory", "Address"];

/// The rows in the order of the page: each node, then those behind it.
fn rows(overview: &Overview) -> Vec<Row<'_>> {
    let now = overview.now;
    let ago = |at: i64| if at > 0 { span(now - at) } else { String::new() };
    let some = |count: u64| if count > 0 { count.to_string() } else { String::new() };
    let behind = json::all_behind(overview);
    let mut rows = Vec::new();
    for node in &overview.nodes {
        let ping = node.ping_ms.map(|ms| format!(" ({ms} ms)")).unwrap_or_default();
        let lag = node.sync_lag.filter(|lag| *lag > 0).map(|lag| format!(", {lag} rows behind")).unwrap_or_default();
        rows.push(Row {
            id: node.id,
            is_behind: false,
            name: node.about.hostname.as_deref(),
            state: node.state,
            cells: [
                node.kind.to_owned(),
                ago(node.since),
                node.link.unwrap_or_default().to_owned(),
                if node.last_ping > 0 { ago(node.last_ping) + &ping } else { String::new() },
                if node.synced_at > 0 { ago(node.synced_at) + &lag } else { String::new() },
                some(node.queue + node.unconfirmed),
                some(node.about.running.unwrap_or(0)),
                node.about.version.as_deref().unwrap_or_default().to_owned(),
                node.about.memory.map(size).unwrap_or_default(),
                node.address.clone().unwrap_or_default(),
            ],
        });
        push_behind(&mut rows, &behind, node.id, &ago, 32);
    }
    rows
}

fn push_behind(
    rows: &mut Vec<Row<'_>>,
    behind: &[behind::Behind],
    parent: NodeId,
    ago: &impl Fn(i64) -> String,
    levels: usize,
) {
    let Some(deeper) = levels.checked_sub(1) else { return };
    let first = behind.partition_point(|node| node.parent < parent);
    for node in behind.iter().skip(first).take_while(|node| node.parent == parent) {
        let mut cells = [const { String::new() }; 10];
        let [kind, _, _, ping, ..] = &mut cells;
        (*kind, *ping) = (node.kind.clone(), ago(node.last_ping));
        rows.push(Row { id: node.id, is_behind: true, name: None, state: node.state, cells });
        push_behind(rows, behind, node.id, ago, deeper);
    }
}

fn write_rows(rows: &[Row<'_>]) -> String {
    let mut out = String::new();
    for Row { id, is_behind, name, state, cells } in rows {
        let class = if *is_behind { " class=\"behind\"" } else { "" };
        let state = state.as_str();
        let name = name.map(|name| format!(" <span class=\"name\">{}</span>", escaped(name))).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "<tr><th scope=\"row\"{class}><a href=\"#node/{id}\">{id}</a>{name}</th><td><span \
             class=\"state {state}\">{state}</span></td>"
        );
        for (label, cell) in LABELS.iter().zip(cells) {
            let _ = write!(out, "<td data-label=\"{label}\">{}</td>", escaped(cell));
        }
        out.push_str("</tr>\n");
    }
    out
}

fn write_failures(overview: &Overview) -> String {
    let mut out = String::new();
    for failure in &overview.failures {
        let node = failure.node.map_or_else(|| "here".to_owned(), |node| node.to_string());
        let short: String = failure.token.chars().take(16).collect();
        let _ = writeln!(
            out,
            "<tr><td>{} ago</td><td>{node}</td><td class=\"long\">{}</td><td>{}</td></tr>",
            span(overview.now - failure.at),
            escaped(&json::message(&failure.data)),
            escaped(&short),
        );
    }
    out
}

/// Makes the document; `from` is the number of the first row.
pub(super) fn page(overview: &Overview, machine: &Machine, gzip: bool, from: usize) -> ApiAnswer {
    let rows = rows(overview);
    let count = |state: NodeState| rows.iter().filter(|row| row.state == state).count().to_string();
    let hidden = |is_hidden: bool| if is_hidden { " hidden" } else { "" }.to_owned();
    let id = overview.id.map(|id| format!(" (node {id})")).unwrap_or_default();
    let facts = [
        format!("version {}", env!("CARGO_PKG_VERSION")),
        format!("up {}", span(overview.now - overview.started_at)),
        format!("memory {}", size(machine.memory.unwrap_or(0))),
        format!("database {}", size(machine.database_bytes.unwrap_or(0))),
    ];
    let facts: String = facts.iter().map(|fact| format!("<span>{fact}</span>")).collect();
    let end = from.saturating_add(ROWS_MAX);
    let next = if rows.len() > end {
        format!("<p class=\"more plain\">{end} of {} nodes. <a href=\"/?from={end}\">Next</a></p>", rows.len())
    } else {
        String::new()
    };
    let shown: Vec<Row<'_>> = rows.iter().skip(from).take(ROWS_MAX).map(Row::again).collect();
    let mut html = String::with_capacity(HTML.len() + shown.len() * 700);
    let mut rest = HTML;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        html.push_str(before);
        html.push_str(&match name {
            "title" => escaped(&overview.hostname) + &id,
            "facts" => facts.clone(),
            "trouble" => hidden(overview.stores),
            "up" => count(NodeState::Up),
            "down" => count(NodeState::Down),
            "never" => count(NodeState::Never),
            "running" => overview.running.to_string(),
            "waiting" => overview.waiting.to_string(),
            "open" => overview.open_tokens.to_string(),
            "rows" => write_rows(&shown),
            "none" => hidden(!rows.is_empty()),
            "next" => next.clone(),
            "failures-box" => hidden(overview.failures.is_empty()),
            "failures" => write_failures(overview),
            "no-failures" => hidden(!overview.failures.is_empty()),
            "version" => env!("CARGO_PKG_VERSION").to_owned(),
            _ => String::new(),
        });
        rest = after;
    }
    html.push_str(rest);
    super::document(html, headers("Content-Type: text/html; charset=utf-8"), gzip)
}

impl Row<'_> {
    fn again(&self) -> Self {
        let Self { id, is_behind, name, state, cells } = self;
        Self { id: *id, is_behind: *is_behind, name: *name, state: *state, cells: cells.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_say_cannot_become_markup() {
        assert_eq!(escaped("<a href='x'>\"&\n"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp; ");
    }

    #[test]
    fn the_files_fit_their_budget_and_have_no_inline_script_or_style_and_no_other_host() {
        let packed: usize =
            [HTML.as_bytes(), CSS, SCRIPT, ICON].iter().filter_map(|file| pack(file)).map(|file| file.len()).sum();
        assert!(packed <= 60_000, "{packed} bytes");
        for word in ["<style", " style=", " onclick", " onload", "javascript:", "//cdn"] {
            assert!(!HTML.contains(word), "{word}");
        }
        let script = std::str::from_utf8(SCRIPT).unwrap();
        for word in ["innerHTML", "eval(", ".style", "document.write"] {
            assert!(!script.contains(word), "{word}");
        }
        let hosts = |text: &str| {
            text.match_indices("://").map(|(at, _)| text[at..].chars().take(14).collect()).collect::<Vec<String>>()
        };
        assert!(hosts(HTML).is_empty() && hosts(std::str::from_utf8(CSS).unwrap()).is_empty());
        assert_eq!(hosts(script), ["://www.w3.org/"], "the name space of SVG");
    }

    #[test]
    fn a_browser_that_has_a_file_gets_it_no_second_time() {
        let first = file("page.js", &Wishes::default()).unwrap();
        let headers = first.document.unwrap().headers;
        let tag = headers.iter().find_map(|header| header.strip_prefix("ETag: ")).unwrap();
        let wishes = Wishes { if_none_match: Some(tag.into()), ..Wishes::default() };
        assert_eq!(file("page.js", &wishes).unwrap().status, 304);
        assert!(file("../page.js", &wishes).is_none());
    }
}
