//! Nodes that dial in: `pull`, `pullwss`, the proxy's `httpserver`, and TLS.

use super::*;
use crate::config::modules::dial_in::PullWssSettings;
use crate::config::modules::proxy::WebSocketSettings;
use crate::config::settings::{ClientTls, ServerTls};

/// Returns a file with the id 6 and one module whose options are `lines`, each on its own line.
fn module(name: &str, lines: &str) -> String {
    let lines = lines.replace('\n', "\n      ");
    format!(
        "gorgone:\n  gorgonecore: {{id: 6}}\n  modules:\n    - name: {name}\n      package: \
            gorgone::modules::core::{name}::hooks\n      \
         enable: true\n      {lines}\n"
    )
}

/// Returns a file with these options, beside a certificate and a key.
fn with_files(text: &str) -> Files {
    Files::new(&[("c.yaml", text), ("cert.pem", "certificate"), ("key.pem", "key"), ("ca.pem", "roots")])
}

fn pullwss(lines: &str) -> PullWssSettings {
    let text = module("pullwss", &format!("address: central.example.org\ntoken: t0k3n\n{lines}"));
    with_files(&text).config("c.yaml").modules.pullwss.unwrap()
}

fn pullwss_problems(lines: &str) -> Vec<String> {
    let text = module("pullwss", &format!("address: central.example.org\ntoken: t0k3n\n{lines}"));
    with_files(&text).problems("c.yaml")
}

fn listener(lines: &str) -> Option<WebSocketSettings> {
    let text = module("proxy", &format!("httpserver: {{enable: true, {lines}}}"));
    with_files(&text).config("c.yaml").modules.proxy.unwrap().httpserver
}

const TLS: &str = "ssl: true, ssl_cert_file: cert.pem, ssl_key_file: key.pem";

#[test]
fn pull_takes_the_external_socket_of_the_central_and_has_the_defaults_of_the_original() {
    let config = config_of(&module("pull", "target_type: tcp\ntarget_path: 10.30.2.203:5556"));
    let pull = config.modules.pull.unwrap();
    assert_eq!(pull.endpoint, Endpoint::Tcp { host: "10.30.2.203".into(), port: 5556 });
    assert_eq!((pull.ping, pull.ping_timeout), (Duration::from_secs(60), Duration::from_secs(30)));
    assert_eq!(config.modules.loaded["pull"], "gorgone::modules::core::pull::hooks");
    assert_eq!(config.warnings, []);
    let text = module("pull", "target_type: ipc\ntarget_path: /run/central.sock\nping: \"1\"\nping_timeout: 5");
    let pull = config_of(&text).modules.pull.unwrap();
    assert_eq!(pull.endpoint, Endpoint::Ipc("/run/central.sock".into()));
    assert_eq!((pull.ping, pull.ping_timeout), (Duration::from_secs(60), Duration::from_secs(5)), "see below");
}

#[test]
fn a_node_registers_at_most_as_often_as_the_original_by_itself() {
    let said = |module: &str, value: &str, used: u64| {
        format!(
            "c.yaml: modules[{module}].ping: is '{value}', so the central would hear a registration of this node as \
             often; {used} is used (seconds)"
        )
    };
    let text = |lines: &str| module("pull", &format!("target_path: a:1\n{lines}"));
    assert_eq!(warnings_of(&text("ping: 1")), [said("pull", "1", 60)]);
    assert_eq!(warnings_of(&text("ping: 60")), [""; 0]);
    assert_eq!(config_of(&text("ping: 300")).modules.pull.unwrap().ping, Duration::from_secs(300));
    let text = |lines: &str| module("pullwss", &format!("address: a\ntoken: t\n{lines}"));
    assert_eq!(warnings_of(&text("ping: 1")), [said("pullwss", "1", 30)]);
    assert_eq!(config_of(&text("ping: 1")).modules.pullwss.unwrap().ping, Duration::from_secs(30));
    assert_eq!(warnings_of(&text("ping: 30")), [""; 0]);
}

#[test]
fn pull_without_a_place_to_connect_to_is_refused() {
    let place = "'HOST:PORT' of the central's external socket, for instance '192.0.2.1:5556'";
    for (lines, problem) in [
        ("ping: 1", format!("target_path: is missing; allowed: {place}")),
        ("target_path: '*:5556'", format!("target_path: is '*:5556'; allowed: {place}")),
        ("target_path: tcp://a:1", format!("target_path: is 'tcp://a:1'; allowed: {place}")),
        ("target_path: a:1\ntarget_type: udp", "target_type: is 'udp'; allowed: tcp or ipc".to_owned()),
    ] {
        assert_eq!(problems_of(&module("pull", lines)), [format!("c.yaml: modules[pull].{problem}")]);
    }
}

