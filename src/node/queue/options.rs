//! The options of a request that concern the queue, and the members by which two daemons of our kind agree on a queued
//! request (docs/protocol.md section 20).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::modules::queue::QueueSettings;
use crate::model::action::Action;
use crate::model::queue::TTL_MAX;
use crate::node::json;

/// Maximum time that a request may be scheduled ahead, in seconds: ten years.
const AHEAD_MAX: i64 = 3_653 * 86_400;
/// Members of a request that are for us, not for its node.
const OWN_MEMBERS: [&str; 5] = ["ttl", "not_before", "once", "queue", "token"];

/// The options of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::node) struct QueueOptions {
    /// How long it may wait for its node, in seconds.
    pub ttl: Option<i64>,
    /// Wall-clock time before which it is not sent; 0 for none.
    pub not_before: i64,
}

/// The place of a request in the queue of another daemon, which keeps it until it has its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::node) struct Place {
    /// The number of that daemon's history.
    pub of: i64,
    /// The number of the request in its queue.
    pub n: i64,
    /// The number of the request before it, if it is not known to be taken; otherwise 0.
    #[serde(default)]
    pub after: i64,
    /// Seconds for which its token must be remembered.
    #[serde(default)]
    pub keep: i64,
    /// Whether it has waited for the node, so that the one before it should be done first.
    #[serde(default)]
    pub waited: bool,
    /// The number of the node's history when it was first sent, if it was sent before; otherwise 0.
    #[serde(default)]
    pub again: i64,
}

#[derive(Deserialize)]
struct Members {
    #[serde(default)]
    ttl: Value,
    #[serde(default)]
    not_before: Value,
}

#[derive(Deserialize)]
struct PlaceMember {
    queue: Place,
}

/// Returns whether requests for an action may wait for their node. Those that are only of use at once may not, nor
/// those by which daemons keep in touch.
pub(in crate::node) const fn may_wait(action: &Action) -> bool {
    !matches!(
        action,
        Action::Ack
            | Action::Cancel
            | Action::GetLog
            | Action::Ping
            | Action::Pong
            | Action::ProcessCopy
            | Action::PutLog
            | Action::RegisterNodes
            | Action::Running
            | Action::SetLogs
            | Action::SyncLogs
            | Action::UnregisterNodes
    )
}

impl QueueOptions {
    /// Reads the options in the data of a request.
    ///
    /// # Errors
    /// Returns a sentence that names the option, its value and what is allowed.
    pub(in crate::node) fn read(data: &str, wall: i64) -> Result<Self, String> {
        if !data.contains("\"ttl\"") && !data.contains("\"not_before\"") {
            return Ok(Self::default());
        }
        let Ok(members) = serde_json::from_str::<Members>(data) else { return Ok(Self::default()) };
        Self::of(&members.ttl, &members.not_before, wall)
    }

    /// Checks the options.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(in crate::node) fn of(ttl: &Value, not_before: &Value, wall: i64) -> Result<Self, String> {
        let ttl = whole(ttl, "ttl", 0..=TTL_MAX, "seconds ")?;
        let latest = wall.saturating_add(AHEAD_MAX);
        let not_before = whole(not_before, "not_before", 0..=latest, "seconds since 1970 ")?.unwrap_or(0);
        Ok(Self { ttl, not_before: if not_before > wall { not_before } else { 0 } })
    }

    /// Returns how long a request of this action may wait; `None` if it does not wait.
    pub(in crate::node) fn patience(self, settings: &QueueSettings, action: &Action) -> Option<i64> {
        /// Patience of a scheduled request that has no `ttl`.
        const SCHEDULED: i64 = 3_600;
        let usual = || settings.by_action.get(action.as_str()).copied().unwrap_or(settings.ttl);
        let ttl = self.ttl.unwrap_or_else(usual);
        if ttl == 0 && self.not_before > 0 { Some(SCHEDULED) } else { Some(ttl).filter(|ttl| *ttl > 0) }
    }

    /// Adds the options to the data of a request, a JSON object.
    pub(in crate::node) fn add_to(self, data: String) -> String {
        let ttl = self.ttl.map(|ttl| format!("\"ttl\":{ttl}"));
        let not_before = (self.not_before > 0).then(|| format!("\"not_before\":{}", self.not_before));
        let members: Vec<String> = ttl.into_iter().chain(not_before).collect();
        if members.is_empty() { data } else { with_members(&data, &members.join(",")) }
    }
}

/// Reads a whole number; an absent one is `None`.
fn whole(value: &Value, name: &str, range: std::ops::RangeInclusive<i64>, unit: &str) -> Result<Option<i64>, String> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
        let shown: String = match value {
            Value::String(text) => text.chars().take(40).collect(),
            other => other.to_string().chars().take(40).collect(),
        };
        let (from, to) = (range.start(), range.end());
        format!("{name} is '{shown}'; allowed: a whole number of {unit}from {from} to {to}")
    })
}

