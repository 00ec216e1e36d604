//! Accounts of the web interface's APIs: the section `tpapi` (docs/protocol.md section 18), read by
//! [`super::tpapi_section`].

use super::settings::ClientTls;
use crate::model::secret::Secret;

/// An entry of `tpapi`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAccount {
    /// `name`: used in options of modules to refer to the account, usually `centreonv2` or `clapi`.
    pub name: String,
    /// `base_url`; `None` if the account is for the command line (`clapi`).
    pub url: Option<WebUrl>,
    /// `username` of the account.
    pub username: String,
    /// `password` of the account.
    pub password: Secret,
}

/// The URL of a web server's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUrl {
    /// A host name, or an address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Prefix of the path of each call, without a trailing slash; empty for none.
    pub path: String,
    /// How the certificate is checked; `None` for plain HTTP.
    pub tls: Option<ClientTls>,
}
