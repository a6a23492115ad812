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
        .args(["--crate-name", "rrtest_preload", "--crate-type", "lib", "--edition", "2024"])
        .args(["--cfg", "feature=\"runtime\"", "--target", &var("TARGET")])
        // No unwinding tables to find at link time, and one object file, whatever the profile of this build.
        .args(["-C", "panic=abort", "-C", "opt-level=3", "-C", "codegen-units=1", "-C", "embed-bitcode=no"])
        .arg(format!("--emit=obj={}", object.display()))
        .status()
        .expect("cannot start rustc for the runtime object");
    assert!(status.success(), "the runtime object does not compile");
}

fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
