//! Safe ptrace: what can be asked of a traced task depends on whether it is stopped, and that is in the types.
//!
//! A task is [`Stopped`] or [`Running`]. Registers can be read only of a stopped one; resuming consumes it. A task that
//! dies under us is a value ([`Wait::Dead`]), not a surprise. The style is that of reverie's `safeptrace`.

mod area;
mod assembler;
mod batch;
mod branch;
mod branches;
mod breakpoint;
mod buffer;
mod copies;
mod counter;
mod descriptors;
mod detour;
mod exchanged;
mod filter;
mod fork;
mod hand_over;
mod heartbeat;
mod launch;
mod leash;
mod maps;
mod memory;
mod memory_file;
mod objects;
mod pages;
mod parked;
pub mod patch;
mod pin;
pub mod read_sites;
pub mod reads;
mod rebuild;
mod registers;
mod remote;
mod settle;
mod signals;
mod stack;
mod status;
mod stub;
mod task;
mod to_exit;

pub use area::{Area, Saved};
pub use batch::{Arg, Batch};
pub use branch::branch;
pub use breakpoint::{Breakpoint, Condition, Placement, end_of_string};
pub use buffer::{BufferedCall, SYSCALL_LEN, buffered_calls};
pub use copies::Copies;
pub use descriptors::raise_descriptor_limit;
pub use exchanged::exchanged;
pub use fork::{Stdin, Streams};
pub use heartbeat::Heartbeat;
pub use launch::{Launched, launch};
pub use leash::{Leash, bury};
pub use maps::{Line, code_around, locked, maps};
pub use memory::Memory;
pub use memory_file::memory_file;
pub use pages::present;
pub use parked::Member;
pub use pin::{core_count, pin, unpin};
pub use read_sites::{ReadSite, read_sites};
pub use rebuild::{another, rebuild};
pub use registers::Registers;
pub use remote::{remote, unmap_around_area};
pub use settle::{Settled, settle};
pub use signals::{SignalSet, Signals, ignore_again, is_fault, signals};
pub use stack::{set_stack_limit, stack_limit};
pub use status::{State, being_killed, comm, cpu_time, descriptor_room, state};
pub use task::{Death, Resume, Running, Stop, Stopped, Vectors, Wait, Waited, wait_any};
pub use to_exit::to_exit;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// Bytes that the kernel keeps of a thread's name (prctl(2), `PR_SET_NAME`).
pub const THREAD_NAME: usize = 15;

/// The end of the address space that a program can use (x86-64 with four-level page tables, less the guard page).
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// An operating system call failed: which one, on what.
pub(crate) fn os(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> crate::Error {
    let what = what.into();
    move |source| crate::Error::Os { what, source }
}

/// The same, with the error that the last failed libc call left behind.
pub(crate) fn last_os(what: impl Into<String>) -> crate::Error {
    crate::Error::Os { what: what.into(), source: std::io::Error::last_os_error() }
}
