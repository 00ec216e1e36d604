//! Reads the options of the module `legacycmd` into [`super::legacy`].

use std::path::PathBuf;

use super::database_section;
use super::findings::Findings;
use super::legacy::LegacySettings;
use super::raw::RawConfig;
use super::section::Section;

/// Maximum number of lines of one message.
const BULK_MAX: usize = 1_000;

/// Reads the module `legacycmd`, without its account; `None` after a problem and without a database.
pub(super) fn read(section: Section<'_>, raw: &RawConfig<'_>, findings: &mut Findings) -> Option<LegacySettings> {
    let mut path = |key: &'static str, default: &str| -> String {
        let given = section.text(key, findings);
        if let Some((text, place)) = given
            && !text.starts_with('/')
        {
            findings.problem(place, &section.path(key), format!("is '{text}'; allowed: a path that begins with '/'"));
        }
        given.map_or(default, |(text, _)| text).to_owned()
    };
    let (cmd_file, cmd_dir) =
        (path("cmd_file", "/var/lib/centreon/centcore.cmd"), path("cmd_dir", "/var/lib/centreon/centcore/"));
    let cache_dir = path("cache_dir", "/var/cache/centreon/");
    let cache_dir_trap = path("cache_dir_trap", "/etc/snmp/centreon_traps/");
    let remote_dir = path("remote_dir", "/var/cache/centreon/config/remote-data/");
    let centreon_dir = path("centreon_dir", "/usr/share/centreon");
    let bulk = section.number("bulk_external_cmd", 50, 1..=BULK_MAX, "lines", findings);
    let is_sequential = section.boolean("bulk_external_cmd_sequential", true, findings);
    let account_name = section.text("tpapi_clapi", findings).map_or("clapi", |(text, _)| text).to_owned();
    let database = database_section::of_module(&section, raw, findings)?;
    Some(LegacySettings {
        cmd_file: PathBuf::from(cmd_file),
        cmd_dir: PathBuf::from(cmd_dir),
        cache_dir,
        cache_dir_trap,
        remote_dir,
        centreon_dir,
        bulk,
        is_sequential,
        account_name,
        account: None,
        database,
    })
}
