//! Arguments for the linker of a build for pollers (`[profile.poller]`, opt-level `z`).
//!
//! A panic aborts, so nothing reads tables for unwinding, but the precompiled standard library and the C libraries bring
//! some: the script `cross/no-unwinding.ld` drops them. Relocations are packed where the C library can read them so.
//! `cross/build` makes static builds, which have neither.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=cross/linker.rs");
    println!("cargo::rerun-if-changed=cross/no-unwinding.ld");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if is("OPT_LEVEL", "z") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{folder}/cross/no-unwinding.ld");
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        if env::var("HOST").is_ok_and(|host| is("TARGET", &host)) && reads_packed_relocations() {
            println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
}

/// Whether the C library of this machine is glibc 2.36 or newer.
fn reads_packed_relocations() -> bool {
    let Ok(said) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let said = String::from_utf8_lossy(&said.stdout);
    let version = said.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    let number = |digits: &str| digits.parse::<u32>().unwrap_or(0);
    version.is_some_and(|(major, minor)| (number(major), number(minor)) >= (2, 36))
}
