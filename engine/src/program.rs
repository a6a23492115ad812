//! What to record.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A program with all it is started with. The environment is complete: nothing is inherited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The executable file.
    pub path: PathBuf,
    /// The arguments, without the program's own name (`argv[0]` is `path`).
    pub args: Vec<OsString>,
    /// The environment, in order.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub cwd: PathBuf,
}
