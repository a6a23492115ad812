//! The words in which a system call is described.

use crate::tracee::Memory;

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

    /// Who does the call with these arguments: some commands of ioctl(2) and its like are not the kernel's to do.
    #[must_use]
    pub fn class_for(&self, memory: &Memory, args: &[u64; 6]) -> Class {
        let commands = self.outs.iter().find_map(|out| match out {
            Out::Commands(commands) => Some(commands),
            _ => None,
        });
        match commands.and_then(|commands| commands.answer(memory, args)) {
            Some(Answer::Refused(errno)) => Class::Refused(errno),
            Some(Answer::Emulated(emulation)) => Class::Emulated(emulation),
            Some(Answer::Unsupported) => Class::Unsupported,
            Some(Answer::Writes(_)) | None => self.class,
        }
    }

    /// Whether it may wait, and a signal may end that (signal(7), "Interruption of system calls").
    #[must_use]
    pub fn may_wait(&self) -> bool {
        use Emulation::{ClockNanosleep, Futex, Nanosleep};
        self.block != Block::Never
            || matches!(self.class, Class::Emulated(Futex | Nanosleep | ClockNanosleep))
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
    /// Nobody: what it does cannot be recorded, and a program that makes it could not do without.
    Unsupported,
}

/// What the recorder does instead of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulation {
    /// futex(2): the scheduler's queues.
    Futex,
    /// set_robust_list(2): the recorder does for a task that ends what the kernel would.
    SetRobustList,
    /// get_robust_list(2).
    GetRobustList,
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
    /// clock_settime(2), settimeofday(2): not allowed.
    SetClock,
    /// time(2).
    Time,
    /// getrandom(2): from the recording's seed.
    Getrandom,
    /// getcpu(2): the first of the cores that the task believes it may use.
    Getcpu,
    /// sched_getaffinity(2): as many cores as the program is told there are, or those that it has chosen among them.
    GetAffinity,
    /// sched_setaffinity(2): what the task is told from then on; the core that it really has stays the recorder's.
    SetAffinity,
    /// prctl(2), `PR_SET_DUMPABLE`: what the program is told from then on; the recorder must be able to look at it.
    SetDumpable,
    /// prctl(2), `PR_GET_DUMPABLE`.
    GetDumpable,
    /// prctl(2), `PR_GET_NO_NEW_PRIVS`: whether the program has set it; our filter wants it set.
    GetNoNewPrivileges,
    /// personality(2): addresses stay fixed, whatever the program is told.
    Personality,
    /// Those that succeed without effect.
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
    /// shmat(2): at the recorded address, a segment with the contents from the trace.
    Attach,
    /// shmdt(2).
    Detach,
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

impl Performance {
    /// Whether the call may change what is mapped where.
    #[must_use]
    pub fn maps(self) -> bool {
        matches!(
            self,
            Self::Repeat
                | Self::Map
                | Self::Remap
                | Self::Attach
                | Self::Detach
                | Self::Break
                | Self::Execute
        )
    }
}

