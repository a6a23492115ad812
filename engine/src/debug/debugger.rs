//! What gdb debugs: a process of a recorded run.

use gdbstub::common::Tid;
use gdbstub::target::ext::auxv::{Auxv, AuxvOps};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::MultiThreadBase;
use gdbstub::target::ext::base::multithread::MultiThreadResumeOps;
use gdbstub::target::ext::base::single_register_access::{SingleRegisterAccess, SingleRegisterAccessOps};
use gdbstub::target::ext::breakpoints::BreakpointsOps;
use gdbstub::target::ext::exec_file::ExecFileOps;
use gdbstub::target::ext::host_io::HostIoOps;
use gdbstub::target::ext::monitor_cmd::MonitorCmdOps;
use gdbstub::target::ext::thread_extra_info::ThreadExtraInfoOps;
use gdbstub::target::{Target, TargetError, TargetResult};

use super::calls::Call;
use super::signals::Signals;
use super::state::action::Action;
use super::state::answers::{REFUSED, part};
use super::state::breakpoints::Set;
use super::state::files::Files;
use super::state::registers::{Amd64, General, Number};
use super::state::threads::{task, tid};
use crate::carried::Carried;
use crate::error::Error;
use crate::task::TaskId;
use crate::timeline::{Mark, Timeline};

/// A process of a run, as gdb sees it.
pub struct Debugger<'a> {
    pub(super) timeline: Timeline<'a>,
    /// The process that is debugged: its first task.
    pub(super) process: TaskId,
    pub(super) set: Set,
    pub(super) files: Files<'a>,
    /// How to go on next.
    pub(super) action: Action,
    /// Whether somebody has gone to a moment of his own since gdb connected: gdb must connect anew to see it.
    pub(super) is_moved: bool,
    /// From which event to which the process lives, once that was asked for.
    pub(super) lifetime: Option<(u64, u64)>,
    /// The replay in which gdb has written, if it has.
    pub(super) call: Option<Call<'a>>,
    pub(super) signals: Signals,
    /// What gdb is to show before it is told where the process stands.
    pub(super) said: Vec<u8>,
    /// What `monitor` remembers.
    pub(super) checkpoints: Vec<(Mark, String)>,
    /// What the failure needs, in lines; none if that is not known.
    pub(super) explanation: Vec<String>,
    /// How the recording ended, in lines.
    pub(super) ending: Vec<String>,
}

/// gdb wants words of the auxiliary vector up to this one, and so much of it at most.
const AT_NULL: u64 = 0;
const MOST_AUXV: usize = 64;

impl<'a> Debugger<'a> {
    /// Has gdb debug a process of a run: that of this task. It begins where the timeline stands.
    #[must_use]
    pub fn new(timeline: Timeline<'a>, process: TaskId, carried: &'a Carried<'a>) -> Self {
        Self {
            timeline,
            process,
            set: Set::default(),
            files: Files::new(carried),
            action: Action::default(),
            is_moved: false,
            lifetime: None,
            call: None,
            signals: Signals::default(),
            said: Vec::new(),
            checkpoints: Vec::new(),
            explanation: Vec::new(),
            ending: Vec::new(),
        }
    }

    /// Has `monitor explanation` tell these lines.
    #[must_use]
    pub fn explained(self, explanation: Vec<String>) -> Self {
        Self { explanation, ..self }
    }

    /// Has `monitor waits` tell these lines where the recording ended.
    #[must_use]
    pub fn ending(self, ending: Vec<String>) -> Self {
        Self { ending, ..self }
    }

