//! Signals, which are delivered where replay can find the place.
//!
//! The kernel keeps, queues and routes the recorded program's signals as always; a ptrace stop shows each before it
//! reaches its task. Replay has no real signals: it takes the handler's registers and frame from the log. So it must be
//! able to find the place, of which there are three kinds.
//!
//! - **A boundary**: the task has executed nothing since its last event. The signal is delivered.
//! - **In between**. The signal is kept back, and sent again at the next boundary, which comes with the next tick: the
//!   timeslice is cut. It keeps its `siginfo`. At a call it is delivered before the call is made: the program may be
//!   about to block the signal, or to end. But a call that may wait notices the signal by itself: programs check
//!   whether a signal has come, then wait, and hope that none comes in between. A signal that was kept back would come
//!   just there.
//! - **In a call that waits.** If it waits in the kernel, the kernel has ended it with one of its restart codes. If
//!   it is emulated, nothing has: whenever somebody may have sent a signal, the recorder looks. In both cases the
//!   task gets back the registers of its own call, as they are at its exit, with that code. The kernel then builds
//!   the handler's frame and decides, by the code and by `SA_RESTART`, what comes after the handler. Without a
//!   handler the task comes to its call once more, and it is the same call.

use crate::record::tree::call::Stage;
use std::collections::BTreeMap;

use crate::record::futex::Futexes;
use crate::record::futex::pi::locks;
use crate::record::poller::Poller;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::time::clocks::{self, Clocks};
use crate::record::tree::call::{Call, interrupted, restart};
use crate::record::tree::task::{Hold, Task};
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::event::Write;
use crate::tracee::{FrameState, SignalSet, Signals, Stopped, on_task, signals};

/// Signals that by default do nothing (signal(7)).
const HARMLESS: SignalSet = SignalSet::of(&[libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGCONT]);

/// Signals that by default stop the process.
const STOPS: SignalSet = SignalSet::of(&[libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]);

/// What a signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum Action {
    Handle,
    Kill,
    Stop,
    Nothing,
}

impl Recorder<'_> {
    /// Whether a signal that a task is about to get does nothing.
    pub(in crate::record) fn does_nothing(&self, stopped: &Stopped, number: i32) -> Flow<bool> {
        Ok(action(number, false, &signals(stopped.tid())?) == Action::Nothing)
    }
}

impl Tasks {
    /// Returns the information on the signal that a task is about to get. Restores it if the signal was kept back and
    /// sent again.
    pub(in crate::record) fn signal_info(&mut self, id: TaskId, stopped: &Stopped) -> Flow<libc::siginfo_t> {
        let mut info = stopped.signal_info()?;
        self.name_sender(id, stopped, &mut info)?;
        // SAFETY: `si_pid` is there for the code that tgkill(2) sends with.
        let ours =
            info.si_code == libc::SI_TKILL && unsafe { info.si_pid() }.cast_unsigned() == std::process::id();
        let resent = &mut self.task(id).resent;
        let Some(first) = resent.iter().position(|first| ours && first.si_signo == info.si_signo) else {
            return Ok(info);
        };
        let first = resent.remove(first);
        stopped.set_signal_info(&first)?;
        Ok(first)
    }

    /// Returns the size of what the kernel has pushed at `sp`: `struct rt_sigframe` up to the end of the extended
    /// processor state (arch/x86/include/asm/sigframe.h, uapi/asm/sigcontext.h).
    pub(in crate::record) fn frame_size(&self, id: TaskId, sp: u64) -> Flow<usize> {
        /// Bytes of the return address, in front of `struct ucontext`.
        const RETURN: u64 = 8;
        const LARGEST: u64 = 64 << 10;
        let memory = &self.space(id).memory;
        let fpstate = memory.u64(sp + RETURN + FrameState::POINTER)?;
        let mut legacy = [0; FrameState::LEGACY];
        memory.read(fpstate, &mut legacy)?;
        Ok((fpstate + FrameState::pushed(&legacy)).saturating_sub(sp).min(LARGEST) as usize)
    }

