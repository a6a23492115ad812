//! The calls that the system-call buffer makes, and what calls do that other tasks may notice.

use crate::layout::{AREA, AccessKind};

/// How the buffer makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The condition for making it without a stop.
    pub way: Buffering,
    /// What the kernel writes to memory on success.
    pub out: Out,
    /// What it does that other tasks may notice.
    pub concern: Visibility,
}

impl Call {
    /// Whether it is a tick: other tasks may notice it, or it may depend on them.
    #[must_use]
    #[inline]
    pub fn ticks(&self) -> bool {
        self.concern != Visibility::Own
    }

    /// Returns how it accesses the object [`KERNEL`], if it does, with these arguments. `is_file` says whether the
    /// descriptor in argument 0 refers to a file rather than a stream.
    #[must_use]
    #[inline]
    pub fn touches(&self, args: &[u64; 6], is_file: impl FnOnce() -> bool) -> Option<AccessKind> {
        /// O_CREAT and O_TRUNC (open(2)).
        const CHANGES: u64 = 0x40 | 0x200;
        let (reads, writes) = (Some(AccessKind::AtomicLoad), Some(AccessKind::AtomicUpdate));
        match self.concern {
            Visibility::Own | Visibility::Others => None,
            Visibility::Reads => reads,
            Visibility::Writes => writes,
            Visibility::Takes => {
                if is_file() {
                    reads
                } else {
                    writes
                }
            }
            Visibility::Ends => {
                if is_file() {
                    None
                } else {
                    writes
                }
            }
            Visibility::Opens if args[2] & CHANGES == 0 => reads,
            Visibility::Opens => writes,
        }
    }
}

/// Whether a call writes bytes of the program's memory: as many as it returns, from the address in argument 1 on.
#[must_use]
#[inline]
pub const fn gives(number: u64) -> bool {
    matches!(number, 1 | 18) // write, pwrite64
}

/// What a call does that other tasks may notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Only the calling task.
    Own,
    /// Other tasks, in a way that does not count: an instruction has already accessed the word of a futex.
    Others,
    /// It looks at a file, directory or stream, which others may change through the kernel.
    Reads,
    /// It changes a file, directory or stream.
    Writes,
    /// It reads from a file, or from a stream, which then has less.
    Takes,
    /// It closes a descriptor. Nobody notices this for a file, but the other end of a stream does.
    Ends,
    /// It looks for a file; with some flags in argument 2 it creates or truncates it.
    Opens,
}

/// A single object for all files, directories, pipes, sockets and so on: an address in the shared area. To find out
/// which of them a call accesses, its descriptors and paths would have to be inspected, and few tasks share any.
pub const KERNEL: u64 = AREA as u64;

/// The condition for making a call without a stop (buffering policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffering {
    /// Never: it is made with a stop.
    Stop,
    /// None: it never waits, and wakes no other task.
    Always,
    /// None: it duplicates the descriptor in argument 0.
    Copy,
    /// The program is told the times that the kernel reports: it reports times.
    Times,
    /// The program is told the order that the kernel reports: it lists a directory.
    List,
    /// The descriptor in argument 0 refers to a file that never blocks.
    File,
    /// As [`Buffering::File`], or to an output stream, whose bytes are logged instead.
    Write,
    /// As [`Buffering::File`], or to something that has data to read now.
    Read,
    /// It closes a file that never blocks.
    Close,
    /// The clock is the same for all processes.
    Clock,
    /// It asks for the time and nothing else.
    Time,
    /// It queries limits, and sets none.
    Limits,
    /// It gets or sets the flags of a descriptor, gets those of the file, or duplicates the descriptor.
    Flags,
    /// The process decides who runs, or nobody wakes and nobody waits.
    Futex,
    /// It only sets the address of the list of robust futexes, which the recorder keeps.
    RobustList,
    /// It asks for the cores that the calling task is told it may use, which the recorder has set.
    Affinity,
    /// The range of memory in arguments 0 and 1 is outside the shared area. Replay makes the call, too.
    Repeat,
    /// As [`Buffering::Repeat`], and it is advice to drop contents.
    Advise,
    /// It opens a regular file, or something else that never blocks, for reading only. The path is logged.
    Open,
    /// No pending signal could be delivered because of it.
    Mask,
    /// It maps new private zeroed memory. Replay makes the call, too, at the same address.
    Map,
}

