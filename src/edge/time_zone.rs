//! The local time zone of the system, read from its files by ourselves: libc's own functions are not safe beside
//! threads.

use crate::model::time_zone::TimeZone;

/// What `TZ` says, else `/etc/localtime`. Blocks on small files; for the start.
///
/// # Errors
/// Why it is not known; universal time is the usual way out.
pub fn read() -> Result<TimeZone, String> {
    let setting = std::env::var("TZ").ok().filter(|setting| !setting.is_empty());
    let (zone, source) = match &setting {
        Some(setting) => (tz::TimeZone::from_posix_tz(setting), format!("TZ={setting}")),
        None => (tz::TimeZone::local(), "/etc/localtime".to_owned()),
    };
    zone.map(TimeZone::new).map_err(|error| format!("{source}: {error}"))
}
