//! Values of `gorgonecore`, of the modules and of the register file: which are accepted and which are refused.

use super::*;

fn core(lines: &str) -> String {
    format!("gorgone:\n  gorgonecore:\n    {lines}\n")
}

fn module(name: &str, lines: &str) -> String {
    format!(
        "gorgone:\n  modules:\n    - name: {name}\n      package: gorgone::modules::core::{name}::hooks\n      \
            enable: true\n      {lines}\n"
    )
}

fn nodes(text: &str) -> Files {
    Files::new(&[("c.yaml", &module("register", "config_file: nodes.yaml")), ("nodes.yaml", text)])
}

#[test]
fn a_configuration_without_a_gorgone_section_says_so() {
    for text in ["", "name: x\n", "configuration: {centreon: {}}\n"] {
        assert_eq!(
            problems_of(text),
            ["c.yaml: no 'gorgone:' section in this file (at the top or below 'configuration:') or in those it \
                    includes"]
        );
    }
    assert!(problems_of("- a\n")[0].starts_with("c.yaml: holds a list where a map"));
    assert_eq!(problems_of("gorgone: [a]\n"), ["c.yaml: gorgone: is a list; allowed: a map"]);
    assert_eq!(
        problems_of("gorgone: {gorgonecore: x, modules: {a: b}}\n"),
        [
            "c.yaml: gorgonecore: is a single value; allowed: a map",
            "c.yaml: modules: is a map; allowed: a list, each entry beginning with '- name:'",
        ]
    );
}

#[test]
fn booleans_and_numbers_come_in_many_spellings() {
    for text in ["true", "\"true\"", "1", "'1'", "yes", "on", "TRUE"] {
        assert!(config_of(&core(&format!("ipv6: {text}"))).core.ipv6, "{text}");
    }
    for text in ["false", "\"false\"", "0", "no", "off", "", "''"] {
        assert!(!config_of(&core(&format!("ipv6: {text}"))).core.ipv6, "{text}");
    }
    for text in ["7", "\"7\"", "' 7 '", "7.0"] {
        assert_eq!(config_of(&core(&format!("timeout: {text}"))).core.timeout, Duration::from_secs(7), "{text}");
    }
}

#[test]
fn commits_are_batched_for_as_long_as_it_says() {
    let commits = |lines: &str| config_of(&core(lines)).core.commits;
    let batched = |millis| Commits::Batched(Duration::from_millis(millis));
    assert_eq!(commits("gorgone_db_synchronous: batched"), batched(1_000));
    assert_eq!(commits("gorgone_db_synchronous: Batched\n    db_batch_ms: 250"), batched(250));
    assert_eq!(commits("gorgone_db_synchronous: normal"), Commits::Normal);
    for text in ["0", "9", "10001", "1s"] {
        let problems = problems_of(&core(&format!("gorgone_db_synchronous: batched\n    db_batch_ms: {text}")));
        assert!(problems.len() == 1 && problems[0].contains("from 10 to 10000"), "{text}: {problems:?}");
    }
    let warnings = warnings_of(&core("db_batch_ms: 500"));
    assert!(warnings.iter().any(|line| line.contains("no effect without 'gorgone_db_synchronous: batched'")));
}

#[test]
fn a_history_in_memory_has_a_path_of_its_own_and_a_bound() {
    let core_of = |lines: &str| config_of(&core(lines)).core;
    let memory = core_of("storage: memory\n    gorgone_db_name: dbname=/var/lib/a/h.sdb");
    assert_eq!(memory.storage, Storage::Memory(8 << 20));
    let path = memory.database.to_string_lossy().into_owned();
    assert!(path.ends_with("/stheno-var-lib-a-h.sdb/history.sdb"), "{path}");
    assert_ne!(core_of("storage: memory\n    gorgone_db_name: dbname=/other").database, memory.database);
    assert_eq!(core_of("storage: memory\n    storage_max: 1048576").storage, Storage::Memory(1 << 20));
    assert_eq!(core_of("storage: disk").storage, Storage::Disk);
    assert!(problems_of(&core("storage: tape"))[0].contains("disk or memory"));
    let warnings = |lines: &str| warnings_of(&core(lines)).join("\n");
    assert!(warnings("storage_max: 1048576").contains("no effect without 'storage: memory'"));
    assert!(warnings("storage: memory").contains("loses, besides the history, the keys of daemons"));
    assert!(!warnings("storage: memory\n    fingerprint_mode: strict").contains("besides the history"));
}

