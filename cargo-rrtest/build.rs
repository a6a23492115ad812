//! Compiles the runtime that is linked into recorded programs to one object, which the subcommand carries inside it.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../preload/src");
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rustc-env=RRTEST_TARGET={}", var("TARGET"));
    let object = PathBuf::from(var("OUT_DIR")).join("runtime.o");
    let status = Command::new(var("RUSTC"))
        .arg(source.join("lib.rs"))
        .args(rrtest_preload::flags::RUNTIME)
        .args(["--target", &var("TARGET"), "-o"])
        .arg(&object)
        .status()
        .expect("cannot start rustc for the runtime object");
    assert!(status.success(), "the runtime object does not compile");
}

fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
