//! A recording in memory: the events as they come, and the files they refer to.

/// The log of a recording.
#[derive(Debug, Default)]
pub struct Log {}
