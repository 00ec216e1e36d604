//! Where an attempt to build a link stands.

use crate::model::time::Monotonic;

use super::sealed::Sealed;

/// The states, in their order.
pub(super) enum State {
    /// Not started, or stopped.
    Stopped,
    /// Between two attempts.
    Waiting { until: Monotonic },
    /// TCP and ZMTP are being set up.
    Connecting { deadline: Monotonic },
    /// Step 1 is sent.
    AwaitingPublicKey { deadline: Monotonic },
    /// Step 4 is being made.
    SealingHello { deadline: Monotonic },
    /// Step 4 is sent.
    AwaitingKey { deadline: Monotonic },
    /// Step 6 is being opened; the node may already use its key.
    OpeningKey { deadline: Monotonic, early: Vec<Vec<u8>> },
    /// Sealed.
    Up(Sealed),
}

impl State {
    /// What is awaited, in words; `None` where no step is under way.
    pub(super) const fn step(&self) -> Option<&'static str> {
        match self {
            Self::Stopped | Self::Waiting { .. } | Self::Up(_) => None,
            Self::Connecting { .. } => Some("to connect"),
            Self::AwaitingPublicKey { .. } => Some("to send its public key"),
            Self::SealingHello { .. } | Self::OpeningKey { .. } => Some("for our own part of the handshake"),
            Self::AwaitingKey { .. } => Some("to answer our handshake"),
        }
    }

    /// When the step or the wait takes too long.
    pub(super) const fn deadline(&self) -> Option<Monotonic> {
        match self {
            Self::Stopped | Self::Up(_) => None,
            Self::Waiting { until: deadline }
            | Self::Connecting { deadline }
            | Self::AwaitingPublicKey { deadline }
            | Self::SealingHello { deadline }
            | Self::AwaitingKey { deadline }
            | Self::OpeningKey { deadline, .. } => Some(*deadline),
        }
    }
}
