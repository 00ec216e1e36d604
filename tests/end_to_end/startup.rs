//! Configuration, keys and everything that can keep a daemon from starting.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::platform::keys::{self, PRIVATE_FILE, PUBLIC_FILE};
use crate::platform::{Daemon, Plan, Platform, STHENO, assert_within, seconds};

fn stheno(arguments: &[&str]) -> Output {
    Command::new(STHENO).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn check(file: &Path) -> (bool, String) {
    let output = stheno(&["check", "--config", file.to_str().unwrap()]);
    (output.status.success(), said(&output))
}

#[test]
fn check_tells_what_a_start_would_do() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1).with_api().with_node(7, 5556);
    plan.write();
    let (fine, text) = check(&plan.config_file());
    assert!(fine, "{text}");
    for words in ["central", &plan.port.to_string(), &plan.api_port.unwrap().to_string(), "action", "7"] {
        assert!(text.contains(words), "'{words}' in the summary:\n{text}");
    }
    assert!(!plan.database.exists(), "a check starts nothing");
}

#[test]
fn check_shows_every_problem_with_its_file_and_key() {
    let platform = Platform::new();
    let plan = platform
        .plan("central", 1)
        .with_api()
        .with_api_option("allowed_hosts: {enabled: true, subnets: [not-a-subnet]}")
        .with_core("fingerprint_mode: sometimes")
        .with_core("external_com_rotation: soon")
        .with_proxy("ping: often");
    plan.write();
    let (fine, text) = check(&plan.config_file());
    assert!(!fine, "{text}");
    let keys = ["fingerprint_mode", "external_com_rotation", "ping", "subnets"];
    for key in keys {
        assert!(
            text.lines().any(|line| line.contains("central.yaml") && line.contains(key)),
            "no line on {key}:\n{text}"
        );
    }
    for value in ["sometimes", "soon", "often", "not-a-subnet"] {
        assert!(text.contains(value), "the value '{value}':\n{text}");
    }
    let (status, start_said) = Daemon::refused(plan);
    assert!(!status.success());
    assert!(keys.iter().all(|key| start_said.contains(key)), "a start says the same:\n{start_said}");
}

#[test]
fn the_layout_of_the_packages_is_read_with_its_includes() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1).with_api();
    plan.write();
    // The same settings, split over several files as the packages do.
    let text = fs::read_to_string(plan.config_file()).unwrap();
    let (core, modules) = text.split_once("    modules:\n").unwrap();
    let core = core.split_once("configuration:\n").unwrap().1;
    let indent_less =
        |text: &str| -> String { text.lines().map(|line| format!("{}\n", line.get(2..).unwrap_or(""))).collect() };
    fs::create_dir(platform.path("config.d")).unwrap();
    platform.write(
        "config.d/40-gorgoned.yaml",
        indent_less(core) + "  modules: !include modules.d/*.yaml, more.d/*.yaml\n",
    );
    platform
        .write("config.d/30-centreon.yaml", "centreon:\n  database:\n    db_configuration: {dsn: \"mysql:host=h\"}\n");
    fs::create_dir(platform.path("config.d/modules.d")).unwrap();
    fs::create_dir(platform.path("config.d/more.d")).unwrap();
    let entries = indent_less(&indent_less(&indent_less(modules)));
    let (first, second) = entries.split_once("- name: register").unwrap();
    platform.write("config.d/modules.d/10-first.yaml", first);
    platform.write("config.d/modules.d/20-same-again.yaml", first);
    platform.write("config.d/modules.d/30-a-register-file.yaml", "nodes: []\n");
    platform.write("config.d/more.d/second.yaml", format!("- name: register{second}"));
    platform.write(
        "config.d/more.d/unknown.yaml",
        "- name: future\n  package: gorgone::modules::centreon::future::hooks\n  enable: true\n",
    );
    let top = format!(
        "name: central\ndescription: top\nconfiguration: !include {}/*.yaml\n",
        platform.path("config.d").display()
    );
    fs::write(plan.config_file(), top).unwrap();
    let (fine, text) = check(&plan.config_file());
    assert!(fine, "{text}");
    assert!(text.contains("gorgone::modules::centreon::future::hooks"), "an unknown module is named:\n{text}");
    assert!(text.contains(&plan.api_port.unwrap().to_string()), "{text}");
}

