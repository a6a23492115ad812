//! System calls that change the contents of files, or their timestamps. This matters for mapped files.

/// What a call changes. Numbers are indices of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub file: Changed,
    /// The part of it.
    pub extent: Extent,
}

/// Which file a call changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The file of the descriptor in this argument.
    Descriptor(usize),
    /// The file of a name: the argument with a directory's descriptor, if there is one, and the argument with the path.
    /// If the path is null, it is the file of the descriptor.
    Path(Option<usize>, usize),
}

/// Which part of a file a call changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// As many bytes as it returns, up to the descriptor's offset afterwards.
    Offset,
    /// As many bytes as it returns, from the offset in this argument; if that is -1, as [`Extent::Offset`]. A
    /// descriptor with `O_APPEND` writes to the end all the same (pwrite(2)).
    At(usize),
    /// As many bytes as it returns, up to the offset that is afterwards in the word to which this argument points; if
    /// it is null, as [`Extent::Offset`].
    Until(usize),
    /// From the offset in this argument, as many bytes as the next argument says.
    Told(usize),
    /// From the offset in this argument to the end.
    From(usize),
    /// Only its size and its timestamps.
    Size,
    /// Possibly everything.
    WaitAll,
}

/// ioctl(2) requests that share the contents of files, or free parts of them: FICLONE, FICLONERANGE (ioctl_ficlone(2));
/// FS_IOC_RESVSP, FS_IOC_UNRESVSP, both also for 64 bits, FS_IOC_ZERO_RANGE (linux/falloc.h).
const REQUESTS: [u64; 7] =
    [0x4004_9409, 0x4020_940d, 0x4030_5828, 0x4030_5829, 0x4030_582a, 0x4030_582b, 0x4030_5839];

/// Advice of madvise(2) that changes the contents of memory, now or after a fork.
const ADVICE: [i32; 6] = [
    libc::MADV_DONTNEED,
    libc::MADV_REMOVE,
    libc::MADV_DONTFORK,
    libc::MADV_DOFORK,
    libc::MADV_WIPEONFORK,
    libc::MADV_KEEPONFORK,
];

/// Whether advice changes the contents of memory.
#[must_use]
pub fn changes_contents(advice: u64) -> bool {
    ADVICE.contains(&(advice as i32))
}

/// Returns what a call changes; `None` if it does not change a file.
#[must_use]
pub fn change(number: u64, args: &[u64; 6]) -> Option<Change> {
    let descriptor = |fd, extent| Some(Change { file: Changed::Descriptor(fd), extent });
    let path = |directory, path| Some(Change { file: Changed::Path(directory, path), extent: Extent::Size });
    let truncates = |flags: u64| flags & libc::O_TRUNC as u64 != 0;
    match number as i64 {
        libc::SYS_write | libc::SYS_writev | libc::SYS_sendfile => descriptor(0, Extent::Offset),
        libc::SYS_pwrite64 | libc::SYS_pwritev | libc::SYS_pwritev2 => descriptor(0, Extent::At(3)),
        libc::SYS_copy_file_range | libc::SYS_splice => descriptor(2, Extent::Until(3)),
        libc::SYS_ftruncate => descriptor(0, Extent::Size),
        libc::SYS_fallocate => descriptor(0, allocated(args[1] as i32)),
        libc::SYS_ioctl if REQUESTS.contains(&args[1]) => descriptor(0, Extent::WaitAll),
        libc::SYS_truncate | libc::SYS_creat => path(None, 0),
        libc::SYS_open if truncates(args[1]) => path(None, 0),
        libc::SYS_openat if truncates(args[2]) => path(Some(0), 1),
        // Its flags are in memory; checking the file does no harm.
        libc::SYS_openat2 => path(Some(0), 1),
        // These calls leave the contents, but change the timestamp by which changes are detected.
        libc::SYS_utime | libc::SYS_utimes => path(None, 0),
        libc::SYS_utimensat if args[1] == 0 => descriptor(0, Extent::Size),
        libc::SYS_utimensat | libc::SYS_futimesat => path(Some(0), 1),
        _ => None,
    }
}

/// Returns what fallocate(2) changes in this mode. Reserving room that reads as zeros changes nothing.
fn allocated(mode: i32) -> Extent {
    const MOVES: i32 = libc::FALLOC_FL_COLLAPSE_RANGE | libc::FALLOC_FL_INSERT_RANGE;
    const CLEARS: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
    const REST: i32 = libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_UNSHARE_RANGE;
    if mode & MOVES != 0 {
        Extent::From(2)
    } else if mode & CLEARS != 0 {
        Extent::Told(2)
    } else if mode & !REST == 0 {
        Extent::Size
    } else {
        Extent::WaitAll
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_zeros_is_no_change() {
        let extent = |mode: i32| {
            let args = [3, mode as u64, 4096, 8192, 0, 0];
            change(libc::SYS_fallocate as u64, &args).map(|change| change.extent)
        };
        assert_eq!(extent(0), Some(Extent::Size));
        assert_eq!(extent(libc::FALLOC_FL_KEEP_SIZE), Some(Extent::Size));
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        assert_eq!(extent(punch), Some(Extent::Told(2)));
        assert_eq!(extent(libc::FALLOC_FL_INSERT_RANGE), Some(Extent::From(2)));
        assert_eq!(extent(1 << 20), Some(Extent::WaitAll));
    }
}