#[test]
fn times_must_be_positive_and_sane() {
    for text in ["0", "-1", "0.5", "86401", "1e99", "nan", "inf", "10s", "[1]", "{a: 1}"] {
        let problems = problems_of(&core(&format!("timeout: {text}")));
        assert!(problems[0].contains("gorgonecore.timeout: is ") && problems.len() == 1, "{text}: {problems:?}");
    }
    assert_eq!(config_of(&core("external_com_rotation: 10")).core.rotation, Duration::from_secs(600));
    assert_eq!(config_of(&core("external_com_rotation: 0.05")).core.rotation, Duration::from_secs(3));
    assert_eq!(
        problems_of(&core("external_com_rotation: 0")),
        ["c.yaml: gorgonecore.external_com_rotation: is '0'; allowed: a number of minutes up to 525600, at least \
                one second"]
    );
}

#[test]
fn the_external_socket_needs_type_and_path_but_never_stops_a_start_for_a_missing_one() {
    assert_eq!(
        warnings_of(&core("external_com_type: tcp")),
        ["c.yaml: gorgonecore.external_com_type: is 'tcp', but 'external_com_path' is missing: no external socket"]
    );
    assert_eq!(
        warnings_of(&core("external_com_path: '*:5556'")),
        ["c.yaml: gorgonecore.external_com_path: is set, but 'external_com_type' (tcp or ipc) is missing: no \
                external socket"]
    );
    let ipc = config_of(&core("{external_com_type: ipc, external_com_path: /run/gorgone.sock}"));
    assert_eq!(ipc.core.external, Some(Endpoint::Ipc("/run/gorgone.sock".into())));
    let ipv6 = config_of(&core("{external_com_type: tcp, external_com_path: '[::]:5556'}"));
    assert_eq!(ipv6.core.external, Some(Endpoint::Tcp { host: "::".into(), port: 5556 }));
    for path in ["5556", "'*:0'", "'::1:5556'", "'tcp://*:5556'"] {
        let problems = problems_of(&core(&format!("{{external_com_type: tcp, external_com_path: {path}}}")));
        assert!(
            problems[0].contains("external_com_path: is '") && problems[0].contains("for instance '*:5556'"),
            "{problems:?}"
        );
    }
    let long = format!("{{external_com_type: ipc, external_com_path: /{}}}", "x".repeat(107));
    assert!(problems_of(&core(&long))[0].contains("at most 107 bytes"));
}

#[test]
fn an_external_socket_without_clients_is_a_warning_and_a_bad_thumbprint_an_error() {
    let socket = "external_com_type: tcp\n    external_com_path: '*:5556'\n    ";
    assert!(warnings_of(&core(socket))[0].contains("gorgonecore.authorized_clients: is empty or absent"));
    let problems = problems_of(&core(&format!("{socket}authorized_clients: [{{key: short}}, plain, {{other: 1}}]")));
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(
        problems[0]
            .starts_with("c.yaml: gorgonecore.authorized_clients[0].key: is 'short'; allowed: '- key: THUMBPRINT'")
    );
    assert!(problems[1].starts_with("c.yaml: gorgonecore.authorized_clients[1]: is a single value;"));
    assert!(problems[2].starts_with("c.yaml: gorgonecore.authorized_clients[2]: has no 'key';"));
}

#[test]
fn the_database_is_a_sqlite_file() {
    let path = |text: &str| config_of(&core(&format!("gorgone_db_name: {text}"))).core.database;
    assert_eq!(path("dbname=/a/b.sdb"), Path::new("/a/b.sdb"));
    assert_eq!(path("/a/b.sdb"), Path::new("/a/b.sdb"));
    for text in ["'dbname='", "'dbname=:memory:'", "'host=x'", "'dbname=/a;host=b'", "'dbname=/a/'"] {
        assert!(
            problems_of(&core(&format!("gorgone_db_name: {text}")))[0].contains("allowed: 'dbname=FILE'"),
            "{text}"
        );
    }
}

