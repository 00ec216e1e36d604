//! What `doctor` finds: steps in the order in which they were looked at, each with the cause if something is wrong.

/// The cause of a trouble. Scripts match on [`Cause::slug`], so a slug never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The daemon listens on another port than the configured one.
    WrongPort,
    /// Nothing listens there.
    ConnectionRefused,
    /// Something else answers there.
    OtherService,
    /// No answer comes back at all.
    PacketsDropped,
    /// The host name has no address.
    NameNotFound,
    /// The other side does not accept our key.
    KeyNotAuthorized,
    /// The other side has another key than the known one.
    KeyChanged,
    /// Another node answers at the address of this one.
    IdsSwapped,
    /// Two daemons have the same id.
    IdTwice,
    /// The other side does not know the id.
    IdUnlisted,
    /// The other side does not accept the token.
    WrongToken,
    CertificateExpired,
    /// The issuer of the certificate is not trusted.
    CertificateUnknownIssuer,
    /// The certificate is for another name.
    CertificateWrongName,
    /// The certificate is not the pinned one.
    CertificateNotTrustedPin,
    /// The clocks of the two machines differ.
    ClockOff,
    /// Only one of the two sides uses TLS.
    TlsOnOneSide,
    ModuleMissing,
    /// The node does not allow the command.
    CommandNotAllowed,
    DiskFull,
    /// A file or a file system cannot be written to.
    ReadOnly,
    /// Another process uses the database.
    DatabaseInUse,
    /// Another process uses a port.
    PortInUse,
    /// A file is missing or cannot be read.
    FileNotReadable,
    /// An option has no meaning here.
    UnknownOption,
    /// An option has a wrong value.
    WrongOption,
    /// A key file cannot be used.
    KeyUnusable,
    /// The database cannot be used.
    DatabaseUnusable,
    /// The daemon does not run.
    DaemonNotRunning,
    /// The node is not connected, and this side cannot tell why.
    NotConnected,
    /// The node refuses what it is asked for.
    NotAllowed,
    /// The node does not answer.
    NoAnswer,
    /// A limit of the system is too low.
    LimitTooLow,
    /// TLS failed for another reason.
    TlsFailed,
}

impl Cause {
    /// The word for scripts, in snake case.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::WrongPort => "wrong_port",
            Self::ConnectionRefused => "connection_refused",
            Self::OtherService => "other_service",
            Self::PacketsDropped => "packets_dropped",
            Self::NameNotFound => "name_not_found",
            Self::KeyNotAuthorized => "key_not_authorized",
            Self::KeyChanged => "key_changed",
            Self::IdsSwapped => "ids_swapped",
            Self::IdTwice => "id_twice",
            Self::IdUnlisted => "id_unlisted",
            Self::WrongToken => "wrong_token",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateUnknownIssuer => "certificate_unknown_issuer",
            Self::CertificateWrongName => "certificate_wrong_name",
            Self::CertificateNotTrustedPin => "certificate_not_trusted_pin",
            Self::ClockOff => "clock_off",
            Self::TlsOnOneSide => "tls_on_one_side",
            Self::ModuleMissing => "module_missing",
            Self::CommandNotAllowed => "command_not_allowed",
            Self::DiskFull => "disk_full",
            Self::ReadOnly => "read_only",
            Self::DatabaseInUse => "database_in_use",
            Self::PortInUse => "port_in_use",
            Self::FileNotReadable => "file_not_readable",
            Self::UnknownOption => "unknown_option",
            Self::WrongOption => "wrong_option",
            Self::KeyUnusable => "key_unusable",
            Self::DatabaseUnusable => "database_unusable",
            Self::DaemonNotRunning => "daemon_not_running",
            Self::NotConnected => "not_connected",
            Self::NotAllowed => "not_allowed",
            Self::NoAnswer => "no_answer",
            Self::LimitTooLow => "limit_too_low",
            Self::TlsFailed => "tls_failed",
        }
    }
}

/// What is wrong in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub cause: Cause,
    /// What to do.
    pub advice: String,
    /// Whether the link works nevertheless. The cause of a report is a minor one only if there is no other.
    pub is_minor: bool,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was looked at, such as `name` or `database`.
    pub name: &'static str,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub seen: String,
    /// What is wrong, if anything is.
    pub finding: Option<Finding>,
}

/// The steps of one run, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    steps: Vec<Step>,
}

impl Report {
    /// Adds a step in which nothing is wrong.
    pub fn good(&mut self, name: &'static str, expected: impl Into<String>, seen: impl Into<String>) {
        self.add(name, expected.into(), seen.into(), None);
    }

    /// Adds a step with the cause of a trouble.
    pub fn bad(
        &mut self,
        name: &'static str,
        expected: impl Into<String>,
        seen: impl Into<String>,
        cause: Cause,
        advice: impl Into<String>,
    ) {
        let finding = Finding { cause, advice: advice.into(), is_minor: false };
        self.add(name, expected.into(), seen.into(), Some(finding));
    }

    /// Adds a step with something that should be mended, though the rest works nevertheless.
    pub fn minor(
        &mut self,
        name: &'static str,
        expected: impl Into<String>,
        seen: impl Into<String>,
        cause: Cause,
        advice: impl Into<String>,
    ) {
        let finding = Finding { cause, advice: advice.into(), is_minor: true };
        self.add(name, expected.into(), seen.into(), Some(finding));
    }

    fn add(&mut self, name: &'static str, expected: String, seen: String, finding: Option<Finding>) {
        self.steps.push(Step { name, expected, seen, finding });
    }

    /// Adds the steps of another report.
    pub fn append(&mut self, other: Self) {
        self.steps.extend(other.steps);
    }

    /// All steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether a step has found something that keeps the rest from working.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.findings().any(|finding| !finding.is_minor)
    }

    /// The first cause; one that is not minor comes first.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        let major = self.findings().find(|finding| !finding.is_minor);
        major.or_else(|| self.findings().next()).map(|finding| finding.cause)
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.steps.iter().filter_map(|step| step.finding.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_cause() {
        let page = include_str!("../../docs/doctor.md");
        let lines =
            include_str!("diagnosis.rs").lines().filter(|line| line.contains("Self::") && line.contains("=> \""));
        let slugs: Vec<&str> = lines.filter_map(|line| line.split('"').nth(1)).collect();
        assert!(slugs.len() > 30);
        for slug in slugs {
            assert!(page.contains(&format!("| `{slug}` |")), "docs/doctor.md lacks {slug}");
        }
    }

    #[test]
    fn what_breaks_the_link_counts_before_what_should_be_mended() {
        let mut report = Report::default();
        report.good("configuration", "no problem", "no problem");
        assert_eq!((report.cause(), report.is_broken()), (None, false));
        report.minor("configuration", "known options", "pign", Cause::UnknownOption, "is 'ping' meant?");
        assert_eq!((report.cause(), report.is_broken()), (Some(Cause::UnknownOption), false));
        report.bad("disk", "room", "none", Cause::DiskFull, "make room");
        assert_eq!((report.cause(), report.is_broken()), (Some(Cause::DiskFull), true));
    }
}
