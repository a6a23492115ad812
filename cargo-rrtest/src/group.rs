//! Process groups: a program that we start, with all that it starts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How often a wait looks whether it has been given up.
const LOOK: Duration = Duration::from_millis(50);

/// Kill a process group when it has taken so long, or when it is to stop, unless `finished` is closed before.
pub(crate) fn guard(group: Pid, finished: &Receiver<()>, stop: &AtomicBool, longest: Duration) {
    let start = Instant::now();
    while finished.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if start.elapsed() >= longest || stop.load(Ordering::SeqCst) {
            let _gone = killpg(group, Signal::SIGKILL);
            return;
        }
    }
}

/// Have a process, and what it starts from now on, give way to others (setpriority(2)).
pub(crate) fn give_way(pid: Pid) {
    // Without it the work is done all the same.
    let _refused = rustix::process::setpriority_process(rustix::process::Pid::from_raw(pid.as_raw()), 10);
}
