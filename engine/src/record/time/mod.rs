//! The program's clocks, and everything else that tells it the time.
//!
//! The clocks can stand elsewhere than the machine's as an attempt begins, and in virtual time they are fast-forwarded
//! when every task only waits for a time. The kernel does not know this, so the times that it reports are translated:
//! of files, of queues, in `/proc`, in the results of calls. The room stands on [`tree`](super::tree).

pub(super) mod abroad;
pub(super) mod alarms;
pub(super) mod clocks;
pub(super) mod files;
pub(super) mod ipc;
mod past;
pub(super) mod proc;
mod told;
pub(super) mod zone;

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

impl Times {
    /// Whether the program is told other times than those that the kernel reports.
    pub(super) fn differ(&self) -> bool {
        self.clocks.differ() || self.stamped.grain > 0
    }
}
