//! The configuration of a daemon in a test, and its YAML.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::{free_port, keys};

/// The settings of one daemon. Options are lines of YAML such as `ping: 1`.
#[derive(Clone)]
pub struct Plan {
    /// Name of the daemon and of its files.
    pub name: String,
    /// Its id; 0 for none, so that SETCOREID sets it.
    pub id: u32,
    /// The directory of its files.
    pub folder: PathBuf,
    /// The folder of its key pair.
    pub keys: PathBuf,
    /// TCP port of its external socket on 127.0.0.1.
    pub port: u16,
    /// Overrides `external_com_type` and `external_com_path`.
    pub external: Option<(String, String)>,
    /// Port of its REST API; none without the module.
    pub api_port: Option<u16>,
    /// Further lines of `gorgonecore`.
    pub core: Vec<String>,
    /// Whether it has the module proxy.
    pub has_proxy: bool,
    /// Further lines of the proxy.
    pub proxy: Vec<String>,
    /// Whether it has the module action.
    pub has_action: bool,
    /// Further lines of the module action.
    pub action: Vec<String>,
    /// Further lines of the module httpserver.
    pub api: Vec<String>,
    /// Nodes of the register file: id, address and port.
    pub nodes: Vec<(u32, String, u16)>,
    /// Nodes of the register file that dial in: id and type.
    pub dial_in_nodes: Vec<(u32, String)>,
    /// Nodes of the register file that are reached by SSH: id and option lines.
    pub ssh_nodes: Vec<(u32, Vec<String>)>,
    /// Further modules: name and option lines.
    pub modules: Vec<(String, Vec<String>)>,
    /// Lines of `centreon.database.db_configuration`; none without them.
    pub centreon: Vec<String>,
    /// Accounts of the web interface: name, user, password and further options.
    pub tpapi: Vec<[String; 4]>,
    /// Owners of further keys that may use the external socket.
    pub authorized: Vec<String>,
    /// `--severity`
    pub severity: String,
    /// The folder or file of the database, if it is not the usual one.
    pub database: PathBuf,
    /// Whether it may stand by, so that only its API serves.
    pub stands_by: bool,
    /// Lines of `gorgonecore` that name a database server; empty for a file.
    pub server: Vec<String>,
    /// Environment variables with which it is started.
    pub environment: Vec<(String, String)>,
}

