//! How the key of a node is checked (docs/protocol.md section 3, step 3).

use super::{DialerOutput, ZmqDialer};
use crate::model::connection::FingerprintMode;

impl ZmqDialer {
    pub(super) fn check_fingerprint(&mut self, thumbprint: String) -> Result<(), String> {
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
