//! Reads `modules` into [`Modules`]: the known packages, those that are implemented, and the options of each.

use std::time::Duration;

use crate::model::foreign::{self, ForeignModule};
use crate::model::module::Module;

use super::core_section::DAY_SECONDS;
use super::cron_section::CronJob;
use super::delegate::DelegateSettings;
use super::findings::Findings;
use super::include::Loader;
use super::options::{self, Options};
use super::raw::RawConfig;
use super::section::{self, Section, Unit};
use super::settings::{CleanerSettings, CoreSettings, EngineSettings, Modules, ProxySettings};
use super::tree::{Node, Value};
use super::web_api::WebAccount;
use super::{
    action_section, copy_section, cron_section, database_section, dial_in_section, http_section, legacy_section,
    queue_section, register_file, statistics_section,
};
use crate::model::text::quoted;

/// Maximum time for keeping a history: ten years in seconds.
const TEN_YEARS_SECONDS: u32 = 315_360_000;

/// The option names of a module.
const fn options_of(module: Module) -> &'static Options {
    match module {
        Module::Proxy => &options::PROXY,
        Module::Register => &options::REGISTER,
        Module::Action => &options::ACTION,
        Module::HttpServer => &options::HTTPSERVER,
        Module::Pull => &options::PULL,
        Module::PullWss => &options::PULLWSS,
        Module::Nodes => &options::NODES,
        Module::LegacyCmd => &options::LEGACYCMD,
        Module::Statistics => &options::STATISTICS,
        Module::DbCleaner => &options::DBCLEANER,
        Module::Cron => &options::CRON,
        Module::Engine => &options::ENGINE,
    }
}

/// Other sections and files that modules need.
struct Surroundings<'a> {
    raw: &'a RawConfig<'a>,
    core: &'a CoreSettings,
    tpapi: &'a [WebAccount],
    loader: &'a mut Loader,
    /// Jobs that other modules add to `cron`.
    jobs: Vec<CronJob>,
}

/// Reads all entries; wrong values are reported and replaced by their defaults.
pub(super) fn read(
    raw: &RawConfig<'_>,
    core: &CoreSettings,
    tpapi: &[WebAccount],
    loader: &mut Loader,
    findings: &mut Findings,
) -> Modules {
    let mut modules = Modules::default();
    let mut around = Surroundings { raw, core, tpapi, loader, jobs: Vec::new() };
    let mut loaded: Vec<&str> = Vec::new();
    for (index, entry) in raw.modules.iter().enumerate() {
        read_entry(entry, index, &mut modules, &mut loaded, &mut around, findings);
    }
    if modules.register.is_some() && modules.proxy.is_none() {
        let text = "'register' is loaded but 'proxy' is not, so its nodes are not reached; add \
            gorgone::modules::core::proxy::hooks";
        findings.warning(raw.place_of(Module::Register), "modules", text);
    }
    if modules.nodes.is_some() && modules.proxy.is_none() {
        let text = "'nodes' is loaded but 'proxy' is not, so its pollers are not reached; add \
            gorgone::modules::core::proxy::hooks";
        findings.warning(raw.place_of(Module::Nodes), "modules", text);
    }
    add_jobs(around.jobs, &mut modules);
    let cleaner = Module::DbCleaner;
    modules.loaded.insert(cleaner.name().to_owned(), cleaner.package().to_owned());
    modules
}

/// Adds the jobs of other modules to `cron`, which is loaded for them if necessary.
fn add_jobs(jobs: Vec<CronJob>, modules: &mut Modules) {
    if jobs.is_empty() {
        return;
    }
    let all = modules.cron.get_or_insert_default();
    let more: Vec<CronJob> = jobs.into_iter().filter(|job| all.iter().all(|known| known.id != job.id)).collect();
    all.extend(more);
    let cron = Module::Cron;
    modules.loaded.entry(cron.name().to_owned()).or_insert_with(|| cron.package().to_owned());
}

