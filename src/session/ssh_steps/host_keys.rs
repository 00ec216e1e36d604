//! Decides whether the key of a host is accepted.

use crate::model::log::Level;
use crate::model::ssh::{HostKeyCheck, HostKeyReport, HostKeyVerdict, SshTarget};

/// The decision about a key.
pub(super) enum Verdict {
    /// Accept it.
    Take {
        /// The log line about it.
        warning: Option<String>,
    },
    /// Accept and store it, with a log line.
    Remember { level: Level, text: String },
    /// Refuse it, with the reason.
    Refuse(String),
}

/// Judges a key by the known keys of the host and the option `strict_serverkey_check`.
pub(super) fn judge(target: &SshTarget, report: &HostKeyReport) -> Verdict {
    let shown = format!("{} {}", report.kind, report.fingerprint);
    let file = target.known_hosts.as_ref().map(|path| path.display().to_string());
    let authority = report.authority.as_ref().map_or_else(String::new, |place| {
        format!(" ({place} names an authority for it, which is not used: host certificates are not supported)")
    });
    let check = target.host_key_check;
    match &report.verdict {
        HostKeyVerdict::Known => Verdict::Take { warning: None },
        HostKeyVerdict::Revoked(place) => Verdict::Refuse(format!("its key {shown} is revoked ({place})")),
        HostKeyVerdict::Changed(place) if check == HostKeyCheck::Never => {
            let text = format!("its key is {shown}, not the one of {place}; accepted nevertheless");
            Verdict::Take { warning: Some(format!("{text} (strict_serverkey_check: never)")) }
        }
        HostKeyVerdict::Changed(place) => Verdict::Refuse(format!(
            "HOST KEY CHANGED: it shows {shown}, another one is known ({place}). Somebody may be in between, or the \
             host was set up anew: then {} '{}'",
            if place == "the database" {
                "run 'stheno keys forget --config FILE NODE'; its line is now"
            } else {
                "replace that line by"
            },
            report.line
        )),
        HostKeyVerdict::Unknown | HostKeyVerdict::Unreadable(_) if check == HostKeyCheck::Never => {
            Verdict::Take { warning: None }
        }
        HostKeyVerdict::Unreadable(reason) => Verdict::Refuse(format!("its key {shown} cannot be checked: {reason}")),
        HostKeyVerdict::Unknown if check == HostKeyCheck::Strict => {
            let file = file.unwrap_or_else(|| "a file that ssh_known_hosts names".to_owned());
            Verdict::Refuse(format!(
                "its key {shown} is not known{authority}, and strict_serverkey_check is true; if it is the right one, \
                 add this line to {file}: {}",
                report.line
            ))
        }
        HostKeyVerdict::Unknown => {
            let level = if authority.is_empty() { Level::Info } else { Level::Warning };
            let place = file.unwrap_or_else(|| "the database".to_owned());
            Verdict::Remember { level, text: format!("its key {shown} is new, remembered in {place}{authority}") }
        }
    }
}
