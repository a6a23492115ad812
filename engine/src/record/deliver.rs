//! Delivers signals to the running task.

use super::journal::Journal;
use super::recorder::Recorder;
use super::signals::pending::{Action, action};
use super::step::{Flow, Halt, Next};
use super::tree::call::{Call, Outcome};
use super::tree::task::Hold;
use super::tree::tasks::Tasks;
use crate::clock::Clock;
use crate::ending::Ending;
use crate::schedule::Why;
use crate::task::TaskId;
use crate::trace::event::{Event, Handler, Position, Signal};
use crate::tracee::{Resume, Stop, Stopped, is_fault, signals};

/// `si_code` of a SIGSYS that a seccomp filter has raised: `SYS_SECCOMP` (asm-generic/siginfo.h).
const FILTERED: i32 = 1;

/// `si_code` of a signal that int3 raises (asm-generic/siginfo.h).
const SI_KERNEL: i32 = 0x80;

/// A signal that has reached its task.
struct Arrived {
    number: i32,
    /// Whether an instruction has raised it.
    fault: bool,
    position: Position,
}

impl Recorder<'_> {
    /// Handles a signal that is about to be delivered to a running task. Returns the task if it is to go on with the
    /// signal.
    pub(in crate::record) fn signal(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        number: i32,
    ) -> Flow<Result<Next, Stopped>> {
        let info = self.tasks.signal_info(id, &stopped)?;
        let registers = stopped.registers()?;
        if number == libc::SIGSYS && info.si_code == FILTERED {
            self.tasks.hold(id, Hold::Ready(stopped));
            return self.tasks.unsupported(id, "a 32-bit system call (`int $0x80`)");
        }
        let stopped = if number == libc::SIGTRAP && info.si_code == SI_KERNEL {
            match self.trapped_read(id, stopped, registers)? {
                Ok(next) => return Ok(Ok(next)),
                Err(stopped) => stopped,
            }
        } else {
            stopped
        };
        let fault = is_fault(&info);
        if fault && self.clock.area().recover(&stopped, &registers)? {
            self.tasks.hold(id, Hold::Ready(stopped));
            return Ok(Ok(Next::Stay));
        }
        let position = self.clock.position(&registers);
        let elsewhere = position != self.tasks.task(id).boundary || self.clock.area().cursor() > 0;
        let next = match action(number, fault, &signals(stopped.tid())?) {
            Action::Nothing => {
                self.tasks.hold(id, Hold::Ready(stopped));
                Next::Stay
            }
            Action::Stop => return Ok(Err(stopped)),
            Action::Handle | Action::Kill if !fault && elsewhere => {
                self.journal.put_off(&mut self.tasks, &mut self.clock, id, stopped, info)?
            }
            Action::Handle => self.handle(id, stopped, Arrived { number, fault, position }, None)?,
            Action::Kill => self.killed(id, stopped, Arrived { number, fault, position })?,
        };
        Ok(Ok(next))
    }

    /// Handles a signal that is about to be delivered to a task on its way back to the entry of a call. If no handler
    /// runs and nothing ends, returns the task and the signal to let it go on with.
    pub(in crate::record) fn signal_in_call(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        number: i32,
        call: &Call,
    ) -> Flow<Result<(Stopped, i32), Next>> {
        self.tasks.signal_info(id, &stopped)?;
        let arrived = Arrived { number, fault: false, position: self.clock.position(&call.registers) };
        match action(number, false, &signals(stopped.tid())?) {
            Action::Nothing => Ok(Ok((stopped, 0))),
            Action::Stop => Ok(Ok((stopped, number))),
            Action::Handle => self.handle(id, stopped, arrived, Some(call)).map(Err),
            Action::Kill => {
                self.journal.note_arrival(&mut self.tasks, &self.clock, id);
                self.killed(id, stopped, arrived).map(Err)
            }
        }
    }

    /// Ends the process that a signal kills.
    fn killed(&mut self, id: TaskId, stopped: Stopped, signal: Arrived) -> Flow<Next> {
        let Arrived { number, fault, position } = signal;
        self.take_buffered();
        self.journal.log.push(Event::Signal(Signal { position, number, fault, handler: None }));
        let pid = self.tasks.task(id).pid;
        if pid != self.tasks.root() {
            let members = self.tasks.members(pid);
            let writes = self.futexes.robust_exit(
                &mut self.tasks,
                &mut self.journal,
                &mut self.scheduler,
                &self.surprises,
                &members,
            );
            self.journal.log_written(id, writes);
            self.journal.log_elsewhere();
            stopped.resume(Resume::Freely, number)?;
            self.process_ended(pid)?;
            return Ok(Next::Decide(Why::Exited, None));
        }
        self.tasks.hold(id, Hold::Ready(stopped));
        let tasks = self.states(Some(id));
        Err(Halt::Ending(Ending::Killed { signal: number, task: id, tasks }))
    }

    /// Starts a signal's handler, in the middle of `call` if there is one.
    fn handle(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut signal: Arrived,
        call: Option<&Call>,
    ) -> Flow<Next> {
        let mut writes = Vec::new();
        self.take_buffered();
        self.code.call_sites.returns_to(signal.position.registers.ip());
        if let Some(call) = call {
            self.journal.note_arrival(&mut self.tasks, &self.clock, id);
            if let Some(code) = call.restart {
                let mut registers = call.registers;
                registers.set_result(code);
                stopped.set_registers(&registers)?;
            }
            let rest = self.time.clocks.rest(&self.tasks, id, call)?;
            for write in call.left.iter().chain(&rest) {
                // If the recorder cannot write there, the kernel has not done so either.
                if self.tasks.space(id).memory.write(write.address, &write.bytes).is_ok() {
                    writes.push(write.clone());
                }
            }
        }
        let mut stopped = stopped;
        loop {
            // A single step with a signal ends at the handler's first instruction, with the signal frame pushed.
            let running = stopped.resume(Resume::Step, signal.number)?;
            let stop;
            (stopped, stop) = self.wait(id, running)?;
            match stop {
                Stop::Signal(libc::SIGTRAP) if stopped.signal_info()?.si_code == libc::SIGTRAP => break,
                // There is no room for the frame. This is no position of its own: replay finds that of the first
                // signal.
                Stop::Signal(libc::SIGSEGV) => {
                    signal.number = libc::SIGSEGV;
                    if !signals(stopped.tid())?.caught.has(libc::SIGSEGV) {
                        return self.killed(id, stopped, signal);
                    }
                }
                _ => return self.tasks.unsupported(id, format!("signal {} at {stop:?}", signal.number)),
            }
        }
        let registers = stopped.registers()?;
        writes.push(self.tasks.copy(id, registers.sp(), self.tasks.frame_size(id, registers.sp())?)?);
        let Arrived { number, fault, position } = signal;
        let handler = Some(Handler { registers, writes });
        self.journal.log.push(Event::Signal(Signal { position, number, fault, handler }));
        self.tasks.mark(&self.clock, id, &registers);
        self.tasks.hold(id, Hold::Ready(stopped));
        Ok(Next::Continue)
    }

    /// rt_sigreturn(2). Returns from a handler to where the signal came.
    pub(in crate::record) fn signal_return(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
    ) -> Flow<Next> {
        // What the result register is restored to is no result: if it looked like an errno, replay would skip the call.
        let (stopped, _) = self.run_to_exit(id, stopped)?;
        let registers = stopped.registers()?;
        self.finish(id, stopped, call, Outcome::result(0))?;
        self.tasks.mark(&self.clock, id, &registers);
        Ok(Next::Continue)
    }
}

impl Journal {
    /// Keeps back a signal that has come where replay could not find the place, until the next tick or call.
    pub(in crate::record) fn put_off(
        &mut self,
        tasks: &mut Tasks,
        clock: &mut Clock,
        id: TaskId,
        stopped: Stopped,
        info: libc::siginfo_t,
    ) -> Flow<Next> {
        let (left, before) = (clock.left(), tasks.task(id).boundary.left);
        tasks.task(id).deferred.push(info);
        // A task that is about to hand the core over will not come to another tick.
        if !clock.area().is_deciding()
            && let Some(ticks) = (before + 1).checked_sub(left).filter(|_| left > 1)
            && clock.cut(1)
        {
            self.log_cut(clock, ticks);
            tasks.task(id).boundary.left = ticks;
        }
        tasks.hold(id, Hold::Ready(stopped));
        Ok(Next::Stay)
    }
}
