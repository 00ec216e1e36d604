//! The configurations, folders and scripts of a complete central.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::files::{DaemonFiles, Kind, core, free_ports, module, own, put, yaml_path};
use super::mariadb::Database;
use super::run;

/// The tables and columns of Centreon that the daemon reads.
const TABLES: &str = "
CREATE DATABASE centreon CHARACTER SET utf8mb4;
USE centreon;
CREATE TABLE nagios_server (id INT PRIMARY KEY, name VARCHAR(40), localhost ENUM('0','1') DEFAULT '0',
  ns_ip_address VARCHAR(255), ns_activate ENUM('1','0') DEFAULT '1', gorgone_communication_type ENUM('1','2','3','4'),
  gorgone_port INT, remote_id INT, remote_server_use_as_proxy ENUM('0','1') DEFAULT '1',
  engine_start_command VARCHAR(255) DEFAULT 'systemctl start centengine',
  engine_stop_command VARCHAR(255) DEFAULT 'systemctl stop centengine',
  engine_restart_command VARCHAR(255) DEFAULT 'systemctl restart centengine',
  engine_reload_command VARCHAR(255) DEFAULT 'systemctl reload centengine',
  broker_reload_command VARCHAR(255) DEFAULT 'systemctl reload cbd', centreonbroker_cfg_path VARCHAR(255),
  snmp_trapd_path_conf VARCHAR(255), init_script_centreontrapd VARCHAR(255) DEFAULT 'centreontrapd');
CREATE TABLE cfg_nagios (nagios_id INT AUTO_INCREMENT PRIMARY KEY, nagios_server_id INT, cfg_dir VARCHAR(255),
  command_file VARCHAR(255), nagios_activate ENUM('0','1') DEFAULT '1');
CREATE TABLE rs_poller_relation (remote_server_id INT, poller_server_id INT);
CREATE TABLE options (`key` VARCHAR(255), `value` VARCHAR(255));
";

/// The script that replaces `sudo`: it prints what would be done.
const SUDO: &str = "#!/bin/sh\necho \"this would run: $*\"\n";

/// A central, two pollers, and their files.
pub(in crate::cli::demo) struct Platform {
    folder: PathBuf,
    daemons: Vec<DaemonFiles>,
    /// TCP port of the central's REST API.
    pub(super) api_port: u16,
    central_port: u16,
    push_port: u16,
}

/// Creates keys with `program`, and all files.
///
/// # Errors
/// Says what failed.
pub(super) fn write(program: &Path, folder: &Path, database: &Database) -> Result<Platform, String> {
    let mut ports = free_ports(3)?.into_iter();
    let mut port = || ports.next().unwrap_or_default();
    let (api_port, central_port, push_port) = (port(), port(), port());
    let daemon = |id: u64, name: &str, kind: Kind| DaemonFiles {
        id,
        name: name.to_owned(),
        kind,
        place: String::new(),
        config: folder.join(format!("{name}.yaml")),
        log: folder.join(format!("{name}.log")),
    };
    let daemons =
        vec![daemon(1, "central", Kind::Central), daemon(2, "poller-2", Kind::Push), daemon(3, "poller-3", Kind::Pull)];
    let platform = Platform { folder: folder.to_owned(), daemons, api_port, central_port, push_port };
    platform.write_folders()?;
    let mut thumbprints = Vec::new();
    for daemon in &platform.daemons {
        let keys = folder.join("keys").join(&daemon.name);
        make_dir(&keys)?;
        own(program, &["keys", "generate"], &keys)?;
        let said = own(program, &["keys", "thumbprint"], &keys.join("rsakey.pub.pem"))?;
        thumbprints.push(said.split_whitespace().last().unwrap_or_default().to_owned());
    }
    let thumbprint = |index: usize| thumbprints.get(index).cloned().unwrap_or_default();
    for daemon in &platform.daemons {
        let trusted = match daemon.kind {
            Kind::Central => format!("key: {}, node: 3", thumbprint(2)),
            _ => format!("key: {}, name: central, may: central", thumbprint(0)),
        };
        put(&daemon.config, &platform.config(daemon, &trusted, database))?;
    }
    Ok(platform)
}

fn make_dir(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("{} cannot be made: {error}", path.display()))
}

impl Platform {
    /// Returns the daemons, the central first.
    pub(super) fn daemons(&self) -> &[DaemonFiles] {
        &self.daemons
    }

    pub(super) fn pollers(&self) -> impl Iterator<Item = &DaemonFiles> {
        self.daemons.iter().filter(|daemon| daemon.kind != Kind::Central)
    }

    /// Returns the directory in which the web interface writes command files.
    pub(super) fn cmd_dir(&self) -> PathBuf {
        self.folder.join("centcore")
    }

    pub(super) fn central_log(&self) -> PathBuf {
        self.folder.join("central.log")
    }

    fn of_poller(&self, poller: &DaemonFiles, name: &str) -> PathBuf {
        self.folder.join(format!("{}-{name}", poller.name))
    }

