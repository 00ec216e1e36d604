//! The package manager of the system, and small files with lists of plugins. Blocks on files, so it runs on worker
//! threads.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::model::work::{PackageManager, PluginsRead};

/// Maximum size of a list of plugins in bytes.
const FILE_MAX: u64 = 1 << 20;
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// Reads what a validation of plugins starts from.
#[must_use]
pub fn read_plugins(file: Option<&str>) -> PluginsRead {
    let release = OS_RELEASE.iter().find_map(|path| read_text(Path::new(path)).ok());
    let content = file.map_or(Ok(String::new()), |file| {
        read_text(Path::new(file)).map_err(|reason| format!("cannot read the plugins file '{file}': {reason}"))
    });
    PluginsRead { manager: release.as_deref().and_then(package_manager), content }
}

/// Reads a regular file of limited size. A pipe does not block.
fn read_text(path: &Path) -> Result<String, String> {
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(|error| error.to_string())?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("it is not a regular file".to_owned());
    }
    let mut text = String::new();
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_MAX { Err(format!("it has more than {FILE_MAX} bytes")) } else { Ok(text) }
}

/// The package manager for the `ID` and `ID_LIKE` of os-release(5).
fn package_manager(release: &str) -> Option<PackageManager> {
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim().trim_matches(['"', '\'']).to_ascii_lowercase()).unwrap_or_default()
    };
    let ids = format!("{} {}", value("ID"), value("ID_LIKE"));
    ids.split_whitespace().find_map(|id| match id {
        "debian" | "ubuntu" => Some(PackageManager::Deb),
        "rhel" | "centos" | "redhat" | "almalinux" | "rocky" | "ol" | "fedora" => Some(PackageManager::Rpm),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::temp_dir::TempDir;

    #[test]
    fn the_package_manager_follows_from_the_name_of_the_system() {
        for (release, manager) in [
            ("NAME=x\nID=debian\n", Some(PackageManager::Deb)),
            ("ID=\"ubuntu\"\n", Some(PackageManager::Deb)),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Some(PackageManager::Deb)),
            ("ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n", Some(PackageManager::Rpm)),
            ("ID=\"ol\"\n", Some(PackageManager::Rpm)),
            ("ID=alpine\nVERSION_ID=3\n", None),
            ("", None),
        ] {
            assert_eq!(package_manager(release), manager, "{release}");
        }
    }

    #[test]
    fn a_list_of_plugins_is_a_small_regular_file() {
        let folder = TempDir::new();
        let path = folder.join("plugins.json");
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(read_plugins(path.to_str()).content, Ok("{}".to_owned()));
        assert!(read_plugins(folder.path().to_str()).content.unwrap_err().contains("not a regular file"));
        std::fs::write(&path, "x".repeat(1_100_000)).unwrap();
        assert!(read_plugins(path.to_str()).content.unwrap_err().contains("more than"));
        assert!(
            read_plugins(folder.join("none").to_str()).content.unwrap_err().starts_with("cannot read the plugins file")
        );
        assert_eq!(read_plugins(None).content, Ok(String::new()));
    }
}
