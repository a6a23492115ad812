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

#[cfg(test)]
mod tests {
    use nix::unistd::getpid;

    use super::*;
    use crate::record::testing::{call, tasks};

    /// The processes that get a signal in place of a group with the recorder. The caller is in the recorder's group.
    fn group(target: i32, signal: i32) -> Option<Vec<Pid>> {
        let mut tasks = tasks(2);
        tasks.task(TaskId(0)).pid = getpid();
        let call = call(libc::SYS_kill, [target as u64, signal as u64, 0, 0, 0, 0]);
        tasks.group_with_us(TaskId(0), &call)
    }

    #[test]
    fn a_group_with_the_recorder_is_its_recorded_members() {
        assert_eq!(group(0, libc::SIGTERM), Some(vec![getpid()]));
        assert_eq!(group(-getpgrp().as_raw(), libc::SIGTERM), Some(vec![getpid()]));
    }

    #[test]
    fn all_processes_are_the_other_recorded_ones() {
        assert_eq!(group(-1, libc::SIGTERM), Some(vec![crate::record::testing::tid(1)]));
    }

    #[test]
    fn one_process_or_a_foreign_group_is_left_to_the_kernel() {
        assert_eq!(group(getpid().as_raw(), libc::SIGTERM), None);
        assert_eq!(group(i32::MIN + 1, libc::SIGTERM), None);
        assert_eq!(group(0, 0), None, "no signal is sent");
    }
}