/// Memory that the kernel writes. Numbers are indices of arguments; a null pointer means none. Where not all of it is
/// mapped, it is what is mapped of it.
#[derive(Clone, Copy, Debug)]
pub enum Out {
    /// At argument `0`, as many bytes as the call returns, but at most as many as the next argument says: some calls
    /// return how many there would be.
    Returned(usize),
    /// At `at`, a byte for each page of `len` (an argument) bytes; even if the call fails with ENOMEM.
    PerPage {
        /// Pointer.
        at: usize,
        /// Argument with the length.
        len: usize,
    },
    /// At argument `.0`, `.1` bytes.
    Fixed(usize, u64),
    /// At `at`, an array of `count` (an argument) items of `size` bytes; even if a signal interrupts the call.
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
    /// As many [`Out::Message`]s, in an array of mmsghdr at `at`, as the call returns, at most `count` (an argument);
    /// and their lengths.
    Messages {
        /// Pointer to the array.
        at: usize,
        /// Argument with the room, in messages.
        count: usize,
    },
    /// At argument `.0`, `.1` bytes, even if the call fails.
    Always(usize, u64),
    /// At argument `.0`, a message type of 8 bytes, and as many bytes as the call returns (msgrcv(2)).
    Typed(usize),
    /// At `at`, a bit for each of `count` (an argument), in words of 8 bytes: a set of descriptors or of memory nodes.
    Bits {
        /// Pointer.
        at: usize,
        /// Argument with the number of bits.
        count: usize,
    },
    /// At `at`, a structure of `header` bytes, and items of `size` bytes behind it.
    Counted {
        /// Pointer to the structure.
        at: usize,
        /// Bytes of the structure.
        header: u64,
        /// Where in the structure is a 32-bit word with the number of items.
        count: u64,
        /// Where in it is a 32-bit word with the room, in items; none if there is always enough.
        room: Option<u64>,
        /// Bytes of an item.
        size: u64,
    },
    /// In a buffer that a structure at `at` points to.
    Pointed {
        /// Pointer to the structure.
        at: usize,
        /// Where in the structure is the pointer to the buffer.
        pointer: u64,
        /// Where in it is a 32-bit word with the length of the buffer.
        len: u64,
    },
    /// At argument `.0`, 16 bits for each semaphore of the set that argument 0 names (semctl(2), `GETALL`).
    Semaphores(usize),
    /// At argument 2, as many bytes as ioctl(2)'s request has encoded, if it says that it reads.
    Encoded,
    /// What the command says that is among the arguments.
    Commands(&'static Commands),
}

/// The commands of a call such as ioctl(2).
#[derive(Debug)]
pub struct Commands {
    /// What a command is called.
    pub what: &'static str,
    /// Where it is.
    pub key: Key,
    /// Those that are known, with their answers.
    pub known: &'static [(u64, Answer)],
    /// What is answered to others; none where that cannot be told.
    pub others: fn(u64) -> Option<Answer>,
}

/// Where a command is. The kernel looks at 32 bits of it only.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    /// In this argument.
    Argument(usize),
    /// In these two: the first is the upper half.
    Pair(usize, usize),
    /// In the 32-bit word so many bytes behind where this argument points.
    Word(usize, u64),
}

/// What comes of a command.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// The kernel carries it out, and writes this.
    Writes(&'static [Out]),
    /// It fails with this errno, as in a sandbox.
    Refused(i32),
    /// The recorder carries it out.
    Emulated(Emulation),
    /// What it does cannot be recorded, as for [`Class::Unsupported`].
    Unsupported,
}

impl Commands {
    /// The command among these arguments; none if it cannot be read.
    #[must_use]
    pub fn command(&self, memory: &Memory, args: &[u64; 6]) -> Option<u64> {
        let low = |argument: usize| args[argument] & u64::from(u32::MAX);
        match self.key {
            Key::Argument(at) => Some(low(at)),
            Key::Pair(upper, lower) => Some(pair(low(upper), low(lower))),
            Key::Word(at, offset) => memory.u32(args[at].checked_add(offset)?).ok().map(u64::from),
        }
    }

    /// What comes of the command among these arguments; none if that cannot be told.
    #[must_use]
    pub fn answer(&self, memory: &Memory, args: &[u64; 6]) -> Option<Answer> {
        // The kernel cannot read it either.
        let Some(command) = self.command(memory, args) else { return Some(Answer::Writes(&[])) };
        self.answer_to(command)
    }

    pub(super) fn answer_to(&self, command: u64) -> Option<Answer> {
        let known = self.known.iter().find(|(code, _)| *code == command);
        known.map_or_else(|| (self.others)(command), |(_, answer)| Some(*answer))
    }
}

/// The command of a [`Key::Pair`].
pub(super) const fn pair(upper: u64, lower: u64) -> u64 {
    upper << 32 | lower
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
    /// Until this descriptor, one end of a pipe, can be read or written, whichever end it is.
    Either(usize),
    /// select(2): until a descriptor of the sets in arguments 1 to 3 is ready, or the timeval of argument 4 is over.
    Select,
    /// pselect6(2): the same with a timespec.
    Pselect,
    /// epoll_wait(2), epoll_pwait(2): until the epoll descriptor can be read, or the milliseconds of argument 3 are over.
    Epoll,
    /// epoll_pwait2(2): the same with a timespec.
    EpollPwait2,
}

impl Block {
    /// Whether the call takes a time limit and returns 0 when it is over.
    #[must_use]
    pub fn timed(self) -> bool {
        matches!(
            self,
            Self::Poll | Self::Ppoll | Self::Select | Self::Pselect | Self::Epoll | Self::EpollPwait2
        )
    }
}
