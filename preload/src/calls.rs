//! The calls that the system-call buffer makes, and whom calls concern.

use crate::layout::{AREA, Kind};

/// How the buffer makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it takes.
    pub way: Way,
    /// What the kernel writes to memory if it succeeds.
    pub out: Out,
    /// Whom it concerns.
    pub concern: Concern,
}

impl Call {
    /// Whether it is a tick: other tasks may see its effect, or it theirs.
    #[must_use]
    #[inline]
    pub fn ticks(&self) -> bool {
        self.concern != Concern::Own
    }

    /// What it does to the object [`KERNEL`], if anything, with these arguments. `is_file` tells whether the descriptor in
    /// argument 0 is of a file, not of a stream.
    #[must_use]
    #[inline]
    pub fn touches(&self, args: &[u64; 6], is_file: impl FnOnce() -> bool) -> Option<Kind> {
        /// O_CREAT and O_TRUNC (open(2)).
        const CHANGES: u64 = 0x40 | 0x200;
        let (reads, writes) = (Some(Kind::AtomicLoad), Some(Kind::AtomicUpdate));
        match self.concern {
            Concern::Own | Concern::Others => None,
            Concern::Reads => reads,
            Concern::Writes => writes,
            Concern::Takes => {
                if is_file() {
                    reads
                } else {
                    writes
                }
            }
            Concern::Ends => {
                if is_file() {
                    None
                } else {
                    writes
                }
            }
            Concern::Opens if args[2] & CHANGES == 0 => reads,
            Concern::Opens => writes,
        }
    }
}

/// Whether a call writes bytes of the program's memory: as many as it returns, from the address in argument 1 on.
#[must_use]
#[inline]
pub const fn gives(number: u64) -> bool {
    matches!(number, 1 | 18) // write, pwrite64
}

/// Whom a call concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// The calling task alone.
    Own,
    /// Others, too, in a way that nobody counts: what a futex is called for has been touched by an instruction before.
    Others,
    /// It looks at a file, a directory or a stream: at what others may change through the kernel.
    Reads,
    /// It changes one.
    Writes,
    /// It reads a file, or takes from a stream, which then has less.
    Takes,
    /// It closes one. For a file that is nobody else's business; at the other end of a stream it is noticed.
    Ends,
    /// It looks for a file, and with some flags in argument 2 makes or empties it.
    Opens,
}

/// The object that all files, directories, pipes, sockets and so on are together: an address in our own area. Which of them
/// a call touches would take a look at its descriptors and paths, and tasks that meet there are few.
pub const KERNEL: u64 = AREA as u64;

/// What it takes to make a call without a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is made with a stop.
    Stop,
    /// Nothing: it never waits, and no other task is woken by it.
    Always,
    /// Nothing either: it makes another descriptor of the one in argument 0.
    Copy,
    /// The program's clocks are the machine's: it tells when something was by those.
    Times,
    /// The descriptor in argument 0 is a file that never blocks.
    File,
    /// The same, or an output stream, whose bytes are logged instead.
    Write,
    /// The same as [`Way::File`], or something that has something to read now.
    Read,
    /// A file that never blocks is closed.
    Close,
    /// The clock is one that all processes share.
    Clock,
    /// It tells the time, and nothing else is asked for.
    Time,
    /// It tells limits, and sets none.
    Limits,
    /// It tells or sets the flags of a descriptor, or tells those of the file, or makes another descriptor of it.
    Flags,
    /// It is decided in the process who runs, or nobody is woken and nobody waits.
    Futex,
    /// It only tells where the list of robust futexes is; the recorder keeps that.
    RobustList,
    /// The cores that the calling task is told it may use, which the recorder has told.
    Affinity,
    /// The range of memory in arguments 0 and 1 is not ours. Replay makes the call, too.
    Repeat,
    /// The same, and it is the advice to drop contents.
    Advise,
    /// A file is opened that is a regular one, or never blocks either, for reading only.
    Open,
    /// No signal waits that could come by it.
    Mask,
    /// New private memory of zeros. Replay makes the call, too, and has the memory at the same place.
    Map,
}

/// What the kernel writes to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// Nothing.
    Nothing,
    /// As many bytes as it returns, at the address in this argument.
    Returned(u8),
    /// So many bytes at the address in this argument, unless that is null.
    Fixed(u8, u16),
}

/// The table has calls up to here.
const NUMBERS: usize = 448;

/// A call that is made with a stop.
const STOP: Call = Call { way: Way::Stop, out: Out::Nothing, concern: Concern::Others };

/// All calls by number.
static CALLS: [Call; NUMBERS] = calls();

/// How the buffer makes the call of this number.
#[must_use]
#[inline]
pub fn call(number: u64) -> &'static Call {
    // The index is in bounds: there is no code for a panic.
    CALLS.get(number as usize).unwrap_or(&STOP)
}

/// The numbers of the calls that it makes (asm/unistd_64.h); structure sizes are those of the kernel's x86-64 ABI.
const fn calls() -> [Call; NUMBERS] {
    let mut calls = [STOP; NUMBERS];
    let mut at = 0;
    while at < BUFFERED.len() {
        let (number, way, out, concern) = BUFFERED[at];
        calls[number] = Call { way, out, concern };
        at += 1;
    }
    concern(concern(calls, READ, Concern::Reads), WRITTEN, Concern::Writes)
}

