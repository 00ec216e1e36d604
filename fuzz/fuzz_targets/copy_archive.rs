//! An archive that an attacker made, unpacked into a directory: no panic, nothing outside the directory changes, no
//! symlink in it leads out of it, and no file under a name of the unpacker's own is left.
//!
//! The input is the tar; it is put into gzip here, whose checksum the fuzzer would not find. An input that begins with
//! `Z` is the rest of it as it is.

#![no_main]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use stheno::edge::copy::unpack::unpack;

const SECRET: &str = "nobody may write here";

/// A folder of this process: `in` is unpacked into, `out` must stay as it is.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let base = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        base.join(format!("stheno-fuzz-{}", std::process::id()))
    })
}

fn prepare() {
    let _none = fs::remove_dir_all(folder());
    fs::create_dir_all(folder().join("in/sub/deep")).unwrap();
    fs::create_dir_all(folder().join("out")).unwrap();
    fs::write(folder().join("in/file"), "old").unwrap();
    fs::write(folder().join("out/secret"), SECRET).unwrap();
    std::os::unix::fs::symlink("sub", folder().join("in/link")).unwrap();
    std::os::unix::fs::symlink("../out", folder().join("in/planted")).unwrap();
}

fn check(directory: &Path, root: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        assert!(!name.as_encoded_bytes().starts_with(b".copy_fuzz."), "{} is left behind", path.display());
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_symlink() && path != root.join("planted") {
            if let Ok(real) = fs::canonicalize(&path) {
                assert!(
                    real.starts_with(root)
                        || fs::canonicalize(root.join("planted")).is_ok_and(|out| real.starts_with(out)),
                    "{} leads to {}",
                    path.display(),
                    real.display()
                );
            }
        } else if metadata.is_dir() {
            check(&path, root);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let packed = match input.strip_prefix(b"Z") {
        Some(raw) => raw.to_vec(),
        None => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
            gzip.write_all(input).unwrap();
            gzip.finish().unwrap()
        }
    };
    prepare();
    let root = folder().join("in");
    let _outcome = unpack(packed.as_slice(), &root, "fuzz", u64::MAX);
    let outside: Vec<_> = fs::read_dir(folder().join("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside, ["secret"]);
    assert_eq!(fs::read_to_string(folder().join("out/secret")).unwrap(), SECRET);
    assert_eq!(fs::read_dir(folder()).unwrap().count(), 2);
    check(&root, &fs::canonicalize(&root).unwrap());
});
