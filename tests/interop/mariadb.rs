//! A MariaDB server of Debian's package with its own data directory, socket and port. It ends with the test process,
//! however that ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::platform::{free_port, seconds, tail, until};

/// Kills the server when its standard input ends, which it does with the test process.
const KEEPER: &str = r#""$@" </dev/null >/dev/null 2>&1 & server=$!; echo $server; read -r _; kill -9 $server 2>/dev/null; [ -z "$REMOVE" ] || rm -rf "$REMOVE""#;

/// The schema of the tables that the module reads, with columns that it does not know among them.
const SCHEMA: &str = "
CREATE TABLE nagios_server (
  id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255), localhost ENUM('0','1') DEFAULT '0', is_default INT DEFAULT 0,
  last_restart INT, ns_ip_address TEXT, ns_activate ENUM('1','0') DEFAULT '1', ns_status ENUM('0','1','2') DEFAULT '0',
  gorgone_communication_type ENUM('1','2','3','4') DEFAULT '1', gorgone_port INT, remote_id INT,
  remote_server_use_as_proxy ENUM('0','1') DEFAULT '1', uid VARCHAR(36), gorgone_auth_token TEXT
) DEFAULT CHARSET=utf8mb4;
CREATE TABLE rs_poller_relation (remote_server_id INT NOT NULL, poller_server_id INT NOT NULL);
CREATE TABLE options (`key` VARCHAR(255), `value` TEXT);
INSERT INTO nagios_server (id, name, localhost, ns_ip_address) VALUES (1, 'Central', '1', '127.0.0.1');
";

/// Makes an authority with a certificate for 127.0.0.1, and another authority.
const CERTIFICATES: &str = "set -e; \
    for name in ca other; do openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$name -keyout $name.key -out $name.pem; done; \
    openssl req -newkey rsa:2048 -nodes -subj /CN=db -keyout db.key -out db.csr; \
    printf 'subjectAltName=IP:127.0.0.1' >db.ext; \
    openssl x509 -req -in db.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile db.ext -out db.pem";

/// A server.
pub struct Server {
    pub folder: PathBuf,
    pub port: u16,
    keeper: Child,
    pid: u32,
}

/// Returns whether the package is installed, and says so if it is not.
pub fn is_installed() -> bool {
    let found = ["mariadbd", "mariadb-install-db", "mariadb"].iter().all(|name| find(name).is_some());
    if !found {
        eprintln!("SKIPPED: MariaDB is not installed (apt-get install mariadb-server)");
    }
    found
}

fn find(program: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.exists())
}

/// The user that a server started by root must be told.
fn user() -> Vec<String> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if is_root { vec!["--user=root".to_owned()] } else { Vec::new() }
}

/// A data directory as it is after the installation, made once.
fn template() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("stheno-mariadb-{}", std::process::id()));
        let _left_by_an_earlier_run = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        // It ends with the test process.
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh", "true"]).env("REMOVE", &folder).stdin(Stdio::piped()).stdout(Stdio::null());
        std::mem::forget(keeper.spawn().unwrap());
        let data = folder.join("data");
        let made = Command::new(find("mariadb-install-db").unwrap())
            .args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-log-file-size=4M",
            ])
            .args(user())
            .arg(format!("--datadir={}", data.display()))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        data
    })
}

