//! Returns the messages of an order (the table of docs/protocol.md section 16). A pure function of the order, the row
//! of its poller, and the settings. Out of scope: EXTERNALCMD, which is gathered ([`super::gather`]), and the delivery
//! of messages.

use serde_json::{Value, json};

use crate::config::modules::legacycmd::LegacySettings;
use crate::model::action::Action;
use crate::model::legacy::PollerCommands;

use super::lines::{Line, Pollers, shown};

/// The order with a command for the engine.
pub(super) const EXTERNAL: &str = "EXTERNALCMD";
/// The path of the VMware daemon's configuration on a poller.
const VMWARE_FILE: &str = "/etc/centreon/centreon_vmware.json";
const VMWARE_RESTART: &str = "sudo systemctl restart centreon_vmware.service";

/// A message of an order.
#[derive(Clone, PartialEq)]
pub(super) struct Message {
    pub action: Action,
    /// The id of the node; empty for this daemon.
    pub target: String,
    /// The member `content` of the data.
    pub content: Value,
    /// Whether a failure of this message fails the order.
    pub counts: bool,
}

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such order.
    Unknown,
    /// The order is invalid for the reason in this sentence.
    Wrong(String),
}

/// The account and the arguments of the worker command.
#[derive(Clone, Copy)]
pub(super) struct Worker<'a> {
    pub settings: &'a LegacySettings,
    /// Returns whether this daemon's allow-list accepts a command line.
    pub allows: &'a dyn Fn(&str) -> bool,
    /// `command_timeout` of the module `action`, in seconds.
    pub timeout: u64,
}

/// The known orders, for suggestions.
const KNOWN: [&str; 14] = [
    EXTERNAL,
    "SENDCFGFILE",
    "SENDEXPORTFILE",
    "SYNCTRAP",
    "ENGINERESTART",
    "ENGINERELOAD",
    "RESTART",
    "RELOAD",
    "START",
    "STOP",
    "RELOADBROKER",
    "RESTARTCENTREONTRAPD",
    "RELOADCENTREONTRAPD",
    "STARTWORKER",
];

/// Returns a suggestion for an unknown order.
pub(super) fn advice(order: &str) -> String {
    let meant = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(order.trim()));
    meant.map(|known| format!("; did you mean '{known}'? Case matters")).unwrap_or_default()
}

/// Returns the messages of an order, in order.
///
/// # Errors
/// Returns why there are none.
pub(super) fn messages(line: &Line, pollers: &Pollers, worker: Worker<'_>) -> Result<Vec<Message>, Refusal> {
    let order = line.order.as_str();
    if !KNOWN.contains(&order) {
        return Err(Refusal::Unknown);
    }
    let param = pollers.cleaned(&line.param);
    let param = crate::model::text::from_bytes(&param);
    if order == "STARTWORKER" {
        let command = worker_command(worker, task_id(&param)).map_err(Refusal::Wrong)?;
        let content = json!([{ "command": command, "metadata": { "centcore_cmd": order } }]);
        return Ok(vec![Message { action: Action::Command, target: String::new(), content, counts: true }]);
    }
    let poller = pollers.find(&line.target).map_err(Refusal::Wrong)?;
    let maker = Maker { order, poller, settings: worker.settings };
    maker.messages(&param).map_err(Refusal::Wrong)
}

/// Returns the number of a task; `None` for anything else.
fn task_id(param: &str) -> Option<u64> {
    Some(param.trim()).filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// Returns the command line of the worker: the newest form that the allow-list accepts, or the oldest if it accepts
/// none, so that the refusal names that one.
///
/// # Errors
/// Returns an error if the account is not configured.
pub(super) fn worker_command(worker: Worker<'_>, task: Option<u64>) -> Result<String, String> {
    let Worker { settings, allows, timeout } = worker;
    let Some(account) = settings.account.as_ref() else {
        return Err(format!(
            "need centreon clapi password to execute STARTWORKER command: 'tpapi' has no entry '{}' with 'username' \
             and 'password'",
            settings.account_name
        ));
    };
    let plain = format!(
        "{}/bin/centreon -u \"{}\" -p \"{}\" -w -o CentreonWorker -a processQueue",
        settings.centreon_dir.trim_end_matches('/'),
        shell_quoted(&account.username),
        shell_quoted(account.password.reveal()),
    );
    let with_timeout = format!("{plain} --commandTimeout {timeout}");
    let with_task = task.map(|task| format!("{with_timeout} --taskId {task}"));
    Ok(with_task.into_iter().chain([with_timeout]).find(|line| allows(line)).unwrap_or(plain))
}

/// Escapes a text for double quotes of a shell.
pub(super) fn shell_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '$' | '"' | '`' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted
}

/// Makes the messages of one order for one poller.
struct Maker<'a> {
    order: &'a str,
    poller: &'a PollerCommands,
    settings: &'a LegacySettings,
}

