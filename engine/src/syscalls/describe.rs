//! The vocabulary in which system calls are described.

use crate::tracee::Memory;

/// The description of a system call.
#[derive(Debug)]
pub struct Description {
    /// Its number.
    pub number: u64,
    pub(super) constant: &'static str,
    /// Who makes it, when recording and when replaying.
    pub class: Class,
    /// What the kernel writes to memory when the call succeeds.
    pub outs: &'static [Out],
    /// Whether and on what it may block.
    pub block: Block,
    /// Whether it concerns the calling task alone, so that no other task can notice it. Such a call is no reason to
    /// give another task the core, and no tick.
    pub own: bool,
}

impl Description {
    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.constant.strip_prefix("SYS_").unwrap_or(self.constant)
    }

    /// Returns who makes the call with these arguments: some commands of ioctl(2) and the like are not left to the
    /// kernel.
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

    /// Whether it may wait, so that a signal may interrupt it (signal(7), "Interruption of system calls").
    #[must_use]
    pub fn may_wait(&self) -> bool {
        use Emulation::{ClockNanosleep, Futex, Nanosleep};
        self.block != Block::Never
            || matches!(self.class, Class::Emulated(Futex | Nanosleep | ClockNanosleep))
    }
}

/// Who makes a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The recorder itself; it never reaches the kernel. Replay takes its outcome from the log.
    Emulated(Emulation),
    /// The kernel. Replay takes its outcome from the log.
    Logged,
    /// The kernel, also in replay, because the call changes the address space or tasks.
    Performed(Performance),
    /// Nobody: it fails with this errno, as in a sandbox.
    Refused(i32),
    /// Nobody: its effect cannot be recorded, and a program that makes it could not do without.
    Unsupported,
}

/// What the recorder does in place of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulation {
    /// futex(2): uses the scheduler's queues.
    Futex,
    /// set_robust_list(2): the recorder does what the kernel would when the task ends.
    SetRobustList,
    /// get_robust_list(2).
    GetRobustList,
    /// nanosleep(2): sets a deadline of the scheduler's.
    Nanosleep,
    /// clock_nanosleep(2).
    ClockNanosleep,
    /// sched_yield(2).
    Yield,
    /// gettid(2), getpid(2).
    Identity,
    /// rt_sigprocmask(2): goes through ptrace(2), which saves a stop.
    SignalMask,
    /// clock_gettime(2).
    ClockGettime,
    /// gettimeofday(2).
    Gettimeofday,
    /// clock_settime(2), settimeofday(2): not permitted.
    SetClock,
    /// time(2).
    Time,
    /// getrandom(2): from the recording's seed.
    Getrandom,
    /// getcpu(2): the first of the cores that the task is told it may use.
    Getcpu,
    /// sched_getaffinity(2): as many cores as the program is told there are, or those that it has chosen among them.
    GetAffinity,
    /// sched_setaffinity(2): changes what the task is told from then on; it really keeps the recorder's core.
    SetAffinity,
    /// prctl(2), `PR_SET_DUMPABLE`: changes what the program is told from then on; the recorder must be able to inspect
    /// it.
    SetDumpable,
    /// prctl(2), `PR_GET_DUMPABLE`.
    GetDumpable,
    /// prctl(2), `PR_GET_NO_NEW_PRIVS`: whether the program has set it; the recorder's filter requires it.
    GetNoNewPrivileges,
    /// personality(2): addresses stay fixed, whatever the program is told.
    Personality,
    /// Succeeds without effect.
    Nothing,
}

/// What replay does with a call that changes the address space or tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Performance {
    /// It makes the call.
    Same,
    /// It makes the call, whose outcome follows from the process's state alone: nobody checks it.
    Repeat,
    /// mmap(2): maps at the recorded address, with a file's contents from the trace.
    Map,
    /// mremap(2): moves to the recorded address.
    Remap,
    /// shmat(2): attaches at the recorded address, with a segment's contents from the trace.
    Attach,
    /// shmdt(2).
    Detach,
    /// brk(2): maps anonymous memory.
    Break,
    /// madvise(2): makes the call if it changes contents.
    Advise,
    /// clone(2), clone3(2), fork(2), vfork(2): creates a task, with the recorded ids.
    Clone,
    /// execve(2), execveat(2): creates a process with the recorded image.
    Execute,
    /// rt_sigreturn(2).
    SignalReturn,
    /// exit(2): ends a task.
    Exit,
    /// exit_group(2): ends a process.
    ExitGroup,
}