    /// Sends again the signals that were kept back. They arrive when the task goes on.
    pub(in crate::record) fn send_deferred(&mut self, id: TaskId) -> Flow<()> {
        for info in std::mem::take(&mut self.task(id).deferred) {
            self.send(id, info.si_signo)?;
            self.task(id).resent.push(info);
        }
        Ok(())
    }

    /// Holds a task at a call that it has reached. Signals that were kept back come before the call, or end its wait.
    pub(in crate::record) fn in_front_of(&mut self, id: TaskId, stopped: Stopped, call: Call) -> Flow<Hold> {
        if self.task(id).deferred.is_empty() {
            return Ok(Hold::Calling(stopped, call));
        }
        self.send_deferred(id)?;
        if !call.may_wait() {
            return Ok(Hold::Again(stopped, call));
        }
        self.look_soon();
        Ok(Hold::Calling(stopped, call))
    }

    /// Sends a signal to a task that stands at a call. It arrives when the call is over.
    pub(in crate::record) fn send(&mut self, id: TaskId, signal: i32) -> Flow<()> {
        let (pid, tid) = (self.task(id).pid, self.task(id).tid);
        // SAFETY: a plain system call; the ids are those of a traced task that is stopped.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, pid.as_raw(), tid.as_raw(), signal) };
        if sent == 0 {
            Ok(())
        } else {
            let error = std::io::Error::last_os_error();
            Err(on_task(format!("send signal {signal} to thread {tid}"))(error).into())
        }
    }

    /// Handles a call that the kernel has interrupted for a signal, with one of the codes of [`restart`].
    pub(in crate::record) fn interrupted(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        left: Vec<Write>,
    ) -> Flow<Next> {
        let code = stopped.registers()?.result();
        debug_assert!(interrupted(code));
        let call = Call { stage: Stage::Arrived, restart: Some(code), left, ..call.clone() };
        self.hold(id, Hold::Again(stopped, call));
        Ok(Next::Continue)
    }

    /// Whether a task of a process is going to take one of these signals by itself.
    fn somebody_takes(&self, set: SignalSet, pid: nix::unistd::Pid) -> bool {
        self.of(pid).any(|task| {
            let hold = task.hold();
            let notices = hold.runnable() && !matches!(hold, Hold::Calling(_, call) if !call.may_wait())
                || matches!(hold, Hold::Running | Hold::Parked(_) | Hold::InKernel(..));
            notices && signals(task.tid).is_ok_and(|says| !set.without(says.blocked).is_empty())
        })
    }

    /// Makes a call to rt_sigprocmask(2). Returns its result and what it writes.
    pub(in crate::record) fn signal_mask(
        &self,
        id: TaskId,
        stopped: &Stopped,
        args: [u64; 6],
    ) -> Flow<(i64, Vec<Write>)> {
        /// SIGKILL and SIGSTOP cannot be blocked.
        const NEVER: u64 = SignalSet::of(&[libc::SIGKILL, libc::SIGSTOP]).0;
        let [how, set, old_set, size, ..] = args;
        let fails = |errno: i32| Ok((-i64::from(errno), Vec::new()));
        if size != 8 {
            return fails(libc::EINVAL);
        }
        let old = stopped.signal_mask()?;
        if set != 0 {
            let Ok(set) = self.space(id).memory.u64(set) else { return fails(libc::EFAULT) };
            let new = match how as i32 {
                libc::SIG_BLOCK => old | set,
                libc::SIG_UNBLOCK => old & !set,
                libc::SIG_SETMASK => set,
                _ => return fails(libc::EINVAL),
            };
            stopped.set_signal_mask(new & !NEVER)?;
        }
        Ok(self.written(id, old_set, old.to_ne_bytes().to_vec()))
    }
}