    /// Whether a moment was gone to that gdb sees when it connects again.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.is_moved
    }

    /// gdb connects: what an earlier one had set is gone.
    pub(super) fn begin(&mut self) {
        self.set = Set::default();
        self.call = None;
        self.signals = Signals::default();
        self.said.clear();
        self.is_moved = false;
    }

    /// Returns gdb's number of the thread that a task is, once it has connected; none if it is not of the process, or does
    /// not live.
    #[must_use]
    pub fn thread_number(&self, task: TaskId) -> Option<usize> {
        self.tasks().iter().position(|it| *it == task).map(|at| at + 1)
    }

    /// The living tasks of the process, the one that runs first.
    pub(super) fn tasks(&self) -> Vec<TaskId> {
        let state = self.timeline.session().state();
        let own = |task: &TaskId| state.process(*task) == Some(self.process);
        let mut tasks: Vec<TaskId> = state.tasks().map(|(task, _)| task).filter(own).collect();
        let current = self.timeline.current();
        tasks.sort_by_key(|task| (*task != current, *task));
        tasks
    }

    /// The task whose thread gdb is told of where none is known: the one that runs, if it is of the process.
    pub(super) fn shown(&self) -> TaskId {
        self.tasks().first().copied().unwrap_or(self.process)
    }

    fn read(&self, task: TaskId, start: u64, data: &mut [u8]) -> usize {
        // What is mapped of it, up to a page that is not.
        let mut len = data.len();
        while len > 0 {
            if let Ok(bytes) = self.bytes(task, start, len) {
                data[..len].copy_from_slice(&bytes);
                return len;
            }
            let end = start.saturating_add(len as u64);
            let page = (end - 1) / crate::tracee::PAGE * crate::tracee::PAGE;
            len = page.saturating_sub(start) as usize;
        }
        0
    }

    /// The auxiliary vector: what follows the arguments and the environment where the program's stack began.
    fn auxiliary_vector(&self) -> Option<Vec<u8>> {
        let task = self.shown();
        let (_, stack) = self.timeline.session().state().program(task)?;
        let word = |at: u64| {
            let bytes = self.timeline.read(task, at, 8).ok()?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let mut at = stack.checked_add(8)?.checked_add(word(stack)?.checked_mul(8)?)?.checked_add(8)?;
        while word(at)? != 0 {
            at = at.checked_add(8)?;
        }
        at = at.checked_add(8)?;
        let mut vector = Vec::new();
        for _ in 0..MOST_AUXV {
            let (kind, value) = (word(at)?, word(at.checked_add(8)?)?);
            vector.extend(kind.to_le_bytes().into_iter().chain(value.to_le_bytes()));
            at = at.checked_add(16)?;
            if kind == AT_NULL {
                break;
            }
        }
        Some(vector)
    }
}

/// What gdb is told of something that was to be written.
fn done(written: Result<bool, Error>) -> TargetResult<(), Debugger<'static>> {
    if written.map_err(TargetError::Fatal)? { Ok(()) } else { Err(REFUSED) }
}

impl Target for Debugger<'_> {
    type Arch = Amd64;
    type Error = Error;

    fn base_ops(&mut self) -> BaseOps<'_, Self::Arch, Self::Error> {
        BaseOps::MultiThread(self)
    }

    fn use_lldb_register_info(&self) -> bool {
        false
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_auxv(&mut self) -> Option<AuxvOps<'_, Self>> {
        Some(self)
    }

    fn support_exec_file(&mut self) -> Option<ExecFileOps<'_, Self>> {
        Some(self)
    }

    fn support_host_io(&mut self) -> Option<HostIoOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Debugger<'_> {
    fn read_registers(&mut self, registers: &mut General, tid: Tid) -> TargetResult<(), Self> {
        registers.0 = self.registers_of(task(tid)).map_err(TargetError::Fatal)?.ok_or(REFUSED)?;
        Ok(())
    }

    fn write_registers(&mut self, registers: &General, tid: Tid) -> TargetResult<(), Self> {
        let mut all = self.registers_of(task(tid)).map_err(TargetError::Fatal)?.ok_or(REFUSED)?;
        registers.put_into(&mut all);
        done(self.set_registers_of(task(tid), &all))
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        let len = self.read(task(tid), start, data);
        if len == 0 && !data.is_empty() { Err(TargetError::Errno(14)) } else { Ok(len) }
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        done(self.set_bytes(task(tid), start, data))
    }

    fn list_active_threads(&mut self, each: &mut dyn FnMut(Tid)) -> Result<(), Error> {
        let tasks = self.tasks();
        // gdb needs one as long as it debugs something.
        if tasks.is_empty() {
            each(tid(self.process));
        }
        tasks.into_iter().for_each(|task| each(tid(task)));
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<Tid> for Debugger<'_> {
    fn read_register(&mut self, tid: Tid, number: Number, buffer: &mut [u8]) -> TargetResult<usize, Self> {
        let value = self.value(task(tid), number).map_err(TargetError::Fatal)?.ok_or(REFUSED)?;
        buffer.get_mut(..value.len()).ok_or(REFUSED)?.copy_from_slice(&value);
        Ok(value.len())
    }

    fn write_register(&mut self, tid: Tid, number: Number, value: &[u8]) -> TargetResult<(), Self> {
        done(self.set_value(task(tid), number, value))
    }
}

impl Auxv for Debugger<'_> {
    fn get_auxv(&self, offset: u64, length: usize, buffer: &mut [u8]) -> TargetResult<usize, Self> {
        let vector = self.auxiliary_vector().ok_or(REFUSED)?;
        Ok(part(&vector, offset, length, buffer))
    }
}
