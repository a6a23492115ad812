//! The program to record.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A program and everything it is started with. The environment is complete: nothing is inherited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The executable file.
    #[serde(with = "os_path")]
    pub path: PathBuf,
    /// The arguments, without `argv[0]`, which is `path`.
    pub args: Vec<OsString>,
    /// The environment, in order.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    #[serde(with = "os_path")]
    pub cwd: PathBuf,
}

/// Serializes paths as byte strings: serde's own implementation rejects paths that are not UTF-8.
mod os_path {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        OsString::deserialize(deserializer).map(PathBuf::from)
    }
}