fn read_entry<'a>(
    entry: &'a Node,
    index: usize,
    modules: &mut Modules,
    loaded: &mut Vec<&'a str>,
    around: &mut Surroundings<'_>,
    findings: &mut Findings,
) {
    let key = format!("modules[{}]", name_of(entry).unwrap_or(&index.to_string()));
    if !matches!(entry.value, Value::Map(_)) {
        findings.problem(
            &entry.place,
            &key,
            format!("is {}; allowed: a map with 'name' and 'package'", entry.value.kind()),
        );
        return;
    }
    let section = Section::among(Some(entry), &entry.place, &key, &options::MODULE, findings);
    // If the value is invalid, the options below are checked as well, so that all problems are reported together;
    // nothing starts.
    let says_something = section.value("enable").is_some();
    let enabled = section.boolean_unlike("enable", says_something, |text| text != "false", findings);
    let name = section.text("name", findings);
    let package = section.text("package", findings).map(|(text, _)| text);
    let Some(package) = package.filter(|_| name.is_some()) else {
        // The original ignores such an entry, but an enabled one was meant to do something.
        if enabled {
            let missing = if name.is_none() { "name" } else { "package" };
            findings.problem(
                &entry.place,
                &key,
                format!("has no '{missing}'; a module needs 'name', 'package' and 'enable'"),
            );
        }
        return;
    };
    if loaded.contains(&package) {
        findings.warning(&entry.place, &key, format!("Package '{package}' already loaded; the first entry counts"));
        return;
    }
    if !enabled {
        return;
    }
    match Module::of_package(package) {
        Some(known @ (Module::Nodes | Module::LegacyCmd | Module::Statistics)) if !cfg!(feature = "centreon") => {
            let loss = match known {
                Module::Nodes => "no pollers come from the database",
                Module::Statistics => "statistics of engines and brokers are not collected",
                _ => "exports, reloads and acknowledgements of the web interface reach no poller",
            };
            let text = format!("Package '{package}' needs a build with the feature 'centreon', so {loss}");
            findings.loss(&entry.place, &key, text);
        }
        Some(known) => {
            loaded.push(package);
            modules.loaded.insert(known.name().to_owned(), package.to_owned());
            let section = section.with(options_of(known));
            section.warn_of_unknown(&[&options::MODULE, options_of(known)], findings);
            read_options(known, section, modules, around, findings);
        }
        None if is_delegated(package, &around.core.delegate) => {}
        None => findings.loss(&entry.place, &key, lost(package)),
    }
}

/// Whether requests for a missing module are delegated to another daemon.
fn is_delegated(package: &str, delegate: &DelegateSettings) -> bool {
    let module = foreign::ALL.iter().find(|module| module.package == package);
    module.is_some_and(|module| {
        delegate.takes_path(module.path) || module.actions.iter().any(|(_, action)| delegate.takes_action(action))
    })
}

/// Describes the effect of an enabled module that is missing.
fn lost(package: &str) -> String {
    if let Some(ForeignModule { loss, .. }) = foreign::ALL.iter().find(|module| module.package == package) {
        return format!(
            "Package '{package}' is not available in this version, so {loss}; set 'enable: false', or leave it to a \
             Perl daemon beside this one ('gorgonecore.delegate')"
        );
    }
    let names: Vec<&str> = Module::ALL.iter().map(|module| module.package()).collect();
    let meant = options::nearest(package, &names).map(|name| format!("; is '{name}' meant")).unwrap_or_default();
    format!("unknown package {}, so this module does not work{meant}; known: {}", quoted(package), names.join(", "))
}

fn name_of(entry: &Node) -> Option<&str> {
    match &entry.get("name")?.value {
        Value::Text(name) if !name.trim().is_empty() => Some(name.trim()),
        _ => None,
    }
}

