//! Whether standard error goes to the systemd journal, and the prefix that gives a line its level there (sd-daemon(3)).

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use crate::model::log::Level;

/// Whether standard error is a stream of the journal. `JOURNAL_STREAM` names the device and inode of that stream; a
/// child with another standard error also inherits the variable (systemd.exec(5)).
#[must_use]
pub fn is_standard_error() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let own = std::io::stderr().as_fd().try_clone_to_owned().and_then(|handle| File::from(handle).metadata());
    own.is_ok_and(|own| is_stream(&stream, own.dev(), own.ino()))
}

fn is_stream(text: &str, device: u64, inode: u64) -> bool {
    let numbers = text.split_once(':').map(|(device, inode)| (device.parse(), inode.parse()));
    numbers == Some((Ok(device), Ok(inode)))
}

/// The prefix of a line of this level.
#[must_use]
pub const fn prefix(level: Level) -> &'static str {
    match level {
        Level::Debug => "<7>",
        Level::Info => "<6>",
        Level::Warning => "<4>",
        Level::Error => "<3>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_known_by_device_and_inode() {
        assert!(is_stream("8:1234", 8, 1234));
        for other in ["8:1235", "9:1234", "8", "", "8:x", "8:1234:5"] {
            assert!(!is_stream(other, 8, 1234), "{other}");
        }
    }
}
