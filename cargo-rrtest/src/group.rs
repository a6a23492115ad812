//! Process groups: a program that we start, with all that it starts.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::exit::Stop;

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

/// Wait until nobody is left of a process group that has been killed. Its leader's orphans die when they come to run, which,
/// being nice, may be after it; who is stuck in the kernel is not waited for.
pub(crate) fn wait_for_end(group: Pid) {
    let start = Instant::now();
    while start.elapsed() < STUCK && killpg(group, None).is_ok() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// So long after it was killed a process is taken to be stuck.
const STUCK: Duration = Duration::from_secs(1);

/// How much nicer it is than we are, which gives it a third of our weight (sched(7)): attempts take all cores, and at 10,
/// a tenth, a build that takes a minute by itself would take ten beside them.
const NICENESS: i32 = 5;

/// The hidden command that becomes a program in the background.
pub(crate) const COMMAND: &str = "__background";

/// A program that gives way to others, in a group of its own, so that Ctrl-C in a terminal is for us to pass on, and which
/// does not outlive us.
pub(crate) fn background(program: &Path) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(COMMAND).arg(program).process_group(0);
    Ok(command)
}

/// As that command: become the program. Returns only on failure.
pub(crate) fn become_background(args: &[OsString]) -> Stop {
    let Some((program, args)) = args.split_first() else { return Stop::usage("no program given") };
    // Without it the work is done all the same.
    if let Ok(now) = rustix::process::getpriority_process(None) {
        let _refused = rustix::process::setpriority_process(None, now.saturating_add(NICENESS));
    }
    end_with_parent();
    let error = Command::new(program).args(args).exec();
    Stop::os(format!("cannot run `{}`", program.display()), &error)
}

/// This process, and what it becomes, is killed when the thread that started it ends (PR_SET_PDEATHSIG of prctl(2)).
pub(crate) fn end_with_parent() {
    // A valid signal is all that it asks for.
    let _set = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
}