impl Maker<'_> {
    fn messages(&self, param: &str) -> Result<Vec<Message>, String> {
        let poller = self.poller;
        let vmware =
            || self.optional(Action::ActionEngine, json!({ "command": VMWARE_RESTART, "metadata": self.meta() }));
        let restart = || self.given(poller.engine_restart.as_ref(), "engine_restart_command");
        let reload = || self.given(poller.engine_reload.as_ref(), "engine_reload_command");
        Ok(match self.order {
            "SENDCFGFILE" => self.configuration()?,
            "SENDEXPORTFILE" => self.export(param)?,
            "SYNCTRAP" => vec![self.traps()?],
            "ENGINERESTART" => vec![vmware(), self.engine(restart()?)],
            "ENGINERELOAD" => vec![vmware(), self.engine(reload()?)],
            "RESTART" => vec![vmware(), self.command(format!("sudo {}", restart()?))],
            "RELOAD" => vec![vmware(), self.command(format!("sudo {}", reload()?))],
            "START" => self.sudo(poller.engine_start.as_ref(), "engine_start_command")?,
            "STOP" => self.sudo(poller.engine_stop.as_ref(), "engine_stop_command")?,
            "RELOADBROKER" => self.sudo(poller.broker_reload.as_ref(), "broker_reload_command")?,
            "RESTARTCENTREONTRAPD" => vec![self.trap_service("restart")?],
            "RELOADCENTREONTRAPD" => vec![self.trap_service("reload")?],
            order => return Err(format!("'{}' is not an order", shown(order))),
        })
    }

    fn meta(&self) -> Value {
        json!({ "centcore_cmd": self.order, "centcore_proxy": 1 })
    }

    /// Returns a value of the database that the order requires.
    fn given<'v>(&self, value: Option<&'v String>, column: &str) -> Result<&'v str, String> {
        let given = value.map(|value| value.trim()).filter(|value| !value.is_empty());
        given.ok_or_else(|| {
            let (id, of_engine) = (&self.poller.id, matches!(column, "cfg_dir" | "command_file"));
            if of_engine && !self.poller.has_engine {
                format!("poller {id} has no active engine configuration in the database (cfg_nagios)")
            } else {
                let table = if of_engine { "cfg_nagios" } else { "nagios_server" };
                format!("the database has no '{column}' of poller {id} ({table}): set it in the web interface")
            }
        })
    }

    fn message(&self, action: Action, content: Value) -> Message {
        Message { action, target: self.poller.id.clone(), content, counts: true }
    }

    fn optional(&self, action: Action, content: Value) -> Message {
        Message { counts: false, ..self.message(action, content) }
    }

    fn command(&self, command: String) -> Message {
        self.message(Action::Command, json!([{ "command": command, "metadata": self.meta() }]))
    }

    fn sudo(&self, value: Option<&String>, column: &str) -> Result<Vec<Message>, String> {
        Ok(vec![self.command(format!("sudo {}", self.given(value, column)?))])
    }

    fn engine(&self, command: &str) -> Message {
        let mut content = json!({ "command": format!("sudo {command}"), "metadata": self.meta() });
        if let (Some(dir), Value::Object(members)) = (&self.poller.cfg_dir, &mut content) {
            members.insert("plugins".to_owned(), json!(format!("{}/plugins.json", dir.trim_end_matches('/'))));
        }
        self.message(Action::ActionEngine, content)
    }

    fn trap_service(&self, verb: &str) -> Result<Message, String> {
        let service = self.given(self.poller.trap_service.as_ref(), "init_script_centreontrapd")?;
        Ok(self.command(format!("sudo service {service} {verb}")))
    }

    /// Makes a copy without owner and group.
    fn copy(&self, source: String, destination: String, owner: &str, group: &str) -> Message {
        let content = json!({
            "source": source, "destination": destination, "cache_dir": self.cache_dir(), "owner": owner,
            "group": group, "metadata": self.meta(),
        });
        self.message(Action::RemoteCopy, content)
    }

    fn cache_dir(&self) -> &str {
        self.settings.cache_dir.trim_end_matches('/')
    }

    /// Returns a directory of the database as the destination of a copy.
    fn directory(&self, value: Option<&String>, column: &str) -> Result<String, String> {
        Ok(format!("{}/", self.given(value, column)?.trim_end_matches('/')))
    }

    fn configuration(&self) -> Result<Vec<Message>, String> {
        let (cache, id) = (self.cache_dir(), &self.poller.id);
        let engine = self.directory(self.poller.cfg_dir.as_ref(), "cfg_dir")?;
        let broker = self.directory(self.poller.broker_dir.as_ref(), "centreonbroker_cfg_path")?;
        let vmware = format!("{cache}/config/vmware/{id}/centreon_vmware.json");
        Ok(vec![
            Message { counts: false, ..self.copy(vmware, VMWARE_FILE.to_owned(), "centreon-gorgone", "centreon") },
            self.copy(format!("{cache}/config/engine/{id}"), engine, "centreon-engine", "centreon-engine"),
            self.copy(format!("{cache}/config/broker/{id}"), broker, "centreon-broker", "centreon-broker"),
        ])
    }

    fn export(&self, param: &str) -> Result<Vec<Message>, String> {
        let Some(parent) = task_id(param) else {
            return Err(format!("expected the number of a task after SENDEXPORTFILE:{}:", self.poller.id));
        };
        let reload = self.given(self.poller.broker_reload.as_ref(), "broker_reload_command")?;
        let source = format!("{}/config/export/{}", self.cache_dir(), self.poller.id);
        let content = json!({
            "parent_id": parent, "cbd_reload": format!("sudo {reload}"), "metadata": self.meta(),
        });
        Ok(vec![
            self.copy(source, self.settings.remote_dir.clone(), "centreon", "centreon"),
            self.message(Action::AddImportTaskWithParent, content),
        ])
    }

    fn traps(&self) -> Result<Message, String> {
        let destination = self.directory(self.poller.trap_dir.as_ref(), "snmp_trapd_path_conf")?;
        let dir = self.settings.cache_dir_trap.trim_end_matches('/');
        let source = format!("{dir}/{}/centreontrapd.sdb", self.poller.id);
        let mut message = self.copy(source, destination, "centreon", "centreon");
        if let Value::Object(members) = &mut message.content {
            members.insert("mode".to_owned(), json!("0664"));
        }
        Ok(message)
    }
}

#[cfg(test)]
#[path = "orders_tests.rs"]
pub(super) mod tests;
