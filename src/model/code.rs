//! Codes of replies and history rows (docs/protocol.md section 1).

/// A code of a reply or of a history row. Unknown numbers are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub i64);

impl Code {
    /// Work for the token has begun.
    pub const BEGIN: Self = Self(0);
    /// The token has ended with an error.
    pub const FINISHED_KO: Self = Self(1);
    /// The token has ended successfully.
    pub const FINISHED_OK: Self = Self(2);
    /// A daemon has started.
    pub const STARTED: Self = Self(3);
    /// Work for the token continues.
    pub const CONTINUE: Self = Self(4);
    pub const COMMAND_RESULT: Self = Self(100);
    /// A part of a copied file has arrived.
    pub const COPY_IN_PROGRESS: Self = Self(101);

    /// The output of a command so far.
    pub const PROGRESS: Self = Self(600);

    /// Whether a row with this code ends its token.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        self.0 == Self::FINISHED_KO.0 || self.0 == Self::FINISHED_OK.0
    }
}
