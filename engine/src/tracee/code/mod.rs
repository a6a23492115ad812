//! The program's code: finding out what its instructions do, and replacing them by jumps to code of ours.
//!
//! Some are system calls and instructions that read what nobody can know, which go to stubs; some are places to stop at. Which
//! instructions can be moved at all is decided here, by decoding them. The room stands on [`inject`](super::inject) where code has
//! to be mapped, and on [`proc`](super::proc) to read it.

mod assembler;
mod branches;
mod breakpoint;
mod detour;
mod exchanged;
mod originals;
pub mod patch;
pub mod read_sites;
pub mod reads;
mod stub;

pub use breakpoint::{Breakpoint, Condition, Placement, end_of_string};
pub use exchanged::exchanged;
pub use originals::{Originals, Replaced};
pub use read_sites::{ReadSite, read_sites};
