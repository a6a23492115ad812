//! Calls that make and end tasks.

use std::rc::Rc;

use super::recorder::{Flow, Halt, Next, Recorder};
use super::tasks::{Call, Hold, Origin, Task};
use crate::ending::Ending;
use crate::schedule::Why;
use crate::schedule::futex::FutexKey;
use crate::task::TaskId;
use crate::trace::event::Effect;
use crate::tracee::{Death, Resume, Running, State, Stop, Stopped, Wait, state};

/// What a clone call asks for.
struct Asked {
    flags: u64,
    parent_tid: u64,
    child_tid: u64,
}

impl Recorder<'_> {
    fn asked(&self, id: TaskId, call: &Call) -> Flow<Asked> {
        let [first, _, third, fourth, ..] = call.args();
        if call.number() == libc::SYS_clone as u64 {
            return Ok(Asked { flags: first, parent_tid: third, child_tid: fourth });
        }
        // struct clone_args (clone(2)): flags, pidfd, child_tid, parent_tid, …
        Ok(Asked {
            flags: self.space(id).memory.u64(first)?,
            child_tid: self.space(id).memory.u64(first + 16)?,
            parent_tid: self.space(id).memory.u64(first + 24)?,
        })
    }

    /// clone(2), clone3(2).
    pub(super) fn clone_call(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let asked = self.asked(id, call)?;
        let has = |flag: i32| asked.flags & flag as u64 != 0;
        if !has(libc::CLONE_THREAD) || !has(libc::CLONE_FS) || !has(libc::CLONE_FILES) {
            return self.unsupported(id, "a new process (fork, vfork, posix_spawn)");
        }
        if has(libc::CLONE_PIDFD) || has(libc::CLONE_UNTRACED) || has(libc::CLONE_VFORK) {
            return self.unsupported(id, format!("clone with flags {:#x}", asked.flags));
        }
        let position = self.clock.position(&call.registers);
        let mut child = None;
        let mut stopped = stopped;
        let result = loop {
            let running = stopped.resume(Resume::ToSyscallExit, 0)?;
            let stop;
            (stopped, stop) = self.wait(id, running)?;
            match stop {
                Stop::Cloned(tid) => child = Some(Running::of_new(tid)),
                Stop::SyscallExit => break stopped.registers()?.result(),
                _ => {}
            }
        };
        let mut writes = Vec::new();
        let effect = if let Some(child) = child {
            let seen = self.newborn.iter().position(|(tid, _)| *tid == child.tid());
            let first = match seen {
                Some(index) => self.newborn.swap_remove(index).1,
                None => child.wait_soon()?,
            };
            let Wait::Stopped(new, _) = first else {
                return Err(super::calls::unexpected("follow a new thread"));
            };
            if has(libc::CLONE_PARENT_SETTID) {
                writes.push(self.copy(id, asked.parent_tid, 4)?);
            }
            if has(libc::CLONE_CHILD_SETTID) {
                writes.push(self.copy(id, asked.child_tid, 4)?);
            }
            let clear_tid = if has(libc::CLONE_CHILD_CLEARTID) { asked.child_tid } else { 0 };
            let Task { pid, space, name, .. } = &self.tasks[id.0 as usize];
            let origin = Origin { pid: *pid, space: Rc::clone(space), name: name.clone(), clear_tid };
            Effect::Spawned(self.adopt(new, origin)?)
        } else {
            Effect::None
        };
        self.finish(id, stopped, call, position, result, writes, effect)
    }

    /// exit(2): one task ends.
    pub(super) fn exit(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let others = self.tasks.iter().any(|t| t.id != id && !matches!(t.hold, Hold::Gone));
        if !others {
            return self.exit_group(call);
        }
        let position = self.clock.position(&call.registers);
        self.log_call(call, position, 0, Vec::new(), Effect::None);
        let running = stopped.resume(Resume::Freely, 0)?;
        if id == TaskId(0) {
            // The first thread of a process stays as a zombie until the others have ended; nobody is told.
            while state(running.tid()) != State::Dead {
                std::thread::yield_now();
            }
        } else {
            let Wait::Dead(_) = running.wait_soon()? else {
                return Err(super::calls::unexpected("see a thread exit"));
            };
        }
        self.gone(id);
        Ok(Next::Decide(Why::Exited, None))
    }

    /// A task has ended: the kernel has cleared its word and woken whoever waits there (set_tid_address(2)).
    fn gone(&mut self, id: TaskId) {
        let task = self.task(id);
        task.hold = Hold::Gone;
        let address = task.clear_tid;
        let space = task.space.number;
        self.strategy.exited(id);
        if address != 0 {
            self.wake(FutexKey { space, address }, 1, u32::MAX);
        }
    }

    /// exit_group(2): the program ends. What remains of it is killed.
    pub(super) fn exit_group(&mut self, call: &Call) -> Flow<Next> {
        let position = self.clock.position(&call.registers);
        self.log_call(call, position, 0, Vec::new(), Effect::None);
        Err(Halt::Ending(Ending::Exited((call.args()[0] & 0xff) as i32)))
    }

    /// A task has died of what nobody here did: somebody else killed the process.
    pub(super) fn died<T>(&mut self, id: TaskId, death: Death) -> Flow<T> {
        let tasks = self.states(Some(id));
        self.task(id).hold = Hold::Gone;
        Err(Halt::Ending(match death {
            Death::Exited(code) => Ending::Exited(code),
            Death::Killed(signal) => Ending::Killed { signal, task: id, tasks },
        }))
    }
}
