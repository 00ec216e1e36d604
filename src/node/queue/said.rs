//! What a node of our kind says in its reply to a queued request (docs/protocol.md section 20).

use crate::model::action::Action;
use crate::model::code::Code;
use crate::node::peer::Handled;

/// What a node of our kind says in its reply to a queued request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum SaidOfPlace {
    /// It has not got the request before this one.
    Gap,
    /// It cannot pass the request on now, or take it.
    Away,
    /// It took the token before.
    Taken,
    /// It took the token before, and the token has ended there.
    Ended,
}

impl SaidOfPlace {
    pub(in crate::node) fn reply(self) -> Handled {
        Handled::Reply(Action::Ack, Code::BEGIN, self.data().to_owned())
    }

    /// Returns the data of the reply.
    const fn data(self) -> &'static str {
        match self {
            Self::Gap => r#"{"queue":"gap"}"#,
            Self::Away => r#"{"queue":"away"}"#,
            Self::Taken => r#"{"queue":"taken"}"#,
            Self::Ended => r#"{"queue":"ended"}"#,
        }
    }

    /// Reads the data of a reply; `None` for a reply to a request that begins.
    pub(in crate::node) fn read(data: &str) -> Option<Self> {
        [Self::Gap, Self::Away, Self::Taken, Self::Ended].into_iter().find(|said| said.data() == data)
    }
}
