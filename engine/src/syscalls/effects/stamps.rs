//! System calls that stamp files with the time (inode(7)), set such timestamps, or report them.

/// What a call may stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// The file or directory to which the descriptor in this argument refers, if it is one.
    File(usize),
    /// One or more files or directories that it finds by name.
    Somewhere,
}

/// Returns what a call may stamp; `None` if nothing. Reading a symbolic link, a pipe or a socket stamps it too, but
/// programs do not look at that.
#[must_use]
pub fn stamps(number: u64) -> Option<Stamps> {
    let find = |list: &[i64]| list.contains(&number.cast_signed());
    match () {
        () if find(BY_DESCRIPTOR) => Some(Stamps::File(0)),
        () if number as i64 == libc::SYS_mmap => Some(Stamps::File(4)),
        () if find(BY_NAME) => Some(Stamps::Somewhere),
        () => None,
    }
}

/// Calls that stamp the file of the descriptor in argument 0.
const BY_DESCRIPTOR: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_getdents,
    libc::SYS_getdents64,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
    libc::SYS_ioctl,
];

const BY_NAME: &[i64] = &[
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_creat,
    libc::SYS_open_by_handle_at,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_truncate,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_mknod,
    libc::SYS_mknodat,
    libc::SYS_rmdir,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_chmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    SETXATTRAT,
    REMOVEXATTRAT,
    FILE_SETATTR,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_memfd_create,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_bind,
];

const SETXATTRAT: i64 = 463;
const REMOVEXATTRAT: i64 = 466;
const FILE_SETATTR: i64 = 469;

/// The units in which a call takes times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// `struct utimbuf`.
    Seconds,
    /// `struct timeval`.
    Microseconds,
    /// `struct timespec`.
    Nanoseconds,
}

impl Units {
    /// Returns the size of two times.
    #[must_use]
    pub fn pair(self) -> usize {
        if self == Self::Seconds { 16 } else { 32 }
    }
}

/// Returns which argument of a call points to two times that it sets for a file, and their units.
#[must_use]
pub fn set_times(number: u64) -> Option<(usize, Units)> {
    match number as i64 {
        libc::SYS_utime => Some((1, Units::Seconds)),
        libc::SYS_utimes => Some((1, Units::Microseconds)),
        libc::SYS_futimesat => Some((2, Units::Microseconds)),
        libc::SYS_utimensat => Some((2, Units::Nanoseconds)),
        _ => None,
    }
}

/// Where a call writes timestamps of a file: seconds in 8 bytes, followed by nanoseconds.
#[derive(Debug)]
pub struct FileTimes {
    /// The argument that points to the structure.
    pub at: usize,
    /// Their offsets in it.
    pub offsets: &'static [u64],
}

/// Offsets in `struct stat`: st_atim, st_mtim, st_ctim.
const STAT: &[u64] = &[72, 88, 104];
/// Offsets in `struct statx`: stx_atime, stx_btime, stx_ctime, stx_mtime.
const STATX: &[u64] = &[64, 80, 96, 112];

const FILE_TIMES: &[(i64, FileTimes)] = &[
    (libc::SYS_stat, FileTimes { at: 1, offsets: STAT }),
    (libc::SYS_fstat, FileTimes { at: 1, offsets: STAT }),
    (libc::SYS_lstat, FileTimes { at: 1, offsets: STAT }),
    (libc::SYS_newfstatat, FileTimes { at: 2, offsets: STAT }),
    (libc::SYS_statx, FileTimes { at: 4, offsets: STATX }),
];

/// Returns where a call writes timestamps of a file; `None` if it does not.
#[must_use]
pub fn file_times(number: u64) -> Option<&'static FileTimes> {
    FILE_TIMES.iter().find(|(call, _)| *call as u64 == number).map(|(_, times)| times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls::{TABLE, change};
    use rrtest_preload::calls::{Buffering, Out, call};

    #[test]
    fn what_changes_a_file_stamps_it() {
        for description in TABLE {
            // With all flags.
            let changes = change(description.number, &[0, u64::MAX, u64::MAX, 0, 0, 0]).is_some();
            assert!(!changes || stamps(description.number).is_some(), "{}", description.name());
        }
    }

    /// Calls that report other times than those of files.
    const OTHERS: [i64; 2] = [libc::SYS_sysinfo, libc::SYS_times];

    #[test]
    fn the_buffer_tells_no_times_but_where_it_knows_them() {
        for description in TABLE {
            let call = call(description.number);
            let of_files = file_times(description.number).is_some();
            let tells = of_files || OTHERS.contains(&(description.number as i64));
            assert_eq!(call.way == Buffering::Times, tells, "{}", description.name());
            assert!(!of_files || matches!(call.out, Out::Fixed(..)));
        }
    }
}
