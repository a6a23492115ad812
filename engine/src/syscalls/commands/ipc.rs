//! The commands of System V IPC: msgctl(2), semctl(2), shmctl(2).

use crate::syscalls::describe::{
    Answer,
    Answer::Writes,
    Commands, Key,
    Out::{Fixed, Semaphores},
};

const QUIET: Answer = Writes(&[]);

/// msgctl(2): the command is in argument 1, outputs go to argument 2.
pub(in crate::syscalls) static MSGCTL: Commands = Commands {
    what: "msgctl command",
    key: Key::Argument(1),
    known: &[
        (libc::IPC_RMID as u64, QUIET),
        (libc::IPC_SET as u64, QUIET),
        (libc::IPC_STAT as u64, MSQID_DS),
        (libc::MSG_STAT as u64, MSQID_DS),
        (MSG_STAT_ANY, MSQID_DS),
        (libc::IPC_INFO as u64, MSGINFO),
        (libc::MSG_INFO as u64, MSGINFO),
    ],
    others: |_| None,
};

const MSQID_DS: Answer = Writes(&[Fixed(2, 120)]);
const MSGINFO: Answer = Writes(&[Fixed(2, 32)]);
/// linux/msg.h
const MSG_STAT_ANY: u64 = 13;

/// semctl(2): the command is in argument 2, outputs go to argument 3.
pub(in crate::syscalls) static SEMCTL: Commands = Commands {
    what: "semctl command",
    key: Key::Argument(2),
    known: &[
        (libc::IPC_RMID as u64, QUIET),
        (libc::IPC_SET as u64, QUIET),
        (libc::IPC_STAT as u64, SEMID_DS),
        (libc::SEM_STAT as u64, SEMID_DS),
        (SEM_STAT_ANY, SEMID_DS),
        (libc::IPC_INFO as u64, SEMINFO),
        (libc::SEM_INFO as u64, SEMINFO),
        (libc::GETPID as u64, QUIET),
        (libc::GETVAL as u64, QUIET),
        (libc::GETALL as u64, Writes(&[Semaphores(3)])),
        (libc::GETNCNT as u64, QUIET),
        (libc::GETZCNT as u64, QUIET),
        (libc::SETVAL as u64, QUIET),
        (libc::SETALL as u64, QUIET),
    ],
    others: |_| None,
};

const SEMID_DS: Answer = Writes(&[Fixed(3, 104)]);
const SEMINFO: Answer = Writes(&[Fixed(3, 40)]);
/// linux/sem.h
const SEM_STAT_ANY: u64 = 20;

/// shmctl(2): the command is in argument 1, outputs go to argument 2.
pub(in crate::syscalls) static SHMCTL: Commands = Commands {
    what: "shmctl command",
    key: Key::Argument(1),
    known: &[
        (libc::IPC_RMID as u64, QUIET),
        (libc::IPC_SET as u64, QUIET),
        (libc::IPC_STAT as u64, SHMID_DS),
        (SHM_STAT, SHMID_DS),
        (SHM_STAT_ANY, SHMID_DS),
        (libc::IPC_INFO as u64, Writes(&[Fixed(2, 72)])),
        (SHM_INFO, Writes(&[Fixed(2, 48)])),
        (libc::SHM_LOCK as u64, QUIET),
        (libc::SHM_UNLOCK as u64, QUIET),
    ],
    others: |_| None,
};

const SHMID_DS: Answer = Writes(&[Fixed(2, 112)]);
// linux/shm.h
const SHM_STAT: u64 = 13;
const SHM_INFO: u64 = 14;
const SHM_STAT_ANY: u64 = 15;
