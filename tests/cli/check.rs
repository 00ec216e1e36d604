//! `check`: its summary, the problems that it finds, its JSON, and that it changes nothing.

use std::fs;

use serde_json::Value;

use super::{Folder, set_mode, stheno, text};

/// A central with the layout of the packages; all that it writes is below the folder.
fn central() -> Folder {
    let folder = Folder::new();
    let root = folder.0.display();
    folder.write("config.yaml", "name: config.yaml\ndescription: x\nconfiguration: !include config.d/*.yaml\n");
    folder.write(
        "config.d/39-action.yaml",
        "gorgone:\n  modules:\n    - name: action\n      package: \"gorgone::modules::core::action::hooks\"\n      \
            enable: true\n      copy_roots: [/etc/centreon-engine]\n",
    );
    folder.write(
        "config.d/40-gorgoned.yaml",
        format!(
            r#"gorgone:
  gorgonecore:
    id: 1
    hostname: central.example.org
    external_com_type: tcp
    external_com_path: "*:5556"
    authorized_clients:
      - {{key: 0123456789abcdefghijABCDEFGHIJ-_0123456789a, name: central, may: central}}
    privkey: "{root}/rsakey.priv.pem"
    pubkey: "{root}/rsakey.pub.pem"
    gorgone_db_name: "dbname={root}/history.sdb"
  modules:
    - name: httpserver
      package: "gorgone::modules::core::httpserver::hooks"
      enable: true
      address: "127.0.0.1"
      port: "8085"
      allowed_hosts: {{enabled: true, subnets: [127.0.0.1/32]}}
    - name: proxy
      package: "gorgone::modules::core::proxy::hooks"
      enable: true
    - name: register
      package: "gorgone::modules::core::register::hooks"
      enable: true
      config_file: "{root}/nodes.yaml"
    - name: audit
      package: "gorgone::modules::centreon::audit::hooks"
      enable: true
"#
        ),
    );
    folder.write(
        "nodes.yaml",
        "nodes:\n  - {id: 4, type: push_zmq, address: 10.1.2.3, port: 5556, prevail: 1, nodes: [{id: 2}, {id: 20}]}\n  - {id: 16, type: pull}\n",
    );
    folder
}

fn check(folder: &Folder, more: &[&str]) -> (Option<i32>, String, String) {
    let config = folder.path("config.yaml");
    let mut arguments = vec!["check", "--config", config.to_str().unwrap()];
    arguments.extend(more);
    let before = folder.contents();
    let output = stheno(&arguments);
    assert_eq!(folder.contents(), before, "check changed something");
    (output.status.code(), folder.shorten(&output.stdout), folder.shorten(&output.stderr))
}

#[test]
fn a_good_configuration_is_summed_up_in_a_table() {
    let folder = central();
    let (status, shown, error) = check(&folder, &[]);
    assert_eq!((status, error.as_str()), (Some(0), ""));
    assert_eq!(
        shown,
        "config.yaml: no problem found

role         central
id           1
name         config.yaml
hostname     central.example.org
external     tcp://*:5556, 1 authorized client
link         auto
api          http://127.0.0.1:8085, no password, from 127.0.0.1/32
database     history.sdb
private key  rsakey.priv.pem
thumbprint   none yet; a start makes the key pair
modules      action, dbcleaner, httpserver, proxy, register

nodes
  id  type      address              link  prevails  behind it
  4   push_zmq  tcp://10.1.2.3:5556  auto  yes       2, 20
  16  pull      connects to us       auto  no        -

will not work
  config.d/40-gorgoned.yaml:26: modules[audit]: Package 'gorgone::modules::centreon::audit::hooks' is not \
available in this version, so audits of the platform get no answer; set 'enable: false', or leave it to a Perl daemon \
beside this one ('gorgonecore.delegate')
"
    );
}

#[test]
fn json_says_the_same() {
    let folder = central();
    assert!(stheno(&["keys", "generate", folder.0.to_str().unwrap()]).status.success());
    let (status, shown, _) = check(&folder, &["--json"]);
    assert_eq!(status, Some(0));
    let document: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(document["ok"], true);
    assert_eq!(document["role"], "central");
    assert_eq!(document["id"], 1);
    assert_eq!(document["external"], "tcp://*:5556");
    assert_eq!(document["api"]["port"], 8085);
    assert_eq!(document["keys"]["state"], "present");
    assert_eq!(document["keys"]["bits"], 2048);
    assert_eq!(document["keys"]["thumbprint"].as_str().unwrap().len(), 43);
    assert_eq!(document["modules"]["proxy"], "gorgone::modules::core::proxy::hooks");
    assert_eq!(document["nodes"][0]["nodes"][1]["id"], 20);
    assert_eq!(document["nodes"][1]["address"], Value::Null);
    assert_eq!(document["warnings"][0]["key"], "modules[audit]");
}

/// The warnings of every check of [`central`].
const WARNING: &str = "will not work: config.d/40-gorgoned.yaml:26: modules[audit]: Package \
                       'gorgone::modules::centreon::audit::hooks' is not available in this version, so \
                       audits of the platform get no answer; set 'enable: false', or leave it to a Perl daemon \
                       beside this one ('gorgonecore.delegate')\n";