/// What the kernel writes to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// Nothing.
    Nothing,
    /// As many bytes as it returns, at the address in this argument.
    Returned(u8),
    /// This many bytes at the address in this argument, unless it is null.
    Fixed(u8, u16),
}

/// The table covers call numbers below this.
const NUMBERS: usize = 448;

/// A call that is made with a stop.
const STOP: Call = Call { way: Buffering::Stop, out: Out::Nothing, concern: Visibility::Others };

/// All calls by number.
static CALLS: [Call; NUMBERS] = calls();

/// Returns how the buffer makes the call with this number.
#[must_use]
#[inline]
pub fn call(number: u64) -> &'static Call {
    // The index is in bounds, and no code is generated for a panic.
    CALLS.get(number as usize).unwrap_or(&STOP)
}

/// Builds the table. Call numbers are from asm/unistd_64.h, structure sizes from the kernel's x86-64 ABI.
const fn calls() -> [Call; NUMBERS] {
    let mut calls = [STOP; NUMBERS];
    let mut at = 0;
    while at < BUFFERED.len() {
        let (number, way, out, concern) = BUFFERED[at];
        calls[number] = Call { way, out, concern };
        at += 1;
    }
    concern(concern(calls, READ, Visibility::Reads), WRITTEN, Visibility::Writes)
}

const fn concern(mut calls: [Call; NUMBERS], numbers: &[usize], concern: Visibility) -> [Call; NUMBERS] {
    let mut at = 0;
    while at < numbers.len() {
        calls[numbers[at]].concern = concern;
        at += 1;
    }
    calls
}

/// Calls with a stop that look at a file, a directory or a stream.
#[rustfmt::skip]
const READ: &[usize] = &[
    7, // poll
    19, // readv
    23, // select
    137, 138, // statfs, fstatfs
    232, 281, 441, // epoll_wait, epoll_pwait, epoll_pwait2
    270, // pselect6
    271, // ppoll
    295, 327, // preadv, preadv2
    439, // faccessat2
];

/// Calls with a stop that change a file, a directory or a stream, or may.
#[rustfmt::skip]
const WRITTEN: &[usize] = &[
    2, 85, 437, // open, creat, openat2
    20, // writev
    40, // sendfile
    42, 43, 288, // connect, accept, accept4
    44, 45, 46, 47, 299, 307, // sendto, recvfrom, sendmsg, recvmsg, recvmmsg, sendmmsg
    48, // shutdown
    73, // flock
    76, 77, 285, // truncate, ftruncate, fallocate
    82, 264, 316, // rename, renameat, renameat2
    83, 258, 84, // mkdir, mkdirat, rmdir
    86, 265, 88, 266, // link, linkat, symlink, symlinkat
    87, 263, // unlink, unlinkat
    90, 91, 268, // chmod, fchmod, fchmodat
    132, 235, 280, // utime, utimes, utimensat
    133, 259, // mknod, mknodat
    233, // epoll_ctl
    275, 276, 278, 326, // splice, tee, vmsplice, copy_file_range
    286, // timerfd_settime
    296, 328, // pwritev, pwritev2
];

use Visibility::{
    Ends as ENDS, Opens as OPENS, Others as OTHERS, Own as OWN, Reads as READS, Takes as TAKES,
    Writes as WRITES,
};

