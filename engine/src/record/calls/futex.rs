//! Emulates futex(2).

use nix::unistd::Pid;

use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::surprises::in_calls::whom;
use crate::record::time::clocks;
use crate::record::tree::call::{Call, Outcome, fails};
use crate::record::tree::task::Hold;
use crate::schedule::Why;
use crate::schedule::futex::{ANY, WakeOp};
use crate::schedule::surprise::Surprise;
use crate::syscalls::{FutexCall, FutexTimeout};
use crate::task::TaskId;
use crate::tracee::Stopped;

impl Recorder<'_> {
    /// Makes a call to futex(2).
    pub(in crate::record) fn futex(&mut self, id: TaskId, stopped: Stopped, call: Call) -> Flow<Next> {
        let args = call.args();
        let Some(decoded) = FutexCall::decode(&args) else {
            return self.skip(id, stopped, &call, Outcome::fails(libc::ENOSYS));
        };
        let private = args[1] & libc::FUTEX_PRIVATE_FLAG as u64 != 0;
        let key = |this: &mut Self, address| this.futexes.futex_key(&this.tasks, id, address, private);
        let address = args[0];
        if !address.is_multiple_of(4) {
            return self.skip(id, stopped, &call, Outcome::fails(libc::EINVAL));
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
                (result, writes) = self.futexes.futex_unlock(
                    &mut self.tasks,
                    &mut self.scheduler,
                    &self.surprises,
                    id,
                    address,
                    private,
                );
                result
            }
            // Fails like a kernel without these operations: only glibc before 2.25 uses them.
            FutexCall::RequeueLock => fails(libc::ENOSYS),
            FutexCall::Wake { count, bitset } => {
                let key = key(self, address);
                self.futexes.wake(&mut self.tasks, &mut self.scheduler, &self.surprises, key, count, bitset)
            }
            FutexCall::Requeue { wake, requeue, to, value } => match self.tasks.space(id).memory.u32(address)
            {
                Err(_) => fails(libc::EFAULT),
                Ok(word) if value.is_some_and(|value| value != word) => fails(libc::EAGAIN),
                Ok(_) => {
                    let (from, to) = (key(self, address), key(self, to));
                    let (woken, requeued) = {
                        let mut whom = whom(&mut *self.scheduler.strategy, &self.surprises.injector);
                        self.futexes.table.requeue(from, to, wake, requeue, &mut whom)
                    };
                    let count = woken.len() + requeued;
                    self.tasks.end_waits(woken);
                    count as i64
                }
            },
            FutexCall::WakeOp { wake, wake_second, second, operation } => {
                match self.tasks.space(id).memory.u32(second) {
                    Err(_) => fails(libc::EFAULT),
                    Ok(word) => match WakeOp::apply(word, operation) {
                        None => fails(libc::ENOSYS),
                        Some(op) => {
                            writes = self.tasks.written(id, second, op.new.to_ne_bytes().to_vec()).1;
                            let (first, second) = (key(self, address), key(self, second));
                            let woken = self.futexes.wake(
                                &mut self.tasks,
                                &mut self.scheduler,
                                &self.surprises,
                                first,
                                wake,
                                u32::MAX,
                            );
                            woken
                                + if op.wakes {
                                    self.futexes.wake(
                                        &mut self.tasks,
                                        &mut self.scheduler,
                                        &self.surprises,
                                        second,
                                        wake_second,
                                        u32::MAX,
                                    )
                                } else {
                                    0
                                }
                        }
                    },
                }
            }
        };
        self.skip(id, stopped, &call, Outcome::new(result, writes))
    }

    pub(in crate::record) fn futex_wait(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut call: Call,
        value: u32,
        bitset: u32,
        timeout: FutexTimeout,
    ) -> Flow<Next> {
        let address = call.args()[0];
        let found = if std::mem::take(&mut self.code.hand_over.waits) == address {
            Ok(value)
        } else {
            self.tasks.space(id).memory.u32(address)
        };
        let early = match found {
            Err(_) => Some(libc::EFAULT),
            Ok(_) if bitset == 0 => Some(libc::EINVAL),
            Ok(word) if word != value => Some(libc::EAGAIN),
            Ok(_) => None,
        };
        if let Some(errno) = early {
            return self.skip(id, stopped, &call, Outcome::fails(errno));
        }
        if let Err(errno) = self.set_deadline(id, &mut call, timeout)? {
            return self.skip(id, stopped, &call, Outcome::fails(errno));
        }
        if self.surprises.strikes(&self.scheduler, Surprise::Spurious, id) {
            self.surprises.note_scripted(&self.tasks, &self.code.call_sites, Surprise::Spurious, id, &call);
            return self.wake_spuriously(id, stopped, call);
        }
        let private = call.args()[1] & libc::FUTEX_PRIVATE_FLAG as u64 != 0;
        let key = self.futexes.futex_key(&self.tasks, id, address, private);
        self.futexes.table.wait(key, id, bitset);
        let plain = private && bitset == ANY && matches!(timeout, FutexTimeout::Never);
        self.wait_parked(id, stopped, call, plain)
    }

    /// Sets the deadline of a task that is about to wait. Returns an errno if the timeout is invalid.
    pub(in crate::record) fn set_deadline(
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
        let Ok(wanted) = clocks::timespec_at(&self.tasks.space(id).memory, at) else {
            return Ok(Err(libc::EFAULT));
        };
        let Some(wanted) = clocks::nanoseconds(&wanted) else { return Ok(Err(libc::EINVAL)) };
        let deadline = match (call.deadline, clock) {
            (Some(deadline), _) => deadline,
            (None, None) => self.time.clocks.now()?.saturating_add(wanted),
            (None, Some(clock)) => self.time.clocks.deadline(clock, wanted)?,
        };
        call.deadline = Some(deadline);
        self.limit_wait(id, call, deadline)?;
        Ok(Ok(()))
    }

    /// `FUTEX_LOCK_PI`, and `FUTEX_TRYLOCK_PI` if not `waits`.
    pub(in crate::record) fn futex_lock(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut call: Call,
        timeout: FutexTimeout,
        waits: bool,
    ) -> Flow<Next> {
        let (address, tid) = (call.args()[0], self.tasks.task(id).tid.as_raw() as u32);
        let Ok(word) = self.tasks.space(id).memory.u32(address) else {
            return self.skip(id, stopped, &call, Outcome::fails(libc::EFAULT));
        };
        let holder = word & libc::FUTEX_TID_MASK;
        if holder == 0 {
            let new = word & libc::FUTEX_OWNER_DIED | tid;
            let (result, writes) = self.tasks.written(id, address, new.to_ne_bytes().to_vec());
            return self.skip(id, stopped, &call, Outcome::new(result, writes));
        }
        let found = self.tasks.with_tid(Pid::from_raw(holder.cast_signed()));
        let error = match found {
            _ if holder == tid => Some(libc::EDEADLK),
            None => Some(libc::ESRCH),
            Some(_) if !waits => Some(libc::EAGAIN),
            Some(_) => None,
        };
        let (Some(holder), None) = (found.map(|task| task.id), error) else {
            return self.skip(id, stopped, &call, Outcome::fails(error.unwrap_or(libc::ESRCH)));
        };
        if let Err(errno) = self.set_deadline(id, &mut call, timeout)? {
            return self.skip(id, stopped, &call, Outcome::fails(errno));
        }
        let key = self.futexes.futex_key(
            &self.tasks,
            id,
            address,
            call.args()[1] & libc::FUTEX_PRIVATE_FLAG as u64 != 0,
        );
        if word & libc::FUTEX_WAITERS == 0 {
            let new = (word | libc::FUTEX_WAITERS).to_ne_bytes().to_vec();
            let writes = self.tasks.written(id, address, new).1;
            // Others can see the new word as soon as the task waits.
            self.journal.note_arrival(&mut self.tasks, &self.clock, id);
            self.journal.log_written(id, writes);
        }
        self.futexes.holders.insert(key, holder);
        self.futexes.table.wait(key, id, u32::MAX);
        self.tasks.hold(id, Hold::Waiting(stopped, call));
        Ok(Next::Decide(Why::Blocked, None))
    }

    /// Makes a task that is about to wait on a futex go on instead, at once or after the others have had their turn.
    pub(in crate::record) fn wake_spuriously(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: Call,
    ) -> Flow<Next> {
        self.tasks.deadlines.remove(id);
        if self.surprises.injector.amount(Surprise::Spurious, 1, 4) == 1 {
            return self.skip(id, stopped, &call, Outcome::result(0));
        }
        // Like a task that has begun to wait.
        self.journal.note_arrival(&mut self.tasks, &self.clock, id);
        self.tasks.hold(id, Hold::Woken(stopped, Call { entered: true, ..call }, 0));
        Ok(Next::Decide(Why::Yielded, None))
    }
}