#[test]
fn unknown_keys_are_warnings_and_needless_keys_of_the_original_are_silent() {
    let text = core(
        "{internal_com_type: ipc, internal_com_crypt: true, external_com_msg_size: 9, fingerprint_mgr: {package: x}, \
            proxy_name: proxy, privkye: x}",
    );
    assert_eq!(warnings_of(&text), ["c.yaml: gorgonecore.privkye: unknown key, ignored; is 'privkey' meant?"]);
    assert_eq!(
        warnings_of(&module("proxy", "pings: 3")),
        ["c.yaml: modules[proxy].pings: unknown key, ignored; is 'ping' meant?"]
    );
}

#[test]
fn what_refers_to_a_vault_that_has_not_answered_waits_and_any_other_reference_is_refused() {
    let text = module("httpserver", "auth: {enabled: true, user: a, password: 'secret::hashicorp_vault::path::name'}");
    let config = config_of(&text);
    assert!(config.modules.httpserver.is_none() && config.waiting.len() == 1);
    let told =
        "modules[httpserver]: waits for the vault: it needs the key 'name' at 'path', and does not work until then";
    assert!(
        config.warnings.iter().any(|line| line.is_error && line.to_string().contains(told)),
        "{:?}",
        config.warnings
    );
    for wrong in ["secret::other::path::name", "secret::hashicorp_vault::path", "secret::hashicorp_vault::../x::name"] {
        let text = module("httpserver", &format!("auth: {{enabled: true, user: a, password: '{wrong}'}}"));
        let problems = problems_of(&text);
        assert!(problems[0].contains("auth.password: refers to a vault, which is possible in"), "{problems:?}");
    }
    let problems = problems_of("gorgone: {gorgonecore: {privkey: 'secret::hashicorp_vault::path::name'}}\n");
    assert!(problems[0].contains("gorgonecore.privkey: refers to a vault"), "{problems:?}");
}

#[test]
fn modules_may_be_disabled_unknown_double_or_nameless() {
    let text = "gorgone:\n  modules:\n    - {name: a, package: x::y, enable: true}\n    - {name: b, package: x::z, \
        enable: false}\n    - \
                {name: c, package: x::c}\n    - {name: proxy, package: 'gorgone::modules::core::proxy::hooks', \
                    enable: false}\n    - \
                {name: proxy, package: 'gorgone::modules::core::proxy::hooks', enable: true}\n";
    let warnings = warnings_of(text);
    let start =
        "c.yaml: modules[a]: unknown package 'x::y', so this module does not work; known: gorgone::modules::core::";
    assert!(warnings.len() == 1 && warnings[0].starts_with(start), "{warnings:?}");
    assert!(config_of(text).modules.proxy.is_some());
    assert_eq!(
        problems_of("gorgone:\n  modules:\n    - {package: x, enable: true}\n    - {name: y, enable: 1}\n    - word\n"),
        [
            "c.yaml: modules[0]: has no 'name'; a module needs 'name', 'package' and 'enable'",
            "c.yaml: modules[y]: has no 'package'; a module needs 'name', 'package' and 'enable'",
            "c.yaml: modules[2]: is a single value; allowed: a map with 'name' and 'package'",
        ]
    );
}

#[test]
fn a_wrong_enable_hides_no_other_problem() {
    let text = module("proxy", "ping: never").replace("enable: true", "enable: maybe");
    assert_eq!(
        problems_of(&text),
        [
            "c.yaml: modules[proxy].enable: is 'maybe'; allowed: true or false (also 1/0, yes/no, on/off)",
            "c.yaml: modules[proxy].ping: is 'never'; allowed: a number of seconds from 1 to 86400",
        ]
    );
    let text = module("proxy", "ping: never").replace("enable: true", "enable:");
    assert!(config_of(&text).modules.proxy.is_none());
}

#[test]
fn dbcleaner_is_always_on_and_takes_its_times() {
    let config = config_of("gorgone: {}\n");
    assert!(config.modules.loaded.contains_key("dbcleaner"));
    assert_eq!(config.modules.dbcleaner.unwrap().history, Duration::from_secs(604_800));
    let config = config_of(&module("dbcleaner", "purge_history_time: '3600'"));
    assert_eq!(config.modules.dbcleaner.unwrap().history, Duration::from_secs(3_600));
    assert_eq!(config.modules.dbcleaner.unwrap().sessions, Duration::from_secs(3_600));
}

