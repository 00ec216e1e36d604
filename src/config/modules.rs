//! The table of the modules' settings: which module has which, and how they are read. [`read`] reads `modules`.

pub mod action;
pub mod cron;
pub mod dbcleaner;
pub mod dial_in;
pub mod engine;
pub mod httpserver;
pub mod legacycmd;
pub mod nodes;
pub mod proxy;
pub mod queue;
pub mod register;
pub mod statistics;

use std::collections::BTreeMap;

use crate::model::action::Module;
use crate::model::foreign::{self, ForeignModule};
use crate::model::text::quoted;

use super::delegate::DelegateSettings;
use super::findings::Findings;
use super::include::Loader;
use super::options::{self, Options};
use super::raw::RawConfig;
use super::section::Section;
use super::settings::CoreSettings;
use super::tree::{Node, Value};
use super::web_api::WebAccount;
use action::ActionSettings;
use cron::CronJob;
use dbcleaner::CleanerSettings;
use dial_in::{PullSettings, PullWssSettings};
use engine::EngineSettings;
use httpserver::HttpSettings;
use legacycmd::LegacySettings;
use nodes::NodesSettings;
use proxy::ProxySettings;
use register::RegisterSettings;
use statistics::StatisticsSettings;

macro_rules! modules {
    ($($module:ident: $field:ident, $settings:ty, $options:expr,
        |$section:ident, $around:ident, $findings:ident| $read:expr;)*) => {
        /// The settings of the modules; `None` where a module is absent or disabled.
        #[derive(Clone, Debug, Default)]
        pub struct Modules {
            $(#[doc = concat!("Those of `", stringify!($field), "`.")] pub $field: Option<$settings>,)*
            /// Every package that is loaded, by module name, for `INFORMATION`.
            pub loaded: BTreeMap<String, String>,
        }

        impl Modules {
            /// Whether the configuration has a module.
            #[must_use]
            pub const fn has(&self, module: Module) -> bool {
                match module {
                    $(Module::$module => self.$field.is_some(),)*
                }
            }

            /// The modules with other settings than in `other`.
            pub(super) fn differing(&self, other: &Self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$field != other.$field {
                    names.push(concat!("modules[", stringify!($field), "]"));
                })*
                names
            }

            /// Reads the settings of a module. Returns whether it is loaded.
            fn read(
                &mut self,
                module: Module,
                section: Section<'_>,
                around: &mut Surroundings<'_>,
                findings: &mut Findings,
            ) -> bool {
                match module {
                    $(Module::$module => {
                        let ($section, $around, $findings) = (section, around, findings);
                        self.$field = $read;
                    })*
                }
                self.has(module)
            }
        }

        /// The option names of a module.
        const fn options_of(module: Module) -> &'static Options {
            match module {
                $(Module::$module => &$options,)*
            }
        }
    };
}

modules! {
    Proxy: proxy, ProxySettings, proxy::PROXY,
        |section, around, findings| Some(proxy::read(section, around.tpapi, findings));
    Register: register, RegisterSettings, register::REGISTER,
        |section, around, findings| register::read(section, around.core.id, around.loader, findings);
    Action: action, ActionSettings, action::ACTION, |section, _around, findings| Some(action::read(section, findings));
    HttpServer: httpserver, HttpSettings, httpserver::HTTPSERVER,
        |section, _around, findings| Some(httpserver::read(section, findings));
    Pull: pull, PullSettings, dial_in::PULL,
        |section, around, findings| dial_in::read_pull(section, around.core, findings);
    PullWss: pullwss, PullWssSettings, dial_in::PULLWSS,
        |section, around, findings| dial_in::read_pullwss(section, around.core, findings);
    DbCleaner: dbcleaner, CleanerSettings, dbcleaner::DBCLEANER,
        |section, _around, findings| Some(dbcleaner::read(section, findings));
    Cron: cron, Vec<CronJob>, cron::CRON, |section, _around, findings| Some(cron::read(section, findings));
    Engine: engine, EngineSettings, engine::ENGINE, |section, _around, findings| Some(engine::read(section, findings));
    Nodes: nodes, NodesSettings, nodes::NODES, |section, around, findings| nodes::read(section, around.raw, findings);
    LegacyCmd: legacycmd, LegacySettings, legacycmd::LEGACYCMD,
        |section, around, findings| legacycmd::read(section, around.raw, findings);
    Statistics: statistics, StatisticsSettings, statistics::STATISTICS,
        |section, around, findings| statistics::read(section, around.raw, &mut around.jobs, findings);
}

/// The option names of all modules.
pub(super) static OPTIONS: &[&[&Options]] = &[
    proxy::ALL,
    register::ALL,
    action::ALL,
    engine::ALL,
    cron::ALL,
    httpserver::ALL,
    dial_in::ALL,
    nodes::ALL,
    legacycmd::ALL,
    statistics::ALL,
    dbcleaner::ALL,
];

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
    modules.dbcleaner.get_or_insert_default();
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
            if !modules.read(known, section, around, findings) {
                modules.loaded.remove(known.name());
            }
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