impl Futexes {
    /// Looks for signals for tasks that do not notice them: those that wait in the recorder, or are about to. A signal
    /// for a process is left to one of its tasks that can run, if that task takes it.
    pub(in crate::record) fn look_for_signals(
        &mut self,
        tasks: &mut Tasks,
        poller: &mut Poller,
        clocks: &Clocks,
    ) -> Flow<()> {
        tasks.look_for_roused(false)?;
        let mut processes = BTreeMap::new();
        let may_have = |task: &&Task| {
            let (Hold::Waiting(stopped, _) | Hold::Calling(stopped, _)) = task.hold() else { return false };
            let peek = |shared| stopped.has_signals(shared).unwrap_or(true);
            peek(false) || *processes.entry(task.pid).or_insert_with(|| peek(true))
        };
        let unaware: Vec<TaskId> = tasks.living().filter(may_have).map(|task| task.id).collect();
        for id in unaware {
            let task = &tasks[id];
            let pid = task.pid;
            // That a task is gone is noticed elsewhere.
            let Ok(says) = signals(task.tid) else { continue };
            let own = acting(says.pending, &says);
            let shared = acting(says.shared, &says);
            if own.is_empty() && (shared.is_empty() || tasks.somebody_takes(shared, pid)) {
                continue;
            }
            if matches!(task.hold(), Hold::Calling(_, call) if call.may_wait()) {
                tasks.look_soon();
            } else {
                self.interrupt_wait(tasks, poller, clocks, id)?;
            }
        }
        Ok(())
    }

    /// Sends a task that waits in the recorder, or stands at a call, to get its signals.
    pub(super) fn interrupt_wait(
        &mut self,
        tasks: &mut Tasks,
        poller: &mut Poller,
        clocks: &Clocks,
        id: TaskId,
    ) -> Flow<()> {
        let futex = self.table.remove(id).is_some();
        let watched = poller.remove(id);
        tasks.deadlines.remove(id);
        let hold = match tasks.release(id) {
            Hold::Waiting(stopped, call) => {
                // As futex(2) and nanosleep(2) do in the kernel.
                let code = match call.deadline {
                    _ if watched => call.restart.unwrap_or(restart::RESTARTSYS),
                    _ if futex && locks(&call) => restart::RESTARTNOINTR,
                    None => restart::RESTARTSYS,
                    Some(_) if !futex && sleeps_until(&call) => restart::RESTARTNOHAND,
                    Some(_) => restart::RESTART_RESTARTBLOCK,
                };
                let left = if futex || watched { Vec::new() } else { time_left(&call, clocks.now()?) };
                Hold::Again(stopped, Call { restart: Some(code), left, ..call })
            }
            Hold::Calling(stopped, call) => Hold::Again(stopped, call),
            hold => hold,
        };
        tasks.hold(id, hold);
        tasks.woken = true;
        Ok(())
    }
}

/// Returns those of these signals that would do something to their task.
fn acting(set: SignalSet, says: &Signals) -> SignalSet {
    set.without(says.blocked).without(says.ignored).without(HARMLESS.without(says.caught))
}

/// Whether a call sleeps until a point in time.
fn sleeps_until(call: &Call) -> bool {
    call.number() == libc::SYS_clock_nanosleep as u64 && call.args()[1] & libc::TIMER_ABSTIME as u64 != 0
}

/// Returns what an interrupted sleep writes about the time left (nanosleep(2)).
fn time_left(call: &Call, now: u64) -> Vec<Write> {
    let args = call.args();
    let address = match call.number() as i64 {
        libc::SYS_nanosleep => args[1],
        libc::SYS_clock_nanosleep if !sleeps_until(call) => args[3],
        _ => 0,
    };
    let Some(deadline) = call.deadline.filter(|_| address != 0) else { return Vec::new() };
    let left = deadline.saturating_sub(now);
    vec![Write { address, bytes: clocks::bytes(&clocks::timespec_of(left)).to_vec() }]
}

pub(in crate::record) fn action(number: i32, fault: bool, says: &Signals) -> Action {
    // A signal raised by an instruction cannot be put off or ignored: it kills (sigprocmask(2)).
    if fault && (says.blocked.has(number) || says.ignored.has(number)) {
        Action::Kill
    } else if says.caught.has(number) {
        Action::Handle
    } else if !fault && (says.ignored.has(number) || HARMLESS.has(number)) {
        Action::Nothing
    } else if STOPS.has(number) {
        Action::Stop
    } else {
        Action::Kill
    }
}