impl Plan {
    pub fn new(folder: &Path, name: &str, id: u32) -> Self {
        Self {
            name: name.to_owned(),
            id,
            folder: folder.to_owned(),
            keys: keys::folder(if id == 1 { "central" } else { "poller" }),
            port: free_port(),
            external: None,
            api_port: None,
            core: Vec::new(),
            has_proxy: true,
            proxy: Vec::new(),
            has_action: true,
            action: Vec::new(),
            api: Vec::new(),
            nodes: Vec::new(),
            dial_in_nodes: Vec::new(),
            ssh_nodes: Vec::new(),
            modules: Vec::new(),
            centreon: Vec::new(),
            tpapi: Vec::new(),
            authorized: Vec::new(),
            severity: "info".to_owned(),
            database: folder.join(format!("{name}.sdb")),
            stands_by: false,
            server: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Adds the REST API.
    pub fn with_api(mut self) -> Self {
        self.api_port = Some(free_port());
        self
    }

    /// Adds a push node on 127.0.0.1 to the register file.
    pub fn with_node(mut self, id: u32, port: u16) -> Self {
        self.nodes.push((id, "127.0.0.1".to_owned(), port));
        self
    }

    /// Adds a node of type `pull` or `wss` to the register file.
    pub fn with_dial_in_node(mut self, id: u32, kind: &str) -> Self {
        self.dial_in_nodes.push((id, kind.to_owned()));
        self
    }

    /// Adds a module with lines of options.
    pub fn with_module(mut self, name: &str, lines: &[String]) -> Self {
        self.modules.push((name.to_owned(), lines.to_vec()));
        self
    }

    /// Reads pollers from a database: lines of `db_configuration`, and of the module `nodes`.
    pub fn with_pollers_of(mut self, database: &[String], lines: &[&str]) -> Self {
        self.centreon = database.to_vec();
        self.with_module("nodes", &lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    /// Adds an account of the web interface.
    pub fn with_tpapi(mut self, name: &str, username: &str, password: &str) -> Self {
        self.tpapi.push([name, username, password, ""].map(str::to_owned));
        self
    }

    /// Adds the account of the web API at `url`.
    pub fn with_web_api(mut self, url: &str, username: &str, password: &str) -> Self {
        self.tpapi.push(["centreonv2", username, password, &format!("base_url: '{url}'")].map(str::to_owned));
        self
    }

    /// Lets the key of `owner` use the external socket.
    pub fn with_authorized(mut self, owner: &str) -> Self {
        self.authorized.push(owner.to_owned());
        self
    }

    /// Adds a line to `gorgonecore`.
    pub fn with_core(mut self, line: &str) -> Self {
        self.core.push(line.to_owned());
        self
    }

    /// Adds a line to the proxy.
    pub fn with_proxy(mut self, line: &str) -> Self {
        self.proxy.push(line.to_owned());
        self
    }

    /// Adds a line to the module action.
    pub fn with_action(mut self, line: &str) -> Self {
        self.action.push(line.to_owned());
        self
    }

    /// Adds a line to the module httpserver.
    pub fn with_api_option(mut self, line: &str) -> Self {
        self.api.push(line.to_owned());
        self
    }

    /// Keeps the history on a database server; keys and other files then have a folder of their own.
    pub fn with_server(mut self, lines: &[String]) -> Self {
        let keys = self.folder.join(format!("{}-keys", self.name));
        fs::create_dir_all(&keys).unwrap();
        for file in [keys::PRIVATE_FILE, keys::PUBLIC_FILE] {
            fs::copy(self.keys.join(file), keys.join(file)).unwrap();
        }
        self.keys = keys;
        self.server = lines.to_vec();
        self
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join(format!("{}.yaml", self.name))
    }

    /// The log file.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// Writes the configuration and the register file.
    pub fn write(&self) {
        let mut nodes = "nodes:\n".to_owned();
        for (id, address, port) in &self.nodes {
            writeln!(nodes, "  - {{id: {id}, type: push_zmq, address: {address}, port: {port}, prevail: 1}}").unwrap();
        }
        for (id, kind) in &self.dial_in_nodes {
            writeln!(nodes, "  - {{id: {id}, type: {kind}, prevail: 1}}").unwrap();
        }
        for (id, lines) in &self.ssh_nodes {
            writeln!(nodes, "  - id: {id}\n    type: push_ssh\n    {}", lines.join("\n    ")).unwrap();
        }
        if self.nodes.is_empty() && self.dial_in_nodes.is_empty() && self.ssh_nodes.is_empty() {
            nodes = "nodes: []\n".to_owned();
        }
        fs::write(self.register_file(), nodes).unwrap();
        fs::write(self.config_file(), self.yaml()).unwrap();
    }

    fn register_file(&self) -> PathBuf {
        self.folder.join(format!("{}-nodes.yaml", self.name))
    }

    fn database_lines(&self) -> String {
        match self.server.is_empty() {
            true => format!("gorgone_db_type: SQLite\n      gorgone_db_name: \"dbname={}\"", self.database.display()),
            false => self.server.join("\n      "),
        }
    }

    fn yaml(&self) -> String {
        let tcp = ("tcp".to_owned(), format!("127.0.0.1:{}", self.port));
        let (com_type, com_path) = self.external.as_ref().unwrap_or(&tcp);
        let mut text = format!(
            "name: {name}\ndescription: a daemon of a test\nconfiguration:\n  gorgone:\n    gorgonecore:\n      \
             {id}hostname: {name}\n      privkey: \"{private}\"\n      pubkey: \"{public}\"\n      \
             external_com_type: {com_type}\n      external_com_path: \"{com_path}\"\n      \
             {database}\n      authorized_clients:\n        - key: {central}\n        - key: {client}\n",
            name = self.name,
            id = if self.id == 0 { String::new() } else { format!("id: {}\n      ", self.id) },
            private = self.keys.join(keys::PRIVATE_FILE).display(),
            public = self.keys.join(keys::PUBLIC_FILE).display(),
            database = self.database_lines(),
            central = keys::thumbprint("central"),
            client = keys::thumbprint("client"),
        );
        for owner in &self.authorized {
            writeln!(text, "        - key: {}", keys::thumbprint(owner)).unwrap();
        }
        for line in &self.core {
            writeln!(text, "      {line}").unwrap();
        }
        text.push_str("    modules:\n");
        if self.has_action {
            module(&mut text, "action", "core::action", &self.action);
        }
        if self.has_proxy {
            module(&mut text, "proxy", "core::proxy", &self.proxy);
        }
        module(&mut text, "register", "core::register", &[format!("config_file: {}", self.register_file().display())]);
        if let Some(port) = self.api_port {
            let mut lines = vec!["address: 127.0.0.1".to_owned(), format!("port: \"{port}\"")];
            if !self.api.iter().any(|line| line.starts_with("ssl:")) {
                lines.push("ssl: \"false\"".to_owned());
            }
            lines.extend_from_slice(&self.api);
            module(&mut text, "httpserver", "core::httpserver", &lines);
        }
        for (name, lines) in &self.modules {
            let group = if matches!(name.as_str(), "nodes" | "engine" | "legacycmd" | "statistics") {
                "centreon"
            } else {
                "core"
            };
            module(&mut text, name, &format!("{group}::{name}"), lines);
        }
        if !self.tpapi.is_empty() {
            text.push_str("    tpapi:\n");
        }
        for [name, username, password, more] in &self.tpapi {
            writeln!(
                text,
                "      - name: {name}\n        username: '{username}'\n        password: '{password}'\n        {more}"
            )
            .unwrap();
        }
        if !self.centreon.is_empty() {
            text.push_str("  centreon:\n    database:\n      db_configuration:\n");
            for line in &self.centreon {
                writeln!(text, "        {line}").unwrap();
            }
            if self.modules.iter().any(|(name, _)| name == "statistics") {
                // Both modules use the tables of one database.
                writeln!(text, "      db_realtime:\n        {}", self.centreon.join("\n        ")).unwrap();
            }
        }
        text
    }
}

/// One entry of `modules`. `enable` comes as a string, as many installations have it.
fn module(text: &mut String, name: &str, package: &str, lines: &[String]) {
    write!(
        text,
        "      - name: {name}\n        package: gorgone::modules::{package}::hooks\n        enable: \"true\"\n"
    )
    .unwrap();
    for line in lines {
        writeln!(text, "        {line}").unwrap();
    }
}
