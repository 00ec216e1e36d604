//! Clocks of daemons that tests set, by libfaketime. The monotonic clock stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Plan;

/// Path of the library on Debian.
const LIBRARIES: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

/// The time of the test's own clock in seconds since 1970.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// The clock of one daemon.
#[derive(Clone)]
pub struct FakeClock {
    file: PathBuf,
}

impl FakeClock {
    /// Gives a daemon a clock of its own, which is right at first.
    ///
    /// # Errors
    /// Without the library: what to install.
    pub fn of(plan: &mut Plan) -> Result<Self, String> {
        let library = LIBRARIES.into_iter().find(|library| Path::new(library).exists());
        let library = library.ok_or("libfaketime is not installed (Debian package faketime)")?;
        let clock = Self { file: plan.folder.join(format!("{}.clock", plan.name)) };
        clock.ahead(0);
        let settings = [
            ("LD_PRELOAD", library.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", clock.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        plan.environment = settings.map(|(name, value)| (name.to_owned(), value)).into();
        Ok(clock)
    }

    /// Sets it ahead of the test's own clock by this many seconds; it runs on from there.
    pub fn ahead(&self, seconds: i64) {
        let new = self.file.with_extension("clock.new");
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// Sets it to this second since 1970.
    pub fn set(&self, to: i64) {
        self.ahead(to - now());
    }
}
