//! The commands of fcntl(2).

use crate::syscalls::describe::{Answer, Answer::Writes, Commands, Key, Out::Fixed};

/// fcntl(2): the command is in argument 1, outputs go to argument 2.
pub(in crate::syscalls) static FCNTL: Commands = Commands {
    what: "fcntl command",
    key: Key::Argument(1),
    known: &[
        (libc::F_DUPFD as u64, QUIET),
        (libc::F_GETFD as u64, QUIET),
        (libc::F_SETFD as u64, QUIET),
        (libc::F_GETFL as u64, QUIET),
        (libc::F_SETFL as u64, QUIET),
        (libc::F_GETLK as u64, Writes(&[Fixed(2, 32)])),
        (libc::F_SETLK as u64, QUIET),
        (libc::F_SETLKW as u64, QUIET),
        (libc::F_SETOWN as u64, QUIET),
        (libc::F_GETOWN as u64, QUIET),
        (F_SETSIG, QUIET),
        (F_GETSIG, QUIET),
        (F_SETOWN_EX, QUIET),
        (F_GETOWN_EX, Writes(&[Fixed(2, 8)])),
        (F_GETOWNER_UIDS, Writes(&[Fixed(2, 8)])),
        (libc::F_OFD_GETLK as u64, Writes(&[Fixed(2, 32)])),
        (libc::F_OFD_SETLK as u64, QUIET),
        (libc::F_OFD_SETLKW as u64, QUIET),
        (libc::F_SETLEASE as u64, QUIET),
        (libc::F_GETLEASE as u64, QUIET),
        (libc::F_NOTIFY as u64, QUIET),
        (F_DUPFD_QUERY, QUIET),
        (F_CREATED_QUERY, QUIET),
        (libc::F_CANCELLK as u64, QUIET),
        (libc::F_DUPFD_CLOEXEC as u64, QUIET),
        (libc::F_SETPIPE_SZ as u64, QUIET),
        (libc::F_GETPIPE_SZ as u64, QUIET),
        (libc::F_ADD_SEALS as u64, QUIET),
        (libc::F_GET_SEALS as u64, QUIET),
        (F_GET_RW_HINT, Writes(&[Fixed(2, 8)])),
        (F_SET_RW_HINT, QUIET),
        (F_GET_FILE_RW_HINT, Writes(&[Fixed(2, 8)])),
        (F_SET_FILE_RW_HINT, QUIET),
        (F_GETDELEG, Writes(&[Fixed(2, 8)])),
        (F_SETDELEG, QUIET),
    ],
    others: |_| None,
};

const QUIET: Answer = Writes(&[]);

// asm-generic/fcntl.h, linux/fcntl.h
const F_SETSIG: u64 = 10;
const F_GETSIG: u64 = 11;
const F_SETOWN_EX: u64 = 15;
const F_GETOWN_EX: u64 = 16;
const F_GETOWNER_UIDS: u64 = 17;
const F_DUPFD_QUERY: u64 = 1027;
const F_CREATED_QUERY: u64 = 1028;
const F_GET_RW_HINT: u64 = 1035;
const F_SET_RW_HINT: u64 = 1036;
const F_GET_FILE_RW_HINT: u64 = 1037;
const F_SET_FILE_RW_HINT: u64 = 1038;
const F_GETDELEG: u64 = 1039;
const F_SETDELEG: u64 = 1040;