const fn concern(mut calls: [Call; NUMBERS], numbers: &[usize], concern: Concern) -> [Call; NUMBERS] {
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

/// Calls with a stop that change one, or may.
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

use Concern::{
    Ends as ENDS, Opens as OPENS, Others as OTHERS, Own as OWN, Reads as READS, Takes as TAKES,
    Writes as WRITES,
};

#[rustfmt::skip]
const BUFFERED: &[(usize, Way, Out, Concern)] = &[
    (0,   Way::Read,   Out::Returned(1),   TAKES), // read
    (1,   Way::Write,  Out::Nothing,       WRITES), // write
    (3,   Way::Close,  Out::Nothing,       ENDS), // close
    (4,   Way::Times,  Out::Fixed(1, 144), READS), // stat
    (5,   Way::Times,  Out::Fixed(1, 144), READS), // fstat
    (6,   Way::Times,  Out::Fixed(1, 144), READS), // lstat
    (8,   Way::File,   Out::Nothing,       OTHERS), // lseek
    (9,   Way::Map,    Out::Nothing,       OWN),  // mmap
    (10,  Way::Repeat, Out::Nothing,       OWN),  // mprotect
    (11,  Way::Repeat, Out::Nothing,       OWN),  // munmap
    (14,  Way::Mask,   Out::Fixed(2, 8),   OWN),  // rt_sigprocmask
    (17,  Way::File,   Out::Returned(1),   READS), // pread64
    (18,  Way::File,   Out::Nothing,       WRITES), // pwrite64
    (21,  Way::Always, Out::Nothing,       READS), // access
    (13,  Way::Always, Out::Fixed(2, 32),  OWN),  // rt_sigaction
    (28,  Way::Advise, Out::Nothing,       OWN),  // madvise
    (32,  Way::Copy,   Out::Nothing,       OTHERS), // dup
    (39,  Way::Always, Out::Nothing,       OWN),  // getpid
    (63,  Way::Always, Out::Fixed(0, 390), OWN),  // uname
    (72,  Way::Flags,  Out::Nothing,       WRITES), // fcntl
    (78,  Way::Always, Out::Returned(1),   READS), // getdents
    (79,  Way::Always, Out::Returned(0),   OTHERS), // getcwd
    (89,  Way::Always, Out::Returned(1),   READS), // readlink
    (96,  Way::Time,   Out::Fixed(0, 16),  OWN),  // gettimeofday
    (97,  Way::Always, Out::Fixed(1, 16),  OWN),  // getrlimit
    (98,  Way::Always, Out::Fixed(1, 144), OWN),  // getrusage
    (99,  Way::Times,  Out::Fixed(0, 112), OWN),  // sysinfo
    (100, Way::Times,  Out::Fixed(0, 32),  OWN),  // times
    (102, Way::Always, Out::Nothing,       OWN),  // getuid
    (104, Way::Always, Out::Nothing,       OWN),  // getgid
    (107, Way::Always, Out::Nothing,       OWN),  // geteuid
    (108, Way::Always, Out::Nothing,       OWN),  // getegid
    (110, Way::Always, Out::Nothing,       OWN),  // getppid
    (111, Way::Always, Out::Nothing,       OWN),  // getpgrp
    (121, Way::Always, Out::Nothing,       OWN),  // getpgid
    (124, Way::Always, Out::Nothing,       OWN),  // getsid
    (131, Way::Always, Out::Fixed(1, 24),  OWN),  // sigaltstack
    (140, Way::Always, Out::Nothing,       OWN),  // getpriority
    (143, Way::Always, Out::Fixed(1, 4),   OWN),  // sched_getparam
    (145, Way::Always, Out::Nothing,       OWN),  // sched_getscheduler
    (146, Way::Always, Out::Nothing,       OWN),  // sched_get_priority_max
    (147, Way::Always, Out::Nothing,       OWN),  // sched_get_priority_min
    (148, Way::Always, Out::Fixed(1, 16),  OWN),  // sched_rr_get_interval
    (186, Way::Always, Out::Nothing,       OWN),  // gettid
    (201, Way::Time,   Out::Fixed(0, 8),   OWN),  // time
    (202, Way::Futex,  Out::Nothing,       OTHERS), // futex
    (204, Way::Affinity, Out::Fixed(2, 8), OWN),  // sched_getaffinity
    (217, Way::Always, Out::Returned(1),   READS), // getdents64
    (228, Way::Clock,  Out::Fixed(1, 16),  OWN),  // clock_gettime
    (229, Way::Always, Out::Fixed(1, 16),  OWN),  // clock_getres
    (257, Way::Open,   Out::Nothing,       OPENS), // openat
    (262, Way::Times,  Out::Fixed(2, 144), READS), // newfstatat
    (267, Way::Always, Out::Returned(2),   READS), // readlinkat
    (269, Way::Always, Out::Nothing,       READS), // faccessat
    (273, Way::RobustList, Out::Nothing,   OWN),  // set_robust_list
    (302, Way::Limits, Out::Fixed(3, 16),  OTHERS), // prlimit64
    (332, Way::Times,  Out::Fixed(4, 256), READS), // statx
];
