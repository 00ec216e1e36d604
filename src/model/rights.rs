//! The rights of a key, a user or a token (docs/security.md).
//!
//! Out of scope: authentication, and what happens on a refusal.

use serde::Deserialize;
use serde_json::Value;

use super::action::Action;
use super::node_id::NodeId;

/// Characters that a `*` of `command:PATTERN` does not match, because they would begin another command or read a
/// variable.
const SHELL_LETTERS: &str = ";&|`$<>(){}\n\r\0";

/// Which role an action needs, besides `admin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// A reader.
    Read,
    /// A central above us.
    Central,
    /// A node that dials in, for itself.
    Node,
    /// Only `admin`.
    Admin,
}

/// The words of `may`, for error messages.
pub const WORDS: &str = "admin, central, node, read or command:PATTERN";

/// One word of `may`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Right {
    /// Everything.
    Admin,
    /// Requests of a parent to its nodes.
    Central,
    /// Messages of a node that dials in about itself.
    Node,
    /// Reading.
    Read,
    /// COMMAND with lines that match this pattern, and reading their results.
    Command(Box<str>),
}

/// The rights of somebody. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights(Vec<Right>);

impl Rights {
    /// Everything.
    #[must_use]
    pub fn admin() -> Self {
        Self(vec![Right::Admin])
    }

    /// Messages of a node that dials in about itself.
    #[must_use]
    pub fn node() -> Self {
        Self(vec![Right::Node])
    }

    /// Adds a word of `may`; `false` for an unknown one.
    pub fn add(&mut self, word: &str) -> bool {
        let right = match word.split_once(':') {
            None => match word {
                "admin" => Right::Admin,
                "central" => Right::Central,
                "node" => Right::Node,
                "read" => Right::Read,
                _ => return false,
            },
            Some(("command", pattern)) if !pattern.is_empty() => Right::Command(pattern.into()),
            Some(_) => return false,
        };
        self.0.push(right);
        true
    }

    /// Whether everything is allowed.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.0.contains(&Right::Admin)
    }

    /// Whether a request with this data is allowed. `may` is the role that its action needs.
    #[must_use]
    pub fn allow(&self, may: May, action: &Action, data: &str) -> bool {
        self.0.iter().any(|right| match right {
            Right::Admin => true,
            Right::Central => {
                matches!(may, May::Read | May::Central) || matches!(action, Action::SyncLogs | Action::PutLog)
            }
            Right::Node => may == May::Node || *action == Action::Ack,
            Right::Read => may == May::Read,
            // Command lines are checked against all patterns together below.
            Right::Command(_) => matches!(action, Action::Ping | Action::GetLog),
        }) || (matches!(action, Action::Command | Action::ActionEngine) && self.allow_commands(data))
    }

    /// Whether each command line of a request matches one of the patterns.
    fn allow_commands(&self, data: &str) -> bool {
        let patterns: Vec<&str> = self.0.iter().filter_map(Right::pattern).collect();
        let lines = if patterns.is_empty() { None } else { command_lines(data) };
        lines.is_some_and(|lines| {
            !lines.is_empty() && lines.iter().all(|line| patterns.iter().any(|pattern| fits(pattern, line)))
        })
    }
}