#[test]
fn broken_yaml_is_refused_with_the_name_of_its_file() {
    let platform = Platform::new();
    platform.write("a.yaml", "configuration: !include b.yaml\n");
    platform.write("b.yaml", "gorgone: !include a.yaml\n");
    for (name, text) in [
        ("tabs.yaml", "configuration:\n\tgorgone:\n"),
        ("cycle.yaml", "configuration: !include cycle.yaml\n"),
        ("wider-cycle.yaml", "configuration: !include a.yaml\n"),
        ("missing.yaml", "configuration: !include nothing-here.yaml\n"),
        ("empty.yaml", ""),
        ("list.yaml", "- 1\n- 2\n"),
        ("binary.yaml", "\0\u{1}\u{2}: [\n"),
        (
            "bomb.yaml",
            "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n",
        ),
        ("deep.yaml", &"[".repeat(20_000)),
    ] {
        let file = platform.write(name, text);
        let (fine, text) = check(&file);
        assert!(!fine, "{name}: {text}");
        assert!(text.contains(".yaml"), "{name}: {text}");
        assert!(!text.contains("panicked") && !text.contains("overflow"), "{name}: {text}");
    }
    let (fine, text) = check(Path::new("/nonexistent/central.yaml"));
    assert!(!fine && text.contains("/nonexistent/central.yaml"), "{text}");
}

#[test]
fn a_busy_port_is_named_and_nothing_starts_half() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1).with_api();
    let taken = TcpListener::bind(("127.0.0.1", plan.api_port.unwrap())).unwrap();
    let (status, said) = Daemon::refused(plan.clone());
    assert!(!status.success() && said.contains(&plan.api_port.unwrap().to_string()), "{said}");
    drop(taken);
    let _taken = TcpListener::bind(("127.0.0.1", plan.port)).unwrap();
    let (status, said) = Daemon::refused(plan.clone());
    assert!(!status.success() && said.contains(&plan.port.to_string()), "{said}");
}

#[test]
fn a_key_pair_is_made_on_the_first_start_and_kept() {
    let platform = Platform::new();
    let mut plan = platform.plan("central", 1).with_api();
    plan.keys = platform.path("keys");
    fs::create_dir(&plan.keys).unwrap();
    let mut central = Daemon::start(plan);
    let thumbprint = |daemon: &Daemon| daemon.api().get("/api/internal/thumbprint").json().to_string();
    let first = thumbprint(&central);
    let mode = |name: &str| fs::metadata(central.plan.keys.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(PRIVATE_FILE), mode(PUBLIC_FILE)), (0o600, 0o640));
    let private = fs::read_to_string(central.plan.keys.join(PRIVATE_FILE)).unwrap();
    let public = fs::read_to_string(central.plan.keys.join(PUBLIC_FILE)).unwrap();
    assert!(private.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "PKCS#1");
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----"), "SPKI");
    central.kill();
    central.start_again();
    assert_eq!(thumbprint(&central), first);
}

/// A change of the keys of a plan.
type Spoil = fn(&Plan);

/// A plan with a copy of the central's keys, which the test damages.
fn with_own_keys(platform: &Platform, name: &str) -> Plan {
    let mut plan = platform.plan("central", 1);
    plan.keys = platform.path(name);
    fs::create_dir(&plan.keys).unwrap();
    for file in [PRIVATE_FILE, PUBLIC_FILE] {
        fs::copy(keys::folder("central").join(file), plan.keys.join(file)).unwrap();
    }
    fs::set_permissions(plan.keys.join(PRIVATE_FILE), fs::Permissions::from_mode(0o600)).unwrap();
    plan
}

