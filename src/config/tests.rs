//! Whole configurations, from files to settings.

use crate::model::connection::{Endpoint, FingerprintMode};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::settings::{Commits, Storage};
use super::{Config, Problem};
use super::{Role, load};
use crate::model::registration::NodeKind;

mod allowed_commands;
mod brought;
mod dial_in;
mod documentation;
mod environment;
mod includes;
mod pollers;
mod values;

/// Files below a directory for one test, removed at the end.
struct Files(PathBuf);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("stheno-config-{}-{number}", std::process::id()));
        let made = Self(directory);
        for (name, text) in files {
            made.write(name, text.as_bytes());
        }
        made
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    }

    fn load(&self, name: &str) -> Result<Config, Vec<Problem>> {
        load(&self.0.join(name))
    }

    /// Returns lines as `file: key: text`, without the directory and the line number, which has its own test.
    fn lines(&self, problems: &[Problem]) -> Vec<String> {
        let bare = |problem: &Problem| Problem { line: 0, ..problem.clone() };
        self.placed(&problems.iter().map(bare).collect::<Vec<_>>())
    }

    /// Returns lines as `file:line: key: text`, without the directory.
    fn placed(&self, problems: &[Problem]) -> Vec<String> {
        let root = format!("{}/", self.0.display());
        problems.iter().map(|line| line.to_string().replace(&root, "")).collect()
    }

    fn problems(&self, name: &str) -> Vec<String> {
        self.lines(&self.load(name).expect_err("the configuration is fine"))
    }

    fn config(&self, name: &str) -> Config {
        self.load(name).unwrap_or_else(|problems| panic!("{:#?}", self.lines(&problems)))
    }

    /// Leaves out the line about `copy_roots`, which has its own test.
    fn warnings(&self, name: &str) -> Vec<String> {
        let mut lines = self.lines(&self.config(name).warnings);
        lines.retain(|line| !line.contains("].copy_roots: is not set"));
        lines
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the lines about one file `c.yaml` below `gorgone:`.
fn problems_of(text: &str) -> Vec<String> {
    Files::new(&[("c.yaml", text)]).problems("c.yaml")
}

fn warnings_of(text: &str) -> Vec<String> {
    Files::new(&[("c.yaml", text)]).warnings("c.yaml")
}

fn config_of(text: &str) -> Config {
    Files::new(&[("c.yaml", text)]).config("c.yaml")
}

const ACTION: &str = "    - {name: action, package: 'gorgone::modules::core::action::hooks', enable: true}\n";

/// The layout of the original's packages on a central, with additions of an administrator.
fn packages() -> Files {
    Files::new(&[
        ("config.yaml", "name: config.yaml\ndescription: from the package\nconfiguration: !include config.d/*.yaml\n"),
        ("config.d/30-centreon.yaml", "name: centreon.yaml\ndescription: x\ncentreon: !include ../centreon/*.yaml\n"),
        (
            "centreon/10-database.yaml",
            "database:\n  db_configuration:\n    dsn: \"mysql:host=localhost:port=3306;dbname=centreon\"\n    \
                password: \"secret\"\n",
        ),
        ("config.d/31-centreon-api.yaml", "gorgone:\n  tpapi:\n    - name: clapi\n      password: \"secret\"\n"),
        (
            "config.d/39-action.yaml",
            "gorgone:\n  modules:\n    - name: action\n      package: \
             \"gorgone::modules::core::action::hooks\"\n      enable: true\n      \
             command_timeout: 30\n      whitelist_cmds: true\n      allowed_cmds: !include whitelist.conf.d/*.yaml\n",
        ),
        ("config.d/whitelist.conf.d/centreon.yaml", "- ^sudo\\s+service\\s+cbd\\s+restart$\n- ^echo\n"),
        (
            "config.d/40-gorgoned.yaml",
            r#"
gorgone:
  gorgonecore:
    id: "1"
    external_com_type: tcp
    external_com_path: "*:5556"
    authorized_clients:
      - key: 0123456789abcdefghijABCDEFGHIJ-_0123456789a
    internal_com_path: /tmp/gorgone/routing.ipc
    gorgone_db_name: "dbname=/var/lib/centreon-gorgone/other.sdb"
  modules:
    - name: httpserver
      package: "gorgone::modules::core::httpserver::hooks"
      enable: true
      address: "127.0.0.1"
      port: "8085"
      ssl: false
      auth: {enabled: false}
      allowed_hosts:
        enabled: "true"
        subnets: [127.0.0.1/32]
    - name: cron
      package: "gorgone::modules::core::cron::hooks"
      enable: true
      cron: !include cron.d/*.yaml
    - name: nodes
      package: "gorgone::modules::centreon::nodes::hooks"
      enable: "true"
    - name: proxy
      package: "gorgone::modules::core::proxy::hooks"
      enable: true
      ping: "45"
    - name: register
      package: "gorgone::modules::core::register::hooks"
      enable: true
      config_file: nodes-register.yaml
"#,
        ),
        ("config.d/cron.d/10-date.yaml", "- id: date\n  timespec: '* * * * *'\n  action: INFORMATION\n"),
        (
            "config.d/nodes-register.yaml",
            "nodes:\n  - {id: 4, type: push_zmq, address: 10.1.2.3, port: 5556, prevail: 1, nodes: [{id: 2, \
                pathscore: 1}, {id: \"20\"}]}\n  \
             - {id: 6, type: pull}\n  - {id: 7, type: wss, prevail: yes}\n",
        ),
    ])
}

#[test]
fn the_layout_of_the_packages_is_read_unchanged() {
    let files = packages();
    let config = files.config("config.yaml");
    assert_eq!(config.core.name, "config.yaml");
    assert_eq!(config.core.id.map(|id| id.get()), Some(1));
    assert_eq!(config.core.external, Some(Endpoint::Tcp { host: "*".into(), port: 5556 }));
    assert_eq!(config.core.database, Path::new("/var/lib/centreon-gorgone/other.sdb"));
    assert_eq!(config.core.authorized_clients, ["0123456789abcdefghijABCDEFGHIJ-_0123456789a"]);
    assert_eq!(config.role(), Role::Central);
    let http = config.modules.httpserver.as_ref().unwrap();
    assert_eq!((http.address.to_string(), http.port, http.auth.is_none()), ("127.0.0.1".into(), 8085, true));
    assert!(http.allowed_hosts.as_ref().unwrap()[0].contains("127.0.0.1".parse().unwrap()));
    assert_eq!(config.modules.proxy.as_ref().unwrap().ping, Duration::from_secs(45));
    let nodes = &config.modules.register.as_ref().unwrap().nodes;
    assert_eq!(
        nodes.iter().map(|node| (node.id.get(), node.prevail)).collect::<Vec<_>>(),
        [(4, true), (6, false), (7, true)]
    );
    assert_eq!(nodes[0].kind, NodeKind::PushZmq { endpoint: Endpoint::Tcp { host: "10.1.2.3".into(), port: 5556 } });
    assert_eq!(nodes[0].subnodes.iter().map(|node| node.id.get()).collect::<Vec<_>>(), [2, 20]);
    let loaded: Vec<&str> = config.modules.loaded.keys().map(String::as_str).filter(|name| *name != "nodes").collect();
    assert_eq!(loaded, ["action", "cron", "dbcleaner", "httpserver", "proxy", "register"]);
    assert_eq!(config.modules.loaded.contains_key("nodes"), cfg!(feature = "centreon"));
    assert_eq!(config.modules.loaded["proxy"], "gorgone::modules::core::proxy::hooks");
}

#[test]
fn the_packages_layout_brings_only_warnings_about_what_is_not_here_yet() {
    let files = packages();
    let mut warnings = files.warnings("config.yaml");
    warnings.retain(|line| cfg!(feature = "centreon") || !line.contains("modules[nodes]"));
    assert_eq!(
        warnings,
        [
            "config.d/40-gorgoned.yaml: gorgonecore.authorized_clients: has keys that may ask for everything; safer: '- \
             {key: 0123456789abcdefghijABCDEFGHIJ-_0123456789a, name: central, may: central}' for the daemon above, '- \
             {key: …, node: ID}' for a node that dials in",
            "config.d/whitelist.conf.d/centreon.yaml: modules[action].allowed_cmds[1]: '^echo' is not anchored: with \
                a shell it \
             also allows “echo; id”; begin it with ^ and end it with $",
        ]
    );
}

#[test]
fn a_file_with_gorgone_at_the_top_is_a_configuration_and_all_has_a_default() {
    let config = config_of("gorgone:\n  gorgonecore:\n");
    assert_eq!(config.core.timeout, Duration::from_secs(50));
    assert_eq!(config.core.rotation, Duration::from_secs(86_400));
    assert_eq!((config.core.key_size, config.core.tcp_keepalive, config.core.ipv6), (32, true, false));
    assert_eq!(config.core.fingerprint_mode, FingerprintMode::First);
    assert_eq!(config.core.private_key, Path::new("/var/lib/centreon-gorgone/.keys/rsakey.priv.pem"));
    assert_eq!(config.core.public_key, Path::new("/var/lib/centreon-gorgone/.keys/rsakey.pub.pem"));
    assert_eq!(config.core.database, Path::new("/var/lib/centreon-gorgone/history.sdb"));
    assert_eq!((config.core.external.clone(), config.core.id), (None, None));
    assert!(config.core.commits == Commits::Full && config.core.create_schema);
    assert!(
        !config.core.hostname.is_empty() && config.core.name == config.core.hostname || config.core.name == "localhost"
    );
    assert_eq!(config.role(), Role::Poller);
    assert_eq!(config.modules.loaded.len(), 1);
}

#[test]
fn the_role_follows_from_proxy_api_and_clients() {
    let proxy = "    - {name: proxy, package: 'gorgone::modules::core::proxy::hooks', enable: 1}\n";
    let clients = "  gorgonecore:\n    external_com_type: tcp\n    external_com_path: '*:5556'\n    \
        authorized_clients:\n      - \
                   key: pnI6EWkiTbazjikJXRkLmjml5wvVECYtQduJUjS4QK4\n";
    assert_eq!(config_of(&format!("gorgone:\n{clients}  modules:\n{ACTION}")).role(), Role::Poller);
    assert_eq!(config_of(&format!("gorgone:\n{clients}  modules:\n{ACTION}{proxy}")).role(), Role::Relay);
    assert_eq!(config_of(&format!("gorgone:\n  modules:\n{ACTION}{proxy}")).role(), Role::Central);
    let pull =
        "    - {name: pull, package: 'gorgone::modules::core::pull::hooks', enable: 1, target_path: '10.0.0.1:5556'}\n";
    let id = "  gorgonecore: {id: 6}\n";
    assert_eq!(config_of(&format!("gorgone:\n{id}  modules:\n{ACTION}{pull}")).role(), Role::Poller);
    assert_eq!(config_of(&format!("gorgone:\n{id}  modules:\n{ACTION}{proxy}{pull}")).role(), Role::Relay);
}

#[test]
fn every_problem_is_reported_with_file_key_value_and_what_is_allowed() {
    let files = Files::new(&[
        ("top.yaml", "configuration: !include a.yaml,b.yaml,missing.yaml\n"),
        (
            "a.yaml",
            "gorgone:\n  gorgonecore:\n    id: central\n    external_com_type: udp\n    external_com_path: \
             '*:5556'\n    timeout: -3\n    \
             external_com_keysize: 20\n    external_com_cipher: DES\n    gorgone_db_type: \
                 oracle\n    fingerprint_mode: never\n    ipv6: maybe\n",
        ),
        (
            "b.yaml",
            "gorgone:\n  modules:\n    - name: httpserver\n      package: \
             gorgone::modules::core::httpserver::hooks\n      enable: true\n      \
             port: 70000\n      ssl: true\n      auth: {enabled: true, user: admin}\n      allowed_hosts: {enabled: \
                 true, subnets: [here]}\n",
        ),
    ]);
    assert_eq!(
        files.problems("top.yaml"),
        [
            "top.yaml: configuration: '!include': there is no file missing.yaml",
            "a.yaml: gorgonecore.external_com_type: is 'udp'; allowed: tcp or ipc",
            "a.yaml: gorgonecore.external_com_cipher: is 'DES'; allowed: AES",
            "a.yaml: gorgonecore.id: is 'central'; allowed: a whole number from 1 to 18446744073709551615",
            "a.yaml: gorgonecore.gorgone_db_type: is 'oracle'; allowed: SQLite, or mysql (mariadb) for a database server",
            "a.yaml: gorgonecore.timeout: is '-3'; allowed: a number of seconds from 1 to 86400",
            "a.yaml: gorgonecore.external_com_keysize: is '20'; allowed: 16, 24 or 32 (bytes)",
            "a.yaml: gorgonecore.ipv6: is 'maybe'; allowed: true or false (also 1/0, yes/no, on/off)",
            "a.yaml: gorgonecore.fingerprint_mode: is 'never'; allowed: always, first or strict",
            "b.yaml: modules[httpserver].ssl_cert_file: is missing or empty; 'ssl: true' needs it: the path of a PEM \
                file",
            "b.yaml: modules[httpserver].ssl_key_file: is missing or empty; 'ssl: true' needs it: the path of a PEM \
                file",
            "b.yaml: modules[httpserver].port: is '70000'; allowed: a whole number from 1 to 65535",
            "b.yaml: modules[httpserver].auth.password: is missing or empty; 'auth' with 'enabled: true' needs it",
            "b.yaml: modules[httpserver].allowed_hosts.subnets[0]: is 'here'; allowed: a range such as 10.30.2.0/24 \
                or 2001:db8::/32, \
             or one address",
        ]
    );
}

#[test]
fn the_example_files_have_no_problem_but_what_everybody_must_replace() {
    // A checkout leaves the files readable for everybody, which causes a warning if they contain a token.
    let files = Files::new(&[]);
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("config")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files.write(path.file_name().unwrap().to_str().unwrap(), &fs::read(&path).unwrap());
        }
    }
    for (name, role, nodes) in [
        ("central", Role::Central, 3),
        ("central-dial-in", Role::Central, 2),
        ("relay", Role::Relay, 2),
        ("poller", Role::Poller, 0),
        ("poller-pull", Role::Poller, 0),
        ("poller-pullwss", Role::Poller, 0),
    ] {
        let config = files.config(&format!("{name}.yaml"));
        // Only what everybody must replace is reported.
        let texts: Vec<&str> = config.warnings.iter().map(|warning| warning.text.as_str()).collect();
        assert!(texts.iter().all(|text| text.contains("of the example files")), "{name}: {texts:?}");
        assert_eq!(config.role(), role, "{name}");
        assert_eq!(config.modules.register.map_or(0, |register| register.nodes.len()), nodes, "{name}");
    }
}
