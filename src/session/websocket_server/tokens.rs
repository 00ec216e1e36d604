//! Tokens of nodes: the common token, named tokens that may be bound to one node, and a brake on guessing.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::model::connection::PeerAddress;
use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;
use crate::session::login_brake::LoginBrake;
use crate::session::web_tokens::Claim;
use crate::wire::http::bearer_auth::{self, TokenHash};

/// Maximum number of remembered addresses with a correct token; beyond it all are forgotten.
const MAX_REMEMBERED: usize = 10_000;
/// Maximum length in bytes of a name for which the web API is queried.
const MAX_NAME_BYTES: usize = 255;

/// A named token. It holds a hash, so it has no `Debug`.
#[derive(Clone)]
pub struct NamedToken {
    /// Name of the token, without a colon.
    pub name: String,
    /// Hash of the token's value.
    pub hash: TokenHash,
    /// The only node that may use the token; `None` for any.
    pub node: Option<NodeId>,
}

impl NamedToken {
    fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.node == other.node && self.hash.is(other.hash)
    }
}

/// Result of checking a token.
pub(super) enum Admission {
    /// Admitted with the common token (`None`) or a named one.
    Granted(Option<Rc<NamedToken>>),
    /// The web API must check the token.
    Ask(Claim),
    /// The token is missing or wrong.
    Wrong,
    /// Too many wrong tokens came from the address.
    Braked,
}

/// The accepted tokens, and the state of the brake.
pub(super) struct NodeTokens {
    common: Option<TokenHash>,
    named: Vec<Rc<NamedToken>>,
    /// Whether the web API may know further tokens.
    has_web_api: bool,
    brake: RefCell<LoginBrake>,
    /// Addresses with the correct tokens that they have presented. These are admitted even if other clients at the same
    /// address, such as nodes behind the same proxy, present wrong tokens.
    remembered: RefCell<BTreeSet<(PeerAddress, [u8; 32])>>,
}

impl NodeTokens {
    pub(super) fn new(common: Option<&str>, named: Vec<NamedToken>) -> Self {
        Self {
            common: common.map(|token| TokenHash::of(token.as_bytes())),
            named: named.into_iter().map(Rc::new).collect(),
            has_web_api: false,
            brake: RefCell::default(),
            remembered: RefCell::default(),
        }
    }

    pub(super) fn with_web_api(self, has_web_api: bool) -> Self {
        Self { has_web_api, ..self }
    }

    pub(super) fn admit(&self, authorization: Option<&[u8]>, peer: PeerAddress, now: Monotonic) -> Admission {
        let Some(token) = authorization.and_then(bearer_auth::read) else { return Admission::Wrong };
        let login = (peer.network(), *TokenHash::of(token).as_bytes());
        let mut brake = self.brake.borrow_mut();
        let remembered = self.remembered.borrow();
        if !remembered.contains(&login) && !brake.wait(peer, now).is_zero() {
            return Admission::Braked;
        }
        let Some(holder) = self.holder(token) else {
            if let Some(claim) = self.claim(token) {
                return Admission::Ask(claim);
            }
            brake.note_failure(peer, now);
            return Admission::Wrong;
        };
        drop(remembered);
        self.remember(login);
        Admission::Granted(holder)
    }

    /// Remembers a correct token of an address.
    pub(super) fn remember(&self, login: (PeerAddress, [u8; 32])) {
        let mut remembered = self.remembered.borrow_mut();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(login);
    }

    /// Notes that the web API has rejected a token.
    pub(super) fn note_wrong(&self, claim: &Claim, peer: PeerAddress, now: Monotonic) {
        self.remembered.borrow_mut().remove(&(peer.network(), *claim.whole.as_bytes()));
        self.brake.borrow_mut().note_failure(peer, now);
    }

    /// Whether the web API is queried for a token of this name, which must not be the name of a configured token.
    pub(super) fn asks_for(&self, name: &str) -> bool {
        let is_name = !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME_BYTES;
        self.has_web_api && is_name && !name.contains(char::is_control) && self.named.iter().all(|own| own.name != name)
    }

    /// Returns the claim that the web API can check; `None` if it cannot.
    fn claim(&self, token: &[u8]) -> Option<Claim> {
        let colon = token.iter().position(|byte| *byte == b':')?;
        let (name, value) = (std::str::from_utf8(token.get(..colon)?).ok()?, token.get(colon + 1..)?);
        let is_asked = self.asks_for(name) && !value.is_empty();
        is_asked.then(|| Claim { name: name.to_owned(), hash: TokenHash::of(value), whole: TokenHash::of(token) })
    }

    /// Why a token (`None`: the common one) may not register a node: the token is bound to another node, or the node
    /// has a separate token. Returns `None` if it may.
    pub(super) fn refusal_of(&self, token: Option<&NamedToken>, id: NodeId) -> Option<String> {
        let bound = token.and_then(|token| Some((&token.name, token.node?)));
        if let Some((name, bound)) = bound {
            return (bound != id).then(|| format!("the token '{name}' speaks for node {bound}, not for node {id}"));
        }
        let own = self.named.iter().find(|named| named.node == Some(id))?;
        Some(format!("node {id} has a token of its own, '{}', and must come with it", own.name))
    }

