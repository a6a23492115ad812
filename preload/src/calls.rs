//! The calls that the system-call buffer makes.

/// How the buffer makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it takes.
    pub way: Way,
    /// What the kernel writes to memory if it succeeds.
    pub out: Out,
    /// Whether other tasks may see its effect, so that it is a tick.
    pub ticks: bool,
}

/// What it takes to make a call without a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is made with a stop.
    Stop,
    /// Nothing: it never waits, and no other task is woken by it.
    Always,
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
    /// Nobody is woken, or who wakes goes on for certain; and nobody waits.
    Futex,
    /// It only tells where the list of robust futexes is; the recorder keeps that.
    RobustList,
    /// The cores that the calling task is told it may use, which the recorder has told.
    Affinity,
    /// The range of memory in arguments 0 and 1 is not ours. Replay makes the call, too.
    Repeat,
    /// The same, and it is the advice to drop contents.
    Advise,
    /// A file is opened that is a regular one, for reading only.
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
const STOP: Call = Call { way: Way::Stop, out: Out::Nothing, ticks: true };

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
        let (number, way, out, ticks) = BUFFERED[at];
        calls[number] = Call { way, out, ticks };
        at += 1;
    }
    calls
}

/// A call that concerns the calling task alone is no tick.
const OWN: bool = false;
const TICK: bool = true;

#[rustfmt::skip]
const BUFFERED: &[(usize, Way, Out, bool)] = &[
    (0,   Way::Read,   Out::Returned(1),   TICK), // read
    (1,   Way::Write,  Out::Nothing,       TICK), // write
    (3,   Way::Close,  Out::Nothing,       TICK), // close
    (4,   Way::Always, Out::Fixed(1, 144), TICK), // stat
    (5,   Way::Always, Out::Fixed(1, 144), TICK), // fstat
    (6,   Way::Always, Out::Fixed(1, 144), TICK), // lstat
    (8,   Way::File,   Out::Nothing,       TICK), // lseek
    (9,   Way::Map,    Out::Nothing,       OWN),  // mmap
    (10,  Way::Repeat, Out::Nothing,       OWN),  // mprotect
    (11,  Way::Repeat, Out::Nothing,       OWN),  // munmap
    (14,  Way::Mask,   Out::Fixed(2, 8),   OWN),  // rt_sigprocmask
    (17,  Way::File,   Out::Returned(1),   TICK), // pread64
    (18,  Way::File,   Out::Nothing,       TICK), // pwrite64
    (21,  Way::Always, Out::Nothing,       TICK), // access
    (28,  Way::Advise, Out::Nothing,       OWN),  // madvise
    (39,  Way::Always, Out::Nothing,       OWN),  // getpid
    (79,  Way::Always, Out::Returned(0),   TICK), // getcwd
    (89,  Way::Always, Out::Returned(1),   TICK), // readlink
    (102, Way::Always, Out::Nothing,       OWN),  // getuid
    (104, Way::Always, Out::Nothing,       OWN),  // getgid
    (107, Way::Always, Out::Nothing,       OWN),  // geteuid
    (108, Way::Always, Out::Nothing,       OWN),  // getegid
    (131, Way::Always, Out::Fixed(1, 24),  OWN),  // sigaltstack
    (186, Way::Always, Out::Nothing,       OWN),  // gettid
    (202, Way::Futex,  Out::Nothing,       TICK), // futex
    (204, Way::Affinity, Out::Fixed(2, 8), OWN),  // sched_getaffinity
    (228, Way::Clock,  Out::Fixed(1, 16),  OWN),  // clock_gettime
    (257, Way::Open,   Out::Nothing,       TICK), // openat
    (262, Way::Always, Out::Fixed(2, 144), TICK), // newfstatat
    (267, Way::Always, Out::Returned(2),   TICK), // readlinkat
    (269, Way::Always, Out::Nothing,       TICK), // faccessat
    (273, Way::RobustList, Out::Nothing,   OWN),  // set_robust_list
    (332, Way::Always, Out::Fixed(4, 256), TICK), // statx
];