#[test]
fn entries_of_the_register_file_are_checked_one_by_one() {
    let files = nodes(
        "nodes:\n  - {id: 0, type: pull}\n  - {id: 2}\n  - {id: 3, type: ftp}\n  - {id: 4, type: push_zmq, address: \
            '10.0.0.1:5556'}\n  - \
         {id: 5, type: push_zmq, address: 10.0.0.1, port: 0, prevail: maybe, nodes: [{pathscore: 1}, {id: x}]}\n  - \
             {id: 6, type: pull}\n  - \
         {id: 6, type: pull}\n  - word\n",
    );
    let ids = "a whole number from 1 to 18446744073709551615";
    assert_eq!(
        files.problems("c.yaml"),
        [
            &format!("nodes.yaml: nodes[0].id: is '0'; allowed: {ids}"),
            "nodes.yaml: nodes[1].type: is missing; allowed: push_zmq, push_ssh, pull, wss or pullwss",
            "nodes.yaml: nodes[2].type: is 'ftp'; allowed: push_zmq, push_ssh, pull, wss or pullwss",
            "nodes.yaml: nodes[3].address: is '10.0.0.1:5556'; allowed: a host name, an IPv4 or an IPv6 address, \
                without a port",
            "nodes.yaml: nodes[3].port: is missing; allowed: a whole number from 1 to 65535",
            "nodes.yaml: nodes[4].port: is '0'; allowed: a whole number from 1 to 65535",
            "nodes.yaml: nodes[4].prevail: is 'maybe'; allowed: true or false (also 1/0, yes/no, on/off)",
            &format!("nodes.yaml: nodes[4].nodes[0].id: is missing; allowed: {ids}"),
            &format!("nodes.yaml: nodes[4].nodes[1].id: is 'x'; allowed: {ids}"),
            "nodes.yaml: nodes[6].id: 6 is listed twice; each node needs its own id",
            "nodes.yaml: nodes[7]: is a single value; allowed: a map",
        ]
    );
}

#[test]
fn the_register_file_must_be_there_and_hold_nodes() {
    let files = Files::new(&[("c.yaml", &module("register", "config_file: nodes.yaml"))]);
    assert_eq!(files.problems("c.yaml"), ["c.yaml: modules[register].config_file: there is no file nodes.yaml"]);
    files.write("nodes.yaml", b"node: []\n");
    assert_eq!(
        files.problems("c.yaml"),
        ["nodes.yaml: nodes: is missing; allowed: a list of nodes, each beginning with '- id:'"]
    );
    files.write("nodes.yaml", b"nodes:\n");
    assert!(files.config("c.yaml").modules.register.unwrap().nodes.is_empty());
    let without = warnings_of(&module("register", ""));
    assert!(
        without[0].starts_with("c.yaml: modules[register].config_file: is missing, so the module is not loaded"),
        "{without:?}"
    );
}

#[test]
fn nodes_that_cannot_be_reached_are_pointed_out() {
    let files = nodes("nodes:\n  - {id: 8, type: push_ssh, address: 10.4.5.6, ssh_port: 2222, colour: red}\n");
    assert_eq!(
        files.warnings("c.yaml"),
        [
            #[cfg(not(feature = "ssh"))]
            "nodes.yaml: nodes[0].type: push_ssh needs a build with ssh; node '8' is known but not reached",
            "nodes.yaml: nodes[0].colour: unknown key, ignored",
            "c.yaml: modules: 'register' is loaded but 'proxy' is not, so its nodes are not reached; add \
             gorgone::modules::core::proxy::hooks",
        ]
    );
}

