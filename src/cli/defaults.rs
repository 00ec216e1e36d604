//! Defaults of options for a start and a check: the environment variables `GORGONE_INIT_…` of the container images.

use std::ffi::OsString;
use std::path::PathBuf;

use super::words::named_severity;
use crate::model::log::Level;

/// The values of the variables; empty ones count as not set.
#[derive(Default)]
pub(super) struct Defaults {
    /// `GORGONE_INIT_CONFIG`: the top file.
    pub(super) config: Option<PathBuf>,
    /// `GORGONE_INIT_LOGFILE`: the log file.
    pub(super) logfile: Option<PathBuf>,
    /// `GORGONE_INIT_VAULT`: the file that describes the vault.
    pub(super) vault: Option<PathBuf>,
    severity: Option<String>,
}

impl Defaults {
    /// Reads the variables with `variable`.
    pub(super) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            config: given("GORGONE_INIT_CONFIG").map(PathBuf::from),
            logfile: given("GORGONE_INIT_LOGFILE").map(PathBuf::from),
            vault: given("GORGONE_INIT_VAULT").map(PathBuf::from),
            severity: given("GORGONE_INIT_SEVERITY").map(|word| word.to_string_lossy().into_owned()),
        }
    }

    /// Parses `GORGONE_INIT_SEVERITY`.
    ///
    /// # Errors
    /// The value is not a severity.
    pub(super) fn severity(&self) -> Result<Option<Level>, String> {
        self.severity.as_deref().map(|word| named_severity(word, "GORGONE_INIT_SEVERITY")).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::{Command, parse};
    use super::*;

    #[test]
    fn variables_take_the_place_of_options_that_are_not_there() {
        let defaults = Defaults::read(|name| match name {
            "GORGONE_INIT_CONFIG" => Some("/etc/a.yaml".into()),
            "GORGONE_INIT_SEVERITY" => Some("debug".into()),
            "GORGONE_INIT_LOGFILE" => Some("".into()),
            _ => None,
        });
        let run = |words: &[&str]| match parse(words.iter().map(OsString::from).collect(), &defaults) {
            Ok(Command::Run(options)) => (options.config_path, options.logfile, options.severity),
            other => panic!("{other:?}"),
        };
        assert_eq!(run(&[]), ("/etc/a.yaml".into(), None, Some(Level::Debug)));
        assert_eq!(run(&["run", "--severity", "error"]), ("/etc/a.yaml".into(), None, Some(Level::Error)));
        assert_eq!(run(&["--config", "b", "--logfile=l"]), ("b".into(), Some("l".into()), Some(Level::Debug)));
        let wrong = Defaults::read(|name| Some(if name.ends_with("SEVERITY") { "loud" } else { "c" }.into()));
        let error = parse(vec!["run".into()], &wrong).unwrap_err();
        assert_eq!(error, "GORGONE_INIT_SEVERITY is 'loud'; allowed: debug, info, warning or error");
    }
}
