//! Modules of the original that this program does not have: what does not work without each, and what a daemon of the
//! original that has it answers (docs/protocol.md section 19).

use super::api::Method::{self, Delete, Get, Post};

/// A module that is not here.
pub struct ForeignModule {
    pub package: &'static str,
    /// What does not work without it.
    pub loss: &'static str,
    /// Where its paths of the API begin.
    pub path: &'static str,
    /// Its actions: those with a path of the API by method and the rest of the path.
    pub actions: &'static [(Option<(Method, &'static str)>, &'static str)],
}

macro_rules! foreign {
    ($($package:literal: $loss:literal, $path:literal, [$(($at:expr, $action:literal)),* $(,)?];)*) => {
        /// All of them.
        pub const ALL: &[ForeignModule] = &[$(ForeignModule {
            package: concat!("gorgone::modules::", $package, "::hooks"),
            loss: $loss,
            path: $path,
            actions: &[$(($at, $action)),*],
        },)*];
    };
}

foreign! {
    "centreon::anomalydetection": "anomaly detection is neither trained nor updated", "centreon/anomalydetection",
        [(None, "CENTREONADREADY")];
    "centreon::audit": "audits of the platform get no answer", "centreon/audit", [
        (Some((Post, "schedule")), "CENTREONAUDITSCHEDULE"), (Some((Post, "node")), "CENTREONAUDITNODE"),
        (None, "CENTREONAUDITNODELISTENER")];
    "centreon::autodiscovery": "host and service discovery does not run", "centreon/autodiscovery", [
        (Some((Post, "hosts")), "ADDHOSTDISCOVERYJOB"), (Some((Delete, "hosts")), "DELETEHOSTDISCOVERYJOB"),
        (Some((Get, "hosts")), "LAUNCHHOSTDISCOVERY"), (Some((Post, "services")), "LAUNCHSERVICEDISCOVERY"),
        (None, "HOSTDISCOVERYJOBLISTENER"), (None, "HOSTDISCOVERYCRONLISTENER"), (None, "SERVICEDISCOVERYLISTENER")];
    "centreon::judge": "pollers do not take over from each other", "centreon/judge", [
        (Some((Post, "failback")), "JUDGEFAILBACK"), (Some((Post, "move")), "JUDGEMOVE"),
        (Some((Post, "clean")), "JUDGECLEAN"), (None, "JUDGELISTENER")];
    "centreon::mbi::etl": "the data of reports (MBI) is not built", "centreon/mbietl", [
        (Some((Post, "run")), "CENTREONMBIETLRUN"), (Some((Get, "kill")), "CENTREONMBIETLKILL"),
        (Some((Get, "status")), "CENTREONMBIETLSTATUS"), (None, "CENTREONMBIETLLISTENER")];
    "centreon::mbi::etlworkers": "the data of reports (MBI) is not built", "centreon/mbi-etlworkers", [
        (None, "CENTREONMBIETLWORKERSIMPORT"), (None, "CENTREONMBIETLWORKERSDIMENSIONS"),
        (None, "CENTREONMBIETLWORKERSEVENT"), (None, "CENTREONMBIETLWORKERSPERFDATA")];
    "core::httpserverng": "this listener does not exist; 'httpserver' has the API", "core/httpserverng", [];
    "core::pipeline": "pipelines are not run", "core/pipeline",
        [(Some((Post, "definitions")), "ADDPIPELINE"), (None, "PIPELINELISTENER")];
    "core::ssh": "clients cannot connect over SSH", "core/ssh", [];
    "plugins::newtest": "Newtest scenarios are not collected", "plugins/newtest",
        [(Some((Get, "resync")), "NEWTESTRESYNC")];
    "plugins::scom": "alerts of SCOM are not collected", "plugins/scom", [(Some((Get, "resync")), "SCOMRESYNC")];
    "plugins::windows": "its requests get no answer", "plugins/windows", [];
}

/// The action of a path of the API that a module of the original is known to have.
#[must_use]
pub fn action_of(method: Method, path: &str) -> Option<&'static str> {
    let module = ALL.iter().find_map(|module| Some((module, path.strip_prefix(module.path)?.strip_prefix('/')?)));
    let (module, rest) = module?;
    let is_it = |at: &&(Option<(Method, &str)>, &str)| at.0 == Some((method, rest));
    module.actions.iter().find(is_it).map(|(_, action)| *action)
}
