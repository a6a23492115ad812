//! The program's code: determines what instructions do, and replaces them by jumps to the recorder's code.
//!
//! System calls, and instructions that read what the program cannot determine, are moved to stubs; at other
//! instructions the program is to stop. Decoding determines which instructions can be moved at all. The room stands on
//! [`inject`](super::inject) where code must be mapped, and on [`proc`](super::proc) to read code.

mod assembler;
mod branches;
mod breakpoint;
mod detour;
mod exchanged;
mod moved;
mod originals;
pub mod patch;
mod stub;
mod writes;

pub use breakpoint::{Breakpoint, Condition, Placement, end_of_string};
pub use exchanged::exchanged;
pub use moved::Moved;
pub use moved::functions::{FileState, Site};
pub use moved::read_sites::{get_ready as find_reads_of_libraries, read_sites};
pub use moved::reads::plan_read;
pub use moved::tick_sites::{Operations, Tick, TickSites, tick_sites};
pub use moved::ticks::{at_operation, plan_tick};
pub use originals::{Originals, Replaced};
pub use writes::{value_of, writes};
