//! Signals to process groups that include the recorder.

use nix::unistd::Pid;

use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::tree::call::{Call, Outcome, fails, signal_sent};
use crate::task::TaskId;
use crate::tracee::Stopped;

impl Recorder<'_> {
    /// Sends the signal of a call to each of these processes instead of the group.
    pub(in crate::record) fn signal_group(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        group: &[Pid],
    ) -> Flow<Next> {
        let me = self.tasks[id].pid;
        let signal = signal_sent(call).unwrap_or(0);
        for pid in group.iter().filter(|pid| **pid != me) {
            // SAFETY: a plain system call. The process is a recorded one that has not been reaped.
            if unsafe { libc::kill(pid.as_raw(), signal) } == 0 {
                self.tasks.children.sent.insert((*pid, signal), me);
            }
        }
        if group.contains(&me) {
            let args = [me.as_raw() as u64, signal as u64, 0, 0, 0, 0];
            let (stopped, result) = self.make_other(id, stopped, call, libc::SYS_kill, args)?;
            let mut registers = stopped.registers()?;
            registers.set_args(call.args());
            stopped.set_registers(&registers)?;
            return self.conclude(id, stopped, call, Outcome::result(result));
        }
        let result = if group.is_empty() { fails(libc::ESRCH) } else { 0 };
        let mut registers = call.registers;
        registers.set_number(u64::MAX);
        registers.set_result(result);
        stopped.set_registers(&registers)?;
        self.conclude(id, stopped, call, Outcome::result(result))
    }
}
