//! Logins of the API: the single user of the original, users with rights and a password hash, a brake on guessing, and
//! a bounded cache of successful logins, so that not every request of a user costs a slow hash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};

use super::ApiUser;
use crate::model::api::Caller;
use crate::model::connection::PeerAddress;
use crate::model::rights::Rights;
use crate::model::time::Monotonic;
use crate::session::login_brake::LoginBrake;
use crate::wire::http::basic_auth::{self, BasicCredentials};

/// How long a successful login is remembered.
const REMEMBERED: Duration = Duration::from_secs(3_600);
/// Maximum number of remembered logins; beyond it all are forgotten.
const MAX_REMEMBERED: usize = 1_000;
/// Maximum number of passwords checked at once.
const MAX_CHECKS: usize = 16;

/// What to do with a request.
pub enum Verdict {
    /// Let it in.
    Open(Caller),
    /// No or wrong credentials.
    Wrong,
    /// Too many wrong attempts came from its address.
    Braked,
    /// A worker has to hash the password first.
    Check(LoginCheck),
}

/// A password and its expected hash. No `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginCheck {
    password: Vec<u8>,
    hash: Arc<str>,
    /// Index of the user; `None` for an unknown name, whose check takes as long.
    user: Option<usize>,
    login: Login,
}

impl LoginCheck {
    /// The given password and the expected hash.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &str) {
        (&self.password, &self.hash)
    }
}

/// An address and a hash of the header.
type Login = (PeerAddress, [u8; 32]);

/// The state of all logins; see the module's documentation.
pub struct Logins {
    original: Option<(Arc<str>, BasicCredentials)>,
    users: Vec<ApiUser>,
    brake: LoginBrake,
    remembered: BTreeMap<Login, (Option<usize>, Monotonic)>,
    checks: usize,
}

impl Logins {
    pub fn wants_password(&self) -> bool {
        self.original.is_some() || !self.users.is_empty()
    }

    pub fn new(original: Option<(String, String)>, users: Vec<ApiUser>) -> Self {
        Self {
            original: original.map(|(user, password)| (user.as_str().into(), BasicCredentials::new(&user, &password))),
            users,
            brake: LoginBrake::default(),
            remembered: BTreeMap::new(),
            checks: 0,
        }
    }

    pub fn judge(&mut self, authorization: Option<&[u8]>, from: PeerAddress, now: Monotonic) -> Verdict {
        if !self.wants_password() {
            return Verdict::Open(self.caller(None, from));
        }
        let Some(value) = authorization else { return Verdict::Wrong };
        let login = login(value, from);
        if let Some((user, until)) = self.remembered.get(&login)
            && now < *until
        {
            return Verdict::Open(self.caller(*user, from));
        }
        if !self.brake.wait(from, now).is_zero() {
            return Verdict::Braked;
        }
        if self.original.as_ref().is_some_and(|(_, original)| original.match_header(value)) {
            self.remember(login, None, now);
            return Verdict::Open(self.caller(None, from));
        }
        let Some((name, password)) = basic_auth::read(value) else { return self.wrong(from, now) };
        let user = self.users.iter().position(|user| user.name.as_bytes() == name);
        let Some(hash) = self.users.get(user.unwrap_or(0)).map(|user| Arc::clone(&user.password_hash)) else {
            return self.wrong(from, now);
        };
        if self.checks >= MAX_CHECKS {
            return Verdict::Braked;
        }
        self.checks += 1;
        // Counted now, so that many attempts at once cannot pass while the first is being checked; see `checked`.
        self.brake.note_failure(from, now);
        Verdict::Check(LoginCheck { password, hash, user, login })
    }

    /// Notes the end of a check, even if nobody waits for it.
    pub fn check_ended(&mut self) {
        self.checks = self.checks.saturating_sub(1);
    }

    pub fn checked(&mut self, check: &LoginCheck, is_right: bool, now: Monotonic) -> Option<Caller> {
        let user = check.user.filter(|_| is_right)?;
        self.brake.take_back(check.login.0);
        self.remember(check.login, Some(user), now);
        Some(self.caller(Some(user), check.login.0))
    }