#[test]
fn a_node_that_dials_in_needs_an_id() {
    for (name, lines) in [("pull", "target_path: a:1"), ("pullwss", "address: a\ntoken: t")] {
        let text = module(name, lines).replace("{id: 6}", "{}");
        let said = "a node that connects to its central needs 'gorgonecore.id', the id that the central knows it by";
        assert_eq!(problems_of(&text), [format!("c.yaml: modules[{name}]: {said}")]);
    }
}

#[test]
fn pullwss_has_the_defaults_of_the_original_but_verifies() {
    let plain = pullwss("");
    assert_eq!((plain.host.as_str(), plain.port, plain.token.as_str()), ("central.example.org", 80, "t0k3n"));
    assert_eq!((plain.uri.as_str(), plain.max_message_size, plain.ping), ("/", 130_000, Duration::from_secs(30)));
    assert!(plain.tls.is_none() && plain.proxy.is_none());
    let tls = pullwss("ssl: 'true'\ncentral_uri: /centreon/gorgone/pullwss/websocket");
    assert_eq!((tls.port, tls.uri.as_str()), (443, "/centreon/gorgone/pullwss/websocket"));
    assert_eq!(tls.tls, Some(ClientTls::Verify { ca_file: None }));
    let all = pullwss("ssl: 1\nport: '8086'\nmax_msg_size: 4096\nping: 50\nproxy: 'http://u:p%40@10.0.0.9:3129'");
    assert_eq!((all.port, all.max_message_size, all.ping), (8086, 4_096, Duration::from_secs(50)));
    let proxy = all.proxy.unwrap();
    let auth = proxy.auth.unwrap();
    assert_eq!((proxy.host.as_str(), proxy.port), ("10.0.0.9", 3129));
    assert_eq!((auth.user.as_str(), auth.password.as_str()), ("u", "p@"));
}

#[test]
fn the_check_of_the_central_may_be_turned_off_with_a_warning_narrowed_or_pinned() {
    let tls = |lines: &str| pullwss(&format!("ssl: true\n{lines}")).tls.unwrap();
    assert_eq!(tls("https_cert_no_verify: true"), ClientTls::NoVerify);
    assert!(
        matches!(tls("ssl_ca_file: ca.pem"), ClientTls::Verify { ca_file: Some(file) } if file.ends_with("ca.pem"))
    );
    let pin = vec!["0A"; 32].join(":");
    assert_eq!(tls(&format!("ssl_fingerprint: '{pin}'")), ClientTls::Pinned([10; 32]));
    assert_eq!(tls(&format!("https_cert_no_verify: true\nssl_fingerprint: '{pin}'")), ClientTls::Pinned([10; 32]));
    let warnings = warnings_of(&module("pullwss", "address: a\ntoken: t\nssl: true\nhttps_cert_no_verify: true"));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with(
            "c.yaml: modules[pullwss].https_cert_no_verify: is true, so the certificate of the central is not checked"
        ),
        "{warnings:?}"
    );
    let without =
        warnings_of(&module("pullwss", "address: a\ntoken: t\nhttps_cert_no_verify: true\nssl_fingerprint: x"));
    assert_eq!(
        without,
        ["c.yaml: modules[pullwss].ssl_fingerprint: has no effect without 'ssl: true': the connection is neither \
                encrypted nor checked"]
    );
}

#[test]
fn wrong_values_of_pullwss_are_named_and_secrets_are_not_shown() {
    let of = |text: &str| format!("c.yaml: modules[pullwss].{text}");
    for (lines, problem) in [
        ("central_uri: websocket", "central_uri: is 'websocket'; allowed: a path that begins with '/', without spaces"),
        ("central_uri: '/a b'", "central_uri: is '/a b'; allowed: a path that begins with '/', without spaces"),
        (
            "max_msg_size: 300000",
            "max_msg_size: is '300000'; allowed: a whole number of characters from 1024 to 262144",
        ),
        (
            "proxy: 'https://user:secret@proxy:1'",
            "proxy: is not an HTTP proxy that can be used; allowed: http://HOST:PORT or http://USER:PASSWORD@HOST:PORT",
        ),
        (
            "ssl: true\nssl_fingerprint: short",
            "ssl_fingerprint: is 'short'; allowed: the SHA-256 of the certificate, 64 hexadecimal digits \
             ('openssl x509 -in FILE -noout -fingerprint -sha256')",
        ),
    ] {
        assert_eq!(pullwss_problems(lines), [of(problem)]);
    }
    assert_eq!(
        problems_of(&module("pullwss", "address: 'a:1'\ntoken: \"one\\ntwo\"")),
        [
            of("token: holds other characters than allowed: visible ASCII characters without spaces (it travels in \
                    an HTTP header)"),
            of(
                "address: is 'a:1'; allowed: the host name or the address of the central, without a port, or a list of \
                    HOST or HOST:PORT"
            ),
        ]
    );
    assert_eq!(
        problems_of(&module("pullwss", "token: ''")),
        [
            of(
                "address: is missing or empty; allowed: the host name or the address of the central, without a port, or \
                    a list of HOST or HOST:PORT"
            ),
            of("token: is missing or empty; allowed: the token of the central's 'httpserver'"),
        ]
    );
    let missing = pullwss_problems("ssl: true\nssl_ca_file: none.pem");
    assert_eq!(missing, [of("ssl_ca_file: the file none.pem cannot be read: No such file or directory (os error 2)")]);
    assert!(!format!("{:?}", pullwss("proxy: 'http://u:secret@p:1'")).contains("secret"));
}

