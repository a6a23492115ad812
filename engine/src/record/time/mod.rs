//! The program's clocks, and everything else that tells it the time.
//!
//! In virtual time the clocks are fast-forwarded when every task only waits for a time. The kernel does not know this,
//! so the times that it reports are translated: of files, of queues, in `/proc`, in the results of calls. The room
//! stands on [`tree`](super::tree).

pub(super) mod abroad;
pub(super) mod alarms;
pub(super) mod clocks;
pub(super) mod files;
pub(super) mod ipc;
mod past;
pub(super) mod proc;
mod told;

use abroad::Abroad;
use alarms::Alarms;
use clocks::Clocks;
use files::Stamped;
use ipc::IpcTimes;
use proc::ProcTimes;

/// The clocks, and what is needed to translate reported times.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) clocks: Clocks,
    pub(super) alarms: Alarms,
    /// How often time was fast-forwarded.
    pub(super) fast_forwards: u64,
    pub(super) stamped: Stamped,
    pub(super) ipc: IpcTimes,
    pub(super) proc: ProcTimes,
    pub(super) abroad: Abroad,
}
