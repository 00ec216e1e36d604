//! Accepts requests of browsers only from our own pages. A page of another site could make an administrator's browser
//! send requests to a daemon that the page's author cannot reach.
//!
//! `curl`, scripts and other daemons send neither `Origin` nor `Sec-Fetch-Site`. For them only `Host` counts.

use std::net::IpAddr;

use crate::wire::http::head::RequestSource;

/// The allowed host names in lower case.
#[derive(Clone, Default)]
pub struct OwnNames(Vec<String>);

/// Host and port of a header. The host is in lower case and without brackets.
#[derive(PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

impl OwnNames {
    /// Takes host names; empty ones are omitted.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        Self(names.filter(|name| !name.is_empty()).collect())
    }

    /// Why a request is refused; `None` if it comes from one of our pages or not from a browser. `is_page`: it asks for
    /// a page and not for the API. `shows_login`: it has a user and a password, which are checked later. A page that
    /// reaches us under another site's name knows neither, so any `Host` is allowed.
    #[must_use]
    pub fn refusal(&self, source: &RequestSource, is_page: bool, shows_login: bool) -> Option<String> {
        let shown = |value: &[u8]| value.escape_ascii().to_string().chars().take(80).collect::<String>();
        let own = source.host.as_deref().map(Authority::parse);
        if let (Some(host), Some(own), false) = (&source.host, &own, shows_login)
            && !own.as_ref().is_some_and(|own| self.knows(&own.host))
        {
            let name = shown(host);
            return Some(format!(
                "the Host '{name}' is neither an address nor one of our names; if it is one, add it to host_names of \
                 module httpserver"
            ));
        }
        if let Some(origin) = &source.origin
            && !self.is_own_origin(origin, own.flatten().as_ref())
        {
            return Some(format!("it comes from a page of another site (Origin '{}')", shown(origin)));
        }
        let follows_link = is_page && source.fetch_mode.as_deref() == Some(b"navigate");
        match source.fetch_site.as_deref() {
            None | Some(b"same-origin" | b"none") => None,
            Some(_) if follows_link => None,
            Some(site) => Some(format!("it comes from a page of another site (Sec-Fetch-Site '{}')", shown(site))),
        }
    }

    /// Whether a host is ours. Addresses and names without a dot are accepted, because no other site can have such a
    /// name.
    fn knows(&self, host: &str) -> bool {
        let is_label = || host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        host.parse::<IpAddr>().is_ok() || is_label() || self.0.iter().any(|name| name == host)
    }

    /// Whether a page is ours: its host and port are those of the request, or its name is configured (behind a proxy
    /// the request has the proxy's host).
    fn is_own_origin(&self, origin: &[u8], own: Option<&Authority>) -> bool {
        let Some((scheme, rest)) = std::str::from_utf8(origin).ok().and_then(|origin| origin.split_once("://")) else {
            return false;
        };
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        let Some(page) = Authority::parse(rest.as_bytes()) else { return false };
        let port = |authority: &Authority| authority.port.unwrap_or(default_port);
        own.is_some_and(|own| own.host == page.host && port(own) == port(&page))
            || (self.0.contains(&page.host) && page.port.is_none())
    }
}

impl Authority {
    fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, rest)
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(digits.parse().ok()?),
            None if port.is_empty() => None,
            None => return None,
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        (!host.is_empty()).then_some(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(host: &str, origin: Option<&str>, site: Option<&str>) -> RequestSource {
        let bytes = |text: &str| text.as_bytes().into();
        RequestSource {
            host: (!host.is_empty()).then(|| bytes(host)),
            origin: origin.map(bytes),
            fetch_site: site.map(bytes),
            ..RequestSource::default()
        }
    }

    fn names() -> OwnNames {
        OwnNames::new(["central".to_owned(), "Gorgone.Example.org".to_owned(), String::new()])
    }

    #[test]
    fn scripts_and_our_own_pages_are_let_through() {
        for (host, origin, site) in [
            ("", None, None),
            ("127.0.0.1:8085", None, None),
            ("[::1]:8085", None, None),
            ("192.0.2.7", None, None),
            ("localhost:8085", None, None),
            ("central:8085", None, None),
            ("CENTRAL.:8085", None, None),
            ("x", None, None),
            ("gorgone.example.org", Some("https://gorgone.example.org"), Some("same-origin")),
            ("127.0.0.1:8085", Some("https://gorgone.example.org"), None),
            ("127.0.0.1:8085", Some("http://127.0.0.1:8085"), Some("same-origin")),
            ("central", Some("http://central"), Some("same-origin")),
            ("central:80", Some("http://central"), None),
            ("central:443", Some("https://central"), None),
            ("localhost:8085", None, Some("none")),
        ] {
            assert_eq!(names().refusal(&source(host, origin, site), false, false), None, "{host} {origin:?} {site:?}");
        }
    }

    #[test]
    fn pages_of_other_sites_and_foreign_hosts_are_refused() {
        for (host, origin, site, words) in [
            ("evil.example", None, None, "host_names"),
            ("evil.example:8085", Some("http://evil.example:8085"), Some("same-origin"), "host_names"),
            ("central.evil.example", None, None, "host_names"),
            ("localhost.evil.example", None, None, "host_names"),
            ("127.0.0.1.evil.example", None, None, "host_names"),
            ("", Some("http://evil.example"), None, "Origin 'http://evil.example'"),
            ("127.0.0.1:8085", Some("http://evil.example"), None, "Origin"),
            ("127.0.0.1:8085", Some("null"), None, "Origin 'null'"),
            ("127.0.0.1:8085", Some("http://127.0.0.1:3000"), None, "Origin"),
            ("127.0.0.1:8085", Some("http://127.0.0.1"), None, "Origin"),
            ("127.0.0.1:8085", Some("https://gorgone.example.org:8443"), None, "Origin"),
            ("127.0.0.1:8085", Some("file://"), None, "Origin"),
            ("127.0.0.1:8085", None, Some("cross-site"), "Sec-Fetch-Site 'cross-site'"),
            ("127.0.0.1:8085", None, Some("same-site"), "Sec-Fetch-Site"),
            ("127.0.0.1:x", None, None, "host_names"),
            ("a b", None, None, "host_names"),
        ] {
            let refusal = names().refusal(&source(host, origin, site), false, false);
            assert!(
                refusal.as_ref().is_some_and(|text| text.contains(words)),
                "{host} {origin:?} {site:?}: {refusal:?}"
            );
        }
    }

    #[test]
    fn a_login_may_be_shown_under_any_name_but_not_by_a_page_of_another_site() {
        let refusal = |origin, site| names().refusal(&source("alias.example", origin, site), false, true);
        assert_eq!(refusal(None, None), None);
        assert!(refusal(Some("http://evil.example"), None).is_some());
        assert!(refusal(None, Some("cross-site")).is_some());
    }

    #[test]
    fn a_link_from_elsewhere_leads_to_a_page_but_not_to_the_api() {
        let mut followed = source("central", None, Some("cross-site"));
        followed.fetch_mode = Some(b"navigate"[..].into());
        assert_eq!(names().refusal(&followed, true, false), None);
        assert!(names().refusal(&followed, false, false).is_some());
        followed.fetch_mode = Some(b"no-cors"[..].into());
        assert!(names().refusal(&followed, true, false).is_some());
    }
}
