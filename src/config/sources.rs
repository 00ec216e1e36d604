//! The files from which a configuration was read, and those that it names. Whoever may write to them controls the
//! daemon from its next start on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::Config;
use super::wildcard;
use crate::model::registration::Registration;

/// The files and patterns that were read.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// All files: the top file, the included ones, and the register file.
    pub files: Vec<PathBuf>,
    /// The patterns of `!include` with `*` or `?`, as absolute paths.
    pub patterns: Vec<PathBuf>,
}

impl Sources {
    /// Whether a file named `name` in `directory` (without symlinks) would be included at the next start.
    #[must_use]
    pub fn would_include(&self, directory: &Path, name: &OsStr) -> bool {
        self.patterns.iter().any(|pattern| wildcard::would_name(pattern, directory, name))
    }
}

impl Config {
    /// Returns the files that this daemon depends on, except its database: configuration, keys and certificates.
    #[must_use]
    pub fn own_files(&self) -> Vec<PathBuf> {
        let core = &self.core;
        let mut files = self.sources.files.clone();
        files.extend([&core.private_key, &core.public_key].map(Clone::clone));
        files.extend(core.audit_log.clone());
        let modules = &self.modules;
        let servers = [
            modules.httpserver.as_ref().and_then(|http| http.tls.as_ref()),
            modules.httpserver.as_ref().and_then(|http| http.status.as_ref()?.tls.as_ref()),
            modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref()?.tls.as_ref()),
        ];
        for tls in servers.into_iter().flatten() {
            files.extend([tls.certificate_file.clone(), tls.key_file.clone()]);
        }
        if let Some(register) = &modules.register {
            files.push(register.file.clone());
            files.extend(register.nodes.iter().flat_map(files_of_node));
        }
        files
    }
}

fn files_of_node(node: &Registration) -> impl Iterator<Item = PathBuf> + use<> {
    let target = node.kind.ssh_target();
    let files = target.map(|target| [target.identity.clone(), target.known_hosts.clone()]);
    files.into_iter().flatten().flatten()
}
