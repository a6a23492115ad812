//! Record and replay of Linux x86-64 programs, without hardware counters and without root.
//!
//! The design follows O'Callahan et al., "Engineering Record and Replay for Deployability" (arXiv 1705.05937): ptrace,
//! one task at a time on one core, every input from the kernel logged. The clock that identifies a position in a task's
//! execution is compiled into the recorded program (see [`rrtest_preload`]).
//!
//! The rooms, each of which stands only on those below it:
//!
//! ```text
//! keep       writes a recording to a file once it has replayed
//! debug      serves gdb
//! explain    what a failure needs, by experiments that the caller makes
//! timeline   moves about in a run, forwards and backwards
//! history    what happens in a run, as plain data for pictures
//! failure    finds the moment at which a trace's program fails
//! carried    what a trace carries for debuggers, as files
//! attach     adds to a trace what its readers need: debug information, sources
//! replay     drives a process from a trace        record     drives a process and writes a trace
//! schedule   who runs next: strategies, futexes (record only)
//! clock      where in a task's execution are we
//! syscalls   one table: what each call reads and writes, what it may block on, how it replays
//! trace      the file format: events, memory, files; writer and reader
//! claims     what a program shares with others by name
//! disclosed  what a trace tells of the machine it comes from
//! symbols    stacks with names, files and lines, for reports
//! tracee     safe ptrace: stopped and running tasks have different types
//! ```
//!
//! The engine knows nothing of cargo or tests.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("rrtest records Linux x86-64 programs only");

pub mod attach;
pub mod carried;
pub mod claims;
pub mod clock;
pub mod debug;
pub mod disclosed;
pub mod ending;
pub mod error;
pub mod explain;
pub mod failure;
pub mod history;
pub mod keep;
pub mod mark;
pub mod output;
pub mod patience;
pub mod probe;
pub mod program;
pub mod record;
pub mod replay;
pub mod schedule;
pub mod strike;
pub mod symbols;
pub mod syscalls;
pub mod task;
#[cfg(test)]
mod testing;
pub mod timeline;
pub mod trace;
pub mod tracee;

pub use error::Error;
