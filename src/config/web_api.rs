//! Accounts of the web interface's own APIs: the section `tpapi` (docs/protocol.md section 18). The text form is read
//! by [`super::tpapi_section`].

use super::database::Secret;
use super::settings::ClientTls;

/// An entry of `tpapi`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAccount {
    /// `name`, by which options of modules ask for it, usually `centreonv2` or `clapi`.
    pub name: String,
    /// `base_url`; `None` where the account is for the command line (`clapi`).
    pub url: Option<WebUrl>,
    /// `username`
    pub username: String,
    /// `password`
    pub password: Secret,
}

/// Where a web server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUrl {
    /// A host name, or an address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The path before that of each call, without a slash at its end; empty for none.
    pub path: String,
    /// How its certificate is checked; `None` for plain HTTP.
    pub tls: Option<ClientTls>,
}
