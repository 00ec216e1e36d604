//! Reads `tpapi` into [`WebAccount`]s.

use super::address;
use super::findings::Findings;
use super::options;
use super::raw::RawConfig;
use super::section::Section;
use super::settings::ClientTls;
use super::tls_section;
use super::tree::{Node, Value};
use super::web_api::{WebAccount, WebUrl};
use crate::model::secret::Secret;

const URLS: &str = "http://HOST[:PORT][/PATH] or https://…, for instance https://localhost/centreon/api/latest";

/// Reads the accounts; of two with the same name the later one counts, as in the original.
pub(super) fn read(raw: &RawConfig<'_>, findings: &mut Findings) -> Vec<WebAccount> {
    let mut accounts: Vec<WebAccount> = Vec::new();
    for (index, item) in raw.tpapi.iter().enumerate() {
        let key = format!("tpapi[{index}]");
        if !matches!(item.value, Value::Map(_)) {
            let text = format!("is {}; allowed: a map with 'name', 'username' and 'password'", item.value.kind());
            findings.problem(&item.place, &key, text);
            continue;
        }
        let Some(account) = read_account(item, &key, findings) else { continue };
        accounts.retain(|other| other.name != account.name);
        accounts.push(account);
    }
    accounts
}

/// Reads one entry; an entry without a name is ignored, as in the original.
fn read_account(item: &Node, key: &str, findings: &mut Findings) -> Option<WebAccount> {
    let section = Section::new(Some(item), &item.place, key, &options::TPAPI, findings);
    let Some((name, _)) = section.text("name", findings) else {
        findings.warning(&item.place, key, "has no 'name', by which modules would ask for it; ignored");
        return None;
    };
    let username = section.exact("username", findings).map(|(text, _)| text.to_owned());
    let password = section.exact("password", findings).map(|(text, _)| Secret::new(text));
    let url = url(&section, findings);
    // The users of an incomplete account report it; possibly there are none.
    Some(WebAccount { name: name.to_owned(), url, username: username?, password: password? })
}

/// Reads `base_url`, with the options for checking its certificate.
fn url(section: &Section<'_>, findings: &mut Findings) -> Option<WebUrl> {
    let verify = section.child("curlopts", &options::TPAPI_CURL, findings);
    let is_unverified = !verify.boolean("CURLOPT_SSL_VERIFYPEER", true, findings);
    let check = tls_section::read_check(section, is_unverified, findings);
    let url = section.parsed("base_url", None, URLS, findings, |text| parse_url(text, check).map(Some));
    if let Some(WebUrl { tls: None, host, .. }) = &url
        && !is_this_machine(host)
        && let Some((_, place)) = section.text("base_url", findings)
    {
        let text = "is plain HTTP to another machine, so the account's password can be read on the way; use https://";
        findings.warning(place, &section.path("base_url"), text);
    }
    url
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn parse_url(text: &str, check: ClientTls) -> Option<WebUrl> {
    let (scheme, rest) = text.split_once("://")?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => None,
        "https" => Some(check),
        _ => return None,
    };
    let (place, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let default = if tls.is_some() { 443 } else { 80 };
    let (host, port) = match address::host_and_port(place) {
        Some(found) => found,
        None => (address::host(place)?, default),
    };
    let fits = path.bytes().all(|byte| byte.is_ascii_graphic()) && !path.contains(['?', '#']) && host != "*";
    fits.then(|| WebUrl { host, port, path: path.trim_end_matches('/').to_owned(), tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_web_interface_is_read_from_its_url() {
        let read = |text| {
            let url = parse_url(text, ClientTls::NoVerify)?;
            Some((url.tls.is_some(), url.host, url.port, url.path))
        };
        for (text, is_tls, host, port, path) in [
            ("http://127.0.0.1/centreon/api/latest/", false, "127.0.0.1", 80, "/centreon/api/latest"),
            ("https://web", true, "web", 443, ""),
            ("HTTPS://[::1]:8443/a", true, "::1", 8443, "/a"),
        ] {
            assert_eq!(read(text), Some((is_tls, host.to_owned(), port, path.to_owned())), "{text}");
        }
        for text in
            ["", "web", "ftp://web/", "http://", "http://*:80/", "http://web/a b", "http://web/?a", "http://u@web/"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
