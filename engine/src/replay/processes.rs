//! Tasks and processes of a replay: how they begin and end.

use std::rc::Rc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::image;
use super::replayer::{Hold, Replayer, Space, Task, program_name};
use crate::error::Error;
use crate::syscalls::CloneCall;
use crate::task::TaskId;
use crate::trace::event::{Effect, Syscall};
use crate::tracee::{Memory, Registers, Resume, State, Stopped, Wait, another, reap, state, to_exit};

impl Replayer<'_> {
    /// A call that makes a task: the kernel makes one; the program sees the recorded ids.
    pub(super) fn clone_task(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
    ) -> Result<(), Error> {
        let Effect::Spawned(id) = call.effect else {
            return Err(self.misplaced("a new task", &format!("{:?}", call.effect)));
        };
        if id.0 as usize != self.tasks.len() {
            return Err(self.misplaced(&format!("task {}", self.tasks.len()), &id.to_string()));
        }
        let asked = CloneCall::decode(&self.space().memory, call.number, &call.args)?;
        let mut changed = *registers;
        changed.set_number(libc::SYS_clone as u64);
        changed.set_args(asked.replayed());
        stopped.set_registers(&changed)?;
        let (stopped, child) = self.make_task(stopped)?;
        self.watch_locks(&child)?;
        let space = if asked.has(libc::CLONE_VM) {
            self.space()
        } else {
            let copy = Space::new(Memory::open(child.tid())?);
            copy.brk.set(self.space().brk.get());
            Rc::new(copy)
        };
        if asked.has(libc::CLONE_CHILD_SETTID) {
            space.memory.write(asked.child_tid, &(call.result as u32).to_ne_bytes())?;
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
        self.set(Hold::Ready(stopped));
        let pid = if asked.has(libc::CLONE_THREAD) { self.task().pid } else { child.tid() };
        let (name, tid) = (self.task().name.clone(), child.tid());
        self.tasks.push(Task { name, tid, pid, space, hold: Hold::Ready(child) });
        self.stats.tasks += 1;
        Ok(())
    }

    /// From the entry of a clone call to its exit, and to the new task's first stop.
    fn make_task(&mut self, stopped: Stopped) -> Result<(Stopped, Stopped), Error> {
        let (stopped, child) = to_exit(stopped, |stopped| self.resume(stopped, Resume::ToSyscallExit))?;
        let Some(child) = child else {
            let result = stopped.registers()?.result();
            return Err(self.differs("a new task".into(), format!("clone returns {result}")));
        };
        self.leash.add(child.tid());
        match self.wait(child)? {
            Wait::Stopped(child, _) => Ok((stopped, child)),
            Wait::Dead(_) => Err(self.differs("a new task".into(), "one that died".into())),
        }
    }

    /// exit(2) of one task: the kernel clears its word, as it did when recording.
    pub(super) fn exit(&mut self, stopped: Stopped, code: i32) -> Result<(), Error> {
        let pid = self.task().pid;
        let others = self.tasks.iter().any(|task| task.pid == pid && !matches!(task.hold, Hold::Gone));
        if !others {
            return self.exit_group(stopped, code);
        }
        let first = stopped.tid() == pid;
        let running = stopped.resume(Resume::Freely, 0)?;
        if first {
            while state(running.tid()) != State::Dead {
                std::thread::yield_now();
            }
            return Ok(());
        }
        running.reap()
    }

    /// exit_group(2). If the first process ends, the trace's end is next; what remains is killed then.
    pub(super) fn exit_group(&mut self, stopped: Stopped, code: i32) -> Result<(), Error> {
        if self.task_pid() == self.tasks[0].pid {
            self.exit_code = Some(code);
            return Ok(());
        }
        let tid = stopped.tid();
        stopped.resume(Resume::Freely, 0)?;
        self.end(self.task_pid(), Some(tid))
    }

    /// The process of a task is killed.
    pub(super) fn kill(&mut self, id: TaskId) -> Result<(), Error> {
        let Some(pid) = self.tasks.get(id.0 as usize).map(|task| task.pid) else {
            return Err(self.misplaced("a task", &id.to_string()));
        };
        if pid == self.tasks[0].pid {
            return Err(self.misplaced("a process other than the first", &id.to_string()));
        }
        self.kill_process(pid, None)
    }

    /// Kill a process, one of whose tasks may not be in the list now.
    pub(super) fn kill_process(&mut self, pid: Pid, taken: Option<Pid>) -> Result<(), Error> {
        // It has not been waited for to its end, so the id is its own.
        let _ = kill(pid, Signal::SIGKILL);
        self.end(pid, taken)
    }

    /// A process is dying: wait until it is dead.
    fn end(&mut self, pid: Pid, taken: Option<Pid>) -> Result<(), Error> {
        let mut tids: Vec<Pid> = taken.into_iter().collect();
        for task in self.tasks.iter_mut().filter(|task| task.pid == pid) {
            if !matches!(std::mem::replace(&mut task.hold, Hold::Gone), Hold::Gone) {
                tids.push(task.tid);
            }
        }
        for tid in tids.into_iter().filter(|tid| *tid != pid) {
            reap(tid)?;
        }
        reap(pid)?;
        self.leash.remove(pid);
        Ok(())
    }

    /// execve(2): a new process gets the recorded image, and the old one ends. It is not executed: the program's files
    /// are in the trace only. The new one is a copy of the old one first, whose memory may be shared with a third.
    pub(super) fn execute(&mut self, stopped: Stopped, call: &Syscall) -> Result<(), Error> {
        let Effect::Executed(image) = &call.effect else {
            return Err(self.misplaced("an image", &format!("{:?}", call.effect)));
        };
        let (pid, first) = (self.task().pid, self.task_pid() == self.tasks[0].pid);
        let (stopped, new) = another(stopped, &self.leash)?;
        let memory = Memory::open(new.tid())?;
        let new = image::fill(new, &memory, image, &mut self.files, self.trace)?;
        self.kill_process(pid, Some(stopped.tid()))?;
        let new_pid = new.tid();
        let task = self.task();
        task.name = program_name(&image.program);
        (task.tid, task.pid) = (new_pid, new_pid);
        task.space = Rc::new(Space::new(memory));
        task.hold = Hold::Ready(new);
        if first {
            // The first task tells which process is the first one.
            self.tasks[0].pid = new_pid;
        }
        Ok(())
    }

    fn task_pid(&self) -> Pid {
        self.tasks[self.current.0 as usize].pid
    }
}
