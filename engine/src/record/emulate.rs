//! The calls that the recorder makes itself: futexes, sleeps, clocks, random bytes.

use rand_xoshiro::rand_core::RngCore;

use super::recorder::{Flow, Next, Recorder};
use super::surprises::whom;
use super::tasks::{Call, Hold, Waited};
use super::time;
use crate::schedule::Why;
use crate::schedule::futex::{ANY, FutexKey, WakeOp};
use crate::schedule::surprise::Surprise;
use crate::syscalls::{Emulation, FutexCall, FutexTimeout};
use crate::task::TaskId;
use crate::trace::event::Write;
use crate::tracee::Stopped;

/// A result that is an error.
pub(super) const fn fails(errno: i32) -> i64 {
    -(errno as i64)
}

impl Recorder<'_> {
    pub(super) fn emulate(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: Call,
        emulation: Emulation,
    ) -> Flow<Next> {
        let args = call.args();
        let [a, b, c, ..] = args;
        if matches!(emulation, Emulation::ClockGettime | Emulation::Gettimeofday | Emulation::Time) {
            self.reads_slowly(id, &call)?;
        }
        let (result, writes) = match emulation {
            Emulation::Futex => return self.futex(id, stopped, call),
            Emulation::SetRobustList => (self.set_robust_list(id, a, b), Vec::new()),
            Emulation::GetRobustList => self.get_robust_list(id, args),
            Emulation::Nanosleep => return self.sleep(id, stopped, call, libc::CLOCK_MONOTONIC, false, a),
            Emulation::ClockNanosleep => {
                let absolute = b & libc::TIMER_ABSTIME as u64 != 0;
                return self.sleep(id, stopped, call, a as i32, absolute, c);
            }
            Emulation::Yield => {
                let next = self.gives_way(id, &call);
                self.skip(id, stopped, &call, 0, Vec::new())?;
                return Ok(next);
            }
            Emulation::Identity if call.number() == libc::SYS_getpid as u64 => {
                (i64::from(self.task(id).pid.as_raw()), Vec::new())
            }
            Emulation::Identity => (i64::from(stopped.tid().as_raw()), Vec::new()),
            Emulation::SignalMask => self.signal_mask(id, &stopped, args)?,
            Emulation::ClockGettime => match self.clocks.read(a as i32) {
                // The clocks that count the program's own time must be read by itself.
                _ if time::is_cpu_clock(a as i32) => {
                    let position = self.clock.position(&call.registers);
                    let (stopped, result) = self.run_to_exit(id, stopped)?;
                    let writes = if result == 0 && b != 0 { vec![self.copy(id, b, 16)?] } else { Vec::new() };
                    return self.finish(
                        id,
                        stopped,
                        &call,
                        position,
                        result,
                        writes,
                        crate::trace::event::Effect::None,
                    );
                }
                Ok(now) => self.written(id, b, time::bytes(&now).to_vec()),
                Err(_) => (fails(libc::EINVAL), Vec::new()),
            },
            Emulation::Gettimeofday => {
                let now = self.clocks.read(libc::CLOCK_REALTIME)?;
                let now = libc::timespec { tv_sec: now.tv_sec, tv_nsec: now.tv_nsec / 1000 };
                let (mut result, mut writes) = self.written(id, a, time::bytes(&now).to_vec());
                if result == 0 {
                    let zone;
                    (result, zone) = self.written(id, b, time::zone().to_vec());
                    writes.extend(zone);
                }
                (result, writes)
            }
            Emulation::SetClock => (self.set_clock(id, &call), Vec::new()),
            Emulation::Time => {
                let seconds = self.clocks.read(libc::CLOCK_REALTIME)?.tv_sec;
                let (result, writes) = self.written(id, a, seconds.to_ne_bytes().to_vec());
                (if result == 0 { seconds } else { result }, writes)
            }
            Emulation::Getrandom => {
                // A large request may be served in part (getrandom(2)).
                let mut bytes = vec![0; b.min(1 << 20) as usize];
                self.randomness().fill_bytes(&mut bytes);
                let len = bytes.len() as i64;
                let (result, writes) = self.written(id, a, bytes);
                (if result == 0 { len } else { result }, writes)
            }
            Emulation::Getcpu => {
                let mut writes = Vec::new();
                for (address, word) in [(a, self.core_of(id)), (b, 0)] {
                    writes.extend(self.written(id, address, word.to_ne_bytes().to_vec()).1);
                }
                (0, writes)
            }
            Emulation::GetAffinity => self.get_affinity(id, args),
            Emulation::SetAffinity => (self.set_affinity(id, args), Vec::new()),
            Emulation::SetDumpable => match b {
                0 | 1 => {
                    self.space(id).dumpable.set(b == 1);
                    (0, Vec::new())
                }
                _ => (fails(libc::EINVAL), Vec::new()),
            },
            Emulation::GetDumpable => (i64::from(self.space(id).dumpable.get()), Vec::new()),
            Emulation::GetNoNewPrivileges => {
                (i64::from(self.task(id).natively.no_new_privileges), Vec::new())
            }
            Emulation::Personality => return self.personality(id, stopped, &call),
            Emulation::Nothing => (0, Vec::new()),
        };
        self.skip(id, stopped, &call, result, writes)
    }

    /// Bytes that an emulated call gives out at `address` (nowhere if that is null): the call's result and what it
    /// writes. They are checked to be writable here.
    pub(super) fn written(&self, id: TaskId, address: u64, bytes: Vec<u8>) -> (i64, Vec<Write>) {
        if address == 0 || bytes.is_empty() {
            return (0, Vec::new());
        }
        if self.space(id).memory.put(self.tasks[id].tid, address, &bytes).is_err() {
            return (fails(libc::EFAULT), Vec::new());
        }
        (0, vec![Write { address, bytes }])
    }

    /// clock_settime(2), settimeofday(2): what is wrong is told before that it is not allowed.
    fn set_clock(&self, id: TaskId, call: &Call) -> i64 {
        let [a, b, ..] = call.args();
        let memory = &self.space(id).memory;
        let (address, unit) = match call.number() as i64 {
            libc::SYS_settimeofday if a == 0 && b == 0 => return fails(libc::EPERM),
            libc::SYS_settimeofday => (a, 1000),
            _ if a as i32 != libc::CLOCK_REALTIME => return fails(libc::EINVAL),
            _ => (b, 1),
        };
        let zone = call.number() as i64 == libc::SYS_settimeofday && b != 0;
        if zone && memory.u64(b).is_err() {
            return fails(libc::EFAULT);
        }
        if zone && address == 0 {
            return fails(libc::EPERM);
        }
        let Ok(wanted) = time::timespec_at(memory, address) else { return fails(libc::EFAULT) };
        let parts = wanted.tv_nsec.checked_mul(unit);
        let valid =
            parts.is_some_and(|tv_nsec| time::nanoseconds(&libc::timespec { tv_nsec, ..wanted }).is_some());
        fails(if valid { libc::EPERM } else { libc::EINVAL })
    }

    pub(super) fn copy(&self, id: TaskId, address: u64, len: usize) -> Flow<Write> {
        Ok(Write { address, bytes: self.space(id).memory.bytes(address, len)? })
    }

    /// A task sleeps until the time at `request` is over.
    fn sleep(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: Call,
        clock: i32,
        absolute: bool,
        request: u64,
    ) -> Flow<Next> {
        if time::is_cpu_clock(clock) {
            return self.unsupported(id, "clock_nanosleep on a clock of processor time");
        }
        if self.clocks.read(clock).is_err() {
            return self.skip(id, stopped, &call, fails(libc::EINVAL), Vec::new());
        }
        let Ok(wanted) = time::timespec_at(&self.space(id).memory, request) else {
            return self.skip(id, stopped, &call, fails(libc::EFAULT), Vec::new());
        };
        let Some(wanted) = time::nanoseconds(&wanted) else {
            return self.skip(id, stopped, &call, fails(libc::EINVAL), Vec::new());
        };
        let deadline = match call.deadline {
            Some(deadline) => deadline,
            None if absolute => self.clocks.deadline(clock, wanted)?,
            None => self.clocks.now()?.saturating_add(wanted),
        };
        if call.deadline.is_none() && deadline <= self.clocks.now()? {
            // It gives way, and that is all.
            let next = self.gives_way(id, &call);
            self.skip(id, stopped, &call, 0, Vec::new())?;
            return Ok(next);
        }
        self.limit_wait(id, &call, deadline)?;
        self.tasks.hold(id, Hold::Waiting(stopped, Call { deadline: Some(deadline), ..call }));
        Ok(Next::Decide(Why::Blocked, None))
    }

    /// A task's time is over: its sleep ends, or its wait has timed out.
    pub(super) fn expire(&mut self, id: TaskId) {
        if self.stop_watching(id, Waited::TimedOut) {
            return;
        }
        let result = if self.futexes.remove(id).is_some() { fails(libc::ETIMEDOUT) } else { 0 };
        self.end_wait(id, result);
    }

    pub(super) fn end_wait(&mut self, id: TaskId, result: i64) {
        self.deadlines.remove(id);
        if !matches!(self.tasks[id].hold(), Hold::Waiting(..) | Hold::Parked(_)) {
            return;
        }
        let hold = match self.tasks.release(id) {
            Hold::Waiting(stopped, call) => Hold::Woken(stopped, call, result),
            Hold::Parked(running) => Hold::Unparked(running),
            hold => hold,
        };
        self.tasks.hold(id, hold);
        self.woken = true;
    }

    fn futex(&mut self, id: TaskId, stopped: Stopped, call: Call) -> Flow<Next> {
        let args = call.args();
        let Some(decoded) = FutexCall::decode(&args) else {
            return self.skip(id, stopped, &call, fails(libc::ENOSYS), Vec::new());
        };
        let private = args[1] & libc::FUTEX_PRIVATE_FLAG as u64 != 0;
        let key = |this: &mut Self, address| this.futex_key(id, address, private);
        let address = args[0];
        if !address.is_multiple_of(4) {
            return self.skip(id, stopped, &call, fails(libc::EINVAL), Vec::new());
        }
        let mut writes = Vec::new();
        let result = match decoded {
            FutexCall::Wait { value, bitset, timeout } => {
                return self.futex_wait(id, stopped, call, value, bitset, timeout);
            }
            FutexCall::Lock { timeout } => return self.futex_lock(id, stopped, call, timeout, true),
            FutexCall::TryLock => return self.futex_lock(id, stopped, call, FutexTimeout::Never, false),
            FutexCall::Unlock => {
                let result;
                (result, writes) = self.futex_unlock(id, address, private);
                result
            }
            // As a kernel without them: nobody but glibc before 2.25 uses them.
            FutexCall::RequeueLock => fails(libc::ENOSYS),
            FutexCall::Wake { count, bitset } => {
                let key = key(self, address);
                self.wake(key, count, bitset)
            }
            FutexCall::Requeue { wake, requeue, to, value } => match self.space(id).memory.u32(address) {
                Err(_) => fails(libc::EFAULT),
                Ok(word) if value.is_some_and(|value| value != word) => fails(libc::EAGAIN),
                Ok(_) => {
                    let (from, to) = (key(self, address), key(self, to));
                    let (woken, requeued) = {
                        let mut whom = whom(&mut *self.strategy, &self.dice);
                        self.futexes.requeue(from, to, wake, requeue, &mut whom)
                    };
                    let count = woken.len() + requeued;
                    self.end_waits(woken);
                    count as i64
                }
            },
            FutexCall::WakeOp { wake, wake_second, second, operation } => {
                match self.space(id).memory.u32(second) {
                    Err(_) => fails(libc::EFAULT),
                    Ok(word) => match WakeOp::apply(word, operation) {
                        None => fails(libc::ENOSYS),
                        Some(op) => {
                            writes = self.written(id, second, op.new.to_ne_bytes().to_vec()).1;
                            let (first, second) = (key(self, address), key(self, second));
                            let woken = self.wake(first, wake, u32::MAX);
                            woken + if op.wakes { self.wake(second, wake_second, u32::MAX) } else { 0 }
                        }
                    },
                }
            }
        };
        self.skip(id, stopped, &call, result, writes)
    }

    fn futex_wait(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut call: Call,
        value: u32,
        bitset: u32,
        timeout: FutexTimeout,
    ) -> Flow<Next> {
        let address = call.args()[0];
        let found = if std::mem::take(&mut self.waits) == address {
            Ok(value)
        } else {
            self.space(id).memory.u32(address)
        };
        let early = match found {
            Err(_) => Some(libc::EFAULT),
            Ok(_) if bitset == 0 => Some(libc::EINVAL),
            Ok(word) if word != value => Some(libc::EAGAIN),
            Ok(_) => None,
        };
        if let Some(errno) = early {
            return self.skip(id, stopped, &call, fails(errno), Vec::new());
        }
        if let Err(errno) = self.set_deadline(id, &mut call, timeout)? {
            return self.skip(id, stopped, &call, fails(errno), Vec::new());
        }
        if self.strikes(Surprise::Spurious) {
            return self.wake_spuriously(id, stopped, call);
        }
        let private = call.args()[1] & libc::FUTEX_PRIVATE_FLAG as u64 != 0;
        let key = self.futex_key(id, address, private);
        self.futexes.wait(key, id, bitset);
        let plain = private && bitset == ANY && matches!(timeout, FutexTimeout::Never);
        self.wait_parked(id, stopped, call, plain)
    }

    /// A task is about to wait, until this time at the latest; the errno if that is none.
    pub(super) fn set_deadline(
        &mut self,
        id: TaskId,
        call: &mut Call,
        timeout: FutexTimeout,
    ) -> Flow<Result<(), i32>> {
        let (clock, at) = match timeout {
            FutexTimeout::Never => return Ok(Ok(())),
            FutexTimeout::After(at) => (None, at),
            FutexTimeout::AtMonotonic(at) => (Some(libc::CLOCK_MONOTONIC), at),
            FutexTimeout::AtRealtime(at) => (Some(libc::CLOCK_REALTIME), at),
        };
        let Ok(wanted) = time::timespec_at(&self.space(id).memory, at) else { return Ok(Err(libc::EFAULT)) };
        let Some(wanted) = time::nanoseconds(&wanted) else { return Ok(Err(libc::EINVAL)) };
        let deadline = match (call.deadline, clock) {
            (Some(deadline), _) => deadline,
            (None, None) => self.clocks.now()?.saturating_add(wanted),
            (None, Some(clock)) => self.clocks.deadline(clock, wanted)?,
        };
        call.deadline = Some(deadline);
        self.limit_wait(id, call, deadline)?;
        Ok(Ok(()))
    }

    /// Wake waiters; how many.
    pub(super) fn wake(&mut self, key: FutexKey, count: u32, bitset: u32) -> i64 {
        let woken = self.futexes.wake(key, count, bitset, &mut whom(&mut *self.strategy, &self.dice));
        let number = woken.len() as i64;
        self.end_waits(woken);
        number
    }

    fn end_waits(&mut self, woken: Vec<TaskId>) {
        for id in woken {
            self.end_wait(id, 0);
        }
    }
}