impl Rights {
    /// Whether nothing is allowed.
    #[must_use]
    pub const fn are_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl Right {
    fn pattern(&self) -> Option<&str> {
        match self {
            Self::Command(pattern) => Some(pattern),
            Self::Admin | Self::Central | Self::Node | Self::Read => None,
        }
    }
}

#[derive(Deserialize)]
struct Commands {
    #[serde(default)]
    content: Value,
}

/// The lines of a COMMAND or an ACTIONENGINE; `None` if one is not plain text.
fn command_lines(data: &str) -> Option<Vec<String>> {
    let line = |command: &Value| command.as_object()?.get("command")?.as_str().map(str::to_owned);
    match serde_json::from_str::<Commands>(data).ok()?.content {
        Value::Array(commands) => commands.iter().map(line).collect(),
        one => Some(vec![line(&one)?]),
    }
}

/// Whether `text` matches `pattern`, in which `*` matches any text without [`SHELL_LETTERS`]. The time is at most the
/// product of their lengths.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // `reached[n]`: whether the pattern so far matches the first n letters.
    let mut reached: Vec<bool> = (0..=text.len()).map(|letters| letters == 0).collect();
    for expected in pattern {
        let mut before = false;
        let mut next = Vec::with_capacity(reached.len());
        for (at, fits_here) in reached.iter().enumerate() {
            let letter = at.checked_sub(1).and_then(|at| text.get(at));
            let fits_one_less = at.checked_sub(1).and_then(|at| reached.get(at)).copied().unwrap_or(false);
            let now = match (expected, letter) {
                ('*', Some(letter)) => *fits_here || (before && !SHELL_LETTERS.contains(*letter)),
                ('*', None) => *fits_here,
                (expected, letter) => fits_one_less && letter == Some(&expected),
            };
            next.push(now);
            before = now;
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

/// The binding of a client's key on the external socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundKey {
    /// Name of the owner for log lines.
    pub name: String,
    /// The only node that it may speak for.
    pub node: Option<NodeId>,
    /// What it may ask for.
    pub rights: Rights,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(words: &[&str]) -> Rights {
        let mut rights = Rights::default();
        assert!(words.iter().all(|word| rights.add(word)));
        rights
    }

    #[test]
    fn each_role_allows_its_actions_and_no_others() {
        let actions = [
            (May::Read, Action::Ping, "admin central read command:x"),
            (May::Read, Action::GetLog, "admin central read command:x"),
            (May::Read, Action::ConStatus, "admin central read"),
            (May::Central, Action::Command, "admin central"),
            (May::Central, Action::Other("NEW".into()), "admin central"),
            (May::Node, Action::RegisterNodes, "admin node"),
            (May::Node, Action::SyncLogs, "admin central node"),
            (May::Admin, Action::Kill, "admin"),
        ];
        for (may, action, roles) in actions {
            for role in ["admin", "central", "node", "read", "command:x"] {
                let expected = roles.split(' ').any(|allowed| allowed == role);
                assert_eq!(rights(&[role]).allow(may, &action, "{}"), expected, "{role} {action:?}");
            }
        }
        assert!(!Rights::default().allow(May::Read, &Action::Ping, "{}"));
    }

    #[test]
    fn words_that_are_none_are_refused() {
        for word in ["", "Admin", "command", "command:", "write", "read:x"] {
            assert!(!Rights::default().add(word), "{word}");
        }
    }

    #[test]
    fn a_pattern_allows_only_lines_that_fit_it_whole() {
        let may = rights(&["command:/usr/bin/uptime", "command:/usr/lib/plugins/check_* -H *"]);
        let request = |lines: &[&str]| {
            let commands: Vec<Value> = lines.iter().map(|line| serde_json::json!({ "command": line })).collect();
            serde_json::json!({ "content": commands }).to_string()
        };
        for (lines, expected) in [
            (&["/usr/bin/uptime"][..], true),
            (&["/usr/lib/plugins/check_ping -H 192.0.2.1", "/usr/bin/uptime"], true),
            (&["/usr/bin/uptime -p"], false),
            (&["/usr/bin/uptime", "id"], false),
            (&["/usr/lib/plugins/check_ping -H 1; id"], false),
            (&["/usr/lib/plugins/check_ping -H $(id)"], false),
            (&["/usr/lib/plugins/check_ping -H 1\nid"], false),
            (&[" /usr/bin/uptime"], false),
            (&[], false),
        ] {
            assert_eq!(may.allow(May::Central, &Action::Command, &request(lines)), expected, "{lines:?}");
        }
        for data in ["", "null", "{}", r#"{"content":"x"}"#, r#"{"content":[{"command":1}]}"#] {
            assert!(!may.allow(May::Central, &Action::Command, data), "{data}");
        }
        assert!(may.allow(May::Central, &Action::ActionEngine, r#"{"content":{"command":"/usr/bin/uptime"}}"#));
        assert!(!may.allow(May::Central, &Action::EngineCommand, r#"{"content":{"command":"/usr/bin/uptime"}}"#));
    }

    #[test]
    fn a_star_stands_for_any_text_also_none() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*", "a", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("**b*", "aab", true),
            ("a", "b", false),
            ("é*", "éa", true),
            ("a;*", "a;b", true),
            ("a;*", "a;b;c", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