#[test]
fn every_problem_is_printed_and_the_status_is_1() {
    let folder = central();
    folder.write("config.d/50-wrong.yaml", "gorgone: {gorgonecore: {external_com_keysize: 8, fingerprint_mode: no}}\n");
    folder.write("config.d/60-tabs.yaml", "gorgone:\n\tgorgonecore: {}\n");
    folder.write("nodes.yaml", "nodes:\n  - {id: none, type: pull}\n");
    let expected = [
        ("config.d/60-tabs.yaml", 2, "", "column 1: the indentation contains a tab; YAML allows only spaces there"),
        ("config.d/50-wrong.yaml", 1, "gorgonecore.external_com_keysize", "is '8'; allowed: 16, 24 or 32 (bytes)"),
        ("config.d/50-wrong.yaml", 1, "gorgonecore.fingerprint_mode", "is 'no'; allowed: always, first or strict"),
        ("nodes.yaml", 2, "nodes[0].id", "is 'none'; allowed: a whole number from 1 to 18446744073709551615"),
    ];
    let (status, shown, _) = check(&folder, &[]);
    assert_eq!(status, Some(1));
    let lines: Vec<String> = expected
        .iter()
        .map(|(file, line, key, text)| {
            let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
            format!("{file}:{line}: {key}{text}\n")
        })
        .collect();
    assert_eq!(shown, lines.concat() + WARNING, "warnings come after the problems");
    let (status, shown, _) = check(&folder, &["--json"]);
    assert_eq!(status, Some(1));
    let document: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(document["ok"], false);
    let problems = document["problems"].as_array().unwrap();
    let found: Vec<_> = problems
        .iter()
        .map(|problem| {
            let text = |name: &str| problem[name].as_str().unwrap();
            (text("file"), problem["line"].as_i64().unwrap(), text("key"), text("text"))
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(document["warnings"][0]["key"], "modules[audit]");
}

#[test]
fn keys_and_the_place_of_the_database_are_looked_at_too() {
    let folder = central();
    assert!(stheno(&["keys", "generate", folder.0.to_str().unwrap()]).status.success());
    set_mode(&folder.path("rsakey.priv.pem"), 0o622);
    let wrong =
        format!("gorgone: {{gorgonecore: {{gorgone_db_name: 'dbname={}/none/history.sdb'}}}}\n", folder.0.display());
    folder.write("config.d/50-wrong.yaml", wrong);
    let (status, shown, _) = check(&folder, &[]);
    assert_eq!(status, Some(1));
    assert_eq!(
        shown,
        format!(
            "rsakey.priv.pem: others can replace this private key (mode 0622); chmod 600 it\n\
             {WARNING}"
        )
        .replace(&format!("{}/", folder.0.display()), "")
    );
    // A wrong value must not hide any of these.
    folder.write("config.d/60-more.yaml", "gorgone: {gorgonecore: {timeout: never}}\n");
    let (status, more, _) = check(&folder, &[]);
    assert_eq!(status, Some(1));
    assert!(more.contains("gorgonecore.timeout: is 'never'") && more.contains(&shown), "{more}");
    fs::remove_file(folder.path("config.d/60-more.yaml")).unwrap();
    fs::create_dir_all(folder.path("none/history.sdb")).unwrap();
    let (_, shown, _) = check(&folder, &[]);
    assert!(shown.contains("none/history.sdb: is not a regular file\n"), "{shown}");
    fs::remove_dir(folder.path("none/history.sdb")).unwrap();
    folder.write("none/history.sdb", "no database");
    let (_, shown, _) = check(&folder, &[]);
    assert!(shown.contains("none/history.sdb: is not a SQLite database; "), "{shown}");
}

#[test]
fn places_that_a_start_would_write_to_must_be_there() {
    let folder = central();
    folder.write("file", "x");
    let root = folder.0.display();
    folder.write(
        "config.d/50-places.yaml",
        format!(
            "gorgone: {{gorgonecore: {{privkey: {root}/new/deeper/a.pem, pubkey: {root}/file/b.pem, \
                external_com_type: ipc, \
             external_com_path: {root}/run/x.sock}}}}\n"
        ),
    );
    let (status, shown, _) = check(&folder, &["--logfile", "/nowhere/log"]);
    assert_eq!(status, Some(1));
    // A start creates the directory of a Unix socket, like that of a database.
    for words in ["file/b.pem: ", "/nowhere/log: the directory /nowhere does not exist"] {
        assert!(shown.contains(words), "{words} is not in\n{shown}");
    }
    assert_eq!(shown.lines().filter(|line| !line.starts_with("will not work: ")).count(), 2, "{shown}");
}

#[test]
fn odd_files_are_answered_and_never_waited_for() {
    let folder = Folder::new();
    let pipe = folder.path("pipe.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (name, bytes, words) in [
        ("binary.yaml", &b"\x7fELF\x02\x01\x01\0\0\0\xff"[..], "not UTF-8"),
        ("zeros.yaml", &[0; 4_096], "not valid YAML"),
        ("empty.yaml", b"", "no 'gorgone:' section"),
        ("circle.yaml", b"configuration: !include circle.yaml\n", "is circular: circle.yaml -> circle.yaml"),
        ("deep.yaml", "[".repeat(100_000).as_bytes(), "maps and lists are nested more than 64 levels deep"),
        ("open.yaml", b"configuration: !include pipe.yaml\n", "the file pipe.yaml is not a regular file"),
    ] {
        let path = folder.write(name, bytes);
        let output = stheno(&["check", "--config", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let shown = folder.shorten(&output.stdout);
        assert!(shown.contains(words), "{name}: {shown}");
        assert!(shown.len() < 1_000, "{name}: {} bytes", shown.len());
    }
    let none = stheno(&["check", "--config", "/nowhere/c.yaml"]);
    assert_eq!(text(&none.stdout), "/nowhere/c.yaml: cannot be read: there is no such file\n");
}

#[test]
fn listeners_for_nodes_and_the_central_above_are_shown() {
    let folder = central();
    make_certificate(&folder);
    folder.write(
        "config.d/50-parents.yaml",
        "gorgone:\n  modules:\n    - {name: pull, package: 'gorgone::modules::core::pull::hooks', enable: true, \
            target_path: '10.0.0.1:5556'}\n    - \
         {name: pullwss, package: 'gorgone::modules::core::pullwss::hooks', enable: true, ssl: true, ssl_ca_file: ../cert.pem, address: central.example.org, \
         token: t0k3n, proxy: 'http://user:secret@10.0.0.9:3128'}\n",
    );
    let proxy = fs::read_to_string(folder.path("config.d/40-gorgoned.yaml")).unwrap().replace(
        "proxy::hooks\"\n      enable: true\n",
        "proxy::hooks\"\n      enable: true\n      httpserver: {enable: true, token: t0k3n, ssl: true, ssl_cert_file: \
            ../cert.pem, ssl_key_file: ../key.pem}\n",
    );
    folder.write("config.d/40-gorgoned.yaml", proxy);
    for name in ["config.d/40-gorgoned.yaml", "config.d/50-parents.yaml"] {
        set_mode(&folder.path(name), 0o600);
    }
    let (status, shown, error) = check(&folder, &[]);
    assert_eq!((status, error.as_str()), (Some(0), ""), "{shown}");
    for line in [
        "role         relay\n",
        "websocket    wss://0.0.0.0:443, certificate config.d/../cert.pem\n",
        "parent       tcp://10.0.0.1:5556 (pull), link auto\n",
        "parent       wss://central.example.org:443/ (pullwss), certificate verified by config.d/../cert.pem, through \
            http://10.0.0.9:3128\n",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    assert!(!shown.contains("t0k3n") && !shown.contains("secret"), "{shown}");
    let document: Value = serde_json::from_str(&check(&folder, &["--json"]).1).unwrap();
    assert_eq!(document["websocket"]["port"], 443);
    assert_eq!(document["parents"][1]["address"], "wss://central.example.org:443/");
    folder.write("key.pem", "not a key");
    let (status, shown, _) = check(&folder, &[]);
    assert_eq!(status, Some(1), "{shown}");
    assert!(shown.contains("key.pem: ") && shown.lines().count() == 1 + WARNING.lines().count(), "{shown}");
}

/// Makes a self-signed certificate cert.pem and its key key.pem.
fn make_certificate(folder: &Folder) {
    let mut command = std::process::Command::new("openssl");
    command.args("req -x509 -newkey rsa:2048 -nodes -days 3 -subj /CN=central.example.org".split(' '));
    command.arg("-keyout").arg(folder.path("key.pem")).arg("-out").arg(folder.path("cert.pem"));
    let output = command.output().expect("openssl is missing: run tests/run, which installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_missing_folder_of_the_database_is_made_by_a_start_and_one_that_cannot_be_made_is_a_problem() {
    let folder = central();
    let database = |place: &str| {
        let path = folder.path(place);
        format!("gorgone: {{gorgonecore: {{gorgone_db_name: 'dbname={}'}}}}\n", path.display())
    };
    folder.write("config.d/50-place.yaml", database("new/deeper/history.sdb"));
    let (status, shown, _) = check(&folder, &[]);
    assert_eq!(status, Some(0), "{shown}");
    folder.write("file", "x");
    folder.write("config.d/50-place.yaml", database("file/history.sdb"));
    let (status, shown, _) = check(&folder, &[]);
    assert_eq!(status, Some(1));
    assert!(shown.contains("file/history.sdb: "), "{shown}");
}

#[test]
fn a_port_that_another_program_listens_on_is_a_problem() {
    let folder = central();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let more = format!("gorgone: {{gorgonecore: {{external_com_path: '127.0.0.1:{port}'}}}}\n");
    folder.write("config.d/50-port.yaml", more);
    let (status, shown, _) = check(&folder, &[]);
    assert_eq!(status, Some(1), "{shown}");
    let text =
        format!("gorgonecore.external_com_path: cannot listen on tcp://127.0.0.1:{port}: the port is in use by 'cli-");
    assert!(shown.contains(&text), "{shown}");
}
