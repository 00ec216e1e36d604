//! The centrals of a cluster: which one is active, and what the others do. A standby looks at the lease until it is
//! free; then the program begins anew and takes the history over. An active one whose lease is over begins anew, too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::Config;
use crate::config::database::HistoryServer;
use crate::config::members::{compared, standing_by};
use crate::edge::log::LogWriter;
use crate::edge::server_store::{self, Lease, Seen};
use crate::edge::store::StorePlace;
use crate::model::log::LogLine;
use crate::model::time::{Monotonic, Now};

use super::beside::lease_of;
use super::storage::JobResult;
use super::workers::Rank;
use super::{EventLoop, Phase, RunError};

/// Delay until the server is asked again after it could not be.
const AGAIN: Duration = Duration::from_secs(1);
/// Least delay between two looks.
const LOOK_MIN: Duration = Duration::from_millis(50);

/// What a member knows of its cluster.
pub(super) struct ClusterWatch {
    server: Arc<HistoryServer>,
    own: Lease,
    configuration: Vec<(&'static str, String)>,
    is_standby: bool,
    look_at: Option<Monotonic>,
    seen: Seen,
    told: BTreeSet<String>,
    /// Whether the program begins anew when it ends.
    pub(super) begins_anew: bool,
}

impl ClusterWatch {
    /// Finds out whether this central is active or stands by; `None` without a cluster.
    pub(super) fn open(config: &Config, log: &mut LogWriter, now: Now) -> Result<Option<Self>, RunError> {
        let (Some(server), Some(_)) = (&config.core.server, &config.core.cluster) else { return Ok(None) };
        let mut watch = Self {
            server: Arc::new(server.clone()),
            own: lease_of(config),
            configuration: compared(config),
            is_standby: false,
            look_at: Some(now.monotonic),
            seen: Seen::default(),
            told: BTreeSet::new(),
            begins_anew: false,
        };
        let (looked, mut unknown) = ((watch.look())(), None);
        match looked {
            Ok(seen) => watch.seen = seen,
            Err(reason) => unknown = Some(reason),
        }
        let (own, holder) = (&watch.own, &watch.seen.holder);
        let is_held = holder.left_ms > 0
            && holder.place != own.place
            && holder.member != own.member
            && holder.cluster == own.cluster;
        // Until the server can be asked, this central stands by.
        watch.is_standby = is_held || unknown.is_some();
        if let Some(reason) = unknown {
            let text = format!("who is active in the cluster is not known: {reason}");
            log.write(&LogLine::warning("core", text), now.wall);
            watch.told.insert(reason);
        }
        let text = match watch.is_standby {
            true => format!("cluster '{}': this is '{}', and {}", own.cluster, own.member, watch.who()),
            false => format!("cluster '{}': this is '{}', which takes the history over", own.cluster, own.member),
        };
        log.write(&LogLine::info("core", text), now.wall);
        Ok(Some(watch))
    }

    /// The configuration with which this member runs now.
    pub(super) fn configuration(&self, config: Config) -> Config {
        if self.is_standby { standing_by(&config) } else { config }
    }

    /// Where a standby reads the history.
    pub(super) fn reads(&self) -> Option<StorePlace> {
        self.is_standby.then(|| StorePlace::Server(Arc::clone(&self.server)))
    }

    /// Says who is active.
    pub(super) fn who(&self) -> String {
        let holder = &self.seen.holder;
        match holder.member.is_empty() {
            true => "the active central is not known".to_owned(),
            false => format!("the active central is '{}' at {}", holder.member, holder.address),
        }
    }

    pub(super) const fn is_standby(&self) -> bool {
        self.is_standby
    }

    pub(super) const fn poll_timeout(&self) -> Option<Monotonic> {
        self.look_at
    }