#[test]
fn keys_that_cannot_be_trusted_are_refused_with_a_reason() {
    let platform = Platform::new();
    let spoilt: [(&str, Spoil); 4] = [
        ("open to all", |plan| {
            fs::set_permissions(plan.keys.join(PRIVATE_FILE), fs::Permissions::from_mode(0o666)).unwrap();
        }),
        ("of two pairs", |plan| {
            fs::copy(keys::folder("stranger").join(PUBLIC_FILE), plan.keys.join(PUBLIC_FILE)).unwrap();
        }),
        ("no key", |plan| fs::write(plan.keys.join(PRIVATE_FILE), "no key").unwrap()),
        ("half a pair", |plan| fs::remove_file(plan.keys.join(PRIVATE_FILE)).unwrap()),
    ];
    for (name, spoil) in spoilt {
        let plan = with_own_keys(&platform, name);
        spoil(&plan);
        let (status, said) = Daemon::refused(plan.clone());
        assert!(!status.success(), "{name}: {said}");
        assert!(said.contains(plan.keys.to_str().unwrap()), "{name}: the message names the file: {said}");
    }
    // The script of the original leaves this state: it is used, with a warning.
    let readable = with_own_keys(&platform, "readable");
    fs::set_permissions(readable.keys.join(PRIVATE_FILE), fs::Permissions::from_mode(0o644)).unwrap();
    let mut readable = Daemon::start(readable);
    readable.wait_for_log("others can read this private key (mode 0644); chmod 600 ", seconds(10));
    readable.stop();
}

#[test]
fn keys_generate_and_thumbprint_work_by_hand() {
    let platform = Platform::new();
    let folder = keys::folder("client");
    for file in [PRIVATE_FILE, PUBLIC_FILE] {
        let output = stheno(&["keys", "thumbprint", folder.join(file).to_str().unwrap()]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains(&keys::thumbprint("client")), "{file}: {}", said(&output));
    }
    let folder = platform.path("new");
    fs::create_dir(&folder).unwrap();
    assert!(stheno(&["keys", "generate", folder.to_str().unwrap()]).status.success());
    let before = fs::read(folder.join(PRIVATE_FILE)).unwrap();
    let again = stheno(&["keys", "generate", folder.to_str().unwrap()]);
    assert!(!again.status.success(), "an existing key is never overwritten: {}", said(&again));
    assert_eq!(fs::read(folder.join(PRIVATE_FILE)).unwrap(), before);
    for arguments in [&["keys", "thumbprint", "/nonexistent"][..], &["no-such-command"], &["run"], &["check"]] {
        let output = stheno(arguments);
        assert!(!output.status.success() && !said(&output).is_empty(), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn the_demo_goes_round_once() {
    let start = std::time::Instant::now();
    let output = stheno(&["demo", "--once"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("commands processing has finished successfully"), "{text}");
    assert!(!text.contains("curl"), "what cannot be tried any more is not offered:\n{text}");
    assert_within(start.elapsed(), seconds(30));
}

#[test]
fn the_demo_of_a_whole_central_shows_each_order_with_its_rows_or_says_what_is_missing() {
    let is_installed = ["mariadbd", "mariadb-install-db", "mariadb"]
        .iter()
        .all(|name| ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(name).exists()));
    let output = stheno(&["demo", "--central", "--once"]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, progress) = (text(&output.stdout), text(&output.stderr));
    if !is_installed {
        assert!(
            progress.contains("--central needs MariaDB, which is not installed (Debian: apt-get install"),
            "{progress}"
        );
        return;
    }
    assert!(output.status.success(), "{said}\n{progress}");
    for (order, end) in [
        ("SENDCFGFILE:2", "process copy finished successfully"),
        ("RELOAD:2", "this would run: systemctl reload centengine"),
        ("ACKNOWLEDGE_HOST_PROBLEM", "commands processing has finished"),
        ("SCHEDULE_HOST_DOWNTIME", "commands processing has finished"),
        ("RELOAD:3", "commands processing has finished successfully"),
    ] {
        let rows = said.split_once(order).unwrap_or_else(|| panic!("{order}\n{said}")).1;
        assert!(rows.split("\n\n").next().unwrap().contains(end), "{order}\n{said}");
    }
    let pipes = said.split("What came out of the engines' pipes").nth(1).unwrap();
    assert_eq!(pipes.trim().lines().count(), 2, "{said}");
}
