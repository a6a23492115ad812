//! Tasks that hand the core to each other without a stop.
//!
//! Under a strategy with predictable decisions ([`Strategy::turns`](crate::schedule::Strategy::turns)) a task that
//! begins to wait for a futex hands the core to the next task itself, in the system-call buffer, if that task is
//! *parked* there. The recorder sleeps meanwhile. When a task stops, the recorder follows their notes: it carries out
//! their waits and wakes, and asks the strategy what it would have been asked. The strategy answers as they have
//! decided.
//!
//! A task that comes to a wait with a stop is parked afterwards, so that others need not stop for it. A parked task
//! notices nothing of what happens in the kernel, except signals: for those it returns to its call, and stands there
//! like any other task that waits.

use rrtest_preload::layout::Decides;

/// State of hand-overs.
#[derive(Debug, Default)]
pub(in crate::record) struct HandOver {
    /// What the process decides itself.
    pub(in crate::record) decides: Decides,
    /// With many tasks: how often a task has gone on since the last hand-over.
    pub(in crate::record) since_handed: u32,
    /// The futex for which the running task has come to wait, if its word is known to have the expected value; else 0.
    pub(in crate::record) waits: u64,
}
