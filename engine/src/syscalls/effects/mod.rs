//! What calls do beyond what the table says of each: which files they change and stamp with the time, what they take
//! from memory, whom they signal, and which of them a process makes as it starts up.

mod change;
mod gather;
mod send;
mod stamps;
mod start_up;

pub use change::{Change, Changed, Extent, change, changes_contents};
#[cfg(test)]
pub(super) use gather::is_plain;
pub use gather::{gathered, gathered_up_to, given};
pub use send::signal_sent;
pub use stamps::{FileTimes, Stamps, Units, file_times, set_times, stamps};
pub use start_up::{Starter, starts_up};
