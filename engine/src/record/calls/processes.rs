//! The ends of processes, and new programs in old ones.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use rand_xoshiro::rand_core::RngCore;

use crate::ending::Ending;
use crate::error::Error;
use crate::record::recorder::Recorder;
use crate::record::start::image;
use crate::record::step::{Flow, Halt, Next};
use crate::record::tree::call::{Call, Outcome, interrupted};
use crate::record::tree::tasks::Tasks;
use crate::record::tree::tasks::{Hold, Space};
use crate::task::TaskId;
use crate::trace::event::{Effect, Event};
use crate::tracee::{
    self, Death, Memory, Resume, Running, Settled, State, Stop, Stopped, Wait, Waited, being_killed, comm,
    state, wait_any,
};

impl Tasks {
    /// An address space like none before.
    pub(super) fn new_space(&mut self, memory: Memory) -> Space {
        self.spaces += 1;
        Space::new(self.spaces - 1, memory)
    }

    /// Bury the processes whose parents have ended before them, where nobody else does.
    pub(in crate::record) fn bury(&mut self) {
        for pid in std::mem::take(&mut self.children.ended) {
            if state(pid) == State::Dead {
                tracee::bury(pid);
            }
        }
    }
}

impl Recorder<'_> {
    /// A process ends, all its tasks are dying: wait for that, as the kernel tells its parent only then.
    pub(in crate::record) fn process_ended(&mut self, pid: Pid) -> Flow<()> {
        let members = self.tasks.members(pid);
        let tids: Vec<Pid> = members.iter().map(|id| self.tasks[*id].tid).collect();
        for tid in tids.into_iter().filter(|tid| *tid != pid) {
            Running::of_new(tid).reap()?;
        }
        // The first thread last: the kernel keeps its end back until the others are gone.
        Running::of_new(pid).reap()?;
        self.tasks.children.leash.remove(pid);
        for id in members {
            self.surprises.gone(
                &mut self.tasks,
                &mut self.scheduler,
                &mut self.futexes,
                &mut self.poller,
                id,
            );
        }
        self.tasks.children.ended.push(pid);
        self.code.buffer.give_back_table(pid);
        self.time.alarms.forget(pid, false);
        self.poller.forget_copies(pid);
        // Its parent gets a SIGCHLD.
        self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        self.tasks.woken = true;
        Ok(())
    }

    /// A process has been killed, by SIGKILL, wherever its tasks were.
    fn process_killed(&mut self, pid: Pid, first: TaskId) -> Flow<()> {
        for id in self.tasks.members(pid) {
            self.journal.note_arrival(&mut self.tasks, &self.clock, id);
        }
        if pid == self.tasks.root() {
            let tasks = self.states(Some(first));
            return Err(Halt::Ending(Ending::Killed { signal: libc::SIGKILL, task: first, tasks }));
        }
        self.journal.log.push(Event::Killed(first));
        self.process_ended(pid)
    }

    /// Processes may have been killed by whoever is allowed to: see which. Whether there are any.
    pub(super) fn look_for_killed(&mut self) -> Flow<bool> {
        let mut any = false;
        let living: Vec<TaskId> = self.tasks.living().map(|task| task.id).collect();
        for id in living {
            let task = &self.tasks[id];
            // One that was killed may have taken it along.
            if !matches!(task.hold(), Hold::Gone) && being_killed(task.tid) {
                let pid = task.pid;
                any = true;
                self.process_killed(pid, id)?;
            }
        }
        Ok(any)
    }

    /// A task has turned out to be gone: see which. Between the signal that kills it and its end, nothing shows that it is
    /// on its way.
    pub(in crate::record) fn wait_for_killed(&mut self) -> Flow<bool> {
        /// Giving up all of its memory is what takes long.
        const LONGEST: Duration = Duration::from_secs(10);
        let since = Instant::now();
        while !self.look_for_killed()? {
            if since.elapsed() > LONGEST {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(true)
    }

    /// A task that should have gone on has died: its process has been killed.
    pub(in crate::record) fn died<T>(&mut self, id: TaskId, death: Death) -> Flow<T> {
        let pid = self.tasks.task(id).pid;
        if pid != self.tasks.root() {
            self.process_killed(pid, id)?;
            return Err(Halt::Gone);
        }
        self.journal.note_arrival(&mut self.tasks, &self.clock, id);
        let tasks = self.states(Some(id));
        self.tasks.hold(id, Hold::Gone);
        Err(Halt::Ending(match death {
            Death::Exited(code) => Ending::Exited(code),
            Death::Killed(signal) => Ending::Killed { signal, task: id, tasks },
        }))
    }

    /// execve(2), execveat(2).
    pub(super) fn execute(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let stopped = match self.execute_call(id, stopped)? {
            Ok(stopped) => stopped,
            Err(stopped) => {
                let result = stopped.registers()?.result();
                if interrupted(result) {
                    return self.tasks.interrupted(id, stopped, call, Vec::new());
                }
                return self.journal.finish(
                    &mut self.tasks,
                    &self.clock,
                    id,
                    stopped,
                    call,
                    Outcome::result(result),
                );
            }
        };
        if !stopped.registers()?.is_64_bit() {
            self.tasks.hold(id, Hold::Ready(stopped));
            return self.tasks.unsupported(id, "a 32-bit program");
        }
        let mut random = [0; 16];
        self.scheduler.random.fill_bytes(&mut random);
        let Settled { task: stopped, memory } = match tracee::settle(stopped, self.clock.area(), random) {
            Ok(settled) => settled,
            Err(error @ Error::Os { .. }) => {
                return self.tasks.unsupported(id, format!("execve in changed surroundings ({error})"));
            }
            Err(error) => return Err(error.into()),
        };
        let pid = self.tasks.task(id).pid;
        let registers = stopped.registers()?;
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let lines = tracee::maps(pid)?;
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
        self.code.reads.move_reads_of_image(
            &self.tasks,
            &self.clock,
            &mut self.journal,
            &mut self.code.call_sites,
            id,
            &lines,
        )?;
        self.tasks.mark(&self.clock, id, &registers);
        self.time.alarms.forget(pid, true);
        self.tasks.hold(id, Hold::Ready(stopped));
        self.tasks.give_back(id);
        // What was to be closed is, and the program's files are mapped.
        self.code.buffer.forget_descriptors(&self.clock);
        Ok(Next::Continue)
    }

    /// From the entry of execve(2) to its exit: in the new program, or, if it fails, in the old one.
    ///
    /// If it succeeds, the other threads of the process die, and the calling one takes over the process's id (ptrace(2),
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
            let ours = tid == running.tid() || tid == pid && matches!(wait, Wait::Stopped(_, Stop::Executed));
            if !ours {
                self.left_kernel(tid, wait)?;
                continue;
            }
            let (stopped, stop) = match wait {
                Wait::Stopped(stopped, stop) => (stopped, stop),
                Wait::Dead(death) => return self.died(id, death),
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

    /// A thread ends because another one of its process executes a program.
    fn execute_ends(&mut self, id: TaskId, pid: Pid) -> Flow<()> {
        let tid = self.tasks.task(id).tid;
        // The first thread gives its id away; nobody is told of its end.
        if tid != pid {
            Running::of_new(tid).reap()?;
        }
        self.tasks.task(id).clear_tid = 0;
        self.surprises.gone(&mut self.tasks, &mut self.scheduler, &mut self.futexes, &mut self.poller, id);
        Ok(())
    }

    /// A task that waited in the kernel is dead: so is its process, or it is on its way.
    pub(in crate::record) fn died_in_kernel(&mut self, id: TaskId) -> Flow<()> {
        let (pid, current) = (self.tasks.task(id).pid, self.tasks.current);
        let with_current = current.is_some_and(|c| self.tasks[c].pid == pid);
        if with_current {
            // The running task is about to find out by itself.
            self.surprises.gone(
                &mut self.tasks,
                &mut self.scheduler,
                &mut self.futexes,
                &mut self.poller,
                id,
            );
            return Ok(());
        }
        self.process_killed(pid, id)
    }
}
