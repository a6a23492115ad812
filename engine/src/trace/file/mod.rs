//! The trace as a file: its layout, written from a recording and read for replay.
//!
//! Stands on the events ([`crate::trace::event`]) and, to write, on the recording ([`crate::trace::log`]).

mod ahead;
mod attached;
mod block;
mod damage;
mod file_blocks;
mod format10;
mod layout;
mod originals;
mod pack;
mod reader;
mod regular;
#[cfg(test)]
mod testing;
pub mod unnamed;
pub mod writer;

pub use ahead::{Parts, Prefetch, Ready};
pub use attached::{Attachment, attach};
pub use pack::pack;
pub use reader::{CarriedFile, Trace};
