//! When COMMANDs were accepted, for the duration of each.

use crate::model::token::Token;

/// Time of acceptance of COMMANDs, found by token. Fixed in size: a newer token may take the place of an older one,
/// whose duration is then not counted.
#[derive(Debug, Default)]
pub(super) struct Begun {
    slots: Box<[(u64, u64)]>,
}

const SLOTS: usize = 4_096;

impl Begun {
    fn slot(token: &str) -> (usize, u64) {
        // FNV-1a; nobody gains from collisions.
        let hash = token
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        (usize::try_from(hash % 4_096).unwrap_or(0), hash | 1)
    }

    /// Notes the acceptance of a COMMAND at a time in milliseconds.
    pub(super) fn note(&mut self, token: &Token, at_ms: u64) {
        if self.slots.is_empty() {
            self.slots = vec![(0, 0); SLOTS].into();
        }
        let (at, hash) = Self::slot(token.as_str());
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = (hash, at_ms);
        }
    }

    /// Takes the time of acceptance of a token.
    pub(super) fn take(&mut self, token: &str) -> Option<u64> {
        let (at, hash) = Self::slot(token);
        let slot = self.slots.get_mut(at).filter(|slot| slot.0 == hash)?;
        slot.0 = 0;
        Some(slot.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_acceptance_is_found_once() {
        let mut begun = Begun::default();
        let token = Token::parse("t1").unwrap();
        assert_eq!(begun.take("t1"), None);
        begun.note(&token, 5);
        assert_eq!((begun.take("t2"), begun.take("t1"), begun.take("t1")), (None, Some(5), None));
    }
}
