//! The program's clocks, and whatever else tells it the time.
//!
//! In virtual time the clocks leap ahead when every task only waits for a time to come. The kernel does not know of that, so what it
//! tells of times is translated: those of files, of queues, in `/proc`, in the results of calls. The room stands on
//! [`tree`](super::tree).

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

/// The clocks, and what there is to translate of what others tell of the time.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) clocks: Clocks,
    pub(super) alarms: Alarms,
    /// Times that time has leapt.
    pub(super) leaps: u64,
    pub(super) stamped: Stamped,
    pub(super) ipc: IpcTimes,
    pub(super) proc: ProcTimes,
    pub(super) abroad: Abroad,
}
