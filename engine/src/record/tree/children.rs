//! Reports of the kernel on the recorded processes (wait4(2)) that are still to be handled.

use std::collections::BTreeMap;
use std::time::Instant;

use nix::unistd::Pid;

use crate::error::Error;
use crate::tracee::{KillOnDrop, WaitStatus, WakeUpTimer};

/// Signals that the recorder has sent for the program and that have not arrived: by target process and number, the
/// sender.
pub(in crate::record) type Sent = BTreeMap<(Pid, i32), Pid>;

/// What has come from the recorded processes and is still to be handled.
#[derive(Debug)]
pub(in crate::record) struct Children {
    /// Stops of new tasks that were seen before their creators reported them.
    pub(in crate::record) newborn: Vec<(Pid, WaitStatus)>,
    /// Unhandled stops and ends of tasks that did not have the core.
    pub(in crate::record) early: Vec<(Pid, WaitStatus)>,
    /// Processes that have ended.
    pub(in crate::record) ended: Vec<Pid>,
    pub(in crate::record) sent: Sent,
    /// When to look for signals that nobody has reported.
    pub(in crate::record) look: Instant,
    /// Whether to check the time limit as well: between two tasks' turns there may be no wait that does.
    pub(in crate::record) look_again: bool,
    pub(in crate::record) wake_up_timer: WakeUpTimer,
    /// Last, so that it is dropped last: it kills what is left of the program.
    pub(in crate::record) kill_on_drop: KillOnDrop,
}

impl Children {
    /// Starts with the process that `kill_on_drop` guards.
    pub(in crate::record) fn new(kill_on_drop: KillOnDrop) -> Result<Self, Error> {
        Ok(Self {
            newborn: Vec::new(),
            early: Vec::new(),
            ended: Vec::new(),
            sent: Sent::new(),
            look: Instant::now(),
            look_again: false,
            wake_up_timer: WakeUpTimer::start()?,
            kill_on_drop,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::record::testing::tasks;

    #[test]
    fn a_request_to_look_soon_is_due_at_once() {
        let mut tasks = tasks(1);
        tasks.children.look += std::time::Duration::from_secs(3600);
        tasks.look_soon();
        assert!(tasks.children.look <= std::time::Instant::now());
    }
}
