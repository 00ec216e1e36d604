//! Who may ask for what, and the lines about it: a refusal in the log, everything that was accepted and changes
//! something in the audit log.

use crate::model::action::Action;
use crate::model::api::Caller;
use crate::model::connection::PeerAddress;
use crate::model::log::{AUDIT, LogLine};
use crate::model::rights::{May, Rights};

use super::actions;
use super::context::Context;

/// Characters of a request that the audit log shows.
const SHOWN_MAX: usize = 2_000;
/// Characters of a target that are shown.
const TARGET_MAX: usize = 40;

/// Somebody who asks.
pub(super) struct Asker<'a> {
    name: String,
    rights: &'a Rights,
}

impl<'a> Asker<'a> {
    /// A caller of the API.
    pub(super) fn of(caller: &'a Caller) -> Self {
        let from = match caller.address {
            PeerAddress::Ip(address) => address.to_string(),
            PeerAddress::Local => "a local socket".to_owned(),
        };
        let user = caller.user.as_deref().map_or_else(|| "the API".to_owned(), |user| format!("user '{user}'"));
        Self { name: format!("{user} from {from}"), rights: &caller.rights }
    }

    /// A client of the external socket.
    pub(super) const fn named(name: String, rights: &'a Rights) -> Self {
        Self { name, rights }
    }
}

/// Whether somebody may ask for something.
pub(super) fn admit(
    context: &mut Context,
    asker: &Asker<'_>,
    action: &Action,
    target: &str,
    data: &str,
) -> Result<(), ()> {
    let node = match target.chars().take(TARGET_MAX).flat_map(char::escape_debug).collect::<String>() {
        target if target.is_empty() => "this node".to_owned(),
        target => format!("node {target}"),
    };
    let (name, word) = (&asker.name, action.as_str().chars().take(64).collect::<String>());
    if !asker.rights.allow(actions::may(action), action, data) {
        context.log(LogLine::warning("core", format!("{name} may not ask for {word} on {node}: refused")));
        return Err(());
    }
    if context.options.audits && is_worth_a_line(action) {
        let shown: String = data.chars().take(SHOWN_MAX).collect();
        let text = format!("{name}: {word} on {node}: {}", super::masked::without_secrets(&shown));
        context.log(LogLine::info(AUDIT, text));
    }
    Ok(())
}

/// Not what changes nothing, and not what nodes say all the time.
fn is_worth_a_line(action: &Action) -> bool {
    use Action::{Ack, Pong, SetLogs, SyncLogs};
    actions::may(action) != May::Read && !matches!(action, Ack | Pong | SetLogs | SyncLogs)
}
