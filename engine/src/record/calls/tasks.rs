//! Calls that create and end tasks and processes.

use std::rc::Rc;
use std::time::Duration;

use crate::ending::Ending;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Halt, Next};
use crate::record::tree::call::{Call, Outcome, interrupted};
use crate::record::tree::task::{Hold, Origin, Space, Task};
use crate::record::tree::tasks::Tasks;
use crate::schedule::Why;
use crate::syscalls::{CloneCall, NAMESPACES};
use crate::task::TaskId;
use crate::trace::event::{Effect, Registers};
use crate::tracee::{Memory, Resume, State, Stopped, WaitStatus, Waited, state};

/// Where a copy of `struct clone_args` (clone(2)) with other flags than the program's is put, in the task's scratch
/// memory.
const CLONE_ARGS: u64 = 64;

/// `CLONE_INTO_CGROUP` (linux/sched.h).
const INTO_CGROUP: u64 = 1 << 33;

/// The largest `struct clone_args` that is known.
const CLONE_ARGS_LEN: u64 = 88;

impl Recorder<'_> {
    /// clone(2), clone3(2), fork(2), vfork(2).
    pub(in crate::record) fn clone_call(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let space = self.tasks.space(id);
        let Ok(asked) = CloneCall::decode(&space.memory, call.number(), &call.args()) else {
            return self.skip(id, stopped, call, Outcome::fails(libc::EFAULT));
        };
        if asked.flags & NAMESPACES != 0 || asked.chooses_tid {
            return self.skip(id, stopped, call, Outcome::fails(libc::EPERM));
        }
        if asked.has(libc::CLONE_UNTRACED) {
            return self.tasks.unsupported(id, "clone with CLONE_UNTRACED");
        }
        if asked.flags & INTO_CGROUP != 0 {
            return self.tasks.unsupported(id, format!("clone with flags {:#x}", asked.flags));
        }
        let maker = asked.has(libc::CLONE_THREAD).then(|| self.code.call_sites.maker(&self.tasks, id, call));
        self.tasks.let_maker_go_on(id, &stopped, call, &asked)?;
        let (stopped, child) = self.make_task(id, stopped)?;
        let result = stopped.registers()?.result();
        let Some(child) = child else {
            if interrupted(result) {
                return self.tasks.interrupted(id, stopped, call, Vec::new());
            }
            restore_args(&stopped, call)?;
            return self.finish(id, stopped, call, Outcome::result(result));
        };
        restore_args(&stopped, call)?;
        restore_args(&child, call)?;
        let mut writes = Vec::new();
        for (flag, address) in
            [(libc::CLONE_PARENT_SETTID, asked.parent_tid), (libc::CLONE_PIDFD, asked.pidfd)]
        {
            if asked.has(flag) {
                writes.push(self.tasks.copy(id, address, 4)?);
            }
        }
        let new = self.adopt_child(id, child, &asked)?;
        self.tasks.task(new).maker = maker;
        if asked.has(libc::CLONE_THREAD) && !asked.has(libc::CLONE_FILES) {
            self.poller.part_descriptors(&self.tasks, id);
        }
        if asked.has(libc::CLONE_FILES) && !asked.has(libc::CLONE_THREAD) {
            let pids = [id, new].map(|task| self.tasks.task(task).pid);
            self.code.buffer.share_descriptors(pids);
        }
        self.finish(id, stopped, call, Outcome::new(result, writes).with(Effect::Spawned(new)))?;
        if asked.has(libc::CLONE_VFORK)
            && let Hold::Ready(stopped) = self.tasks.release(id)
        {
            self.tasks.hold(id, Hold::Lent(stopped, new));
            return Ok(Next::Decide(Why::Blocked, None));
        }
        Ok(Next::Continue)
    }

    /// Runs a task from the entry of a call that creates a task to its exit, and the new task to its first stop.
    fn make_task(&mut self, id: TaskId, stopped: Stopped) -> Flow<(Stopped, Option<Stopped>)> {
        let (stopped, child) = self.run_and_follow(id, stopped)?;
        let Some(child) = child else { return Ok((stopped, None)) };
        self.tasks.children.kill_on_drop.add(child.tid());
        let seen = self.tasks.children.newborn.iter().position(|(tid, _)| *tid == child.tid());
        let first = match seen {
            Some(index) => self.tasks.children.newborn.swap_remove(index).1,
            None => loop {
                match child.wait()? {
                    Waited::Done(first) => break first,
                    // Something outside, like a control group that is frozen, may keep it from running at all.
                    Waited::NotYet if self.over()? => return self.hung(None),
                    Waited::NotYet => {}
                }
            },
        };
        match first {
            WaitStatus::Stopped(new, _) => Ok((stopped, Some(new))),
            WaitStatus::Dead(_) => {
                self.tasks.unsupported(id, "a thread or process that is killed as it is created")
            }
        }
    }

    fn adopt_child(&mut self, id: TaskId, child: Stopped, asked: &CloneCall) -> Flow<TaskId> {
        let Task { pid, space, name, affinity, natively, .. } = &self.tasks[id];
        let (affinity, natively) = (*affinity, *natively);
        let pid = if asked.has(libc::CLONE_THREAD) { *pid } else { child.tid() };
        let (name, clear_tid) =
            (name.clone(), if asked.has(libc::CLONE_CHILD_CLEARTID) { asked.child_tid } else { 0 });
        let space = if asked.has(libc::CLONE_VM) {
            Rc::clone(space)
        } else {
            let dumpable = space.dumpable.clone();
            Rc::new(Space { dumpable, ..self.tasks.new_space(Memory::open(pid)?) })
        };
        Ok(self.adopt(child, Origin { pid, space, name, clear_tid, affinity, natively })?)
    }

    /// exit(2). Ends a task, and with the last task its process.
    pub(in crate::record) fn exit(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let Task { pid, tid, .. } = *self.tasks.task(id);
        let others = self.tasks.of(pid).any(|t| t.id != id);
        if !others {
            return self.exit_group(id, stopped, call);
        }
        let writes = self.futexes.robust_exit(
            &mut self.tasks,
            &mut self.journal,
            &mut self.scheduler,
            &self.surprises,
            &[id],
        );
        self.journal.log_call(&mut self.tasks, &self.clock, id, call, Outcome::new(0, writes));
        self.journal.log_elsewhere();
        let running = stopped.resume(Resume::Freely, 0)?;
        if tid == pid {
            // The first thread of a process stays a zombie until the others have ended; the kernel reports nothing.
            while state(running.tid()) != State::Dead {
                std::thread::sleep(Duration::from_micros(50));
            }
        } else {
            running.reap()?;
        }
        self.gone(id);
        Ok(Next::Decide(Why::Exited, None))
    }

    /// exit_group(2). Ends a process. The end of the first process ends the recording: what remains is killed.
    pub(in crate::record) fn exit_group(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let pid = self.tasks.task(id).pid;
        let members = self.tasks.members(pid);
        let writes = if pid == self.tasks.root() {
            Vec::new()
        } else {
            self.futexes.robust_exit(
                &mut self.tasks,
                &mut self.journal,
                &mut self.scheduler,
                &self.surprises,
                &members,
            )
        };
        self.journal.log_call(&mut self.tasks, &self.clock, id, call, Outcome::new(0, writes));
        self.journal.log_elsewhere();
        if pid == self.tasks.root() {
            let code = (call.args()[0] & 0xff) as i32;
            if code != 0 {
                self.surprises.explain_strikes(&self.tasks, &self.code.call_sites);
            }
            return Err(Halt::Ending(Ending::Exited(code)));
        }
        stopped.resume(Resume::Freely, 0)?;
        self.process_ended(pid)?;
        Ok(Next::Decide(Why::Exited, None))
    }
}