    /// What `/api/status` shows.
    pub(super) fn as_json(&self) -> Value {
        let holder = &self.seen.holder;
        let members: Vec<Value> = self
            .seen
            .members
            .iter()
            .map(|member| {
                let is_active = member.member == holder.member && holder.left_ms > 0;
                json!({
                    "member": member.member, "address": member.address, "seen_ms": member.seen_ms,
                    "state": if is_active { "active" } else { "standby" },
                })
            })
            .collect();
        json!({
            "name": self.own.cluster, "member": self.own.member, "epoch": holder.epoch,
            "state": if self.is_standby { "standby" } else { "active" },
            "active": holder.member, "active_address": holder.address,
            "lease_seconds": self.own.millis / 1_000, "members": members,
        })
    }

    fn look(&self) -> impl FnOnce() -> Result<Seen, String> + Send + use<> {
        let (server, own) = (Arc::clone(&self.server), self.own.clone());
        let configuration = serde_json::to_string(&self.configuration).unwrap_or_default();
        move || server_store::look(&server, &own, &configuration).map_err(|error| error.to_string())
    }

    /// The names of what differs between this member and the active one.
    fn differences(&self) -> Vec<String> {
        let active = self.seen.members.iter().find(|member| member.member == self.seen.holder.member);
        let theirs = active.map(|active| active.configuration.as_slice()).unwrap_or_default();
        let differs =
            |(name, value): &&(&'static str, String)| theirs.iter().any(|(other, text)| other == name && text != value);
        self.configuration.iter().filter(differs).map(|(name, _)| (*name).to_owned()).collect()
    }

    /// When to look again.
    fn next_look(&self, now: Monotonic) -> Monotonic {
        let lease = Duration::from_millis(self.own.millis);
        let left = Duration::from_millis(u64::try_from(self.seen.holder.left_ms).unwrap_or(0));
        now + if self.is_standby { (left + LOOK_MIN).min(lease / 4).max(LOOK_MIN) } else { lease / 2 }
    }
}

impl EventLoop {
    /// Has the lease looked at when it is time.
    pub(super) fn look_at_cluster(&mut self, now: Now) {
        let Some(cluster) = self.cluster.as_mut() else { return };
        if cluster.look_at.is_some_and(|when| when <= now.monotonic) {
            cluster.look_at = None;
            let look = cluster.look();
            self.workers.submit(Rank::Store, Box::new(move || JobResult::ClusterSeen(look().map(Box::new))));
        }
    }

    /// Takes what a look has shown.
    pub(super) fn cluster_seen(&mut self, seen: Result<Box<Seen>, String>, now: Now) {
        let Some(cluster) = self.cluster.as_mut() else { return };
        let mut lines = Vec::new();
        let is_known = seen.is_ok();
        match seen {
            Err(reason) => {
                cluster.look_at = Some(now.monotonic + AGAIN);
                if cluster.is_standby && cluster.told.insert(reason.clone()) {
                    lines
                        .push(LogLine::warning("core", format!("who is active in the cluster is not known: {reason}")));
                }
            }
            Ok(seen) => {
                cluster.seen = *seen;
                cluster.look_at = Some(cluster.next_look(now.monotonic));
                let (active, own) = (cluster.seen.holder.member.clone(), cluster.own.member.clone());
                for name in if cluster.is_standby { cluster.differences() } else { Vec::new() } {
                    if cluster.told.insert(name.clone()) {
                        let text =
                            format!("cluster: '{own}' and the active '{active}' differ in {name}: make both alike");
                        lines.push(LogLine::warning("core", text));
                    }
                }
            }
        }
        let takes_over = cluster.is_standby && is_known && cluster.seen.holder.left_ms <= 0;
        let who = cluster.who();
        if takes_over && self.phase == Phase::Running {
            let text = format!("cluster: the lease is free ({who}): this central takes over");
            lines.push(LogLine::info("core", text));
            cluster.begins_anew = true;
            self.phase = Phase::Stopped(now.monotonic);
        } else if cluster.is_standby {
            self.dispatch.stands_by(who);
        }
        for line in lines {
            self.log.write(&line, now.wall);
        }
    }

    /// Stops an active central whose lease is over, before it sends anything more.
    pub(super) fn check_lease(&mut self, now: Now) {
        if self.storage.beside.is_over(now.monotonic) {
            self.storage.is_taken_over("the lease of this central is over");
        }
    }
}