    /// Whether a token that was admitted by `before` is still among these.
    pub(super) fn still_hold(&self, before: &Self, token: Option<&NamedToken>) -> bool {
        match (token, before.common, self.common) {
            (Some(token), ..) => self.named.iter().any(|named| named.is_same(token)),
            (None, Some(before), Some(now)) => before.is(now),
            (None, ..) => false,
        }
    }

    /// Finds the token of `VALUE` or `NAME:VALUE` (docs/protocol.md section 18). Every token is compared, even after a
    /// match.
    fn holder(&self, token: &[u8]) -> Option<Option<Rc<NamedToken>>> {
        let whole = TokenHash::of(token);
        let colon = token.iter().position(|byte| *byte == b':').and_then(|colon| token.split_at_checked(colon));
        let pair = colon.map(|(name, value)| (name, TokenHash::of(value.get(1..).unwrap_or_default())));
        let mut holder = self.common.filter(|common| common.is(whole)).map(|_| None);
        for named in &self.named {
            let fits_pair = pair.is_some_and(|(name, value)| {
                let is_right = named.hash.is(value);
                name == named.name.as_bytes() && is_right
            });
            if named.hash.is(whole) | fits_pair {
                holder = Some(Some(Rc::clone(named)));
            }
        }
        holder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> NodeTokens {
        let named = |name: &str, value: &str, node: Option<u64>| NamedToken {
            name: name.to_owned(),
            hash: TokenHash::of(value.as_bytes()),
            node: node.map(|id| NodeId::new(id).unwrap()),
        };
        NodeTokens::new(Some("com:mon"), vec![named("paris", "va:lue", Some(5)), named("any", "other", None)])
    }

    /// Returns the name of the token that admits the header.
    fn name(tokens: &NodeTokens, header: &str, peer: PeerAddress, at_ms: u64) -> Result<String, &'static str> {
        match tokens.admit(Some(header.as_bytes()), peer, Monotonic::from_millis(at_ms)) {
            Admission::Granted(holder) => Ok(holder.map_or_else(String::new, |holder| holder.name.clone())),
            Admission::Ask(_) => Err("asked"),
            Admission::Wrong => Err("wrong"),
            Admission::Braked => Err("braked"),
        }
    }

    #[test]
    fn a_token_is_known_with_and_without_its_name() {
        for (header, expected) in [
            ("Bearer com:mon", Ok("")),
            ("Bearer va:lue", Ok("paris")),
            ("Bearer paris:va:lue", Ok("paris")),
            ("Bearer any:other", Ok("any")),
            ("bearer  other ", Ok("any")),
            ("Bearer any:va:lue", Err("wrong")),
            ("Bearer :other", Err("wrong")),
            ("Bearer paris:", Err("wrong")),
            ("Bearer paris", Err("wrong")),
            ("Bearer :", Err("wrong")),
            ("Basic other", Err("wrong")),
            ("", Err("wrong")),
        ] {
            let found = name(&tokens(), header, PeerAddress::Local, 0);
            assert_eq!(found.as_deref(), expected.as_deref(), "{header}");
        }
    }

    #[test]
    fn guesses_of_one_address_are_braked_but_a_known_node_comes_in() {
        let tokens = tokens();
        let peer = |last| PeerAddress::Ip(std::net::Ipv4Addr::new(192, 0, 2, last).into());
        assert_eq!(name(&tokens, "Bearer other", peer(1), 0), Ok("any".to_owned()));
        for _ in 0..10 {
            assert_eq!(name(&tokens, "Bearer guess", peer(1), 0), Err("wrong"));
        }
        assert_eq!(name(&tokens, "Bearer com:mon", peer(1), 0), Err("braked"), "a right guess does not show");
        assert_eq!(name(&tokens, "Bearer other", peer(1), 0), Ok("any".to_owned()));
        assert_eq!(name(&tokens, "Bearer com:mon", peer(2), 0), Ok(String::new()));
        assert_eq!(name(&tokens, "Bearer com:mon", peer(1), 2_000), Ok(String::new()));
    }

    #[test]
    fn the_web_api_is_asked_for_names_that_are_not_listed_here() {
        let tokens = tokens().with_web_api(true);
        for (header, expected) in [
            ("Bearer lyon:value", Err("asked")),
            ("Bearer lyon:a:b", Err("asked")),
            ("Bearer paris:va:lue", Ok("paris")),
            ("Bearer paris:guess", Err("wrong")),
            ("Bearer lyon:", Err("wrong")),
            ("Bearer :value", Err("wrong")),
            ("Bearer ..:value", Err("wrong")),
            ("Bearer value", Err("wrong")),
        ] {
            let found = name(&tokens, header, PeerAddress::Local, 0);
            assert_eq!(found.as_deref(), expected.as_deref(), "{header}");
        }
    }
}
