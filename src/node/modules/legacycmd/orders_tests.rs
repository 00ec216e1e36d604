//! Every order of the table of docs/protocol.md section 16.

use super::*;
use crate::config::web_api::WebAccount;
use crate::model::legacy::CommandTables;
use crate::model::secret::Secret;
use crate::node::testing::database;

pub(in crate::node::modules::legacycmd) fn settings() -> LegacySettings {
    LegacySettings {
        cmd_file: "/var/lib/centreon/centcore.cmd".into(),
        cmd_dir: "/var/lib/centreon/centcore/".into(),
        cache_dir: "/var/cache/centreon/".to_owned(),
        cache_dir_trap: "/etc/snmp/centreon_traps/".to_owned(),
        remote_dir: "/var/cache/centreon/config/remote-data/".to_owned(),
        centreon_dir: "/usr/share/centreon".to_owned(),
        bulk: 50,
        is_sequential: true,
        account_name: "clapi".to_owned(),
        account: Some(WebAccount {
            name: "clapi".to_owned(),
            url: None,
            username: "gorgone".to_owned(),
            password: Secret::new("a$b\"c"),
        }),
        database: database(),
    }
}

pub(in crate::node::modules::legacycmd) fn pollers() -> Pollers {
    let text = |text: &str| Some(text.to_owned());
    let poller = |id: &str| PollerCommands {
        id: id.to_owned(),
        uid: text(&format!("9007199254740993{id}")),
        has_engine: true,
        command_file: text("/rw/engine.cmd"),
        cfg_dir: text("/etc/centreon-engine"),
        broker_dir: text("/etc/centreon-broker/"),
        trap_dir: text("/etc/traps"),
        engine_start: text("service centengine start"),
        engine_stop: text("service centengine stop"),
        engine_restart: text("service centengine restart"),
        engine_reload: text("service centengine reload"),
        broker_reload: text("service cbd reload"),
        trap_service: text("centreontrapd"),
    };
    let bare = PollerCommands { id: "3".to_owned(), ..PollerCommands::default() };
    Pollers::new(CommandTables { pollers: vec![poller("1"), poller("2"), bare], illegal_characters: None })
}

fn line(order: &str, target: &str, param: &str) -> Line {
    Line { order: order.to_owned(), target: target.to_owned(), param: param.as_bytes().to_vec() }
}

fn of(order: &str, param: &str) -> Vec<(String, String, Value, bool)> {
    let settings = settings();
    let worker = Worker { settings: &settings, allows: &|_| true, timeout: 30 };
    let messages = messages(&line(order, "2", param), &pollers(), worker);
    let messages = messages.unwrap_or_else(|refusal| panic!("{order}: {refusal:?}"));
    let part = |message: Message| {
        let mut content = message.content;
        let meta = match &mut content {
            Value::Array(items) => items[0].as_object_mut().unwrap().remove("metadata"),
            Value::Object(members) => members.remove("metadata"),
            _ => None,
        };
        assert_eq!(meta.unwrap()["centcore_cmd"], order);
        (message.action.as_str().to_owned(), message.target, content, message.counts)
    };
    messages.into_iter().map(part).collect()
}

fn command(text: &str) -> (String, String, Value, bool) {
    ("COMMAND".to_owned(), "2".to_owned(), json!([{ "command": text }]), true)
}

fn engine(text: &str, counts: bool) -> (String, String, Value, bool) {
    let content = match counts {
        true => json!({ "command": text, "plugins": "/etc/centreon-engine/plugins.json" }),
        false => json!({ "command": text }),
    };
    ("ACTIONENGINE".to_owned(), "2".to_owned(), content, counts)
}

fn copy(source: &str, destination: &str, owner: &str, group: &str, counts: bool) -> (String, String, Value, bool) {
    let content = json!({
        "source": source, "destination": destination, "cache_dir": "/var/cache/centreon", "owner": owner,
        "group": group,
    });
    ("REMOTECOPY".to_owned(), "2".to_owned(), content, counts)
}

#[test]
fn orders_for_the_engine_restart_the_vmware_daemon_first_which_does_not_count() {
    let vmware = || engine(VMWARE_RESTART, false);
    assert_eq!(of("RELOAD", ""), [vmware(), command("sudo service centengine reload")]);
    assert_eq!(of("RESTART", ""), [vmware(), command("sudo service centengine restart")]);
    assert_eq!(of("ENGINERELOAD", ""), [vmware(), engine("sudo service centengine reload", true)]);
    assert_eq!(of("ENGINERESTART", ""), [vmware(), engine("sudo service centengine restart", true)]);
}

