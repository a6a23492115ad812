//! Calls that report when something happened, or how long ago, where the program's clocks differ from the machine's:
//! the kernel does not know.
//!
//! It reports times of the machine's clocks, which are translated to the program's before they are logged. Used
//! processor time (getrusage(2), wait4(2)) needs no translation.

use super::Times;
use super::clocks::{Clocks, SECOND, nanoseconds};
use super::files::{machine_now, stamp};
use super::past::Stamp;
use crate::record::step::Flow;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::tracee::{Memory, Stopped};

/// Nanoseconds of a clock tick as times(2) counts them (`USER_HZ`).
pub(super) const CLOCK_TICK: u64 = SECOND / 100;

/// The unit of the second word of a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parts {
    /// `struct timeval`.
    Micro,
    /// `struct timespec`.
    Nano,
}

impl Times {
    /// Translates the points in time that a call has reported, and its result.
    pub(in crate::record) fn tell_times(
        &self,
        tasks: &Tasks,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        result: i64,
    ) -> Flow<(Stopped, i64)> {
        if !self.differ() || result < 0 {
            return Ok((stopped, result));
        }
        let args = call.args();
        match call.number() as i64 {
            libc::SYS_times => {
                let differs = self.clocks.differs(libc::CLOCK_MONOTONIC);
                let result = result + differs / CLOCK_TICK.cast_signed();
                let mut registers = stopped.registers()?;
                registers.set_result(result);
                stopped.set_registers(&registers)?;
                return Ok((stopped, result));
            }
            libc::SYS_sysinfo => self.clocks.tell_uptime(tasks, id, args[0])?,
            libc::SYS_adjtimex => self.clocks.tell_adjusted(tasks, id, args[0])?,
            libc::SYS_clock_adjtime => self.clocks.tell_adjusted(tasks, id, args[1])?,
            libc::SYS_ioctl => match args[1] as u32 {
                SIOCGSTAMP | SIOCGSTAMP_NEW => self.clocks.tell(tasks, id, args[2], Parts::Micro)?,
                SIOCGSTAMPNS | SIOCGSTAMPNS_NEW => self.clocks.tell(tasks, id, args[2], Parts::Nano)?,
                _ => {}
            },
            libc::SYS_recvmsg => self.clocks.tell_arrival(tasks, id, args[1])?,
            libc::SYS_recvmmsg => {
                for message in 0..result.cast_unsigned() {
                    self.clocks.tell_arrival(tasks, id, args[1] + message * MMSGHDR)?;
                }
            }
            libc::SYS_shmctl | libc::SYS_msgctl | libc::SYS_semctl => {
                self.ipc.tell_ipc_times(tasks, &self.clocks, id, call, result)?
            }
            _ => self.stamped.tell_file_times(tasks, &self.clocks, id, call)?,
        }
        Ok((stopped, result))
    }
}

impl Clocks {
    /// Returns how many ns the program's wall clock was ahead at a time of the machine's; 0 for a time in the future,
    /// which is no timestamp.
    pub(super) fn ahead_at(&self, stamp: Stamp) -> Flow<i64> {
        Ok(if stamp > machine_now()? { 0 } else { self.past().ahead_at(stamp) })
    }

    /// Translates the point in time at an address.
    fn tell(&self, tasks: &Tasks, id: TaskId, address: u64, parts: Parts) -> Flow<()> {
        let memory = &tasks.space(id).memory;
        let (Ok(seconds), Ok(second)) = (memory.u64(address), memory.u64(address + 8)) else {
            return Ok(());
        };
        let unit = if parts == Parts::Micro { 1000 } else { 1 };
        let told = stamp(seconds.cast_signed(), second.cast_signed().saturating_mul(unit));
        let told = told + Stamp::from(self.ahead_at(told)?);
        let (seconds, rest) = (told.div_euclid(SECOND.into()) as i64, told.rem_euclid(SECOND.into()) as i64);
        memory.write(address, &[seconds.to_ne_bytes(), (rest / unit).to_ne_bytes()].concat())?;
        Ok(())
    }

