//! The clock that is compiled into tests: what rustc is told, and where such builds live.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use rrtest_engine::record::Ticks;
use rrtest_preload::flags;
use serde::{Deserialize, Serialize};

use crate::base::exit::CliError;
use crate::base::hash::fnv1a;
use crate::base::whole::write_whole_in;

/// The object that defines what instrumented code calls.
const RUNTIME: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runtime.o"));

/// An archive of it.
const ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runtime.a"));

/// Where a thread may be preempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
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

    /// Which operations tick at this level in code that was not compiled for it.
    pub(crate) fn ticks(self) -> Ticks {
        match self {
            Self::Sync => Ticks::Atomics,
            Self::Memory => Ticks::Accesses,
            Self::Syscall => Ticks::CompiledIn,
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

    /// What is added to the rustc command line of every unit for the target. There is no path in it: a shared cache of compiled crates
    /// (sccache) takes units with other paths for others.
    pub(crate) fn flags(self) -> Vec<String> {
        self.codegen_flags().iter().map(|flag| (*flag).to_owned()).collect()
    }
}

/// Whether what a compiler has made names this function.
pub(crate) fn names(bytes: &[u8], function: &str) -> bool {
    bytes.windows(function.len()).any(|window| window == function.as_bytes())
}

/// The runtime as files that linkers can take.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    /// The object, for what is recorded.
    pub(crate) object: PathBuf,
    /// An archive of it, for what is not, but may have C code inside that calls it.
    pub(crate) archive: PathBuf,
}

impl Runtime {
    /// What is added to the rustc command line of units for the target that are linked.
    pub(crate) fn link_flags(&self) -> Vec<String> {
        vec![format!("-Clink-arg={}", self.object.display())]
    }

    /// The same of units for the machine that builds.
    pub(crate) fn host_link_flags(&self) -> Vec<String> {
        vec![format!("-Clink-arg={}", self.archive.display())]
    }

    /// Write it into `dir`, if it is not there.
    pub(crate) fn put_into(dir: &Path) -> Result<Self, CliError> {
        let put_here = |name: &str, bytes: &[u8]| -> Result<PathBuf, CliError> {
            let path = dir.join(name);
            put(&path, bytes)
                .map_err(|error| CliError::os(format!("cannot write {}", path.display()), &error))?;
            Ok(path)
        };
        Ok(Self { object: put_here("runtime.o", RUNTIME)?, archive: put_here("runtime.a", ARCHIVE)? })
    }
}

/// Writes a file that another build may be reading, if it is not there as it is to be.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) { Ok(()) } else { write_whole_in(path, bytes) }
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
        let runtime = Runtime::put_into(&build_dir).expect("files");
        assert_eq!(runtime.link_flags(), [format!("-Clink-arg={}", runtime.object.display())]);
        assert!(Level::Sync.flags().iter().all(|flag| !flag.contains(&*build_dir.to_string_lossy())));
        let written = || {
            [&runtime.object, &runtime.archive]
                .map(|path| std::fs::metadata(path).expect("a file").modified().expect("a time"))
        };
        let before = written();
        Runtime::put_into(&build_dir).expect("files again");
        assert_eq!(written(), before);
    }
}
