//! The trace as a file: its layout, written from a recording and read for replay.
//!
//! Stands on the events ([`crate::trace::event`]) and, to write, on the recording ([`crate::trace::log`]).

mod ahead;
mod block;
mod file_blocks;
mod layout;
mod originals;
mod pack;
mod reader;
pub mod unnamed;
pub mod writer;

pub use ahead::{Parts, Prefetch, Ready};
pub use pack::pack;
pub use reader::{CarriedFile, Trace};
