//! The words in which a system call is described.

/// What is known of a system call.
#[derive(Debug)]
pub struct Description {
    /// Its number.
    pub number: u64,
    pub(super) constant: &'static str,
    /// Who does it, when recording and when replaying.
    pub class: Class,
    /// What the kernel writes to memory when the call succeeds.
    pub outs: &'static [Out],
    /// Whether and on what it may block.
    pub block: Block,
    /// Whether it concerns the calling task alone: no other task could tell before from after. Such a call is no point
    /// at which another task should get the core, and no tick.
    pub own: bool,
}

impl Description {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.constant.strip_prefix("SYS_").unwrap_or(self.constant)
    }
}

/// Who does a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The recorder itself; it never reaches the kernel. Replay takes its outcome from the log.
    Emulated(Emulation),
    /// The kernel. Replay takes its outcome from the log.
    Logged,
    /// The kernel, and again the kernel in replay, because it shapes memory or tasks.
    Performed(Performance),
    /// Nobody: it fails with this errno, as in a sandbox.
    Refused(i32),
}

/// What the recorder does instead of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulation {
    /// futex(2): the scheduler's queues.
    Futex,
    /// nanosleep(2): a deadline of the scheduler.
    Nanosleep,
    /// clock_nanosleep(2).
    ClockNanosleep,
    /// sched_yield(2).
    Yield,
    /// gettid(2), getpid(2).
    Identity,
    /// rt_sigprocmask(2): through ptrace(2), which spares a stop.
    SignalMask,
    /// clock_gettime(2).
    ClockGettime,
    /// gettimeofday(2).
    Gettimeofday,
    /// time(2).
    Time,
    /// getrandom(2): from the recording's seed.
    Getrandom,
    /// getcpu(2): always core 0.
    Getcpu,
    /// sched_getaffinity(2): as many cores as the program is told there are.
    GetAffinity,
    /// sched_setaffinity(2) and others that succeed without effect.
    Nothing,
}

/// What replay does with a call that shapes memory or tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Performance {
    /// The same call.
    Same,
    /// The same call, whose outcome follows from the state of the process alone: nobody looks at it.
    Repeat,
    /// mmap(2): at the recorded address, a file's contents from the trace.
    Map,
    /// mremap(2): to the recorded address.
    Remap,
    /// brk(2): as anonymous memory.
    Break,
    /// madvise(2): the same call where it changes contents.
    Advise,
    /// clone(2), clone3(2), fork(2), vfork(2): a new task, with the recorded ids.
    Clone,
    /// execve(2), execveat(2): a new process with the recorded image.
    Execute,
    /// rt_sigreturn(2).
    SignalReturn,
    /// exit(2): of a task.
    Exit,
    /// exit_group(2): of a process.
    ExitGroup,
}

/// Memory that the kernel writes. Numbers are indices of arguments; a null pointer means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// At argument `0`, as many bytes as the call returns, but at most as many as the next argument says: some calls
    /// return how many there would be.
    Returned(usize),
    /// At `at`, a byte for each page of `len` (an argument) bytes.
    PerPage {
        /// Pointer.
        at: usize,
        /// Argument with the length.
        len: usize,
    },
    /// At argument `.0`, `.1` bytes.
    Fixed(usize, u64),
    /// At `at`, an array of `count` (an argument) items of `size` bytes.
    Array {
        /// Pointer.
        at: usize,
        /// Argument with the number of items.
        count: usize,
        /// Bytes of an item.
        size: u64,
    },
    /// At `at`, as many items of `size` bytes as the call returns, at most `count` (an argument).
    Items {
        /// Pointer.
        at: usize,
        /// Argument with the room, in items.
        count: usize,
        /// Bytes of an item.
        size: u64,
    },
    /// At `at`, as many bytes as the 32-bit word at `len` says afterwards, at most as many as it said before; and that
    /// word.
    Sized {
        /// Pointer to the buffer.
        at: usize,
        /// Pointer to the word.
        len: usize,
    },
    /// In the buffers of the iovec array at `at` of `count` items, as many bytes as the call returns.
    Iovec {
        /// Pointer to the array.
        at: usize,
        /// Argument with the number of items.
        count: usize,
    },
    /// In what the msghdr at argument `.0` points to: name, buffers, control data; and in it.
    Message(usize),
    /// What ioctl(2)'s request says, at argument 2.
    Ioctl,
    /// What fcntl(2)'s command says, at argument 2.
    Fcntl,
    /// What prctl(2)'s option says, at argument 1.
    Prctl,
    /// What arch_prctl(2)'s code says, at argument 1.
    ArchPrctl,
}

/// On what a call may block. Numbers are indices of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// It does not block, or only as long as the disk takes.
    Never,
    /// Until a child process changes its state: the recorded program alone decides. It stays in the kernel, as for
    /// [`Block::Inside`].
    Children,
    /// On a lock, a peer, a slow device. It stays in the kernel while others run; what it writes goes to scratch memory
    /// until its task has the core again.
    Inside,
    /// Until this descriptor can be read.
    Readable(usize),
    /// Until this descriptor can be written.
    Writable(usize),
    /// poll(2): until one of the descriptors is ready.
    Poll,
    /// ppoll(2).
    Ppoll,
    /// epoll_wait(2), epoll_pwait(2): until the epoll descriptor can be read, or the milliseconds of argument 3 are over.
    Epoll,
}
