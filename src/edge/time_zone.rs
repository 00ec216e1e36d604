//! The local time zone of the system, read from its files, because libc's functions are not thread-safe.

use crate::model::time_zone::TimeZone;

/// The zone in `TZ`, else `/etc/localtime`. Blocks on small files, so call this only at the start.
///
/// # Errors
/// Why it is unknown. The usual fallback is universal time.
pub fn read() -> Result<TimeZone, String> {
    let setting = std::env::var("TZ").ok().filter(|setting| !setting.is_empty());
    let (zone, source) = match &setting {
        Some(setting) => (tz::TimeZone::from_posix_tz(setting), format!("TZ={setting}")),
        None => (tz::TimeZone::local(), "/etc/localtime".to_owned()),
    };
    zone.map(TimeZone::new).map_err(|error| format!("{source}: {error}"))
}
