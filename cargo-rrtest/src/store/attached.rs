//! What is attached to kept traces, for who debugs the failure.

use std::path::PathBuf;
use std::sync::Mutex;

use clap::ValueEnum;

/// Which sources of the workspace are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WithSources {
    /// All that the program was compiled from
    All,
    /// Those that the failure's message and stacks name
    Named,
    /// None
    None,
}

/// What is attached to traces.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Whether programs and libraries are, with their debug information.
    pub(crate) debug_info: bool,
    /// Which sources are.
    pub(crate) sources: WithSources,
    /// The directory that sources are in: the workspace.
    pub(crate) root: PathBuf,
    /// Held while files are attached, so that of traces side by side the second sees what the first has.
    pub(crate) one_by_one: Mutex<()>,
}
