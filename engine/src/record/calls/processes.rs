//! execve(2).

use std::path::Path;
use std::rc::Rc;

use rand_xoshiro::rand_core::RngCore;

use crate::error::Error;
use crate::record::recorder::Recorder;
use crate::record::start::image;
use crate::record::step::{Flow, Next};
use crate::record::tree::call::{Call, Outcome, interrupted};
use crate::record::tree::task::{Hold, Space};
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::event::Effect;
use crate::tracee::{
    self, Executed, Line, Memory, Place, Resume, Stop, Stopped, WaitStatus, Waited, comm, wait_any,
};

impl Tasks {
    /// Creates an address space with a new number.
    pub(super) fn new_space(&mut self, memory: Memory) -> Space {
        self.spaces += 1;
        Space::new(self.spaces - 1, memory)
    }
}

impl Recorder<'_> {
    /// execve(2), execveat(2).
    pub(in crate::record) fn execute(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let stopped = match self.execute_call(id, stopped)? {
            Ok(stopped) => stopped,
            Err(stopped) => {
                let result = stopped.registers()?.result();
                if interrupted(result) {
                    return self.tasks.interrupted(id, stopped, call, Vec::new());
                }
                return self.finish(id, stopped, call, Outcome::result(result));
            }
        };
        if !stopped.registers()?.is_64_bit() {
            self.tasks.hold(id, Hold::Ready(stopped));
            return self.tasks.unsupported(id, "a 32-bit program");
        }
        let mut random = [0; 16];
        self.scheduler.random.fill_bytes(&mut random);
        let Executed { task: stopped, memory } = match tracee::set_up(stopped, self.clock.area(), random) {
            Ok(settled) => settled,
            Err(error @ Error::Os { .. }) => {
                return self.tasks.unsupported(id, format!("execve in changed surroundings ({error})"));
            }
            Err(error) => return Err(error.into()),
        };
        let pid = self.tasks.task(id).pid;
        let registers = stopped.registers()?;
        let program = Place::Program.link(pid).unwrap_or_default();
        let lines = tracee::maps(pid)?;
        let is_known = |line: &Line| self.journal.log.mapped((line.dev, line.inode)).is_some();
        let all_known = lines.iter().all(|it| it.inode == 0 || !image::belongs(it) || is_known(it));
        let image = image::image(Path::new(&program), &lines, registers, &memory, &mut self.journal.log)?;
        let space = Rc::new(self.tasks.new_space(memory));
        let task = self.tasks.task(id);
        task.space = space;
        task.name = comm(pid);
        task.clear_tid = 0;
        task.robust_list = 0;
        self.journal.log_call(
            &mut self.tasks,
            &self.clock,
            id,
            call,
            Outcome::result(0).with(Effect::Executed(Box::new(image))),
        );
        let ahead = self.scheduler.start_up.is_none();
        self.code.replace_in_image(&self.tasks, &self.clock, &mut self.journal, id, &lines, ahead)?;
        self.tasks.mark(&self.clock, id, &registers);
        self.time.alarms.forget(pid, true);
        self.tasks.hold(id, Hold::Ready(stopped));
        self.tasks.give_back(id);
        if all_known {
            // Close-on-exec descriptors are closed.
            self.code.buffer.forget_descriptors_of(&self.clock, pid);
        } else {
            // The program's files are mapped, too.
            self.code.buffer.forget_descriptors(&self.clock);
        }
        Ok(Next::Continue)
    }

    /// Runs a task from the entry of execve(2) to its exit: in the new program (`Ok`), or in the old one if the call
    /// fails (`Err`).
    ///
    /// On success, the other threads of the process die, and the calling thread takes over the process's id (ptrace(2),
    /// "execve(2) under ptrace").
    fn execute_call(&mut self, id: TaskId, stopped: Stopped) -> Flow<Result<Stopped, Stopped>> {
        let pid = self.tasks.task(id).pid;
        let mut running = stopped.resume(Resume::ToSyscallExit, 0)?;
        let mut executed = false;
        loop {
            let (tid, wait) = match wait_any()? {
                Waited::Done(done) => done,
                Waited::NotYet if self.over()? => return self.hung(None),
                Waited::NotYet => continue,
            };
            let ours =
                tid == running.tid() || tid == pid && matches!(wait, WaitStatus::Stopped(_, Stop::Executed));
            if !ours {
                self.left_kernel(tid, wait)?;
                continue;
            }
            let (stopped, stop) = match wait {
                WaitStatus::Stopped(stopped, stop) => (stopped, stop),
                WaitStatus::Dead(death) => return self.died(id, death),
            };
            match stop {
                Stop::Executed => {
                    executed = true;
                    for other in self.tasks.members(pid).into_iter().filter(|other| *other != id) {
                        self.execute_ends(other, pid)?;
                    }
                    self.tasks.take_over(id, pid);
                }
                Stop::SyscallExit => return Ok(if executed { Ok(stopped) } else { Err(stopped) }),
                _ => {}
            }
            running = stopped.resume(Resume::ToSyscallExit, 0)?;
        }
    }
}
