//! Detects conflicts between listeners. The REST API and the WebSocket listener may share a port if their settings are
//! the same; no other listeners may.

use std::net::{IpAddr, Ipv4Addr};

use super::findings::Findings;
use super::modules::Modules;
use super::raw::RawConfig;
use super::settings::CoreSettings;
use crate::model::action::Module;
use crate::model::connection::Endpoint;

/// Reports a problem for every two listeners that cannot both bind.
pub(super) fn check(raw: &RawConfig<'_>, core: &CoreSettings, modules: &Modules, findings: &mut Findings) {
    let rest = modules.httpserver.as_ref().map(|http| (http.address, http.port, &http.tls));
    let sockets = modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref());
    let sockets = sockets.map(|server| (server.address, server.port, &server.tls));
    let page = modules.httpserver.as_ref().and_then(|http| http.status.as_ref());
    let page = page.map(|page| (page.address, page.port, &page.tls));
    let listeners = [
        ("modules[httpserver].port", Module::HttpServer, rest),
        ("modules[proxy].httpserver.port", Module::Proxy, sockets),
        ("modules[httpserver].status.port", Module::HttpServer, page),
    ];
    for (what, other) in [("the REST API ('modules[httpserver].port')", rest), ("'modules[proxy].httpserver'", sockets)]
    {
        if let (Some(page), Some(other)) = (page, other)
            && page.1 == other.1
            && meet(page.0, other.0)
        {
            let text = format!("is {}, the port of {what}; allowed: another one", page.1);
            findings.problem(raw.place_of(Module::HttpServer), "modules[httpserver].status.port", text);
        }
    }
    for (key, module, listener) in listeners {
        let (Some((address, port, _)), Some(external)) = (listener, external_port(core)) else { continue };
        let meets = external.0.map_or(address.is_unspecified(), |external| meet(external, address));
        if port == external.1 && meets {
            let text = format!(
                "is {port}, the port of the external socket ('gorgonecore.external_com_path'); allowed: another one"
            );
            findings.problem(raw.place_of(module), key, text);
        }
    }
    let (Some(rest), Some(sockets)) = (rest, sockets) else { return };
    if rest.1 == sockets.1 && meet(rest.0, sockets.0) && (rest.0 != sockets.0 || rest.2 != sockets.2) {
        let text = format!(
            "is {}, the port of the REST API ('modules[httpserver].port'), but 'address', 'ssl', 'ssl_cert_file', \
             'ssl_key_file' and 'passphrase' are not the same in both; allowed: the same in both, or another port",
            sockets.1
        );
        findings.problem(raw.place_of(Module::Proxy), "modules[proxy].httpserver.port", text);
    }
}

/// The external socket's address and port. A host name is not resolved, so it conflicts only with "all addresses".
fn external_port(core: &CoreSettings) -> Option<(Option<IpAddr>, u16)> {
    let Some(Endpoint::Tcp { host, port }) = &core.external else { return None };
    let any = Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    Some((if host == "*" { any } else { host.parse().ok() }, *port))
}

/// Whether the same port cannot be bound on both addresses.
fn meet(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}
