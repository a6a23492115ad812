//! The calls that the recorder makes itself: sleeps, clocks, random bytes.

use rand_xoshiro::rand_core::RngCore;

use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::time::clocks;
use crate::record::tree::call::{Call, Outcome, fails};
use crate::record::tree::task::Hold;
use crate::record::tree::tasks::Tasks;
use crate::schedule::Why;
use crate::schedule::surprise::Surprise;
use crate::syscalls::Emulation;
use crate::task::TaskId;
use crate::tracee::Stopped;

impl Recorder<'_> {
    pub(in crate::record) fn emulate(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: Call,
        emulation: Emulation,
    ) -> Flow<Next> {
        let args = call.args();
        let [a, b, c, ..] = args;
        match emulation {
            Emulation::ClockGettime => self.before_read(id, &call, a as i32)?,
            Emulation::Gettimeofday | Emulation::Time => {
                self.before_read(id, &call, libc::CLOCK_REALTIME)?;
            }
            _ => {}
        }
        let (result, writes) = match emulation {
            Emulation::Futex => return self.futex(id, stopped, call),
            Emulation::SetRobustList => (self.tasks.set_robust_list(id, a, b), Vec::new()),
            Emulation::GetRobustList => self.tasks.get_robust_list(id, args),
            Emulation::Nanosleep => return self.sleep(id, stopped, call, libc::CLOCK_MONOTONIC, false, a),
            Emulation::ClockNanosleep => {
                let absolute = b & libc::TIMER_ABSTIME as u64 != 0;
                return self.sleep(id, stopped, call, a as i32, absolute, c);
            }
            Emulation::Yield => {
                let next =
                    self.surprises.gives_way(&self.tasks, &self.scheduler, &self.code.call_sites, id, &call);
                self.skip(id, stopped, &call, Outcome::result(0))?;
                return Ok(next);
            }
            Emulation::Identity if call.number() == libc::SYS_getpid as u64 => {
                (i64::from(self.tasks.task(id).pid.as_raw()), Vec::new())
            }
            Emulation::Identity => (i64::from(stopped.tid().as_raw()), Vec::new()),
            Emulation::SignalMask => self.tasks.signal_mask(id, &stopped, args)?,
            Emulation::ClockGettime => match self.told(id, &call, a as i32) {
                // Clocks that count the program's own time can be read only by the program itself.
                _ if clocks::is_cpu_clock(a as i32) => {
                    let (stopped, result) = self.run_to_exit(id, stopped)?;
                    let writes =
                        if result == 0 && b != 0 { vec![self.tasks.copy(id, b, 16)?] } else { Vec::new() };
                    return self.finish(
                        id,
                        stopped,
                        &call,
                        Outcome::new(result, writes).with(crate::trace::event::Effect::None),
                    );
                }
                Ok(now) => self.tasks.written(id, b, clocks::bytes(&now).to_vec()),
                Err(_) => (fails(libc::EINVAL), Vec::new()),
            },
            Emulation::Gettimeofday => {
                let now = self.told(id, &call, libc::CLOCK_REALTIME)?;
                let now = libc::timespec { tv_sec: now.tv_sec, tv_nsec: now.tv_nsec / 1000 };
                let (mut result, mut writes) = self.tasks.written(id, a, clocks::bytes(&now).to_vec());
                if result == 0 {
                    let zone;
                    (result, zone) = self.tasks.written(id, b, clocks::zone().to_vec());
                    writes.extend(zone);
                }
                (result, writes)
            }
            Emulation::SetClock => (self.tasks.set_clock(id, &call), Vec::new()),
            Emulation::Time => {
                let seconds = self.told(id, &call, libc::CLOCK_REALTIME)?.tv_sec;
                let (result, writes) = self.tasks.written(id, a, seconds.to_ne_bytes().to_vec());
                (if result == 0 { seconds } else { result }, writes)
            }
            Emulation::Getrandom => {
                // The kernel may serve a large request in part (getrandom(2)).
                let mut bytes = vec![0; b.min(1 << 20) as usize];
                self.scheduler.randomness().fill_bytes(&mut bytes);
                let len = bytes.len() as i64;
                let (result, writes) = self.tasks.written(id, a, bytes);
                (if result == 0 { len } else { result }, writes)
            }
            Emulation::Getcpu => {
                let mut writes = Vec::new();
                for (address, word) in [(a, self.tasks.core_of(id)), (b, 0)] {
                    writes.extend(self.tasks.written(id, address, word.to_ne_bytes().to_vec()).1);
                }
                (0, writes)
            }
            Emulation::GetAffinity => {
                self.is_seen(Surprise::Cores, id, &call);
                self.tasks.get_affinity(self.options, id, args)
            }
            Emulation::SetAffinity => {
                (self.tasks.set_affinity(self.options, &self.clock, id, args), Vec::new())
            }
            Emulation::SetDumpable => match b {
                0 | 1 => {
                    self.tasks.space(id).dumpable.set(b == 1);
                    (0, Vec::new())
                }
                _ => (fails(libc::EINVAL), Vec::new()),
            },
            Emulation::GetDumpable => (i64::from(self.tasks.space(id).dumpable.get()), Vec::new()),
            Emulation::GetNoNewPrivileges => {
                (i64::from(self.tasks.task(id).natively.no_new_privileges), Vec::new())
            }
            Emulation::Personality => return self.personality(id, stopped, &call),
            Emulation::Nothing => (0, Vec::new()),
        };
        self.skip(id, stopped, &call, Outcome::new(result, writes))
    }

    /// Lets a task sleep until the time given by the timespec at `request`.
    fn sleep(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: Call,
        clock: i32,
        absolute: bool,
        request: u64,
    ) -> Flow<Next> {
        if clocks::is_cpu_clock(clock) {
            return self.tasks.unsupported(id, "clock_nanosleep on a clock of processor time");
        }
        if self.time.clocks.read(clock).is_err() {
            return self.skip(id, stopped, &call, Outcome::fails(libc::EINVAL));
        }
        let Ok(wanted) = clocks::timespec_at(&self.tasks.space(id).memory, request) else {
            return self.skip(id, stopped, &call, Outcome::fails(libc::EFAULT));
        };
        let Some(wanted) = clocks::nanoseconds(&wanted) else {
            return self.skip(id, stopped, &call, Outcome::fails(libc::EINVAL));
        };
        let deadline = match call.deadline {
            Some(deadline) => deadline,
            None if absolute => self.time.clocks.deadline(clock, wanted)?,
            None => self.time.clocks.now()?.saturating_add(wanted),
        };
        if call.deadline.is_none() && deadline <= self.time.clocks.now()? {
            // Only yields: the time is over already.
            let next =
                self.surprises.gives_way(&self.tasks, &self.scheduler, &self.code.call_sites, id, &call);
            self.skip(id, stopped, &call, Outcome::result(0))?;
            return Ok(next);
        }
        self.limit_wait(id, &call, deadline)?;
        self.tasks.hold(id, Hold::Waiting(stopped, Call { deadline: Some(deadline), ..call }));
        Ok(Next::Decide(Why::Blocked, None))
    }
}

impl Tasks {
    /// Makes clock_settime(2) and settimeofday(2) fail. Invalid arguments are reported before missing permission.
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
        let Ok(wanted) = clocks::timespec_at(memory, address) else { return fails(libc::EFAULT) };
        let parts = wanted.tv_nsec.checked_mul(unit);
        let valid =
            parts.is_some_and(|tv_nsec| clocks::nanoseconds(&libc::timespec { tv_nsec, ..wanted }).is_some());
        fails(if valid { libc::EPERM } else { libc::EINVAL })
    }
}
