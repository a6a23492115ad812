//! The clock that is compiled into tests: what rustc is told, and where such builds live.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use rrtest_preload::flags;
use serde::Serialize;

use crate::exit::Stop;
use crate::hash::fnv1a;

/// The object that defines what instrumented code calls.
const RUNTIME: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runtime.o"));

/// Where a thread may be preempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// At atomic operations and system calls
    Sync,
    /// Also at loads and stores of memory that threads can share
    Memory,
    /// At system calls only
    Syscall,
}

impl Level {
    /// As the user types it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Memory => "memory",
            Self::Syscall => "syscall",
        }
    }

    /// What rustc is told. The passes are those of ThreadSanitizer, without its runtime: they turn every atomic
    /// operation into a call, and in functions with the attribute `sanitize_thread` every plain access too.
    pub(crate) fn codegen_flags(self) -> &'static [&'static str] {
        match self {
            Self::Sync => flags::SYNC,
            Self::Memory => flags::MEMORY,
            Self::Syscall => &[],
        }
    }

    /// A function that the passes make instrumented code call.
    pub(crate) fn entry_point(self) -> Option<&'static str> {
        match self {
            Self::Sync => Some("__tsan_atomic32_fetch_add"),
            Self::Memory => Some("__tsan_write4"),
            Self::Syscall => None,
        }
    }

    /// The directory for builds of this level, under cargo's target directory. Its name changes with the flags and with
    /// the runtime, neither of which cargo watches.
    pub(crate) fn build_dir(self, target_dir: &Path) -> PathBuf {
        let mut made_of = RUNTIME.to_vec();
        made_of.extend(self.codegen_flags().iter().flat_map(|flag| flag.bytes()));
        target_dir.join("rrtest").join(format!("build-{}-{:08x}", self.name(), fnv1a(&made_of) as u32))
    }

    /// All that is added to a unit's rustc command line. Writes the runtime object into `build_dir`.
    pub(crate) fn flags(self, build_dir: &Path) -> Result<Vec<String>, Stop> {
        let object = build_dir.join("runtime.o");
        write_object(&object)
            .map_err(|error| Stop::os(format!("cannot write {}", object.display()), &error))?;
        let mut flags: Vec<_> = self.codegen_flags().iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("-Clink-arg={}", object.display()));
        Ok(flags)
    }
}

/// Another build may be linking the same object: it changes as a whole or not at all.
fn write_object(path: &Path) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|bytes| bytes == RUNTIME) {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(RUNTIME)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_build_apart() {
        let dirs = [Level::Sync, Level::Memory, Level::Syscall].map(|level| level.build_dir(Path::new("/t")));
        assert!(dirs[0] != dirs[1] && dirs[1] != dirs[2] && dirs[0] != dirs[2]);
        assert!(dirs[0].starts_with("/t/rrtest"));
    }

    #[test]
    fn the_object_is_written_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let build_dir = dir.path().join("with space");
        let flags = Level::Sync.flags(&build_dir).expect("flags");
        let object = build_dir.join("runtime.o");
        assert!(flags.contains(&format!("-Clink-arg={}", object.display())));
        let written = std::fs::metadata(&object).expect("the object").modified().expect("a time");
        Level::Sync.flags(&build_dir).expect("flags again");
        assert_eq!(std::fs::metadata(&object).expect("the object").modified().expect("a time"), written);
    }
}
