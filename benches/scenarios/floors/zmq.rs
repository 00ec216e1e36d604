//! ROUTER and DEALER of libzmq in a small C program, because libzmq is not a dependency of ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Memory, once};
use crate::Outcome;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/scenarios/floors/zmq_echo.c");

/// Size in bytes of a sealed PING on the wire.
const MESSAGE_BYTES: &str = "64";

/// Figures of echoes over TCP on loopback.
#[derive(Clone, Copy)]
pub struct Echo {
    /// Echoes per second, pipelined.
    pub rate: f64,
    /// Percentile in ms, one echo at a time.
    pub p50_ms: f64,
    /// Percentile in ms, one echo at a time.
    pub p99_ms: f64,
}

/// Measures libzmq.
///
/// # Errors
/// There is no C compiler or libzmq.
pub fn echo() -> Outcome<Echo> {
    static MEMORY: Memory<Echo> = Memory::new(None);
    once(&MEMORY, || {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("zmq_echo");
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-o"]).arg(&program).arg(SOURCE).arg("-pthread");
        match bundled_library() {
            Some(library) => {
                let folder = library.parent().unwrap_or(Path::new("."));
                compile.arg(format!("-Wl,-rpath,{}", folder.display())).arg(library);
            }
            None => _ = compile.arg("-lzmq"),
        }
        let output = compile.output().map_err(|error| format!("cc cannot be run ({error}): install a C compiler"))?;
        if !output.status.success() {
            return Err("no libzmq: run tests/run once (it brings pyzmq's), or install libzmq3-dev".into());
        }
        let output = Command::new(&program).args([MESSAGE_BYTES, "300000", "20000"]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match *numbers.as_slice() {
            [rate, p50_ms, p99_ms] => Ok(Echo { rate, p50_ms, p99_ms }),
            _ => Err(format!("zmq_echo: {text}{}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    })
}

/// Returns the libzmq in the Python package of the interop tests, which is the one that they use.
fn bundled_library() -> Option<PathBuf> {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join(".test-env/lib").canonicalize().ok()?;
    let pythons = std::fs::read_dir(lib).ok()?.flatten();
    let folders = pythons.map(|python| python.path().join("site-packages/pyzmq.libs"));
    let mut files = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    files.find(|file| file.file_name().to_string_lossy().starts_with("libzmq")).map(|file| file.path())
}
