//! Signals to process groups that include the recorder.
//!
//! A program with the recorder's standard input is in the recorder's process group
//! ([`Stdin::Inherit`](crate::tracee::Stdin)). A signal to that group, or to all processes (kill(2)), would end the
//! recorder and whoever started it. It is meant for the recorded processes only, as it would be in a container. The
//! recorder sends it to the other processes; the caller's own process gets it by the call itself.

use libc::siginfo_t;
use nix::unistd::{Pid, getpgid, getpgrp};

use crate::record::kernel::fds;
use crate::record::step::Flow;
use crate::record::tree::call::{Call, signal_sent};
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::tracee::Stopped;

/// `PIDFD_SIGNAL_PROCESS_GROUP` (linux/pidfd.h).
const PROCESS_GROUP: u64 = 1 << 2;

impl Tasks {
    /// Returns the recorded processes to which a call sends a signal, if its target includes the recorder.
    pub(in crate::record) fn group_with_us(&self, id: TaskId, call: &Call) -> Option<Vec<Pid>> {
        signal_sent(call).filter(|signal| (1..=libc::SIGRTMAX()).contains(signal))?;
        let me = self[id].pid;
        let args = call.args();
        let target = match call.number() as i64 {
            libc::SYS_kill => args[0] as i32,
            libc::SYS_pidfd_send_signal if args[3] & PROCESS_GROUP != 0 => -fds::pidfd(self[id].tid, args[0]),
            _ => return None,
        };
        let group = match target {
            -1 => None,
            0 => Some(getpgid(Some(me)).ok()?),
            ..-1 => Some(Pid::from_raw(-target)),
            1.. => return None,
        };
        if group.is_some_and(|group| group != getpgrp()) {
            return None;
        }
        let is_in = |pid: &Pid| match group {
            Some(group) => getpgid(Some(*pid)) == Ok(group),
            None => *pid != me,
        };
        Some(self.processes().into_iter().filter(is_in).collect())
    }

    /// Replaces the sender of a signal that the recorder has sent on behalf of another process.
    pub(super) fn name_sender(&mut self, id: TaskId, stopped: &Stopped, info: &mut siginfo_t) -> Flow<()> {
        // SAFETY: `si_pid` is there for the code that kill(2) sends with.
        let ours =
            info.si_code == libc::SI_USER && unsafe { info.si_pid() }.cast_unsigned() == std::process::id();
        if !ours {
            return Ok(());
        }
        let Some(sender) = self.children.sent.remove(&(self[id].pid, info.si_signo)) else { return Ok(()) };
        /// Offset of `si_pid` (asm-generic/siginfo.h).
        const PID: usize = 16;
        // SAFETY: a siginfo_t is 128 bytes of which these are plain numbers.
        unsafe { (&raw mut *info).cast::<u8>().add(PID).cast::<i32>().write(sender.as_raw()) };
        stopped.set_signal_info(info)?;
        Ok(())
    }
}
