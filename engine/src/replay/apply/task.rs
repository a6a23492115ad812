//! Tasks and processes: how they begin and end.

use std::rc::Rc;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::Error;
use crate::replay::live::Handle;
use crate::replay::state::{At, Task};
use crate::replay::step::Step;
use crate::syscalls::CloneCall;
use crate::task::TaskId;
use crate::trace::event::{Effect, Syscall};
use crate::tracee::{Memory, Registers, Resume, Running, State, Stop, Stopped, WaitStatus, state, to_exit};

/// More tasks than this do not live at a time: the recorder has no more slots (`SLOTS_MOST`).
const MOST: usize = 4096;

impl Step<'_, '_> {
    /// A call that makes a task: the kernel makes one; the program sees the recorded ids.
    pub(in crate::replay) fn clone_task(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
    ) -> Result<(), Error> {
        let Effect::Spawned(id) = call.effect else {
            return Err(self.misplaced("a new task", &format!("{:?}", call.effect)));
        };
        if id.0 as usize != self.state.tasks.len() {
            return Err(self.misplaced(&format!("task {}", self.state.tasks.len()), &id.to_string()));
        }
        if self.state.tasks().count() >= MOST {
            return Err(self.misplaced(&format!("fewer than {MOST} tasks"), "one more"));
        }
        let asked = CloneCall::decode(&self.memory(), call.number, &call.args)?;
        let mut changed = *registers;
        changed.set_number(libc::SYS_clone as u64);
        changed.set_args(asked.replayed());
        stopped.set_registers(&changed)?;
        let (stopped, child) = self.make_task(stopped)?;
        let maker = self.state.running().clone();
        let space = if asked.has(libc::CLONE_VM) {
            maker.space
        } else {
            self.state.spaces.push(self.state.spaces[maker.space].clone());
            self.live.memories.push(Rc::new(Memory::open(child.tid())?));
            self.live.memories.len() - 1
        };
        if asked.has(libc::CLONE_CHILD_SETTID) {
            self.live.memories[space].write(asked.child_tid, &(call.result as u32).to_ne_bytes())?;
        }
        self.write(call)?;
        let mut after = child.registers()?;
        after.set_number(u64::MAX);
        after.set_args(call.args);
        child.set_registers(&after)?;
        let mut after = *registers;
        after.set_number(u64::MAX);
        after.set_result(call.result);
        stopped.set_registers(&after)?;
        self.ready(stopped);
        let (process, pid) = if asked.has(libc::CLONE_THREAD) {
            (maker.process, self.live.handle(self.state.current).pid)
        } else {
            (id, child.tid())
        };
        self.state.tasks.push(Task { name: maker.name, process, space, at: At::Ready, slot: None });
        self.live.handles.push(Handle::new(child, pid));
        self.state.stats.tasks += 1;
        Ok(())
    }

    /// From the entry of a clone call to its exit, and to the new task's first stop.
    fn make_task(&mut self, stopped: Stopped) -> Result<(Stopped, Stopped), Error> {
        let (stopped, child) = to_exit(stopped, |stopped| self.resume(stopped, Resume::ToSyscallExit))?;
        let Some(child) = child else {
            let result = stopped.registers()?.result();
            return Err(self.differs("a new task".into(), format!("clone returns {result}")));
        };
        self.live.kill_on_drop.add(child.tid());
        match self.wait(&child)? {
            WaitStatus::Stopped(child, _) => Ok((stopped, child)),
            WaitStatus::Dead(_) => Err(self.differs("a new task".into(), "one that died".into())),
        }
    }

    /// exit(2) of one task: the kernel clears its word, as it did when recording.
    pub(in crate::replay) fn exit(&mut self, stopped: Stopped, code: i32) -> Result<(), Error> {
        let (current, process) = (self.state.current.0 as usize, self.state.running().process);
        let mut others = self.state.tasks.iter().enumerate().filter(|(id, _)| *id != current);
        if !others.any(|(_, task)| task.process == process && !matches!(task.at, At::Gone)) {
            return self.exit_group(stopped, code);
        }
        self.state.running_mut().at = At::Gone;
        let first = stopped.tid() == self.live.handle(self.state.current).pid;
        let running = stopped.resume(Resume::Freely, 0)?;
        if first {
            // It is waited for with the last of its process.
            let since = Instant::now();
            while state(running.tid()) != State::Dead {
                self.check_patience(since)?;
                std::thread::yield_now();
            }
            return Ok(());
        }
        self.reap(running)
    }

    /// exit_group(2). If the first process ends, the trace's end is next; what remains is killed then.
    pub(in crate::replay) fn exit_group(&mut self, stopped: Stopped, code: i32) -> Result<(), Error> {
        if self.state.is_of_first(self.state.current) {
            self.state.exit_code = Some(code);
            // It stays at its call, for those who look at it.
            let mut registers = stopped.registers()?;
            registers.set_number(u64::MAX);
            stopped.set_registers(&registers)?;
            self.ready(stopped);
            return Ok(());
        }
        self.end_process(self.state.current, Some(stopped))
    }

    /// The process of a task is killed.
    pub(in crate::replay) fn kill(&mut self, id: TaskId) -> Result<(), Error> {
        if id.0 as usize >= self.state.tasks.len() {
            return Err(self.misplaced("a task", &id.to_string()));
        }
        if self.state.is_of_first(id) {
            return Err(self.misplaced("a process other than the first", &id.to_string()));
        }
        self.kill_process(id)
    }

    /// Kill the process of a task, and wait until it is dead.
    pub(in crate::replay) fn kill_process(&mut self, id: TaskId) -> Result<(), Error> {
        self.end_process(id, None)
    }

    /// The process of a task ends by this one's call, or is killed.
    fn end_process(&mut self, id: TaskId, by: Option<Stopped>) -> Result<(), Error> {
        let process = self.state.tasks[id.0 as usize].process;
        let pid = self.live.handle(id).pid;
        let mut tids: Vec<Pid> = Vec::new();
        for (task, handle) in self.state.tasks.iter_mut().zip(&mut self.live.handles) {
            if task.process == process && !matches!(std::mem::replace(&mut task.at, At::Gone), At::Gone) {
                handle.held = None;
                tids.push(handle.tid);
            }
        }
        if tids.is_empty() {
            // Its id may be somebody else's by now.
            return Err(self.misplaced("a living process", &id.to_string()));
        }
        match by {
            Some(stopped) => {
                let _running = stopped.resume(Resume::Freely, 0)?;
            }
            // It has not been waited for to its end, so the id is its own.
            None => drop(kill(pid, Signal::SIGKILL)),
        }
        for tid in tids.into_iter().filter(|tid| *tid != pid).chain([pid]) {
            self.reap(Running::known_to_run(tid))?;
            self.live.kill_on_drop.remove(tid);
        }
        Ok(())
    }

    /// Wait for the end of a task that is certain to come. No call of its own is made any more.
    fn reap(&self, mut running: Running) -> Result<(), Error> {
        loop {
            match self.wait(&running) {
                Ok(WaitStatus::Dead(_)) => return Ok(()),
                Ok(WaitStatus::Stopped(stopped, stop)) => {
                    if stop == Stop::Seccomp
                        && let Ok(mut registers) = stopped.registers()
                    {
                        registers.set_number(u64::MAX);
                        // It may have been killed by now, which is as good.
                        let _ = stopped.set_registers(&registers);
                    }
                    running = stopped.resume(Resume::Freely, 0)?;
                }
                Err(Error::Os { source, .. }) if source.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
