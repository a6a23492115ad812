//! Signals: delivered where replay can find the place.

use super::recorder::{Flow, Halt, Next, Recorder};
use super::tasks::{Call, Hold};
use crate::ending::Ending;
use crate::schedule::Why;
use crate::task::TaskId;
use crate::trace::event::{Counter, Effect, Event, Handler, Signal, Write};
use crate::tracee::{Resume, Stop, Stopped, counter, counter_read, disposition};

/// Signals that do nothing to a program that has said nothing about them (signal(7)), and those of job control.
const HARMLESS: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGCONT,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// Signals that an instruction raises.
pub(super) const FAULTS: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];

impl Recorder<'_> {
    /// A task is about to get a signal.
    pub(super) fn signal(&mut self, id: TaskId, stopped: Stopped, number: i32) -> Flow<Next> {
        let info = stopped.signal_info()?;
        let mut registers = stopped.registers()?;
        if number == libc::SIGSEGV
            && let Some(read) = counter_read(&self.space(id).memory, registers.ip())
        {
            let (position, value) = (self.clock.position(&registers), counter());
            registers.finish_counter_read(read, value);
            stopped.set_registers(&registers)?;
            self.log.push(Event::Counter(Counter { position, value }));
            self.task(id).boundary = (registers.ip(), registers.sp());
            self.task(id).hold = Hold::Ready(stopped);
            return Ok(Next::Continue);
        }
        // The kernel raises faults with a positive code; kill(2) and its like with one that is not (sigaction(2)).
        let fault = FAULTS.contains(&number) && info.si_code > 0;
        if !fault && self.task(id).boundary != (registers.ip(), registers.sp()) {
            self.task(id).deferred.push(info);
            self.task(id).hold = Hold::Ready(stopped);
            return Ok(Next::Continue);
        }
        let says = disposition(stopped.tid(), number)?;
        if !fault && (says.ignored || !says.caught && HARMLESS.contains(&number)) {
            self.task(id).hold = Hold::Ready(stopped);
            return Ok(Next::Continue);
        }
        let position = self.clock.position(&registers);
        let signal = |handler| Event::Signal(Signal { position, number, fault, handler });
        if !says.caught || fault && says.blocked {
            self.log.push(signal(None));
            let pid = self.task(id).pid;
            if pid != self.root() {
                stopped.resume(Resume::Freely, number)?;
                self.process_ended(pid)?;
                return Ok(Next::Decide(Why::Exited, None));
            }
            self.task(id).hold = Hold::Ready(stopped);
            let tasks = self.states(Some(id));
            return Err(Halt::Ending(Ending::Killed { signal: number, task: id, tasks }));
        }
        // With a signal, a step ends at the handler's first instruction, its frame pushed.
        let running = stopped.resume(Resume::Step, number)?;
        let (stopped, stop) = self.wait(id, running)?;
        if stop != Stop::Signal(libc::SIGTRAP) {
            return self.unsupported(id, format!("signal {number} at {stop:?}"));
        }
        let registers = stopped.registers()?;
        let frame = self.copy(id, registers.sp(), self.frame_size(id, registers.sp())?)?;
        self.log.push(signal(Some(Handler { registers, frame })));
        self.task(id).boundary = (registers.ip(), registers.sp());
        self.task(id).hold = Hold::Ready(stopped);
        Ok(Next::Continue)
    }

    /// How much the kernel has pushed at `sp`: `struct rt_sigframe` up to the end of the extended processor state
    /// (arch/x86/include/asm/sigframe.h, uapi/asm/sigcontext.h).
    fn frame_size(&self, id: TaskId, sp: u64) -> Flow<usize> {
        const FPSTATE_POINTER: u64 = 8 + 40 + 23 * 8;
        const SW_RESERVED: u64 = 464;
        const MAGIC: u32 = 0x4650_5853;
        const LEGACY: u64 = 512;
        const LARGEST: u64 = 64 << 10;
        let fpstate = self.space(id).memory.u64(sp + FPSTATE_POINTER)?;
        let extended = if self.space(id).memory.u32(fpstate + SW_RESERVED)? == MAGIC {
            u64::from(self.space(id).memory.u32(fpstate + SW_RESERVED + 4)?)
        } else {
            LEGACY
        };
        Ok((fpstate + extended).saturating_sub(sp).min(LARGEST) as usize)
    }

    /// Send again the signals that came where replay could not have found the place. They arrive when the call that the
    /// task stands at is over.
    pub(super) fn send_deferred(&mut self, id: TaskId) -> Flow<()> {
        let deferred = std::mem::take(&mut self.task(id).deferred);
        deferred.iter().try_for_each(|info| self.send(id, info.si_signo))
    }

    /// Send a signal to a task that stands at a call: it arrives when the call is over.
    pub(super) fn send(&mut self, id: TaskId, signal: i32) -> Flow<()> {
        let (pid, tid) = (self.task(id).pid, self.task(id).tid);
        // SAFETY: a plain system call; the ids are those of a task that we trace and that is stopped.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, pid.as_raw(), tid.as_raw(), signal) };
        if sent == 0 {
            Ok(())
        } else {
            Err(crate::tracee::last_os(format!("send signal {signal} to thread {tid}")).into())
        }
    }

    /// rt_sigprocmask(2): its result and what it writes.
    pub(super) fn signal_mask(
        &mut self,
        id: TaskId,
        stopped: &Stopped,
        args: [u64; 6],
    ) -> Flow<(i64, Vec<Write>)> {
        /// SIGKILL and SIGSTOP cannot be blocked.
        const NEVER: u64 = 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1);
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

    /// rt_sigreturn(2): back from a handler, to where the signal came.
    pub(super) fn signal_return(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let position = self.clock.position(&call.registers);
        // What the result register is restored to is no result: were it an errno, replay would leave the call out.
        let (stopped, _) = self.run_to_exit(id, stopped)?;
        let registers = stopped.registers()?;
        self.finish(id, stopped, call, position, 0, Vec::new(), Effect::None)?;
        self.task(id).boundary = (registers.ip(), registers.sp());
        Ok(Next::Continue)
    }
}
