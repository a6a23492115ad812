//! Timestamps of System V queues, semaphores and shared memory (sysvipc(7)), where the program's clocks
//! differ from the machine's.
//!
//! The kernel keeps them in seconds. Time is fast-forwarded much more often than that, so a second of the machine's
//! clock does not show before or after which fast-forward something happened. So the recorder remembers when the
//! program did something that sets a timestamp. For what others have done the machine's second has to do.

use std::collections::BTreeMap;

use super::clocks::{Clocks, SECOND};
use super::files::{machine_now, stamp};
use crate::record::options::Options;
use crate::record::step::Flow;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;

/// A timestamp's place in a structure, named by the call that reports the structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Field {
    /// shmctl(2), msgctl(2) or semctl(2).
    control: i64,
    offset: u64,
}

const fn field(control: i64, offset: u64) -> Field {
    Field { control, offset }
}

// sys/shm.h, sys/msg.h, sys/sem.h
const SHM_ATIME: Field = field(libc::SYS_shmctl, 56);
const SHM_DTIME: Field = field(libc::SYS_shmctl, 64);
const SHM_CTIME: Field = field(libc::SYS_shmctl, 72);
const MSG_STIME: Field = field(libc::SYS_msgctl, 48);
const MSG_RTIME: Field = field(libc::SYS_msgctl, 56);
const MSG_CTIME: Field = field(libc::SYS_msgctl, 64);
const SEM_OTIME: Field = field(libc::SYS_semctl, 48);
const SEM_CTIME: Field = field(libc::SYS_semctl, 64);

const FIELDS: [Field; 8] =
    [SHM_ATIME, SHM_DTIME, SHM_CTIME, MSG_STIME, MSG_RTIME, MSG_CTIME, SEM_OTIME, SEM_CTIME];

/// A time in seconds of the machine's clock, and of the program's.
#[derive(Clone, Copy, Debug)]
struct When {
    machine: i64,
    program: i64,
}

/// When the program has used queues, semaphores and shared memory, by their ids.
#[derive(Debug, Default)]
pub(in crate::record) struct IpcTimes(BTreeMap<(Field, i32), When>);

/// Returns the timestamp that a call sets, given its result.
fn stamped(call: &Call, result: i64) -> Option<(Field, i32)> {
    let [id, command, third, ..] = call.args();
    let (made, id) = (result as i32, id as i32);
    Some(match call.number() as i64 {
        libc::SYS_shmget => (SHM_CTIME, made),
        libc::SYS_msgget => (MSG_CTIME, made),
        libc::SYS_semget => (SEM_CTIME, made),
        libc::SYS_shmat => (SHM_ATIME, id),
        libc::SYS_msgsnd => (MSG_STIME, id),
        libc::SYS_msgrcv => (MSG_RTIME, id),
        libc::SYS_semop | libc::SYS_semtimedop => (SEM_OTIME, id),
        libc::SYS_shmctl if command as i32 == libc::IPC_SET => (SHM_CTIME, id),
        libc::SYS_msgctl if command as i32 == libc::IPC_SET => (MSG_CTIME, id),
        libc::SYS_semctl if matches!(third as i32, libc::IPC_SET | libc::SETVAL | libc::SETALL) => {
            (SEM_CTIME, id)
        }
        _ => return None,
    })
}

impl IpcTimes {
    /// Notes a successful call that may set a timestamp.
    pub(in crate::record) fn note_ipc(
        &mut self,
        options: &Options<'_>,
        clocks: &Clocks,
        call: &Call,
        result: i64,
    ) -> Flow<()> {
        if clocks.may_differ(options)
            && let Some(key) = stamped(call, result)
        {
            let made = [libc::SYS_shmget, libc::SYS_msgget, libc::SYS_semget];
            // An object that existed before keeps its timestamp.
            if !made.contains(&(call.number() as i64)) || !self.0.contains_key(&key) {
                self.note_ipc_time(clocks, key)?;
            }
        }
        Ok(())
    }

    /// Notes that shmdt(2) has succeeded for this segment.
    pub(in crate::record) fn note_detached(
        &mut self,
        options: &Options<'_>,
        clocks: &Clocks,
        segment: u64,
    ) -> Flow<()> {
        if clocks.may_differ(options) {
            self.note_ipc_time(clocks, (SHM_DTIME, segment as i32))
        } else {
            Ok(())
        }
    }

    fn note_ipc_time(&mut self, clocks: &Clocks, key: (Field, i32)) -> Flow<()> {
        let machine = machine_now()?.div_euclid(SECOND.into()) as i64;
        let program = clocks.read(libc::CLOCK_REALTIME)?.tv_sec;
        self.0.insert(key, When { machine, program });
        Ok(())
    }

    /// Translates timestamps that a call has reported to the program's clocks.
    pub(super) fn tell_ipc_times(
        &self,
        tasks: &Tasks,
        clocks: &Clocks,
        id: TaskId,
        call: &Call,
        result: i64,
    ) -> Flow<()> {
        let [object, command, third, fourth, ..] = call.args();
        let (number, command) = (call.number() as i64, command as i32);
        let (command, at) =
            if number == libc::SYS_semctl { (third as i32, fourth) } else { (command, third) };
        let object = match (number, command) {
            (_, libc::IPC_STAT) => object as i32,
            // Addressed by index: the call returns the id.
            (libc::SYS_shmctl, SHM_STAT | SHM_STAT_ANY)
            | (libc::SYS_msgctl, MSG_STAT | MSG_STAT_ANY)
            | (libc::SYS_semctl, SEM_STAT | SEM_STAT_ANY) => result as i32,
            _ => return Ok(()),
        };
        let memory = &tasks.space(id).memory;
        for field in FIELDS.into_iter().filter(|field| field.control == number) {
            let told = memory.u64(at + field.offset)?.cast_signed();
            let known = self.0.get(&(field, object));
            // The kernel's clock may be a tick behind.
            let known = known.filter(|when| (when.machine - 1..=when.machine).contains(&told));
            let program = match known {
                Some(when) => when.program,
                None if told == 0 => continue,
                None => {
                    let end = (stamp(told, 0) + i128::from(SECOND) - 1).min(machine_now()?);
                    told + clocks.ahead_at(end)? / SECOND.cast_signed()
                }
            };
            memory.write(at + field.offset, &program.to_ne_bytes())?;
        }
        Ok(())
    }
}

// linux/shm.h, linux/sem.h, linux/msg.h
const MSG_STAT: i32 = 11;
const MSG_STAT_ANY: i32 = 13;
const SHM_STAT: i32 = 13;
const SHM_STAT_ANY: i32 = 15;
const SEM_STAT: i32 = 18;
const SEM_STAT_ANY: i32 = 20;
