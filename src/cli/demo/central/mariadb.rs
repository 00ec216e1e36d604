//! A MariaDB server of the demo's own, reached over a Unix socket in the demo's folder.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::run;

/// Where systems keep the programs; the server's folder is in nobody's `PATH` but root's.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
const MISSING: &str = "--central needs MariaDB, which is not installed (Debian: apt-get install mariadb-server)";
/// The longest path of a Unix socket, in bytes.
const SOCKET_LEN_MAX: usize = 107;

/// The programs of MariaDB.
pub(super) struct Programs {
    server: PathBuf,
    install: PathBuf,
    client: PathBuf,
}

/// A server.
pub(super) struct Database {
    programs: Programs,
    folder: PathBuf,
}

/// Looks for MariaDB.
///
/// # Errors
/// It is not installed.
pub(super) fn find() -> Result<Programs, String> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&paths).chain(FOLDERS.iter().map(PathBuf::from)).collect();
    let program = |name: &str| {
        let found = places.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| MISSING.to_owned())
    };
    Ok(Programs { server: program("mariadbd")?, install: program("mariadb-install-db")?, client: program("mariadb")? })
}

/// Makes the data directory.
///
/// # Errors
/// A sentence.
pub(super) fn make(programs: &Programs, folder: &Path) -> Result<Database, String> {
    let programs = Programs {
        server: programs.server.clone(),
        install: programs.install.clone(),
        client: programs.client.clone(),
    };
    let database = Database { programs, folder: folder.to_owned() };
    if database.socket().as_os_str().len() > SOCKET_LEN_MAX {
        return Err(format!("{} is too long for a Unix socket; set TMPDIR to a shorter folder", folder.display()));
    }
    let mut install = Command::new(&database.programs.install);
    install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    install.args(user()).arg(format!("--datadir={}", database.data().display()));
    run(install, "mariadb-install-db")?;
    Ok(database)
}

/// What a server that root starts must be told.
fn user() -> Vec<String> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if is_root { vec!["--user=root".to_owned()] } else { Vec::new() }
}

impl Database {
    fn data(&self) -> PathBuf {
        self.folder.join("mysql")
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("mysql.sock")
    }

    /// What starts it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.programs.server);
        command.arg("--no-defaults").args(user()).arg("--skip-networking");
        command.arg(format!("--datadir={}", self.data().display()));
        command.arg(format!("--socket={}", self.socket().display()));
        command.arg(format!("--pid-file={}", self.folder.join("mysql.pid").display()));
        command
    }

    /// Runs statements.
    ///
    /// # Errors
    /// What the client says.
    pub(super) fn run(&self, sql: &str) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("mariadb: {error}");
        let mut client = Command::new(&self.programs.client);
        client.args(["--no-defaults", "--user=root"]).arg(format!("--socket={}", self.socket().display()));
        let client = client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut client = client.spawn().map_err(failed)?;
        if let Some(mut input) = client.stdin.take() {
            // A client that finds no server is gone before it reads; its status tells.
            let _status_tells = input.write_all(sql.as_bytes());
        }
        let output = client.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("mariadb: {}", String::from_utf8_lossy(&output.stderr).trim_end()))
    }
}