#[test]
fn other_orders_are_commands() {
    for (order, expected) in [
        ("START", "sudo service centengine start"),
        ("STOP", "sudo service centengine stop"),
        ("RELOADBROKER", "sudo service cbd reload"),
        ("RESTARTCENTREONTRAPD", "sudo service centreontrapd restart"),
        ("RELOADCENTREONTRAPD", "sudo service centreontrapd reload"),
    ] {
        assert_eq!(of(order, ""), [command(expected)]);
    }
}

#[test]
fn exports_are_copies() {
    let config = "/var/cache/centreon/config";
    assert_eq!(
        of("SENDCFGFILE", ""),
        [
            copy(
                &format!("{config}/vmware/2/centreon_vmware.json"),
                VMWARE_FILE,
                "centreon-gorgone",
                "centreon",
                false
            ),
            copy(&format!("{config}/engine/2"), "/etc/centreon-engine/", "centreon-engine", "centreon-engine", true),
            copy(&format!("{config}/broker/2"), "/etc/centreon-broker/", "centreon-broker", "centreon-broker", true),
        ]
    );
    let mut traps = copy("/etc/snmp/centreon_traps/2/centreontrapd.sdb", "/etc/traps/", "centreon", "centreon", true);
    traps.2["mode"] = json!("0664");
    assert_eq!(of("SYNCTRAP", ""), [traps]);
    let remote = "/var/cache/centreon/config/remote-data/";
    let task = json!({ "parent_id": 7, "cbd_reload": "sudo service cbd reload" });
    assert_eq!(
        of("SENDEXPORTFILE", "7"),
        [
            copy(&format!("{config}/export/2"), remote, "centreon", "centreon", true),
            ("ADDIMPORTTASKWITHPARENT".to_owned(), "2".to_owned(), task, true),
        ]
    );
}

#[test]
fn the_worker_command_has_the_newest_arguments_that_the_allow_list_lets_pass() {
    let settings = settings();
    let plain =
        "/usr/share/centreon/bin/centreon -u \"gorgone\" -p \"a\\$b\\\"c\" -w -o CentreonWorker -a processQueue";
    for (most, param, expected) in [
        ("--taskId 7", "7", " --commandTimeout 30 --taskId 7"),
        ("--commandTimeout 30", "7", " --commandTimeout 30"),
        ("--commandTimeout 30", "", " --commandTimeout 30"),
        ("processQueue", "7", ""),
        ("nothing", "7", ""),
    ] {
        let worker = Worker { settings: &settings, allows: &|line| line.ends_with(most), timeout: 30 };
        let messages = messages(&line("STARTWORKER", "", param), &pollers(), worker).unwrap();
        let [message] = messages.as_slice() else { panic!("{}", messages.len()) };
        assert_eq!((message.action.as_str(), message.target.as_str()), ("COMMAND", ""));
        assert_eq!(message.content[0]["command"], format!("{plain}{expected}"));
    }
}

#[test]
fn what_cannot_be_carried_out_says_why() {
    let bare = LegacySettings { account: None, ..settings() };
    let worker = Worker { settings: &bare, allows: &|_| true, timeout: 30 };
    let refused =
        |order: &str, target: &str, param: &str| match messages(&line(order, target, param), &pollers(), worker) {
            Err(Refusal::Wrong(text)) => text,
            Err(Refusal::Unknown) => "unknown".to_owned(),
            Ok(messages) => panic!("{order}: {} messages", messages.len()),
        };
    for (order, target, param, said) in [
        ("SENDCBCFG", "2", "", "unknown"),
        ("reload", "2", "", "unknown"),
        ("STARTWORKER", "1", "", "'tpapi' has no entry 'clapi'"),
        ("RELOAD", "", "", "the target is missing"),
        ("RELOAD", "1;2", "", "not the id of a poller"),
        ("RELOAD", "../1", "", "not the id of a poller"),
        ("RELOAD", "9", "", "the database has no poller"),
        ("RELOAD", "3", "", "no 'engine_reload_command' of poller 3 (nagios_server)"),
        ("SENDCFGFILE", "3", "", "poller 3 has no active engine configuration in the database (cfg_nagios)"),
        ("SENDEXPORTFILE", "2", "x", "expected the number of a task"),
    ] {
        let text = refused(order, target, param);
        assert!(text.contains(said), "{order} {target}: {text}");
    }
    assert_eq!(advice("reload"), "; did you mean 'RELOAD'? Case matters");
    assert_eq!(advice("SENDCBCFG"), "");
}

#[test]
fn a_poller_is_meant_by_its_uid_too() {
    let settings = settings();
    let worker = Worker { settings: &settings, allows: &|_| true, timeout: 30 };
    let found = messages(&line("STOP", "90071992547409932", ""), &pollers(), worker).unwrap();
    assert_eq!(found[0].target, "2");
}
