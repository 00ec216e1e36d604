//! State of a link or of an attempt to make one.

use crate::model::time::Monotonic;
use crate::wire::tls_link::{Step, TlsLink};

use super::sealed::Sealed;

/// The states in order.
pub(super) enum DialState {
    /// Not started or stopped.
    Stopped,
    /// Between two attempts.
    Waiting { until: Monotonic },
    /// TCP and ZMTP are connecting.
    Connecting { deadline: Monotonic },
    /// Step 1 was sent.
    AwaitingPublicKey { deadline: Monotonic },
    /// Step 4 is being made.
    SealingHello { deadline: Monotonic },
    /// Step 4 was sent.
    AwaitingKey { deadline: Monotonic },
    /// Step 6 is being decrypted. The node may already use its key.
    OpeningKey { deadline: Monotonic, early: Vec<Vec<u8>> },
    /// Our first message of TLS was sent.
    AwaitingProof { deadline: Monotonic, step: Box<Step> },
    /// The server's part of TLS is being checked, and ours is being made.
    Proving { deadline: Monotonic },
    /// Our part of TLS was sent; the server has not taken it yet.
    AwaitingWelcome { deadline: Monotonic, link: Box<TlsLink>, thumbprint: String },
    /// The two ends are set to different links. The server was told and closes the connection.
    GivingUp { deadline: Monotonic, why: String },
    /// Messages flow.
    Up(Sealed),
}

impl DialState {
    /// What is awaited, in words; `None` if no step is under way.
    pub(super) const fn step(&self) -> Option<&'static str> {
        match self {
            Self::Stopped | Self::Waiting { .. } | Self::Up(_) => None,
            Self::Connecting { .. } => Some("to connect"),
            Self::AwaitingPublicKey { .. } => Some("to send its public key"),
            Self::SealingHello { .. } | Self::OpeningKey { .. } | Self::Proving { .. } => {
                Some("for our own part of the handshake")
            }
            Self::AwaitingKey { .. }
            | Self::AwaitingProof { .. }
            | Self::AwaitingWelcome { .. }
            | Self::GivingUp { .. } => Some("to answer our handshake"),
        }
    }

    /// The deadline of the step or the wait.
    pub(super) const fn deadline(&self) -> Option<Monotonic> {
        match self {
            Self::Stopped | Self::Up(_) => None,
            Self::Waiting { until: deadline }
            | Self::Connecting { deadline }
            | Self::AwaitingPublicKey { deadline }
            | Self::SealingHello { deadline }
            | Self::AwaitingKey { deadline }
            | Self::AwaitingProof { deadline, .. }
            | Self::Proving { deadline }
            | Self::AwaitingWelcome { deadline, .. }
            | Self::GivingUp { deadline, .. }
            | Self::OpeningKey { deadline, .. } => Some(*deadline),
        }
    }
}