#[test]
fn the_websocket_listener_has_the_ports_of_the_web_and_needs_a_token() {
    let plain = listener("token: t0k3n").unwrap();
    assert_eq!(
        (plain.address.to_string().as_str(), plain.port, plain.token.as_deref()),
        ("0.0.0.0", 80, Some("t0k3n"))
    );
    assert!(plain.tls.is_none());
    let tls = listener(&format!("token: 1234, address: '::1', {TLS}, passphrase: p")).unwrap();
    assert_eq!((tls.address.to_string().as_str(), tls.port, tls.token.as_deref()), ("::1", 443, Some("1234")));
    let ServerTls { certificate_file, key_file, passphrase } = tls.tls.unwrap();
    assert!(certificate_file.ends_with("cert.pem") && key_file.ends_with("key.pem") && passphrase.is_some());
    for lines in ["port: 8086", "token: ''", "token: null"] {
        assert!(listener(lines).is_none(), "{lines}");
        let warnings = warnings_of(&module("proxy", &format!("httpserver: {{enable: true, {lines}}}")));
        assert_eq!(
            warnings,
            ["c.yaml: modules[proxy].httpserver.token: is missing or empty, so the listener does not start and no \
                    pullwss node \
                 can connect; set the token that the nodes have, or 'tokens'"]
        );
    }
    let disabled = config_of(&module("proxy", "httpserver: {enable: false, ssl: true, token: t}"));
    assert!(disabled.modules.proxy.unwrap().httpserver.is_none() && disabled.warnings.is_empty());
}

#[test]
fn tokens_of_single_nodes_are_read_and_need_no_common_one() {
    // The output of `printf abc | sha256sum`.
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for hash in [
        hex,
        &hex.to_uppercase(),
        "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
        "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0",
    ] {
        let settings = listener(&format!("tokens: [{{name: paris, hash: '{hash}', node: 5}}]")).unwrap();
        assert!(settings.token.is_none());
        let [token] = settings.tokens.as_slice() else { panic!("{}", settings.tokens.len()) };
        assert_eq!((token.name.as_str(), token.node.map(|node| node.to_string())), ("paris", Some("5".to_owned())));
        assert_eq!(crate::model::random::to_hex(&token.hash), hex);
    }
    let problems = |lines: &str| {
        let text = module("proxy", &format!("httpserver: {{enable: true, token: t, tokens: {lines}}}"));
        with_files(&text).problems("c.yaml").join("\n")
    };
    for (lines, expected) in [
        ("[{name: a}]", "tokens[0].hash: is missing or empty"),
        (&format!("[{{hash: {hex}}}]"), "tokens[0].name: is missing or empty"),
        ("[{name: a, hash: my-own-secret}]", "tokens[0].hash: is not a hash"),
        (&format!("[{{name: 'a:b', hash: {hex}}}]"), "tokens[0].name: is 'a:b'"),
        (&format!("[{{name: a, hash: {hex}, node: five}}]"), "tokens[0].node: is 'five'"),
        (&format!("[{{name: a, hash: {hex}, node: }}]"), "tokens[0].node: is empty"),
        (&format!("[{{name: a, hash: {hex}, node: ' '}}]"), "tokens[0].node: is empty"),
        (&format!("[{{name: a, hash: {hex}}}, {{name: b, hash: {hex}}}]"), "tokens[1].hash: is that of the token 'a'"),
    ] {
        let found = problems(lines);
        assert!(found.contains(expected) && !found.contains("my-own-secret"), "{lines}: {found}");
    }
}

