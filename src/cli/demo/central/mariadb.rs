//! A separate MariaDB server for the demo, with a Unix socket in the demo's folder.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::run;

/// Directories of the programs. The server's directory is usually only in root's `PATH`.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
const MISSING: &str = "--central needs MariaDB, which is not installed (Debian: apt-get install mariadb-server)";
/// Maximum length in bytes of the path of a Unix socket.
const SOCKET_LEN_MAX: usize = 107;

/// The programs of MariaDB.
pub(super) struct Programs {
    server: PathBuf,
    install: PathBuf,
    client: PathBuf,
}

/// A MariaDB server.
pub(super) struct Database {
    programs: Programs,
    folder: PathBuf,
}

/// Finds the programs of MariaDB.
///
/// # Errors
/// MariaDB is not installed.
pub(super) fn find() -> Result<Programs, String> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&paths).chain(FOLDERS.iter().map(PathBuf::from)).collect();
    let program = |name: &str| {
        let found = places.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| MISSING.to_owned())
    };
    Ok(Programs { server: program("mariadbd")?, install: program("mariadb-install-db")?, client: program("mariadb")? })
}

/// Creates the data directory.
///
/// # Errors
/// Says what failed.
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

/// Returns the additional options for a server started by root.
fn user() -> Vec<String> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if is_root { vec!["--user=root".to_owned()] } else { Vec::new() }
}

impl Database {
    fn data(&self) -> PathBuf {
        self.folder.join("mysql")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("mysql.sock")
    }

    /// Returns the command that starts the server.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.programs.server);
        command.arg("--no-defaults").args(user()).arg("--skip-networking");
        command.arg(format!("--datadir={}", self.data().display()));
        command.arg(format!("--socket={}", self.socket().display()));
        command.arg(format!("--pid-file={}", self.folder.join("mysql.pid").display()));
        command
    }

    /// Runs SQL statements.
    ///
    /// # Errors
    /// The output of the client.
    pub(super) fn run(&self, sql: &str) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("mariadb: {error}");
        let mut client = Command::new(&self.programs.client);
        client.args(["--no-defaults", "--user=root"]).arg(format!("--socket={}", self.socket().display()));
        let client = client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut client = client.spawn().map_err(failed)?;
        if let Some(mut input) = client.stdin.take() {
            // If the client finds no server, it ends before reading; its exit status reports that.
            let _status_tells = input.write_all(sql.as_bytes());
        }
        let output = client.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("mariadb: {}", String::from_utf8_lossy(&output.stderr).trim_end()))
    }
}
