//! Faults that somebody asks for: the n-th call of a kind fails with some error, so that the code is run that handles
//! it.

use std::str::FromStr;

use nix::errno::Errno;

use crate::syscalls;

/// Calls that count as the same: a library may make any of them for the same purpose.
const ALIKE: [&[&str]; 8] = [
    &["write", "writev", "pwrite64", "pwritev", "pwritev2"],
    &["read", "readv", "pread64", "preadv", "preadv2"],
    &["open", "openat", "openat2", "creat"],
    &["accept", "accept4"],
    &["recvfrom", "recvmsg", "recvmmsg"],
    &["sendto", "sendmsg", "sendmmsg"],
    &["rename", "renameat", "renameat2"],
    &["unlink", "unlinkat", "rmdir"],
];

/// The largest number that an error has (errno(3)).
const LAST_ERROR: i32 = 133;

/// A fault that is asked for: `CALL:ERROR`, `CALL:ERROR@N`, or `CALL:ERROR@N..M` for any of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedFault {
    /// The numbers of the calls that count.
    pub calls: Vec<u64>,
    /// The error.
    pub errno: i32,
    /// Which of the calls fails at the earliest, from 1, and at the latest.
    pub from: u64,
    /// See `from`.
    pub to: u64,
}

impl FromStr for AskedFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!("{what}: a fault is CALL:ERROR@N, as in write:ENOSPC@3, or @N..M for any of these")
        };
        let (call, rest) = text.split_once(':').ok_or_else(|| wrong("no error is named"))?;
        let (error, which) = rest.split_once('@').unwrap_or((rest, "1"));
        let family: &[&str] = ALIKE.into_iter().find(|names| names.contains(&call)).unwrap_or(&[]);
        let calls: Vec<u64> = (0..u64::from(u16::MAX))
            .filter(|number| {
                syscalls::describe(*number).is_some_and(|it| it.name() == call || family.contains(&it.name()))
            })
            .collect();
        if calls.is_empty() {
            return Err(wrong(&format!("there is no system call `{call}`")));
        }
        let Some(errno) = errno_of(error) else {
            return Err(format!("unknown error `{error}`: errno(3) lists them, as in ENOSPC"));
        };
        let (from, to) = which.split_once("..").unwrap_or((which, which));
        match (from.parse(), to.parse()) {
            (Ok(from), Ok(to)) if 1 <= from && from <= to => Ok(Self { calls, errno, from, to }),
            _ => Err(wrong(&format!("`{which}` is no number from 1 on, and no range"))),
        }
    }
}

/// Returns the number of the error with this name.
fn errno_of(name: &str) -> Option<i32> {
    (1..=LAST_ERROR).find(|errno| {
        let known = Errno::from_raw(*errno);
        known != Errno::UnknownErrno && format!("{known:?}") == name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        let fault: AskedFault = "write:ENOSPC@3".parse().unwrap();
        assert!(fault.calls.contains(&(libc::SYS_pwrite64 as u64)) && fault.calls.contains(&1));
        assert_eq!((fault.errno, fault.from, fault.to), (libc::ENOSPC, 3, 3));
        let fault: AskedFault = "mkdir:EACCES@2..9".parse().unwrap();
        assert_eq!((fault.calls, fault.from, fault.to), (vec![libc::SYS_mkdir as u64], 2, 9));
        assert_eq!("fsync:ESTALE".parse::<AskedFault>().map(|fault| fault.errno), Ok(libc::ESTALE));
        assert_eq!("fsync:EHWPOISON".parse::<AskedFault>().map(|fault| fault.errno), Ok(LAST_ERROR));
        assert_eq!("fsync:EIO".parse::<AskedFault>().map(|fault| fault.to), Ok(1));
        for (wrong, says) in [
            ("write", "no error is named"),
            ("wrote:EIO", "no system call `wrote`"),
            ("write:EOOPS", "unknown error `EOOPS`: errno(3)"),
            ("write:UnknownErrno", "unknown error `UnknownErrno`"),
            ("write:EIO@0", "`0` is no number"),
            ("write:EIO@3..2", "`3..2` is no number"),
            ("write:EIO@x", "`x` is no number"),
        ] {
            let error = wrong.parse::<AskedFault>().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