impl Performance {
    /// Whether the call may change mappings.
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

/// Memory that the kernel writes. Numbers are indices of arguments; a null pointer means none. If only a part is
/// mapped, only that part is written.
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
    /// In the parts to which the msghdr at argument `.0` points (name, buffers, control data), and in the msghdr.
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
    /// At `at`, a structure of `header` bytes, followed by items of `size` bytes.
    Counted {
        /// Pointer to the structure.
        at: usize,
        /// Bytes of the structure.
        header: u64,
        /// Offset in the structure of a 32-bit word with the number of items.
        count: u64,
        /// Offset in it of a 32-bit word with the room, in items; `None` if there is always enough.
        room: Option<u64>,
        /// Bytes of an item.
        size: u64,
    },
    /// In a buffer to which a structure at `at` points.
    Pointed {
        /// Pointer to the structure.
        at: usize,
        /// Offset in the structure of the pointer to the buffer.
        pointer: u64,
        /// Offset in it of a 32-bit word with the buffer's length.
        len: u64,
    },
    /// At argument `.0`, 16 bits for each semaphore of the set in argument 0 (semctl(2), `GETALL`).
    Semaphores(usize),
    /// At argument 2, as many bytes as are encoded in ioctl(2)'s request, if it is a reading one.
    Encoded,
    /// What the command among the arguments writes.
    Commands(&'static Commands),
}

/// The commands of a call like ioctl(2).
#[derive(Debug)]
pub struct Commands {
    /// What a command is called in messages.
    pub what: &'static str,
    /// Where the command is.
    pub key: Key,
    /// The known commands, with their answers.
    pub known: &'static [(u64, Answer)],
    /// The answer to other commands; `None` if it is unknown.
    pub others: fn(u64) -> Option<Answer>,
}

/// Where a command is. The kernel uses only 32 bits of it.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    /// In this argument.
    Argument(usize),
    /// In these two arguments: the first is the upper half.
    Pair(usize, usize),
    /// In the 32-bit word at this offset from where this argument points.
    Word(usize, u64),
}

/// What happens to a command.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// The kernel executes it, and writes this.
    Writes(&'static [Out]),
    /// It fails with this errno, as in a sandbox.
    Refused(i32),
    /// The recorder executes it.
    Emulated(Emulation),
    /// Its effect cannot be recorded, as for [`Class::Unsupported`].
    Unsupported,
}

impl Commands {
    /// Returns the command among these arguments; `None` if it cannot be read.
    #[must_use]
    pub fn command(&self, memory: &Memory, args: &[u64; 6]) -> Option<u64> {
        let low = |argument: usize| args[argument] & u64::from(u32::MAX);
        match self.key {
            Key::Argument(at) => Some(low(at)),
            Key::Pair(upper, lower) => Some(pair(low(upper), low(lower))),
            Key::Word(at, offset) => memory.u32(args[at].checked_add(offset)?).ok().map(u64::from),
        }
    }

    /// Returns what happens to the command among these arguments; `None` if that is unknown.
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

/// Combines the command of a [`Key::Pair`].
pub(super) const fn pair(upper: u64, lower: u64) -> u64 {
    upper << 32 | lower
}

/// What a call may block on. Numbers are indices of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// It does not block, or only as long as the disk takes.
    Never,
    /// Until a child process changes its state, which depends on the recorded program alone. It stays in the kernel, as
    /// for [`Block::InKernel`].
    Children,
    /// On a lock, a peer, a slow device. It stays in the kernel while others run; its outputs go to scratch memory
    /// until its task has the core again.
    InKernel,
    /// Until this descriptor is readable.
    Readable(usize),
    /// Until this descriptor is writable.
    Writable(usize),
    /// poll(2): until one of the descriptors is ready.
    Poll,
    /// ppoll(2).
    Ppoll,
    /// Until this descriptor, either end of a pipe, is readable or writable.
    Either(usize),
    /// select(2): until a descriptor of the sets in arguments 1 to 3 is ready, or the timeval in argument 4 has
    /// elapsed.
    Select,
    /// pselect6(2): as [`Block::Select`], with a timespec.
    Pselect,
    /// epoll_wait(2), epoll_pwait(2): until the epoll descriptor is readable, or the milliseconds in argument 3 have
    /// elapsed.
    Epoll,
    /// epoll_pwait2(2): as [`Block::Epoll`], with a timespec.
    EpollPwait2,
}

impl Block {
    /// Whether the call takes a time limit and returns 0 when it expires.
    #[must_use]
    pub fn timed(self) -> bool {
        matches!(
            self,
            Self::Poll | Self::Ppoll | Self::Select | Self::Pselect | Self::Epoll | Self::EpollPwait2
        )
    }
}