#[test]
fn the_api_and_the_external_socket_need_ports_of_their_own() {
    let with = |place: &str, address: &str| {
        let socket = format!(
            "gorgonecore: {{external_com_type: tcp, external_com_path: '{place}', authorized_clients: [{{key: {}}}]}}",
            "k".repeat(43)
        );
        let text = module("httpserver", &format!("address: '{address}'\n      port: 5556"));
        text.replace("gorgone:\n", &format!("gorgone:\n  {socket}\n"))
    };
    for (place, address) in [("*:5556", "127.0.0.1"), ("127.0.0.1:5556", "0.0.0.0"), ("[::1]:5556", "::1")] {
        let problems = problems_of(&with(place, address));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("c.yaml: modules[httpserver].port: is 5556, the port of the external socket"));
    }
    assert!(config_of(&with("127.0.0.1:5556", "127.0.0.2")).core.external.is_some());
}

#[test]
fn a_relative_register_file_is_looked_for_beside_the_file_that_names_it() {
    let files = Files::new(&[
        ("top.yaml", "configuration: !include d/*.yaml\n"),
        ("d/c.yaml", &module("register", "config_file: ../other/nodes.yml")),
        ("other/nodes.yml", "nodes: [{id: 3, type: pull}]\n"),
    ]);
    assert_eq!(files.config("top.yaml").modules.register.unwrap().nodes.len(), 1);
}

/// Returns `authorized_clients` with these members beside the key, on a daemon with the id 1.
fn client(members: &str) -> String {
    let key = "7JcWR0SaRJN5n0wD2ecT3uQr9gv8UuD1w65bQDHZzfw";
    format!("gorgone: {{gorgonecore: {{id: 1, authorized_clients: [{{key: {key}{members}}}]}}}}\n")
}

#[test]
fn a_key_that_is_bound_to_nothing_or_to_too_much_is_told() {
    for (members, text) in [
        (", node: ", "authorized_clients[0].node: is empty, so the key would speak for every node; give a value"),
        (", node: ''", "authorized_clients[0].node: is empty, so the key would speak for every node"),
        (", may: ", "authorized_clients[0].may: is empty, so the key would ask for everything"),
    ] {
        let problems = problems_of(&client(members));
        assert!(problems.iter().any(|line| line.contains(text)), "{members}: {problems:?}");
    }
    for (members, text) in [
        (", may: []", "authorized_clients[0].may: allows nothing, so whoever has the key is refused everything"),
        (", node: 1", "authorized_clients[0].node: is 1, the id of this daemon itself"),
        (", node: 2, may: admin", "authorized_clients[0].may: is 2, and 'may' allows everything"),
    ] {
        let warnings = warnings_of(&client(members));
        assert!(warnings.iter().any(|line| line.contains(text)), "{members}: {warnings:?}");
    }
    assert_eq!(warnings_of(&client(", node: 2")), Vec::<String>::new());
    let bound = config_of(&client(", may: read")).core.bound_keys;
    let names: Vec<&str> = bound.values().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["the client with the key 7JcWR0SaRJN5n0wD2ecT3uQr9gv8UuD1w65bQDHZzfw"]);
}

#[test]
fn an_api_without_a_login_that_others_reach_is_told_that_names_are_refused() {
    let api = |more: &str| {
        let subnets = "allowed_hosts: {enabled: true, subnets: [10.0.0.0/8]}";
        format!(
            "gorgone:\n  gorgonecore: {{id: 1}}\n  modules: [{{name: httpserver, package: \
             'gorgone::modules::core::httpserver::hooks', enable: true, {subnets}{more}}}]\n"
        )
    };
    let told = |more| warnings_of(&api(more)).iter().any(|line| line.contains("host_names: is absent and the API has"));
    assert!(told("") && told(", address: 0.0.0.0"));
    for more in [", address: 127.0.0.1", ", host_names: [c.example]", ", auth: {enabled: true, user: a, password: b}"] {
        assert!(!told(more), "{more}");
    }
}

#[test]
fn a_problem_between_two_sections_names_the_line_of_one_of_them() {
    let files = Files::new(&[(
        "c.yaml",
        "gorgone:\n  gorgonecore: {id: 1, external_com_type: tcp, external_com_path: '*:8085'}\n  modules:\n    - {name: \
         httpserver, package: 'gorgone::modules::core::httpserver::hooks', enable: true, port: 8085}\n",
    )]);
    let lines = files.placed(&files.load("c.yaml").expect_err("the configuration is fine"));
    assert!(lines[0].starts_with("c.yaml:4: modules[httpserver].port: is 8085, the port of the external"), "{lines:?}");
}
