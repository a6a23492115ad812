//! Tasks that hand the core over among themselves, without a stop.
//!
//! Under a strategy whose decisions can be told beforehand ([`Strategy::turns`](crate::schedule::Strategy::turns)) a task that
//! begins to wait for a futex leaves the core to the next one itself, in the system-call buffer, if that is *parked* there,
//! too. The recorder sleeps meanwhile. When some task stops, it follows what they have noted: it carries out their waits and
//! wakes, and asks the strategy what it would have been asked, which answers as they have decided.
//!
//! Whoever comes to a wait with a stop is parked behind it, so that others need not stop for it. A parked task does not notice
//! what happens in the kernel, but for signals: for those it comes back to its call, and stands there as any other that
//! waits.

use rrtest_preload::layout::Decides;

/// What is known of hand-overs.
#[derive(Debug, Default)]
pub(in crate::record) struct HandOver {
    /// What is decided in the process.
    pub(in crate::record) decides: Decides,
    /// How often a task has gone on since one has handed the core over to another, where there are many.
    pub(in crate::record) since_handed: u32,
    /// The futex that the running task has come to wait for, if its word is known to have the value for that.
    pub(in crate::record) waits: u64,
}
