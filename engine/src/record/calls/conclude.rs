//! What the recorder notes about a call that the kernel has made.

use rrtest_preload::calls::{self, Buffering};
use rrtest_preload::layout::Descriptor;

use crate::record::kernel::fds::{self, FdKind};
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::tree::call::{Call, Outcome, signal_sent};
use crate::schedule::surprise::Surprise;
use crate::task::TaskId;
use crate::trace::event::Stream;
use crate::tracee::{Stopped, THREAD_NAME};

impl Recorder<'_> {
    /// Notes and logs a call that the kernel has made.
    pub(in crate::record) fn conclude(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        outcome: Outcome,
    ) -> Flow<Next> {
        let result = outcome.result;
        self.time.abroad.note_reach(self.options, &self.tasks, &mut self.poller, id, call, result)?;
        self.note(id, call, result)?;
        self.note_descriptors(id, call, result);
        let effect = self.journal.after_change(&self.tasks, id, call, result)?;
        if call.number() == libc::SYS_process_vm_writev as u64 {
            self.journal.after_remote_write(&self.tasks, id, call, result)?;
        }
        let next = self.finish(id, stopped, call, outcome.with(effect))?;
        self.journal.log_elsewhere();
        if result == 0 && signal_sent(call) == Some(libc::SIGKILL) {
            self.look_for_killed()?;
        }
        Ok(next)
    }

    /// Updates what the recorder knows with the effects of a call.
    pub(in crate::record) fn note(&mut self, id: TaskId, call: &Call, result: i64) -> Flow<()> {
        let [option, name, ..] = call.args();
        match call.number() as i64 {
            libc::SYS_connect if result == -i64::from(libc::EINPROGRESS) => {
                self.outside.reach.note_contact(self.options, &self.tasks, &mut self.poller, id, call, result)
            }
            _ if result < 0 => {}
            _ if signal_sent(call).is_some() => {
                self.tasks.look_for_roused(true)?;
                self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
            }
            libc::SYS_prctl if option as i32 == libc::PR_SET_NAME => {
                self.tasks.task(id).name = self.tasks.space(id).memory.text(name, THREAD_NAME);
            }
            libc::SYS_prctl if option as i32 == libc::PR_SET_NO_NEW_PRIVS => {
                self.tasks.task(id).natively.no_new_privileges = true;
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
            | libc::SYS_mknodat => {
                self.outside.reach.note_contact(self.options, &self.tasks, &mut self.poller, id, call, result)
            }
            libc::SYS_flock | libc::SYS_fcntl => self.outside.takers.note_taken(&self.tasks, id, call),
            libc::SYS_socketpair => self.poller.note_pair(&mut self.tasks, id, call),
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
                self.outside.reach.note_contact(
                    self.options,
                    &self.tasks,
                    &mut self.poller,
                    id,
                    call,
                    result,
                );
                self.time.ipc.note_ipc(self.options, &self.time.clocks, call, result)?;
            }
            libc::SYS_timerfd_create => self.poller.timerfds = true,
            libc::SYS_utime | libc::SYS_utimes | libc::SYS_futimesat | libc::SYS_utimensat => {
                self.time.stamped.note_set_times(self.options, &self.tasks, &self.time.clocks, id, call);
            }
            libc::SYS_unshare | libc::SYS_close_range | libc::SYS_signalfd | libc::SYS_signalfd4 => {
                self.poller.note_watches(&self.tasks, id, call);
            }
            libc::SYS_alarm
            | libc::SYS_setitimer
            | libc::SYS_timer_create
            | libc::SYS_timer_settime
            | libc::SYS_timer_delete => {
                self.time.alarms.note_alarm(&mut self.tasks, &self.time.clocks, id, call)?
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells the buffer how a call that the kernel has made has changed descriptors.
    pub(in crate::record) fn note_descriptors(&mut self, id: TaskId, call: &Call, result: i64) {
        let Some(table) = self.code.buffer.table(&mut self.tasks, &self.clock, id) else { return };
        let area = self.clock.area();
        let fd = call.args()[0];
        match call.number() as i64 {
            libc::SYS_close => area.set_descriptor(table, fd & 0xffff_ffff, Descriptor::Unknown),
            libc::SYS_dup2 | libc::SYS_dup3 => {
                area.set_descriptor(table, call.args()[1] & 0xffff_ffff, Descriptor::Unknown);
            }
            libc::SYS_close_range | libc::SYS_execve | libc::SYS_execveat | libc::SYS_unshare => {
                area.clear_table(table);
            }
            _ if result < 0 => {}
            libc::SYS_open | libc::SYS_openat | libc::SYS_openat2 | libc::SYS_creat => {
                let kind = self.descriptor_kind(id, result.cast_unsigned());
                self.clock.area().set_descriptor(table, result.cast_unsigned(), kind);
            }
            _ if matches!(
                calls::call(call.number()).way,
                Buffering::File | Buffering::Write | Buffering::Read
            ) =>
            {
                let kind = self.descriptor_kind(id, fd);
                self.clock.area().set_descriptor(table, fd & 0xffff_ffff, kind);
            }
            _ => {}
        }
    }

    pub(in crate::record) fn descriptor_kind(&mut self, id: TaskId, fd: u64) -> Descriptor {
        let tid = self.tasks[id].tid;
        match self.poller.kind(&self.tasks, id, fd) {
            // A listener gets each piece as it is written.
            FdKind::Output(_) if self.options.listener.is_some() => Descriptor::Unknown,
            FdKind::Output(Stream::Stdout) => Descriptor::Stdout,
            FdKind::Output(Stream::Stderr) => Descriptor::Stderr,
            FdKind::Ready
                if self.poller.is_recorders(self.options, &self.tasks, &self.time.clocks, id, fd) =>
            {
                Descriptor::Unknown
            }
            FdKind::Ready
                if self
                    .poller
                    .fds
                    .identity(tid, fd)
                    .is_some_and(|it| self.journal.log.mapped(it).is_none()) =>
            {
                Descriptor::Ready
            }
            FdKind::Ready => Descriptor::Unknown,
            // A read by a background process stops the process (termios(3), "Job control").
            FdKind::Waitable if fds::is_terminal(tid, fd) => Descriptor::Unknown,
            // The buffer would read everything that is there.
            FdKind::Waitable
                if self.scheduler.start_up.is_some() || self.surprises.injector.have(Surprise::Short) =>
            {
                Descriptor::Unknown
            }
            FdKind::Waitable => Descriptor::Waitable,
        }
    }
}
