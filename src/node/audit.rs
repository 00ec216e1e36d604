//! The check of rights, and its log lines: refusals go to the log, accepted requests that change something to the audit
//! log.

use std::fmt;

use crate::model::action::Action;
use crate::model::api::Caller;
use crate::model::connection::PeerAddress;
use crate::model::log::{AUDIT, LogLine};
use crate::model::rights::{May, Rights};
use crate::model::status::Allowed;

use super::context::Context;

/// Maximum number of characters of a request in the audit log.
const SHOWN_MAX: usize = 2_000;
/// Maximum number of characters of a target in a log line.
const TARGET_MAX: usize = 40;

/// The author of a request. Its text is only made if a line is written.
pub(super) struct Asker<'a> {
    who: Who<'a>,
    rights: &'a Rights,
}

enum Who<'a> {
    Caller(&'a Caller),
    Client(&'a str),
}

impl<'a> Asker<'a> {
    /// Returns a caller of the API.
    pub(super) fn of(caller: &'a Caller) -> Self {
        Self { who: Who::Caller(caller), rights: &caller.rights }
    }

    /// Returns the place of its rights in the configuration.
    const fn place(&self) -> &'static str {
        match self.who {
            Who::Caller(_) => "'may' of its entry in 'users' of the module httpserver",
            Who::Client(_) => "'may' of its entry in authorized_clients",
        }
    }

    /// Returns a client of the external socket.
    pub(super) const fn named(name: &'a str, rights: &'a Rights) -> Self {
        Self { who: Who::Client(name), rights }
    }
}

impl fmt::Display for Asker<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caller = match self.who {
            Who::Client(name) => return formatter.write_str(name),
            Who::Caller(caller) => caller,
        };
        match caller.user.as_deref() {
            Some(user) => write!(formatter, "user '{user}'")?,
            None => formatter.write_str("the API")?,
        }
        match caller.address {
            PeerAddress::Ip(address) => write!(formatter, " from {address}"),
            PeerAddress::Local => formatter.write_str(" from a local socket"),
        }
    }
}

/// Returns whether the asker may make a request, and logs it.
pub(super) fn admit(
    context: &mut Context,
    asker: &Asker<'_>,
    action: &Action,
    target: &str,
    data: &str,
) -> Result<(), ()> {
    let request = || {
        let word: String = action.as_str().chars().take(64).collect();
        match target.chars().take(TARGET_MAX).flat_map(char::escape_debug).collect::<String>() {
            target if target.is_empty() => format!("{word} on this node"),
            target => format!("{word} on node {target}"),
        }
    };
    if !asker.rights.allow(action.may(), action, data) {
        let text = format!("{asker} may not ask for {}: refused; if it should, widen {}", request(), asker.place());
        context.log(LogLine::warning("core", text));
        return Err(());
    }
    if context.options.audits && is_worth_a_line(action) {
        let shown: String = data.chars().take(SHOWN_MAX).collect();
        let text = format!("{asker}: {}: {}", request(), super::masked::without_secrets(&shown));
        context.log(LogLine::info(AUDIT, text));
    }
    Ok(())
}

/// Returns what a caller may do in general.
#[cfg_attr(not(feature = "status"), expect(dead_code, reason = "for reports"))]
pub(super) fn allowed(caller: &Caller) -> Allowed {
    let central = caller.rights.allow(May::Central, &Action::Command, "{}");
    Allowed { central, admin: caller.rights.is_admin() }
}

/// Returns whether the audit log has a line for an action: not if it changes nothing, or if nodes send it all the time.
fn is_worth_a_line(action: &Action) -> bool {
    use Action::{Ack, Pong, SetLogs, SyncLogs};
    action.may() != May::Read && !matches!(action, Ack | Pong | SetLogs | SyncLogs)
}