/// Returns the place that another daemon gave a request, if it did.
pub(in crate::node) fn place_of(data: &str) -> Option<Place> {
    if !data.contains("\"queue\"") {
        return None;
    }
    serde_json::from_str::<PlaceMember>(data).ok().map(|member| member.queue).filter(|place| place.of != 0)
}

/// Returns the data of a request without the members that are for us; `None` if it is not an object.
pub(in crate::node) fn without_options(data: &str) -> Option<String> {
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_str(data).ok()?;
    members.retain(|name, _| !OWN_MEMBERS.contains(name));
    let mut out = String::with_capacity(data.len());
    for (name, value) in members {
        out.push(if out.is_empty() { '{' } else { ',' });
        json::push_string(&mut out, name);
        out.push(':');
        out.push_str(value.get());
    }
    out.push_str(if out.is_empty() { "{}" } else { "}" });
    Some(out)
}

/// Returns the data of a queued request for a node of our kind. `attempt` differs each time it is sent, so that a relay
/// does not take it for one that goes in a circle.
pub(super) fn with_place(data: &str, place: Place, attempt: u32) -> String {
    let Place { of, n, after, keep, waited, again } = place;
    let waited = if waited { ",\"waited\":true" } else { "" };
    let again = if again != 0 { format!(",\"again\":{again}") } else { String::new() };
    let queue = format!("{{\"of\":{of},\"n\":{n},\"after\":{after},\"keep\":{keep},\"try\":{attempt}{waited}{again}}}");
    with_members(data, &format!("\"once\":true,\"queue\":{queue}"))
}

/// Adds members to an object.
fn with_members(object: &str, members: &str) -> String {
    let inside = object.trim_start().strip_prefix('{').unwrap_or("}");
    let comma = if inside.trim_start().starts_with('}') { "" } else { "," };
    format!("{{{members}{comma}{inside}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str) -> Result<QueueOptions, String> {
        QueueOptions::read(data, 1_000)
    }

    #[test]
    fn a_ttl_is_a_whole_number_of_seconds_within_its_bounds_and_anything_else_is_named() {
        assert_eq!(read(r#"{"content":[],"ttl":60}"#).unwrap().ttl, Some(60));
        assert_eq!(read(r#"{"content":[],"ttl":"60"}"#).unwrap().ttl, Some(60));
        assert_eq!(read(r#"{"content":{"ttl":"x"}}"#).unwrap().ttl, None);
        for bad in ["-1", "1000000000", "\"x\"", "1.5", "true", "[]", "\"\"", "99999999999999999999"] {
            let text = read(&format!("{{\"ttl\":{bad}}}")).unwrap_err();
            assert!(text.starts_with("ttl is '") && text.ends_with("from 0 to 2592000"), "{text}");
        }
    }

    #[test]
    fn a_time_in_the_past_schedules_nothing_and_one_too_far_ahead_is_refused() {
        assert_eq!(read(r#"{"not_before":999}"#).unwrap().not_before, 0);
        assert_eq!(read(r#"{"not_before":1001}"#).unwrap().not_before, 1_001);
        assert!(read(r#"{"not_before":1e12}"#).is_err() && read(r#"{"not_before":315620201}"#).is_err());
    }

    #[test]
    fn a_request_waits_as_long_as_it_says_or_else_as_its_action_or_all_do() {
        let settings =
            QueueSettings { ttl: 5, by_action: [("COMMAND".to_owned(), 9)].into(), ..QueueSettings::default() };
        let patience = |data: &str, action: Action| read(data).unwrap().patience(&settings, &action);
        assert_eq!(patience("{}", Action::Command), Some(9));
        assert_eq!(patience("{}", Action::EngineCommand), Some(5));
        assert_eq!(patience(r#"{"ttl":7}"#, Action::Command), Some(7));
        assert_eq!(patience(r#"{"ttl":0}"#, Action::Command), None);
        assert_eq!(patience(r#"{"ttl":0,"not_before":2000}"#, Action::Command), Some(3_600));
    }

    #[test]
    fn a_node_gets_the_data_without_our_options_and_with_its_place() {
        let data = r#" {"content":[{"ttl":1}], "ttl":60,"not_before":1,"once":true,"a":"}"}"#;
        let stored = without_options(data).unwrap();
        assert_eq!(stored, r#"{"a":"}","content":[{"ttl":1}]}"#);
        let place = Place { of: 7, n: 9, after: 8, keep: 100, waited: true, again: 5 };
        let sent = with_place(&stored, place, 2);
        assert_eq!(place_of(&sent), Some(place));
        assert!(sent.contains(r#""once":true"#) && sent.ends_with(r#","a":"}","content":[{"ttl":1}]}"#), "{sent}");
        assert!(json::is_valid(&sent) && json::is_valid(&with_place("{}", place, 1)));
        assert_eq!(without_options(r#"{"ttl":1}"#).as_deref(), Some("{}"));
        assert_eq!(without_options("[1]"), None);
    }
}