    /// sysinfo(2). Translates the uptime in seconds, the first word.
    fn tell_uptime(&self, tasks: &Tasks, id: TaskId, address: u64) -> Flow<()> {
        let up = nanoseconds(&self.read(libc::CLOCK_BOOTTIME)?).unwrap_or(0);
        tasks.space(id).memory.write(address, &up.div_ceil(SECOND).to_ne_bytes())?;
        Ok(())
    }

    /// adjtimex(2). Translates the present time.
    fn tell_adjusted(&self, tasks: &Tasks, id: TaskId, address: u64) -> Flow<()> {
        /// Offsets in `struct timex` of the status and the time.
        const STATUS: u64 = 40;
        const TIME: u64 = 72;
        let status = tasks.space(id).memory.u32(address + STATUS)?;
        let nano = status & libc::STA_NANO as u32 != 0;
        self.tell(tasks, id, address + TIME, if nano { Parts::Nano } else { Parts::Micro })
    }

    /// recvmsg(2). Translates arrival times of packets (socket(7), `SO_TIMESTAMP`) in the control messages.
    fn tell_arrival(&self, tasks: &Tasks, id: TaskId, header: u64) -> Flow<()> {
        let memory = &tasks.space(id).memory;
        for (at, kind) in control_messages(memory, header) {
            match kind {
                SCM_TIMESTAMP | SCM_TIMESTAMP_NEW => self.tell(tasks, id, at, Parts::Micro)?,
                SCM_TIMESTAMPNS | SCM_TIMESTAMPNS_NEW => self.tell(tasks, id, at, Parts::Nano)?,
                // The first of three is by the system's clock.
                SCM_TIMESTAMPING | SCM_TIMESTAMPING_NEW => self.tell(tasks, id, at, Parts::Nano)?,
                _ => {}
            }
        }
        Ok(())
    }
}

// linux/sockios.h: for struct timeval and timespec, in x86-64's traditional layout and in that of all architectures.
const SIOCGSTAMP: u32 = 0x8906;
const SIOCGSTAMPNS: u32 = 0x8907;
const SIOCGSTAMP_NEW: u32 = 0x8010_8906;
const SIOCGSTAMPNS_NEW: u32 = 0x8010_8907;

// asm-generic/socket.h, for the same two layouts.
const SCM_TIMESTAMP: i32 = 29;
const SCM_TIMESTAMPNS: i32 = 35;
const SCM_TIMESTAMPING: i32 = 37;
const SCM_TIMESTAMP_NEW: i32 = 63;
const SCM_TIMESTAMPNS_NEW: i32 = 64;
const SCM_TIMESTAMPING_NEW: i32 = 65;

/// Bytes of a `struct mmsghdr`.
const MMSGHDR: u64 = 64;

/// Returns the socket-level control messages of a msghdr (cmsg(3)): address of the data, and type.
fn control_messages(memory: &Memory, header: u64) -> Vec<(u64, i32)> {
    const CONTROL: u64 = 32;
    const CONTROL_LEN: u64 = 40;
    /// Bytes of `struct cmsghdr`: length including the data, level, type.
    const HEADER: u64 = 16;
    let mut found = Vec::new();
    let (Ok(start), Ok(len)) = (memory.u64(header + CONTROL), memory.u64(header + CONTROL_LEN)) else {
        return found;
    };
    let mut at = start;
    let end = start.saturating_add(len);
    while start != 0 && at.saturating_add(HEADER) <= end {
        let (Ok(len), Ok(level), Ok(kind)) = (memory.u64(at), memory.u32(at + 8), memory.u32(at + 12)) else {
            break;
        };
        if len < HEADER || len > end - at {
            break;
        }
        if level as i32 == libc::SOL_SOCKET {
            found.push((at + HEADER, kind as i32));
        }
        at += len.next_multiple_of(8);
    }
    found
}
