//! Compiles the runtime that is linked into recorded programs to one object, which the subcommand carries inside it: as it
//! is, and as an archive, from which a linker takes it only where something calls it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use ar_archive_writer::{ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream};

fn main() {
    // A link to the sources of `rrtest-preload`, which become files where this package leaves the repository.
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime");
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
    let bytes = std::fs::read(&object).expect("cannot read the runtime object");
    let member = NewArchiveMember::new(bytes, &DEFAULT_OBJECT_READER, "runtime.o".to_owned());
    let mut archive =
        File::create(object.with_extension("a")).expect("cannot make an archive of the runtime object");
    write_archive_to_stream(&mut archive, &[member], ArchiveKind::Gnu, false, None)
        .expect("cannot write the archive of the runtime object");
}

fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
