//! How the key of a node is checked (docs/protocol.md section 3, step 3).

use std::sync::Arc;

use super::state::DialState;
use super::{DialerOutput, ZmqDialer};
use crate::model::connection::FingerprintMode;
use crate::model::key_rotation::Successors;
use crate::model::link::{LinkKind, LinkMode};
use crate::model::time::Now;
use crate::wire::tls_link::ClientTls;

impl ZmqDialer {
    /// Replaces our own key for the connections to come.
    pub fn set_own_key(&mut self, public_key_pem: &str, tls: Option<ClientTls>) {
        self.public_key_pem = public_key_pem.into();
        self.settings.tls = tls.filter(|_| self.settings.link != LinkMode::Classic);
    }

    /// Replaces the list of keys that were replaced.
    pub fn set_successors(&mut self, successors: Arc<Successors>) {
        self.settings.successors = successors;
    }

    /// Thumbprint of the key that the node has proved, while the link is up.
    #[must_use]
    pub fn proved_key(&self) -> Option<&str> {
        self.proved_key.as_deref().filter(|_| self.is_up())
    }

    /// How the link is protected, while it is up.
    #[must_use]
    pub fn kind(&self) -> Option<LinkKind> {
        match &self.state {
            DialState::Up(sealed) => Some(sealed.kind()),
            _ => None,
        }
    }

    pub(super) fn check_fingerprint(&mut self, thumbprint: String, now: Now) -> Result<(), String> {
        self.proved_key = Some(thumbprint.clone());
        let seconds = now.wall.as_seconds();
        if self.settings.fingerprint_mode != FingerprintMode::Always
            && self.settings.successors.is_over(&thumbprint, seconds)
        {
            let target = &self.settings.endpoint;
            return Err(format!(
                "the key of {target} is {thumbprint}, which was replaced by another and is not valid any more: is it a \
                 restored copy? If it is right, {}",
                self.trusting(&thumbprint)
            ));
        }
        if let Some(stored) = self.settings.stored_fingerprint.as_ref().filter(|stored| **stored != thumbprint)
            && self.settings.successors.may_be(stored, &thumbprint, seconds)
        {
            if self.settings.successors.leads(stored, &thumbprint) {
                let target = self.settings.endpoint.to_string();
                self.settings.stored_fingerprint = Some(thumbprint.clone());
                self.outputs.push_back(DialerOutput::StoreFingerprint { target, thumbprint });
            }
            return Ok(());
        }
        let target = self.settings.endpoint.to_string();
        match (self.settings.fingerprint_mode, &self.settings.stored_fingerprint) {
            (FingerprintMode::Always, _) => Ok(()),
            (_, Some(stored)) if *stored == thumbprint => Ok(()),
            (FingerprintMode::First, None) => {
                self.settings.stored_fingerprint = Some(thumbprint.clone());
                self.outputs.push_back(DialerOutput::StoreFingerprint { target, thumbprint });
                Ok(())
            }
            (_, Some(stored)) => Err(format!(
                "the key of {target} is {thumbprint}, but {stored} was known: somebody may be in between. If it \
                 got a new key on purpose, {}",
                self.trusting(&thumbprint)
            )),
            (FingerprintMode::Strict, None) => Err(format!(
                "the key of {target} is {thumbprint} and not known here, which fingerprint_mode: strict demands. If it \
                 is the right one, {}",
                self.trusting(&thumbprint)
            )),
        }
    }

    /// What to do to trust a key. A daemon that dials its central seldom has an API, so the text depends on that.
    fn trusting(&self, thumbprint: &str) -> String {
        let target = &self.settings.endpoint;
        match self.settings.node {
            Some(node) => format!("run 'stheno keys trust --config FILE {node} {thumbprint}'"),
            None => format!(
                "run DELETE FROM gorgone_target_fingerprint WHERE target='{target}'; INSERT INTO \
                 gorgone_target_fingerprint (target, fingerprint) VALUES ('{target}', '{thumbprint}') on the database \
                 of gorgone_db_name and restart this daemon"
            ),
        }
    }
}
