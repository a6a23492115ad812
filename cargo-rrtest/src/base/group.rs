//! Process groups: a program that we start, with all that it starts.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::exit::CliError;
use super::proc;

/// How often a wait looks whether it has been given up.
const LOOK: Duration = Duration::from_millis(10);

/// Kill a process group when it has taken so long, or when it is to stop, unless `finished` is closed before. Who was killed.
pub(crate) fn guard(group: Pid, finished: &Receiver<()>, stop: &AtomicBool, longest: Duration) -> Vec<Pid> {
    let start = Instant::now();
    while finished.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if start.elapsed() >= longest || stop.load(Ordering::SeqCst) {
            let members = members(group);
            let _gone = killpg(group, Signal::SIGKILL);
            return members;
        }
    }
    Vec::new()
}

/// Ask a process, and all that it has started, to end when it has taken so long, unless `finished` is closed before. What does not end
/// then is killed.
pub(crate) fn end_after(process: Pid, finished: &Receiver<()>, longest: Duration) {
    let waits = [(longest, Signal::SIGTERM), (GRACE, Signal::SIGKILL)];
    for (wait, signal) in waits {
        if finished.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        for member in members(process) {
            let _gone = kill(member, signal);
        }
    }
}

/// What was asked to end has so long for that.
const GRACE: Duration = Duration::from_secs(2);

/// The leader of a group, whom it has started, whom these have, and so on. To look at all processes of the machine, of which
/// there may be many, would take longer than all of these take to die.
fn members(leader: Pid) -> Vec<Pid> {
    let mut members = vec![leader];
    let mut next = 0;
    while let Some(&member) = members.get(next) {
        members.extend(proc::children(member));
        next += 1;
    }
    members
}

/// Waits until none of these lives, of a process group that has been killed, and tells whether that has come. Its leader's orphans
/// die when they come to run, which, being nice, may be after it; who does not come to that soon is not waited for.
pub(crate) fn wait_for_end(group: Pid, mut members: Vec<Pid>) -> bool {
    let start = Instant::now();
    loop {
        members.retain(|member| lives(*member, group));
        if members.is_empty() || start.elapsed() >= LONGEST {
            return members.is_empty();
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether this process lives, and is of this group. A dead one whose parent has not asked for it is still of the group, and
/// orphans have process 1 for a parent, which in a container may never ask.
fn lives(process: Pid, group: Pid) -> bool {
    proc::stat(process).is_some_and(|stat| stat.group == group && stat.lives)
}

/// So long after it was killed a process is taken to be stuck, or not to come to run before long: it dies then.
const LONGEST: Duration = Duration::from_millis(200);

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
pub(crate) fn become_background(args: &[OsString]) -> CliError {
    let Some((program, args)) = args.split_first() else { return CliError::usage("no program given") };
    // Without it the work is done all the same. (nix does not have these calls; rustix is there for tempfile anyway.)
    if let Ok(now) = rustix::process::getpriority_process(None) {
        let _refused = rustix::process::setpriority_process(None, now.saturating_add(NICENESS));
    }
    end_with_parent();
    let error = Command::new(program).args(args).exec();
    CliError::os(format!("cannot run `{}`", program.display()), &error)
}

/// This process, and what it becomes, is killed when the thread that started it ends (PR_SET_PDEATHSIG of prctl(2)).
pub(crate) fn end_with_parent() {
    // A valid signal is all that it asks for.
    let _set = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Stdio;

    use super::*;

    /// A shell, and a child of its that has become ours and that nobody waits for: as with a process 1 that never reaps.
    #[test]
    fn the_dead_are_not_waited_for() {
        nix::sys::prctl::set_child_subreaper(true).expect("the prctl(2)");
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & echo; wait"]).process_group(0).stdout(Stdio::piped());
        let mut shell = shell.spawn().expect("a shell");
        shell.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("its child has been started");
        let group = Pid::from_raw(shell.id().cast_signed());
        let (_running, finished) = std::sync::mpsc::channel();
        let killed = guard(group, &finished, &AtomicBool::new(true), Duration::MAX);
        assert_eq!((killed.len(), killed[0]), (2, group));
        shell.wait().expect("a child");
        assert!(wait_for_end(group, killed));
        assert_eq!(killpg(group, None), Ok(()), "the shell's child is still to be waited for");
    }
}