    fn wrong(&mut self, from: PeerAddress, now: Monotonic) -> Verdict {
        self.brake.note_failure(from, now);
        Verdict::Wrong
    }

    fn remember(&mut self, login: Login, user: Option<usize>, now: Monotonic) {
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(login, (user, now + REMEMBERED));
    }

    fn caller(&self, user: Option<usize>, address: PeerAddress) -> Caller {
        match user.and_then(|user| self.users.get(user)) {
            Some(user) => Caller { user: Some(Arc::clone(&user.name)), rights: Arc::clone(&user.rights), address },
            None => {
                let user = self.original.as_ref().map(|(name, _)| Arc::clone(name));
                Caller { user, rights: Arc::new(Rights::admin()), address }
            }
        }
    }
}

fn login(value: &[u8], from: PeerAddress) -> Login {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, value).as_ref());
    (from, hash)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const HERE: PeerAddress = PeerAddress::Ip(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    fn header(user: &str, password: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))).into_bytes()
    }

    fn logins() -> Logins {
        let mut rights = Rights::default();
        rights.add("read");
        let user = ApiUser { name: "alice".into(), password_hash: "HASH".into(), rights: Arc::new(rights) };
        Logins::new(Some(("admin".to_owned(), "a".to_owned())), vec![user])
    }

    #[test]
    fn a_user_is_checked_once_and_then_known_at_its_address() {
        let mut logins = logins();
        let value = header("alice", "b:c");
        let Verdict::Check(check) = logins.judge(Some(&value), HERE, at(0)) else { panic!() };
        assert!(check.parts() == (b"b:c", "HASH"));
        let caller = logins.checked(&check, true, at(1)).unwrap();
        assert_eq!((caller.user.as_deref(), caller.rights.is_admin()), (Some("alice"), false));
        assert!(matches!(logins.judge(Some(&value), HERE, at(2)), Verdict::Open(_)));
        assert!(matches!(logins.judge(Some(&value), PeerAddress::Local, at(2)), Verdict::Check(_)));
        assert!(matches!(logins.judge(Some(&value), HERE, at(3_600_001)), Verdict::Check(_)));
    }

    #[test]
    fn the_user_of_the_original_may_everything_and_unknown_names_take_as_long_as_known_ones() {
        let mut logins = logins();
        let Verdict::Open(caller) = logins.judge(Some(&header("admin", "a")), HERE, at(0)) else { panic!() };
        assert!(caller.rights.is_admin() && caller.user.is_some());
        let Verdict::Check(check) = logins.judge(Some(&header("nobody", "x")), HERE, at(0)) else { panic!() };
        assert!(logins.checked(&check, true, at(0)).is_none(), "even if it has that hash");
        assert!(matches!(logins.judge(None, HERE, at(0)), Verdict::Wrong));
        let mut open = Logins::new(None, Vec::new());
        assert!(matches!(open.judge(None, HERE, at(0)), Verdict::Open(_)));
    }

    #[test]
    fn guesses_are_braked_but_a_known_login_goes_on() {
        let mut logins = logins();
        let right = header("admin", "a");
        assert!(matches!(logins.judge(Some(&right), HERE, at(0)), Verdict::Open(_)));
        let mut tried = 0;
        for guess in 0..1_000 {
            match logins.judge(Some(&header("admin", &guess.to_string())), HERE, at(guess)) {
                Verdict::Check(check) => {
                    tried += 1;
                    logins.check_ended();
                    assert!(logins.checked(&check, false, at(guess)).is_none());
                }
                Verdict::Braked => {}
                Verdict::Open(_) | Verdict::Wrong => panic!(),
            }
        }
        assert_eq!(tried, 10);
        assert!(matches!(logins.judge(Some(&right), HERE, at(1_001)), Verdict::Open(_)));
        assert!(matches!(logins.judge(Some(&right), PeerAddress::Local, at(1_001)), Verdict::Open(_)));
    }
}
