//! Makes system calls as the table describes them.

use rrtest_preload::layout::SYS_READ;

use super::calls::outputs;
use super::journal::Journal;
use super::kernel::fds::FdKind;
use super::options::Options;
use super::poller::Poller;
use super::recorder::Recorder;
use super::step::{Flow, Next};
use super::tree::call::{Call, Outcome, Stage, fails, interrupted};
use super::tree::tasks::Tasks;
use super::waiting::wait_all::WaitAll;
use crate::schedule::surprise::Surprise;
use crate::syscalls::{self, Class, Description, Performance, describe};
use crate::task::TaskId;
use crate::trace::event::{Effect, Registers, Stream};
use crate::tracee::{Area, Stopped};

impl Recorder<'_> {
    /// Makes the call at whose entry a task stands.
    pub(in crate::record) fn call(&mut self, id: TaskId, stopped: Stopped, call: Call) -> Flow<Next> {
        let number = call.number();
        if number == SYS_READ as u64 {
            return self.drain(id, stopped, call.registers);
        }
        let Some(description) = describe(number) else {
            return self.skip(id, stopped, &call, Outcome::fails(libc::ENOSYS));
        };
        self.time.stamped.before_stamp(
            &self.tasks,
            &self.clock,
            &mut self.poller,
            &self.time.clocks,
            id,
            &call,
        )?;
        if call.stage != Stage::Arrived {
            return self.wait_or_make(id, stopped, call, description);
        }
        match description.class_for(&self.tasks.space(id).memory, &call.args()) {
            Class::Unsupported => self.tasks.unsupported(id, description.name()),
            Class::Refused(errno) => self.skip(id, stopped, &call, Outcome::fails(errno)),
            Class::Emulated(emulation) => self.emulate(id, stopped, call, emulation),
            Class::Performed(performance) => self.perform(id, stopped, &call, description, performance),
            Class::Logged => self.logged(id, stopped, call, description),
        }
    }

    /// Makes a call that the kernel makes, and that replay reads from the log.
    fn logged(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut call: Call,
        description: &Description,
    ) -> Flow<Next> {
        self.outside.claimed.claim(
            self.options,
            &self.tasks,
            &mut self.poller,
            &self.outside.reach,
            id,
            &call,
        );
        if let Some((result, writes)) =
            self.time.alarms.own_timer(self.options, &self.tasks, &self.time.clocks, id, &call)?
        {
            return self.skip(id, stopped, &call, Outcome::new(result, writes));
        }
        if let Some(shown) = self
            .time
            .proc
            .shown(&self.tasks, &mut self.poller, &self.time.clocks, id, &call)
            .or_else(|| self.time.proc.read_times(&self.tasks, &self.time.clocks, id, &call))
        {
            self.is_seen(Surprise::Uptime, id, &call);
            return self.show(id, stopped, &call, shown);
        }
        if let Some(shown) = self.quota(id, &call) {
            return self.show(id, stopped, &call, shown);
        }
        if let Some(stream) = self.poller.output_stream(&self.tasks, id, &call.registers)
            && let Some(bytes) = syscalls::gathered(&self.tasks.space(id).memory, call.number(), &call.args())
        {
            return match self.journal.put_out(self.options, stream, &bytes) {
                Ok(written) => {
                    self.note_descriptors(id, &call, written);
                    self.skip(
                        id,
                        stopped,
                        &call,
                        Outcome::result(written).with(Effect::Output(stream, bytes)),
                    )
                }
                Err(errno) => {
                    if errno == libc::EPIPE {
                        self.tasks.send(id, libc::SIGPIPE)?;
                    }
                    self.skip(id, stopped, &call, Outcome::fails(errno))
                }
            };
        }
        if let Some(fd) = filled(&call)
            && self.poller.stream(&self.tasks, id, fd).is_some()
        {
            // Fails as for a descriptor to which the kernel cannot splice: the program reads and writes instead.
            return self.skip(id, stopped, &call, Outcome::fails(libc::EINVAL));
        }
        if let Some(errno) = self.surprises.fails(
            &self.tasks,
            &self.scheduler,
            &self.code.call_sites,
            &mut self.poller,
            id,
            &call,
        ) {
            return self.skip(id, stopped, &call, Outcome::fails(errno));
        }
        call.stage = Stage::Due;
        self.wait_or_make(id, stopped, call, description)
    }

    /// Lets a call wait, or makes it if it need not.
    fn wait_or_make(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: Call,
        description: &Description,
    ) -> Flow<Next> {
        if call.number() == libc::SYS_recvmsg as u64
            && call.args()[2] & libc::MSG_WAITALL as u64 != 0
            && self.tasks.count() > 1
        {
            // It would keep the core while it waits for what another task is to send.
            return self.tasks.unsupported(id, "recvmsg with MSG_WAITALL among several tasks");
        }
        let watch = self.poller.must_wait(self.options, &mut self.tasks, id, description, &call)?;
        let (stopped, call) = match watch {
            None => (stopped, call),
            Some(watch) => match self.wait_for_descriptors(id, stopped, call, &watch)? {
                Ok(ready) => ready,
                Err(next) => return Ok(next),
            },
        };
        if call.stage == Stage::TimedOut
            && matches!(
                description.block,
                syscalls::Block::Readable(_) | syscalls::Block::Writable(_) | syscalls::Block::Either(_)
            )
        {
            let writes = self.time.clocks.rest(&self.tasks, id, &call)?.into_iter().collect();
            let outcome = Outcome::new(call.so_far(fails(libc::EAGAIN)), writes);
            return self.skip(id, stopped, &call, outcome);
        }
        self.make(id, stopped, call, description)
    }

    /// Has the kernel make a call that need not wait any longer.
    fn make(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut call: Call,
        description: &Description,
    ) -> Flow<Next> {
        if (call.stage == Stage::Ready || call.got > 0)
            && let Some(whole) = WaitAll::of(&call)
        {
            return self.receive_whole(id, stopped, call, description, whole);
        }
        self.journal.before_change(&self.tasks, id, &mut call);
        let ends = self.futexes.before_kill(
            &mut self.tasks,
            &mut self.journal,
            &mut self.scheduler,
            &self.surprises,
            id,
            &call,
        );
        self.journal.elsewhere.extend(ends);
        if let Some(group) = self.tasks.group_with_us(id, &call) {
            return self.signal_group(id, stopped, &call, &group);
        }
        if let Some(redirected) = self.poller.may_stay(self.options, &self.tasks, id, description, &call) {
            return self.stay(id, stopped, Call { redirected, ..call });
        }
        let before = outputs::before(&self.tasks.space(id).memory, description, &call.args());
        let (stopped, result) = self.in_kernel(id, stopped, &call, description)?;
        if description.block.timed() && result == 0 && call.stage == Stage::Ready {
            // Another task was faster: nothing is ready any more, but the time is not over.
            before.restore(&self.tasks.space(id).memory)?;
            return self.tasks.once_more(id, stopped, call);
        }
        if call.has_waited() && !interrupted(result) {
            self.time.clocks.rest(&self.tasks, id, &call)?;
        }
        let (stopped, result) = self.time.tell_times(&self.tasks, id, stopped, &call, result)?;
        if self.surprises.reorder(&self.tasks, id, &call, result)? {
            self.is_seen(Surprise::DirOrder, id, &call);
        }
        if self.time.stamped.grain > 0 && syscalls::file_times(call.number()).is_some() {
            self.is_seen(Surprise::CoarseMtime, id, &call);
        }
        self.surprises.note_given(&self.tasks, &mut self.poller, id, &call, result);
        let writes = self.tasks.outputs(id, description, &call, &before, result)?;
        if interrupted(result) {
            return self.tasks.interrupted(id, stopped, &call, writes);
        }
        self.conclude(id, stopped, &call, Outcome::new(result, writes))
    }

    /// Has the kernel make a call, and waits for its end. A call whose descriptors have been waited for must not wait
    /// again: its timeout is set to zero.
    fn in_kernel(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        description: &Description,
    ) -> Flow<(Stopped, i64)> {
        let changed = match self.tasks.without_waiting(id, call, description)? {
            None => match self.time.clocks.at_machine_time(&self.tasks, &self.time.alarms, id, call)? {
                None => self.surprised(id, call),
                changed => changed,
            },
            changed => changed,
        };
        if let Some(registers) = &changed {
            stopped.set_registers(registers)?;
        }
        let (stopped, result) = self.run_to_exit(id, stopped)?;
        if changed.is_some() {
            let mut registers = stopped.registers()?;
            registers.set_args(call.args());
            stopped.set_registers(&registers)?;
        }
        Ok((stopped, result))
    }

    /// Returns the registers with which the kernel is to make a call, if a surprise changes it.
    fn surprised(&mut self, id: TaskId, call: &Call) -> Option<Registers> {
        let Self { surprises, tasks, scheduler, code, poller, .. } = self;
        let again = surprises.bound_again(tasks, scheduler, &code.call_sites, poller, id, call);
        again.or_else(|| surprises.shortened(tasks, scheduler, &code.call_sites, poller, id, call))
    }

    fn perform(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        description: &Description,
        performance: Performance,
    ) -> Flow<Next> {
        if performance.maps() {
            self.futexes.keys.forget();
        }
        match performance {
            Performance::Clone => self.clone_call(id, stopped, call),
            Performance::Attach => self.attach(id, stopped, call),
            Performance::Detach => self.detach(id, stopped, call),
            Performance::Remap => self.remap(id, stopped, call),
            Performance::Repeat if Area::overlaps(call.args()[0], call.args()[1]) => {
                self.repeat_around(id, stopped, call)
            }
            Performance::Repeat => {
                // The kernel makes the call when the task goes on.
                self.futexes.keys.changes(id);
                self.finish(id, stopped, call, Outcome::result(0))
            }
            Performance::Exit => self.exit(id, stopped, call),
            Performance::ExitGroup => self.exit_group(id, stopped, call),
            Performance::Execute => self.execute(id, stopped, call),
            Performance::Map => self.map(id, stopped, call),
            Performance::Advise => self.advise(id, stopped, call),
            Performance::SignalReturn => self.signal_return(id, stopped, call),
            Performance::Same | Performance::Break => {
                let (stopped, result) = self.run_to_exit(id, stopped)?;
                if call.number() == libc::SYS_set_tid_address as u64 {
                    self.tasks.task(id).clear_tid = call.args()[0];
                }
                let before = outputs::Before::default();
                let writes = self.tasks.outputs(id, description, call, &before, result)?;
                self.finish(id, stopped, call, Outcome::new(result, writes))
            }
        }
    }
}