#[rustfmt::skip]
const BUFFERED: &[(usize, Buffering, Out, Visibility)] = &[
    (0,   Buffering::Read,   Out::Returned(1),   TAKES), // read
    (1,   Buffering::Write,  Out::Nothing,       WRITES), // write
    (3,   Buffering::Close,  Out::Nothing,       ENDS), // close
    (4,   Buffering::Times,  Out::Fixed(1, 144), READS), // stat
    (5,   Buffering::Times,  Out::Fixed(1, 144), READS), // fstat
    (6,   Buffering::Times,  Out::Fixed(1, 144), READS), // lstat
    (8,   Buffering::File,   Out::Nothing,       OTHERS), // lseek
    (9,   Buffering::Map,    Out::Nothing,       OWN),  // mmap
    (10,  Buffering::Repeat, Out::Nothing,       OWN),  // mprotect
    (11,  Buffering::Repeat, Out::Nothing,       OWN),  // munmap
    (14,  Buffering::Mask,   Out::Fixed(2, 8),   OWN),  // rt_sigprocmask
    (17,  Buffering::File,   Out::Returned(1),   READS), // pread64
    (18,  Buffering::File,   Out::Nothing,       WRITES), // pwrite64
    (21,  Buffering::Always, Out::Nothing,       READS), // access
    (13,  Buffering::Always, Out::Fixed(2, 32),  OWN),  // rt_sigaction
    (28,  Buffering::Advise, Out::Nothing,       OWN),  // madvise
    (32,  Buffering::Copy,   Out::Nothing,       OTHERS), // dup
    (39,  Buffering::Always, Out::Nothing,       OWN),  // getpid
    (63,  Buffering::Always, Out::Fixed(0, 390), OWN),  // uname
    (72,  Buffering::Flags,  Out::Nothing,       WRITES), // fcntl
    (78,  Buffering::List,   Out::Returned(1),   READS), // getdents
    (79,  Buffering::Always, Out::Returned(0),   OTHERS), // getcwd
    (89,  Buffering::Always, Out::Returned(1),   READS), // readlink
    (96,  Buffering::Time,   Out::Fixed(0, 16),  OWN),  // gettimeofday
    (97,  Buffering::Always, Out::Fixed(1, 16),  OWN),  // getrlimit
    (98,  Buffering::Always, Out::Fixed(1, 144), OWN),  // getrusage
    (99,  Buffering::Times,  Out::Fixed(0, 112), OWN),  // sysinfo
    (100, Buffering::Times,  Out::Fixed(0, 32),  OWN),  // times
    (102, Buffering::Always, Out::Nothing,       OWN),  // getuid
    (104, Buffering::Always, Out::Nothing,       OWN),  // getgid
    (107, Buffering::Always, Out::Nothing,       OWN),  // geteuid
    (108, Buffering::Always, Out::Nothing,       OWN),  // getegid
    (110, Buffering::Always, Out::Nothing,       OWN),  // getppid
    (111, Buffering::Always, Out::Nothing,       OWN),  // getpgrp
    (121, Buffering::Always, Out::Nothing,       OWN),  // getpgid
    (124, Buffering::Always, Out::Nothing,       OWN),  // getsid
    (131, Buffering::Always, Out::Fixed(1, 24),  OWN),  // sigaltstack
    (140, Buffering::Always, Out::Nothing,       OWN),  // getpriority
    (143, Buffering::Always, Out::Fixed(1, 4),   OWN),  // sched_getparam
    (145, Buffering::Always, Out::Nothing,       OWN),  // sched_getscheduler
    (146, Buffering::Always, Out::Nothing,       OWN),  // sched_get_priority_max
    (147, Buffering::Always, Out::Nothing,       OWN),  // sched_get_priority_min
    (148, Buffering::Always, Out::Fixed(1, 16),  OWN),  // sched_rr_get_interval
    (186, Buffering::Always, Out::Nothing,       OWN),  // gettid
    (201, Buffering::Time,   Out::Fixed(0, 8),   OWN),  // time
    (202, Buffering::Futex,  Out::Nothing,       OTHERS), // futex
    (204, Buffering::Affinity, Out::Fixed(2, 8), OWN),  // sched_getaffinity
    (217, Buffering::List,   Out::Returned(1),   READS), // getdents64
    (228, Buffering::Clock,  Out::Fixed(1, 16),  OWN),  // clock_gettime
    (229, Buffering::Always, Out::Fixed(1, 16),  OWN),  // clock_getres
    (257, Buffering::Open,   Out::Nothing,       OPENS), // openat
    (262, Buffering::Times,  Out::Fixed(2, 144), READS), // newfstatat
    (267, Buffering::Always, Out::Returned(2),   READS), // readlinkat
    (269, Buffering::Always, Out::Nothing,       READS), // faccessat
    (273, Buffering::RobustList, Out::Nothing,   OWN),  // set_robust_list
    (302, Buffering::Limits, Out::Fixed(3, 16),  OTHERS), // prlimit64
    (332, Buffering::Times,  Out::Fixed(4, 256), READS), // statx
];