    fn pipe(&self, poller: &DaemonFiles) -> PathBuf {
        self.of_poller(poller, "engine.cmd")
    }

    /// Creates the folders, the exported files of the web interface, the pipes, and the script for `sudo`.
    fn write_folders(&self) -> Result<(), String> {
        make_dir(&self.cmd_dir())?;
        make_dir(&self.folder.join("bin"))?;
        let sudo = self.folder.join("bin/sudo");
        put(&sudo, SUDO)?;
        fs::set_permissions(&sudo, fs::Permissions::from_mode(0o700)).map_err(|error| error.to_string())?;
        for poller in self.pollers() {
            for (what, name) in [("engine", "centengine.cfg"), ("broker", "broker.json")] {
                let exported = self.folder.join(format!("cache/config/{what}/{}", poller.id));
                make_dir(&exported)?;
                put(&exported.join(name), &format!("# of {}\n", poller.name))?;
                make_dir(&self.of_poller(poller, what))?;
            }
            let mut command = Command::new("mkfifo");
            command.arg(self.pipe(poller));
            run(command, "mkfifo")?;
        }
        Ok(())
    }

    /// Returns the SQL statements that create the tables with their rows.
    pub(super) fn tables(&self) -> String {
        let text =
            |path: PathBuf| format!("'{}'", path.display().to_string().replace('\\', "\\\\").replace('\'', "''"));
        let mut sql = TABLES.to_owned();
        sql.push_str("INSERT INTO nagios_server (id, name, localhost) VALUES (1, 'central', '1');\n");
        for poller in self.pollers() {
            let (id, name) = (poller.id, &poller.name);
            let (kind, port) = if poller.kind == Kind::Push { (1, self.push_port) } else { (3, 0) };
            let broker = text(self.of_poller(poller, "broker"));
            sql.push_str(&format!(
                "INSERT INTO nagios_server (id, name, ns_ip_address, gorgone_communication_type, gorgone_port, \
                 centreonbroker_cfg_path) VALUES ({id}, '{name}', '127.0.0.1', '{kind}', {port}, {broker});\n\
                 INSERT INTO cfg_nagios (nagios_server_id, cfg_dir, command_file) VALUES ({id}, {}, {});\n",
                text(self.of_poller(poller, "engine")),
                text(self.pipe(poller))
            ));
        }
        sql
    }

    /// Returns the command that replaces an engine: it reads its pipe and records the lines.
    pub(super) fn engine(&self, poller: &DaemonFiles) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "exec cat <>\"$0\" >>\"$1\""]);
        command.arg(self.pipe(poller)).arg(self.engine_log(poller));
        command
    }

    fn engine_log(&self, poller: &DaemonFiles) -> PathBuf {
        self.folder.join(format!("engine-{}.log", poller.id))
    }

    /// Returns the lines read from a poller's pipe.
    pub(super) fn engine_lines(&self, poller: &DaemonFiles) -> Vec<String> {
        let text = fs::read_to_string(self.engine_log(poller)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Writes a command file, as the web interface does.
    ///
    /// # Errors
    /// Says what failed.
    pub(super) fn order(&self, number: usize, line: &str) -> Result<(), String> {
        put(&self.cmd_dir().join(format!("{number}.cmd")), &format!("{line}\n"))
    }

    fn config(&self, daemon: &DaemonFiles, trusted: &str, database: &Database) -> String {
        let port = match daemon.kind {
            Kind::Central => Some(self.central_port),
            Kind::Push => Some(self.push_port),
            Kind::Pull | Kind::PullWss => None,
        };
        let mut text = core(&self.folder, daemon, "stheno demo --central", port, trusted);
        let path = format!("PATH={}:/usr/bin:/bin", self.folder.join("bin").display()).replace('\'', "''");
        text.push_str(&format!(
            "{}        copy_roots: [{}]\n        environment: ['{path}']\n{}",
            module("action"),
            yaml_path(&self.folder),
            module("engine")
        ));
        match daemon.kind {
            Kind::Central => text.push_str(&self.central_modules(database)),
            Kind::Pull => text.push_str(&format!(
                "{}        target_type: tcp\n        target_path: 127.0.0.1:{}\n",
                module("pull"),
                self.central_port
            )),
            Kind::Push | Kind::PullWss => {}
        }
        text
    }

    fn central_modules(&self, database: &Database) -> String {
        let socket = database.socket().display().to_string().replace('\'', "''");
        format!(
            "{}        ping: 5\n{}        address: 127.0.0.1\n        port: {}\n{}{}        cmd_file: {}\n        \
             cmd_dir: {}\n        cache_dir: {}\n  centreon:\n    database:\n      db_configuration:\n        \
             dsn: 'mysql:mysql_socket={socket};dbname=centreon'\n        username: root\n        password: ''\n",
            module("proxy"),
            module("httpserver"),
            self.api_port,
            module("nodes"),
            module("legacycmd"),
            yaml_path(&self.folder.join("centcore.cmd")),
            yaml_path(&self.cmd_dir()),
            yaml_path(&self.folder.join("cache")),
        )
    }
}
