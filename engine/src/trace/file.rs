//! The layout of a trace file.

/// The version of the format.
pub(super) const FORMAT: u32 = 1;