impl Tasks {
    /// Clears `CLONE_VFORK`, by which the kernel would suspend the creator until the new task has left the borrowed
    /// memory. The recorder suspends it instead: a task in the kernel could not report the new task's first stop.
    fn let_maker_go_on(&mut self, id: TaskId, stopped: &Stopped, call: &Call, asked: &CloneCall) -> Flow<()> {
        if !asked.has(libc::CLONE_VFORK) {
            return Ok(());
        }
        let vfork = libc::CLONE_VFORK as u64;
        let mut registers = call.registers;
        let mut args = call.args();
        match call.number() as i64 {
            libc::SYS_vfork => {
                registers.set_number(libc::SYS_clone as u64);
                args = [(libc::CLONE_VM | libc::SIGCHLD) as u64, 0, 0, 0, 0, 0];
            }
            libc::SYS_clone => args[0] &= !vfork,
            _ => {
                let Some(base) = self.task(id).scratch else {
                    return self.unsupported(id, "more than 2000 tasks at once");
                };
                let memory = &self.space(id).memory;
                let mut copy = memory.bytes(args[0], args[1].min(CLONE_ARGS_LEN) as usize)?;
                copy[..8].copy_from_slice(&(asked.flags & !vfork).to_ne_bytes());
                memory.write(base + CLONE_ARGS, &copy)?;
                args[0] = base + CLONE_ARGS;
                args[1] = copy.len() as u64;
            }
        }
        registers.set_args(args);
        Ok(stopped.set_registers(&registers)?)
    }
}

/// Restores the program's arguments: it must not see that its call was made with others.
fn restore_args(stopped: &Stopped, call: &Call) -> Flow<()> {
    let mut registers: Registers = stopped.registers()?;
    registers.set_args(call.args());
    registers.set_number(u64::MAX);
    Ok(stopped.set_registers(&registers)?)
}
