//! What the kernel tells of the recorded processes (wait4(2)), and what it has been told.

use std::collections::BTreeMap;
use std::time::Instant;

use nix::unistd::Pid;

use crate::error::Error;
use crate::tracee::{Heartbeat, Leash, Wait};

/// The signals that we have sent for the program and that have not arrived yet: by process and number, who has sent them.
pub(in crate::record) type Sent = BTreeMap<(Pid, i32), Pid>;

/// What has come from the recorded processes and is still to be looked at.
#[derive(Debug)]
pub(in crate::record) struct Children {
    /// Stops of new tasks that were seen before their parents told of them.
    pub(in crate::record) newborn: Vec<(Pid, Wait)>,
    /// Stops and ends of tasks that did not have the core, which are to be looked at.
    pub(in crate::record) early: Vec<(Pid, Wait)>,
    /// Processes that have ended.
    pub(in crate::record) ended: Vec<Pid>,
    pub(in crate::record) sent: Sent,
    /// When to look for signals that nobody has told of.
    pub(in crate::record) look: Instant,
    /// And whether the time is over: between two tasks' turns there may be no wait that asks.
    pub(in crate::record) look_again: bool,
    pub(in crate::record) heartbeat: Heartbeat,
    /// Last, so that it is dropped last: it kills what is left of the program.
    pub(in crate::record) leash: Leash,
}

impl Children {
    /// Those of the process that this keeps.
    pub(in crate::record) fn new(leash: Leash) -> Result<Self, Error> {
        Ok(Self {
            newborn: Vec::new(),
            early: Vec::new(),
            ended: Vec::new(),
            sent: Sent::new(),
            look: Instant::now(),
            look_again: false,
            heartbeat: Heartbeat::start()?,
            leash,
        })
    }
}