fn read_options(
    module: Module,
    section: Section<'_>,
    modules: &mut Modules,
    around: &mut Surroundings<'_>,
    findings: &mut Findings,
) {
    match module {
        Module::Proxy => modules.proxy = Some(read_proxy(section, around.tpapi, findings)),
        Module::Register => {
            modules.register = register_file::read(section, around.core.id, around.loader, findings);
            // The original does not load the module either.
            if modules.register.is_none() {
                modules.loaded.remove(module.name());
            }
        }
        Module::Action => modules.action = Some(action_section::read(section, findings)),
        Module::HttpServer => modules.httpserver = Some(http_section::read(section, findings)),
        Module::Pull => modules.pull = dial_in_section::read_pull(section, around.core, findings),
        Module::PullWss => modules.pullwss = dial_in_section::read_pullwss(section, around.core, findings),
        Module::Cron => modules.cron = Some(cron_section::read(section, findings)),
        Module::Engine => modules.engine = Some(read_engine(section, findings)),
        Module::Nodes => {
            modules.nodes = database_section::read_nodes(section, around.raw, findings);
            if modules.nodes.is_none() {
                modules.loaded.remove(module.name());
            }
        }
        Module::Statistics => match statistics_section::read(section, around.raw, findings) {
            Some((settings, jobs)) => {
                modules.statistics = Some(settings);
                around.jobs.extend(jobs);
            }
            None => _ = modules.loaded.remove(module.name()),
        },
        Module::LegacyCmd => {
            modules.legacycmd = legacy_section::read(section, around.raw, findings);
            if modules.legacycmd.is_none() {
                modules.loaded.remove(module.name());
            }
        }
        Module::DbCleaner => modules.dbcleaner = read_cleaner(section, findings),
    }
}

fn read_proxy(section: Section<'_>, tpapi: &[WebAccount], findings: &mut Findings) -> ProxySettings {
    let default = ProxySettings::default();
    let seconds = Unit::Seconds;
    ProxySettings {
        httpserver: dial_in_section::read_listener(
            section.child("httpserver", &options::PROXY_HTTPSERVER, findings),
            tpapi,
            findings,
        ),
        pool: section.number("pool", default.pool, 1..=64, "", findings),
        sync_time: section.duration("synchistory_time", default.sync_time, seconds, DAY_SECONDS, findings),
        sync_timeout: section.duration("synchistory_timeout", default.sync_timeout, seconds, DAY_SECONDS, findings),
        ping: section.duration("ping", default.ping, seconds, DAY_SECONDS, findings),
        pong_discard_timeout: section.duration(
            "pong_discard_timeout",
            default.pong_discard_timeout,
            seconds,
            DAY_SECONDS,
            findings,
        ),
        failover_after: section.duration("failover_after", default.failover_after, seconds, DAY_SECONDS, findings),
        pong_max_timeout: section.parsed(
            "pong_max_timeout",
            default.pong_max_timeout,
            "a whole number from 1 to 1000",
            findings,
            |text| text.parse().ok().filter(|number| (1..=1_000).contains(number)),
        ),
        replaces_twice: section.parsed("id_twice", false, "refuse or replace", findings, |text| match text {
            "refuse" => Some(false),
            "replace" => Some(true),
            _ => None,
        }),
        only_listed: section
            .parsed("only_listed", None, section::BOOLEANS, findings, |text| section::boolean(text).map(Some)),
        copy_rate_limit: copy_section::read_rate_limit(&section, findings),
        queue: queue_section::read(&section.child("queue", &options::PROXY_QUEUE, findings), findings),
        buffer_size: section.number("buffer_size", default.buffer_size, 1..=8 << 20, "bytes", findings),
    }
}

fn read_engine(section: Section<'_>, findings: &mut Findings) -> EngineSettings {
    let command_file = section.text("command_file", findings).map(|(text, _)| text.to_owned());
    let timeout = section.duration("timeout", Duration::from_secs(5), Unit::Seconds, 60, findings);
    EngineSettings { command_file, timeout }
}

fn read_cleaner(section: Section<'_>, findings: &mut Findings) -> CleanerSettings {
    let default = CleanerSettings::default();
    let most = TEN_YEARS_SECONDS;
    CleanerSettings {
        sessions: section.duration("purge_sessions_time", default.sessions, Unit::Seconds, most, findings),
        history: section.duration("purge_history_time", default.history, Unit::Seconds, most, findings),
    }
}
