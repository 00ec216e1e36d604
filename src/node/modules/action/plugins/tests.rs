use crate::model::command::OutputCut;
use serde_json::json;

use crate::model::work::WorkOutcome;

use super::*;
use crate::node::input::Input;
use crate::node::testing::{Bench, options};

fn bench(is_paranoid: bool) -> Bench {
    let mut options = options(Vec::new());
    options.modules.action.as_mut().unwrap().paranoid_plugins = is_paranoid;
    Bench::new(options)
}

fn ask(bench: &mut Bench, plugins: &Value, manager: PackageManager) -> Vec<String> {
    let content = json!([{ "command": "a", "metadata": { "pkg_install": plugins } }, { "command": "b" }]);
    let outputs = bench.request("COMMAND", "t", "", &json!({ "content": content }).to_string());
    assert!(outputs.contains(&"work 0 plugins None".to_owned()), "{outputs:?}");
    bench.work_done(0, WorkOutcome::PluginsRead(PluginsRead { manager: Some(manager), content: Ok(String::new()) }))
}

const NAME: &str = "centreon-plugin-Network-A";

#[test]
fn what_is_installed_lets_the_command_run() {
    let mut bench = bench(true);
    let outputs = ask(&mut bench, &json!({ NAME: "20230101" }), PackageManager::Deb);
    assert_eq!(outputs, [r#"run 0 for 60s: words: ["dpkg", "-l", "centreon-plugin-*"]"#]);
    let list = "ii  centreon-plugin-network-a  20230415-101112-bookworm  all  text\n";
    assert_eq!(bench.command_exits(0, 0, list), ["run 1 for 30s: sh: a"]);
    assert!(bench.command_exits(1, 0, "").iter().any(|line| line == "run 2 for 30s: sh: b"));
}

#[test]
fn what_is_missing_is_installed_and_asked_for_again() {
    let mut bench = bench(true);
    let outputs = ask(&mut bench, &json!({ NAME: 20_230_101, "centreon-plugin-B": 2 }), PackageManager::Rpm);
    assert_eq!(outputs, [r#"run 0 for 60s: words: ["rpm", "-q", "centreon-plugin-B", "centreon-plugin-Network-A"]"#]);
    let some = "package centreon-plugin-B is not installed\ncentreon-plugin-Network-A-20220101-1.el9.noarch\n";
    assert_eq!(
        bench.command_exits(0, 1, some),
        [
            r#"run 1 for 300s: words: ["sudo", "/usr/local/bin/gorgone_install_plugins.pl", "--type=rpm", "centreon-plugin-B-2", "centreon-plugin-Network-A-20230101"]"#
        ]
    );
    assert!(bench.command_exits(1, 0, "")[0].starts_with("run 2 for 60s: words: [\"rpm\""));
    let all = "centreon-plugin-B-2-1.el9.noarch\ncentreon-plugin-Network-A-20230101-1.el9.noarch\n";
    assert_eq!(bench.command_exits(2, 0, all), ["run 3 for 30s: sh: a"]);
}

#[test]
fn what_stays_missing_keeps_a_paranoid_daemon_from_running_the_command() {
    let mut bench = bench(true);
    ask(&mut bench, &json!({ NAME: 5 }), PackageManager::Deb);
    bench.command_exits(0, 0, "");
    bench.command_exits(1, 0, "");
    let outputs = bench.command_exits(2, 0, "rc  centreon-plugin-network-a  9-1  all\n");
    let still = "validate plugins - still some to install: centreon-plugin-network-a=5";
    let row = json!({ "exit_code": 1, "stdout": still }).to_string();
    assert!(
        outputs[0]
            .starts_with(r#"row t 1 {"message":"command execution issue","command":"a","metadata":{"pkg_install""#)
    );
    assert!(outputs[0].ends_with(&format!("\"result\":{row}}}")), "{outputs:?}");
    assert_eq!(outputs[2], "run 3 for 30s: sh: b");
    let outputs = bench.command_exits(3, 0, "");
    assert_eq!(outputs[1], r#"row t 1 {"message":"commands processing has finished with errors"}"#);
}

#[test]
fn what_stays_missing_is_only_logged_otherwise() {
    let mut bench = bench(false);
    ask(&mut bench, &json!({ NAME: 5 }), PackageManager::Deb);
    bench.command_exits(0, 0, "");
    let outputs = bench.command_ends(1, CommandEnd::NotStarted("no sudo".to_owned()), Vec::new(), OutputCut::default());
    assert_eq!(outputs, ["run 2 for 30s: sh: a"]);
}

#[test]
fn names_that_could_be_options_are_refused() {
    for name in ["--root=/", "a b", "", "a;b", "é"] {
        let mut bench = bench(true);
        let outputs = ask(&mut bench, &json!({ name: 1 }), PackageManager::Rpm);
        assert!(outputs[0].contains("is not a package name with a version number"), "{name}: {outputs:?}");
    }
    let mut bench = bench(true);
    assert!(ask(&mut bench, &json!({ NAME: "x" }), PackageManager::Rpm)[0].contains("is not a package name"));
}

#[test]
fn without_plugins_in_it_a_list_is_fine() {
    for plugins in [json!({}), json!([]), json!("x")] {
        assert_eq!(ask(&mut bench(true), &plugins, PackageManager::Deb), ["run 0 for 30s: sh: a"], "{plugins}");
    }
}

#[test]
fn kill_and_stop_end_a_request_that_waits_for_its_plugins() {
    let mut bench = bench(true);
    ask(&mut bench, &json!({ NAME: 5 }), PackageManager::Deb);
    assert_eq!(bench.request("KILL", "k", "", r#"{"content":{"name":"action"}}"#)[0], "kill 0");
    assert_eq!(bench.command_exits(0, 137, ""), [r#"row t 1 {"message":"the module 'action' was killed"}"#]);

    let mut bench = self::bench(true);
    ask(&mut bench, &json!({ NAME: 5 }), PackageManager::Deb);
    bench.give(Input::Stop);
    let stopping = r#"row t 1 {"message":"gorgone is stopping/restarting. Cannot proceed request."}"#;
    assert_eq!(bench.pass_seconds(3), ["kill 0", stopping, "stopped"]);
}
