//! System calls, as the table describes them.

use rrtest_preload::layout::SYS_READ;

use super::outputs::{self, Failure};
use super::whole::Whole;
use crate::record::kernel::fds::Kind;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Halt, Next};
use crate::record::tree::call::{Call, Waited, interrupted, signal_sent};
use crate::syscalls::{self, Class, Description, Performance, describe};
use crate::task::TaskId;
use crate::trace::event::{Effect, Position, Registers, Stream, Write};
use crate::tracee::{Area, Stopped, THREAD_NAME};

impl Recorder<'_> {
    /// Make the call at whose entry a task stands.
    pub(in crate::record) fn call(&mut self, id: TaskId, stopped: Stopped, call: Call) -> Flow<Next> {
        let number = call.number();
        if number == SYS_READ as u64 {
            return self.drain(id, stopped, call.registers);
        }
        if call.wait == Waited::No {
            self.watches.look_again();
        }
        let Some(description) = describe(number) else {
            return self.skip(id, stopped, &call, -i64::from(libc::ENOSYS), Vec::new());
        };
        self.before_stamp(id, &call)?;
        match description.class_for(&self.space(id).memory, &call.args()) {
            Class::Unsupported => self.unsupported(id, description.name()),
            Class::Refused(errno) => self.skip(id, stopped, &call, -i64::from(errno), Vec::new()),
            Class::Emulated(emulation) => self.emulate(id, stopped, call, emulation),
            Class::Performed(performance) => self.perform(id, stopped, &call, description, performance),
            Class::Logged => self.logged(id, stopped, call, description),
        }
    }

    /// A call that the kernel does and replay reads from the log.
    fn logged(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut call: Call,
        description: &Description,
    ) -> Flow<Next> {
        self.claim(id, &call);
        if let Some((result, writes)) = self.own_timer(id, &call)? {
            return self.skip(id, stopped, &call, result, writes);
        }
        if let Some(shown) = self.shown(id, &call).or_else(|| self.read_times(id, &call)) {
            return self.show(id, stopped, &call, shown);
        }
        if let Some(stream) = self.output_stream(id, &call.registers)
            && let Some(bytes) = syscalls::gathered(&self.space(id).memory, call.number(), &call.args())
        {
            return match self.put_out(stream, &bytes) {
                Ok(written) => {
                    self.note_descriptors(id, &call, written);
                    self.skip_with(id, stopped, &call, written, Vec::new(), Effect::Output(stream, bytes))
                }
                Err(errno) => {
                    if errno == libc::EPIPE {
                        self.send(id, libc::SIGPIPE)?;
                    }
                    self.skip(id, stopped, &call, -i64::from(errno), Vec::new())
                }
            };
        }
        if let Some(fd) = filled(&call)
            && self.stream(id, fd).is_some()
        {
            // As for descriptors it does not know how to write to: the program reads and writes instead.
            return self.skip(id, stopped, &call, -i64::from(libc::EINVAL), Vec::new());
        }
        if call.number() == libc::SYS_recvmsg as u64
            && call.args()[2] & libc::MSG_WAITALL as u64 != 0
            && self.tasks.count() > 1
        {
            // It would hold the core while it waits for what another task has to send.
            return self.unsupported(id, "recvmsg with MSG_WAITALL among several tasks");
        }
        if let Some(wait) = self.must_wait(id, description, &call)? {
            return self.wait_for_descriptors(id, stopped, call, &wait);
        }
        if call.wait == Waited::TimedOut
            && matches!(
                description.block,
                syscalls::Block::Readable(_) | syscalls::Block::Writable(_) | syscalls::Block::Either(_)
            )
        {
            let writes = self.rest(id, &call)?.into_iter().collect();
            return self.skip(id, stopped, &call, call.so_far(-i64::from(libc::EAGAIN)), writes);
        }
        if (call.wait == Waited::Ready || call.got > 0)
            && let Some(whole) = Whole::of(&call)
        {
            return self.receive_whole(id, stopped, call, description, whole);
        }
        let position = self.clock.position(&call.registers);
        self.before_change(id, &mut call);
        let ends = self.before_kill(id, &call);
        self.elsewhere.extend(ends);
        if let Some(group) = self.group_with_us(id, &call) {
            return self.signal_group(id, stopped, &call, position, &group);
        }
        if let Some(redirected) = self.may_stay(id, description, &call) {
            return self.stay(id, stopped, Call { redirected, ..call });
        }
        let before = outputs::before(&self.space(id).memory, description, &call.args());
        let (stopped, result) = self.in_kernel(id, stopped, &call, description)?;
        if description.block.timed() && result == 0 && call.wait == Waited::Ready {
            // Another task was faster: nothing is ready any more, yet the time is not over.
            before.restore(&self.space(id).memory)?;
            return self.once_more(id, stopped, call);
        }
        if call.wait != Waited::No && !interrupted(result) {
            self.rest(id, &call)?;
        }
        let (stopped, result) = self.tell_times(id, stopped, &call, result)?;
        let writes = self.outputs(id, description, &call, &before, result)?;
        if interrupted(result) {
            return self.interrupted(id, stopped, &call, writes);
        }
        self.conclude(id, stopped, &call, position, result, writes)
    }

    /// Pass on what the program writes; how much that is, or the errno of whoever should have got it.
    fn put_out(&mut self, stream: Stream, bytes: &[u8]) -> Result<i64, i32> {
        if let Some(listen) = self.options.listener {
            listen(stream, bytes).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
        }
        let written = bytes.len() as i64;
        self.output.push(stream, bytes);
        Ok(written)
    }

    pub(in crate::record) fn outputs(
        &mut self,
        id: TaskId,
        description: &Description,
        call: &Call,
        before: &outputs::Before,
        result: i64,
    ) -> Flow<Vec<Write>> {
        match outputs::collect(&self.space(id).memory, description, &call.args(), before, result) {
            Ok(writes) => Ok(writes),
            Err(Failure::Undescribed(what)) => self.unsupported(id, what),
            Err(Failure::Error(error)) => Err(Halt::Error(error)),
        }
    }

    /// Note and log a call that the kernel has done.
    pub(in crate::record) fn conclude(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        position: Position,
        result: i64,
        writes: Vec<Write>,
    ) -> Flow<Next> {
        self.note_reach(id, call, result)?;
        self.note(id, call, result)?;
        self.note_descriptors(id, call, result);
        let effect = self.after_change(id, call, result)?;
        if call.number() == libc::SYS_process_vm_writev as u64 {
            self.after_remote_write(id, call, result)?;
        }
        let next = self.finish(id, stopped, call, position, result, writes, effect)?;
        self.log_elsewhere();
        if result == 0 && signal_sent(call) == Some(libc::SIGKILL) {
            self.look_for_killed()?;
        }
        Ok(next)
    }

    /// Have the kernel make a call, and wait for its end. A call whose descriptors have been waited for must not wait
    /// again: its time limit is set to zero.
    fn in_kernel(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        description: &Description,
    ) -> Flow<(Stopped, i64)> {
        let changed = match self.without_waiting(id, call, description)? {
            None => self.at_machine_time(id, call)?.or_else(|| self.shortened(id, call)),
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

    /// The output stream that a write(2) or writev(2) goes to.
    pub(in crate::record) fn output_stream(&mut self, id: TaskId, registers: &Registers) -> Option<Stream> {
        let writes = matches!(registers.number() as i64, libc::SYS_write | libc::SYS_writev);
        if writes { self.stream(id, registers.args()[0]) } else { None }
    }

    /// The output stream that a descriptor stands for.
    fn stream(&mut self, id: TaskId, fd: u64) -> Option<Stream> {
        match self.kind(id, fd) {
            Kind::Output(stream) => Some(stream),
            Kind::Ready | Kind::Waitable => None,
        }
    }

    /// Note what a call has changed of what the recorder knows.
    fn note(&mut self, id: TaskId, call: &Call, result: i64) -> Flow<()> {
        let [option, name, ..] = call.args();
        match call.number() as i64 {
            libc::SYS_connect if result == -i64::from(libc::EINPROGRESS) => {
                self.note_contact(id, call, result)
            }
            _ if result < 0 => {}
            _ if signal_sent(call).is_some() => {
                self.look_for_roused(true)?;
                self.look_for_signals()?;
            }
            libc::SYS_prctl if option as i32 == libc::PR_SET_NAME => {
                self.task(id).name = self.space(id).memory.text(name, THREAD_NAME);
            }
            libc::SYS_prctl if option as i32 == libc::PR_SET_NO_NEW_PRIVS => {
                self.task(id).natively.no_new_privileges = true;
            }
            libc::SYS_bind
            | libc::SYS_connect
            | libc::SYS_accept
            | libc::SYS_accept4
            | libc::SYS_sendto
            | libc::SYS_sendmsg
            | libc::SYS_sendmmsg
            | libc::SYS_mq_open
            | libc::SYS_inotify_add_watch
            | libc::SYS_mkdir
            | libc::SYS_mkdirat
            | libc::SYS_mknod
            | libc::SYS_mknodat => self.note_contact(id, call, result),
            libc::SYS_flock | libc::SYS_fcntl => self.note_taken(id, call),
            libc::SYS_socketpair => self.note_pair(id, call),
            libc::SYS_shmget
            | libc::SYS_msgget
            | libc::SYS_semget
            | libc::SYS_msgsnd
            | libc::SYS_msgrcv
            | libc::SYS_semop
            | libc::SYS_semtimedop
            | libc::SYS_shmctl
            | libc::SYS_msgctl
            | libc::SYS_semctl => {
                self.note_contact(id, call, result);
                self.note_ipc(call, result)?;
            }
            libc::SYS_timerfd_create => self.timerfds = true,
            libc::SYS_utime | libc::SYS_utimes | libc::SYS_futimesat | libc::SYS_utimensat => {
                self.note_set_times(id, call);
            }
            libc::SYS_unshare | libc::SYS_close_range | libc::SYS_signalfd | libc::SYS_signalfd4 => {
                self.note_watches(id, call);
            }
            libc::SYS_alarm
            | libc::SYS_setitimer
            | libc::SYS_timer_create
            | libc::SYS_timer_settime
            | libc::SYS_timer_delete => self.note_alarm(id, call)?,
            _ => {}
        }
        Ok(())
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
            self.sharing.forget();
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
                // The kernel does it when the task goes on.
                self.sharing.changes(id);
                let position = self.clock.position(&call.registers);
                self.finish(id, stopped, call, position, 0, Vec::new(), Effect::None)
            }
            Performance::Exit => self.exit(id, stopped, call),
            Performance::ExitGroup => self.exit_group(id, stopped, call),
            Performance::Execute => self.execute(id, stopped, call),
            Performance::Map => self.map(id, stopped, call),
            Performance::Advise => self.advise(id, stopped, call),
            Performance::SignalReturn => self.signal_return(id, stopped, call),
            Performance::Same | Performance::Break => {
                let position = self.clock.position(&call.registers);
                let (stopped, result) = self.run_to_exit(id, stopped)?;
                if call.number() == libc::SYS_set_tid_address as u64 {
                    self.task(id).clear_tid = call.args()[0];
                }
                let before = outputs::Before::default();
                let writes = self.outputs(id, description, call, &before, result)?;
                self.finish(id, stopped, call, position, result, writes, Effect::None)
            }
        }
    }
}

/// The descriptor that a call fills from another.
fn filled(call: &Call) -> Option<u64> {
    let args = call.args();
    match call.number() as i64 {
        libc::SYS_sendfile | libc::SYS_vmsplice => Some(args[0]),
        libc::SYS_tee => Some(args[1]),
        libc::SYS_splice | libc::SYS_copy_file_range => Some(args[2]),
        _ => None,
    }
}