#[test]
fn ssl_needs_both_files() {
    let problem = |key: &str| {
        format!(
            "c.yaml: modules[proxy].httpserver.{key}: is missing or empty; 'ssl: true' needs it: the path of a PEM file"
        )
    };
    let problems = |lines: &str| {
        with_files(&module("proxy", &format!("httpserver: {{enable: true, token: t, {lines}}}"))).problems("c.yaml")
    };
    assert_eq!(problems("ssl: true"), [problem("ssl_cert_file"), problem("ssl_key_file")]);
    assert_eq!(problems("ssl: true, ssl_cert_file: cert.pem"), [problem("ssl_key_file")]);
    assert_eq!(problems("ssl: true, ssl_key_file: key.pem"), [problem("ssl_cert_file")]);
    assert_eq!(
        problems("ssl: true, ssl_key_file: key.pem, ssl_cert_file: ."),
        ["c.yaml: modules[proxy].httpserver.ssl_cert_file: the file . cannot be read: it is not a regular file"]
    );
}

#[test]
fn the_rest_api_takes_tls() {
    let text =
        module("httpserver", "address: 0.0.0.0\nport: 8443\nssl: true\nssl_cert_file: cert.pem\nssl_key_file: key.pem");
    let http = with_files(&text).config("c.yaml").modules.httpserver.unwrap();
    assert!(http.tls.unwrap().certificate_file.ends_with("cert.pem"));
}

#[test]
fn api_and_websocket_share_a_port_only_when_they_are_configured_alike() {
    let both = |rest: &str, sockets: &str| {
        let api = "    - {name: httpserver, package: 'gorgone::modules::core::httpserver::hooks', enable: true, ";
        let text = module("proxy", &format!("httpserver: {{enable: true, token: t, {sockets}}}"));
        with_files(&format!("{text}{api}{rest}}}\n"))
            .load("c.yaml")
            .map_err(|problems| problems[0].key.clone())
            .map(drop)
    };
    let clash = Err("modules[proxy].httpserver.port".to_owned());
    assert_eq!(both("port: 8443", "port: 8443"), Ok(()));
    assert_eq!(both(&format!("port: 8443, {TLS}"), &format!("port: 8443, {TLS}")), Ok(()));
    assert_eq!(both(&format!("port: 443, {TLS}"), TLS), Ok(()));
    assert_eq!(both(&format!("port: 8443, {TLS}"), "port: 8443"), clash);
    assert_eq!(both(&format!("port: 8443, {TLS}"), &format!("port: 8443, passphrase: p, {TLS}")), clash);
    assert_eq!(both("port: 8443, address: 127.0.0.1", "port: 8443"), clash);
    assert_eq!(both("port: 8443, address: 127.0.0.1", "port: 8443, address: 127.0.0.2"), Ok(()));
    assert_eq!(both("port: 8443", "port: 8444"), Ok(()));
}

#[test]
fn the_websocket_listener_cannot_have_the_port_of_the_external_socket() {
    let core = "{id: 1, external_com_type: tcp, external_com_path: '*:5556', \
                authorized_clients: [{key: pnI6EWkiTbazjikJXRkLmjml5wvVECYtQduJUjS4QK4}]}";
    let text = module("proxy", "httpserver: {enable: true, token: t, port: 5556}").replace("{id: 6}", core);
    let problems = problems_of(&text);
    assert!(
        problems[0].starts_with("c.yaml: modules[proxy].httpserver.port: is 5556, the port of the external socket")
    );
}

#[cfg(feature = "centreon")]
#[test]
fn tokens_may_all_be_those_of_the_web_api() {
    let with = |account: &str, lines: &str| {
        let text = module("proxy", &format!("httpserver: {{enable: true, {lines}}}"));
        config_of(&text.replacen("  modules:", &format!("  tpapi: [{account}]\n  modules:"), 1))
    };
    let listener = |account, lines| with(account, lines).modules.proxy.unwrap().httpserver;
    let account = "{name: centreonv2, base_url: 'https://web/api', username: u, password: p}";
    for (account, lines, is_asked) in [
        (account, "port: 80", Some(true)),
        (account, "token: t", Some(true)),
        (account, "token: t, web_api_tokens: false", Some(false)),
        (account, "web_api_tokens: false", None),
        ("{name: clapi, username: u, password: p}", "token: t", Some(false)),
        ("{name: centreonv2, username: u, password: p}", "token: t, web_api_tokens: true", Some(false)),
    ] {
        let found = listener(account, lines).map(|listener| listener.web_api.is_some());
        assert_eq!(found, is_asked, "{account} {lines}");
    }
    let warnings = with("", "token: t, web_api_tokens: true").warnings;
    assert!(warnings.iter().any(|warning| warning.to_string().contains("'tpapi' has no entry 'centreonv2'")));
}
