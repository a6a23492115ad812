//! Job control: signals that stop a process, and SIGCONT, which continues it.
//!
//! The stop is real, so that the process's parent gets its SIGCHLD and its wait(2) returns. A process is stopped when
//! each of its tasks is; each task stops the next time it has the core, before it executes anything. Replay need not
//! know about it: a stopped task does not run.

use crate::record::futex::Futexes;
use crate::record::poller::Poller;
use crate::record::step::{Flow, Next};
use crate::record::time::clocks::Clocks;
use crate::record::tree::call::Call;
use crate::record::tree::task::Hold;
use crate::record::tree::tasks::Tasks;
use crate::schedule::Why;
use crate::task::TaskId;
use crate::tracee::{Stop, Stopped};

impl Futexes {
    /// Handles a group stop of a task, on the way to `call` if there is one.
    pub(in crate::record) fn stopped_by_signal(
        &mut self,
        tasks: &mut Tasks,
        poller: &mut Poller,
        clocks: &Clocks,
        id: TaskId,
        stopped: Stopped,
        call: Option<Call>,
    ) -> Flow<Next> {
        tasks.hold(id, Hold::Suspended(stopped.listen()?, call));
        // Tasks that wait in the recorder do not notice.
        let pid = tasks.task(id).pid;
        let waits = |hold: &Hold| matches!(hold, Hold::Waiting(..) | Hold::Calling(..));
        let others = tasks.of(pid).filter(|t| waits(t.hold())).map(|t| t.id);
        for other in others.collect::<Vec<_>>() {
            self.interrupt_wait(tasks, poller, clocks, other)?;
        }
        Ok(Next::Decide(Why::Blocked, None))
    }
}

impl Tasks {
    /// Handles the next report of a stopped task: it continues, or has stopped in another way.
    pub(in crate::record) fn left_stop(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        stop: Stop,
        call: Option<Call>,
    ) -> Flow<()> {
        let hold = match (stop, call) {
            (Stop::Group(_), call) => Hold::Suspended(stopped.listen()?, call),
            (_, None) => Hold::Ready(stopped),
            (_, Some(call)) => Hold::Again(stopped, call),
        };
        self.hold(id, hold);
        self.woken = true;
        Ok(())
    }
}