impl Journal {
    /// Passes on what the program writes. Returns the number of bytes, or the listener's errno.
    fn put_out(&mut self, options: &Options<'_>, stream: Stream, bytes: &[u8]) -> Result<i64, i32> {
        if let Some(listen) = options.listener {
            listen(stream, bytes).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
        }
        let written = bytes.len() as i64;
        self.output.push(stream, bytes);
        Ok(written)
    }
}

impl Poller {
    /// Returns the output stream to which a write(2) or writev(2) goes.
    pub(in crate::record) fn output_stream(
        &mut self,
        tasks: &Tasks,
        id: TaskId,
        registers: &Registers,
    ) -> Option<Stream> {
        let writes = matches!(registers.number() as i64, libc::SYS_write | libc::SYS_writev);
        if writes { self.stream(tasks, id, registers.args()[0]) } else { None }
    }

    /// Returns the output stream that a descriptor refers to.
    fn stream(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> Option<Stream> {
        match self.kind(tasks, id, fd) {
            FdKind::Output(stream) => Some(stream),
            FdKind::Ready | FdKind::Waitable => None,
        }
    }
}

/// Returns the descriptor that a call fills from another one.
fn filled(call: &Call) -> Option<u64> {
    let args = call.args();
    match call.number() as i64 {
        libc::SYS_sendfile | libc::SYS_vmsplice => Some(args[0]),
        libc::SYS_tee => Some(args[1]),
        libc::SYS_splice | libc::SYS_copy_file_range => Some(args[2]),
        _ => None,
    }
}
