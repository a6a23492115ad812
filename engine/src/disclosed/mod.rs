//! What a trace discloses to whoever gets it: a summary of what its events name.
//!
//! It names things, and is no search for secrets: a trace has the memory of the recorded program from the beginning
//! to the end, so that whatever was in a variable, a file that it read, or a packet that it received can be found
//! there.
//!
//! The pass is pure: it reads the trace, and nothing else. What it keeps is bounded, whatever the trace says.

mod listed;
mod pass;
mod processes;
mod start;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::trace::{Source, Trace, TraceError};

pub use listed::Listed;
pub use pass::Pass;

/// What a trace names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disclosed {
    /// The programs that were started, with their arguments.
    pub programs: Listed<Vec<OsString>>,
    /// The names of environment variables, of all of these programs. Their values are in the trace, too.
    pub environment: Listed<OsString>,
    /// The user's number, as the programs were told it.
    pub uids: Listed<u32>,
    /// The user's name, as the environment has it.
    pub users: Listed<OsString>,
    /// Working and root directories.
    pub directories: Listed<PathBuf>,
    /// Files whose contents the trace has, because they were mapped.
    pub mapped: Listed<PathBuf>,
    /// Files that are attached for who debugs the failure: programs, their debug information, sources.
    pub attached: Listed<PathBuf>,
    /// Files and directories that were opened for reading. What was read is in the trace.
    pub read: Listed<PathBuf>,
    /// Files and directories that were made, changed, renamed, removed or opened for writing.
    pub written: Listed<PathBuf>,
    /// Addresses to which sockets were bound.
    pub bound: Listed<Endpoint>,
    /// Addresses to which data were sent or from which they came, or which were tried.
    pub talked_to: Listed<Endpoint>,
}

/// A socket's address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// An address and a port.
    Port(Protocol, std::net::SocketAddr),
    /// A Unix socket (unix(7)) with a path.
    Path(PathBuf),
    /// An abstract one, without the leading null byte.
    Abstract(OsString),
}

/// A protocol with ports, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// It is not known which.
    Unknown,
}

impl Disclosed {
    /// Reads a trace, and lists what it names.
    ///
    /// # Errors
    /// If the trace is damaged.
    pub fn of(trace: &Trace) -> Result<Self, TraceError> {
        let mut pass = Pass::new(trace.program());
        for event in trace.events() {
            pass.see(&event?);
        }
        let mut disclosed = pass.finish();
        trace.files().for_each(|file| disclosed.mapped.add(file.path.to_owned()));
        trace.attached().for_each(|file| disclosed.attached.add(file.path.to_owned()));
        Ok(disclosed)
    }
}