impl Server {
    /// Starts a server for one test, which may stop and start it.
    pub fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("stheno-db-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let copied = Command::new("cp").arg("-a").arg(template()).arg(folder.join("data")).status().unwrap();
        assert!(copied.success());
        let made = Command::new("sh").args(["-c", CERTIFICATES]).current_dir(&folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let (keeper, pid) = Self::spawn(&folder, port);
        let server = Self { folder, port, keeper, pid };
        server.wait_until_it_answers();
        server
    }

    /// Returns the server that is shared by the tests that do not stop it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn spawn(folder: &Path, port: u16) -> (Child, u32) {
        let path = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(find("mariadbd").unwrap()).arg("--no-defaults").args(user());
        command.args([
            format!("--datadir={}", path("data")),
            format!("--socket={}", path("sock")),
            format!("--pid-file={}", path("pid")),
            format!("--log-error={}", path("error.log")),
            format!("--port={port}"),
            format!("--ssl-ca={}", path("ca.pem")),
            format!("--ssl-cert={}", path("db.pem")),
            format!("--ssl-key={}", path("db.key")),
        ]);
        command.args(["--bind-address=127.0.0.1", "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M"]);
        command.args(["--performance-schema=off", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"]);
        let mut keeper = command.env("REMOVE", folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (keeper, line.trim().parse().unwrap())
    }

    /// Opens a port with a listener that sends nothing.
    pub fn silent_port(&self) -> u16 {
        static SILENT: OnceLock<TcpListener> = OnceLock::new();
        SILENT.get_or_init(|| TcpListener::bind("127.0.0.1:0").unwrap()).local_addr().unwrap().port()
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }

    #[track_caller]
    fn wait_until_it_answers(&self) {
        let ask = || self.client("SELECT 1").is_ok().then_some(());
        let log = || tail(&self.folder.join("error.log"), 20);
        let answered =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| until("MariaDB answers", seconds(60), ask)));
        assert!(answered.is_ok(), "{}", log());
    }

    fn client(&self, sql: &str) -> Result<String, String> {
        let mut client = Command::new(find("mariadb").unwrap());
        client.args([
            "--no-defaults",
            "--user=root",
            "--default-character-set=utf8mb4",
            "--skip-column-names",
            "--batch",
        ]);
        client.arg(format!("--socket={}", self.socket().display()));
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A client that finds no server is gone before it reads; its status tells.
        let _status_tells = client.stdin.take().unwrap().write_all(sql.as_bytes());
        let output = client.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Runs statements as root and returns their output.
    #[track_caller]
    pub fn run(&self, sql: &str) -> String {
        self.client(sql).unwrap()
    }

    /// Statements of a session that stays open until it is dropped.
    pub fn hold(&self, sql: &str) -> Session {
        let mut client = Command::new(find("mariadb").unwrap());
        client
            .args(["--no-defaults", "--user=root", "--execute", sql])
            .arg(format!("--socket={}", self.socket().display()));
        Session(client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status().unwrap();
    }

    /// Freezes it: it accepts connections and sends nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Ends it, by TERM or at once.
    pub fn end(&self, name: &str) {
        self.signal(name);
        until("MariaDB ends", seconds(60), || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
            // Only its keeper can reap a zombie.
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }

    /// Starts it once more after [`Self::end`].
    pub fn start_again(&mut self) {
        // The old keeper must not remove the folder when it ends.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        (self.keeper, self.pid) = Self::spawn(&self.folder, self.port);
        self.wait_until_it_answers();
    }

    /// An empty database for a history, with a user of the same name that may do everything in it.
    #[track_caller]
    pub fn history(&self) -> History<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("history{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.run(&format!(
            "CREATE DATABASE {name}; CREATE USER '{name}'@'%' IDENTIFIED BY 'pass'; GRANT ALL ON {name}.* TO '{name}'@'%'"
        ));
        History { server: self, name }
    }

    /// A database of a test's own with the schema of Centreon, and a user of the same name with the password `pass`.
    #[track_caller]
    pub fn database(&self) -> Database<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("centreon{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.run(&format!(
            "CREATE DATABASE {name} CHARACTER SET utf8mb4; CREATE USER '{name}'@'%' IDENTIFIED BY 'pass'; \
             GRANT SELECT ON {name}.* TO '{name}'@'%'; USE {name}; {SCHEMA}"
        ));
        Database { server: self, name }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.thaw();
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A client that runs its statements.
pub struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A database for the history of a daemon.
pub struct History<'a> {
    server: &'a Server,
    pub name: String,
}

impl History<'_> {
    /// Runs statements in it.
    #[track_caller]
    pub fn run(&self, sql: &str) -> String {
        self.server.run(&format!("USE {}; {sql}", self.name))
    }

    /// The lines of `gorgonecore` for it.
    pub fn lines(&self) -> Vec<String> {
        vec![
            "gorgone_db_type: mysql".to_owned(),
            format!("gorgone_db_name: \"dbname={}\"", self.name),
            "gorgone_db_host: 127.0.0.1".to_owned(),
            format!("gorgone_db_port: {}", self.server.port),
            format!("gorgone_db_user: \"{}\"", self.name),
            "gorgone_db_password: \"pass\"".to_owned(),
        ]
    }
}

/// A database with the tables of Centreon.
pub struct Database<'a> {
    server: &'a Server,
    pub name: String,
}

impl Database<'_> {
    /// Runs statements in it.
    #[track_caller]
    pub fn run(&self, sql: &str) -> String {
        self.server.run(&format!("USE {}; {sql}", self.name))
    }

    /// Lines of `db_configuration` for its user, over TCP.
    pub fn settings(&self) -> Vec<String> {
        self.settings_of(&format!("mysql:host=127.0.0.1;port={};dbname={}", self.server.port, self.name))
    }

    /// The same with another DSN.
    pub fn settings_of(&self, dsn: &str) -> Vec<String> {
        vec![format!("dsn: \"{dsn}\""), format!("username: \"{}\"", self.name), "password: \"pass\"".to_owned()]
    }

    /// Adds a push poller.
    #[track_caller]
    pub fn add(&self, id: u32, name: &str, address: &str, port: u16) {
        self.run(&format!(
            "INSERT INTO nagios_server (id, name, ns_ip_address, gorgone_port) VALUES ({id}, '{name}', '{address}', {port});"
        ));
    }
}
