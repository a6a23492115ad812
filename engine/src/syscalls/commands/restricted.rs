//! Calls that ordinary users may make only with some arguments, or whose outputs depend on a word of their arguments.

use crate::syscalls::describe::{
    Answer,
    Answer::{Refused, Unsupported, Writes},
    Commands, Key,
    Out::{Fixed, Returned},
};

const QUIET: Answer = Writes(&[]);
const DENIED: Answer = Refused(libc::EPERM);

/// sched_setscheduler(2): the policy is in argument 1. A task with absolute priority would take the recorder's core.
pub(in crate::syscalls) static SCHED_SETSCHEDULER: Commands =
    Commands { what: "scheduling policy", key: Key::Argument(1), known: POLICIES, others: |_| Some(DENIED) };

/// sched_setattr(2): the policy is in the second word of the structure at argument 1.
pub(in crate::syscalls) static SCHED_SETATTR: Commands =
    Commands { what: "scheduling policy", key: Key::Word(1, 4), known: POLICIES, others: |_| Some(DENIED) };

const POLICIES: &[(u64, Answer)] = &[
    (libc::SCHED_OTHER as u64, QUIET),
    (libc::SCHED_BATCH as u64, QUIET),
    (libc::SCHED_IDLE as u64, QUIET),
    ((libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK) as u64, QUIET),
    ((libc::SCHED_BATCH | libc::SCHED_RESET_ON_FORK) as u64, QUIET),
    ((libc::SCHED_IDLE | libc::SCHED_RESET_ON_FORK) as u64, QUIET),
];

/// adjtimex(2): the first word of the structure at argument 0 says what is to change.
pub(in crate::syscalls) static ADJTIMEX: Commands = Commands {
    what: "clock adjustment",
    key: Key::Word(0, 0),
    known: &[(0, Writes(&[Fixed(0, TIMEX)])), (ADJ_OFFSET_SS_READ, Writes(&[Fixed(0, TIMEX)]))],
    others: |_| Some(DENIED),
};

/// clock_adjtime(2): the first word of the structure at argument 1 says what is to change.
pub(in crate::syscalls) static CLOCK_ADJTIME: Commands = Commands {
    what: "clock adjustment",
    key: Key::Word(1, 0),
    known: &[(0, Writes(&[Fixed(1, TIMEX)])), (ADJ_OFFSET_SS_READ, Writes(&[Fixed(1, TIMEX)]))],
    others: |_| Some(DENIED),
};

/// Bytes of a timex structure.
const TIMEX: u64 = 208;
/// linux/timex.h
const ADJ_OFFSET_SS_READ: u64 = 0xa001;

/// capget(2): the version is in the first word at argument 0. If the kernel does not know it, it writes the version
/// that it expects there, whether it reports a failure or not.
pub(in crate::syscalls) static CAPGET: Commands = Commands {
    what: "version of capabilities",
    key: Key::Word(0, 0),
    known: &[(0x1998_0330, Writes(&[Fixed(1, 12)]))],
    others: |_| Some(Writes(&[Fixed(1, 24)])),
};

/// modify_ldt(2): the function is in argument 0. What it changes, replay would have to change too.
pub(in crate::syscalls) static MODIFY_LDT: Commands = Commands {
    what: "modify_ldt function",
    key: Key::Argument(0),
    known: &[(0, Writes(&[Returned(1)])), (2, Writes(&[Returned(1)]))],
    others: |_| Some(Refused(libc::ENOSYS)),
};

/// `MADV_COLLAPSE` (linux/mman.h), which not every C library has.
const MADV_COLLAPSE: u64 = 25;

/// process_madvise(2): the advice is in argument 3. Advice that changes contents is refused.
pub(in crate::syscalls) static PROCESS_MADVISE: Commands = Commands {
    what: "advice",
    key: Key::Argument(3),
    known: &[
        (libc::MADV_WILLNEED as u64, QUIET),
        (libc::MADV_COLD as u64, QUIET),
        (libc::MADV_PAGEOUT as u64, QUIET),
        (MADV_COLLAPSE, QUIET),
    ],
    others: |_| Some(Refused(libc::EINVAL)),
};

/// ptrace(2): the request is in argument 0. A task can have only one tracer, the recorder; without a tracee every other
/// request fails.
pub(in crate::syscalls) static PTRACE: Commands = Commands {
    what: "ptrace request",
    key: Key::Argument(0),
    known: &[
        (libc::PTRACE_TRACEME as u64, Unsupported),
        (libc::PTRACE_ATTACH as u64, Unsupported),
        (libc::PTRACE_SEIZE as u64, Unsupported),
    ],
    others: |_| Some(Refused(libc::ESRCH)),
};

/// syslog(2): the action is in argument 0. Only actions that read without waiting are allowed.
pub(in crate::syscalls) static SYSLOG: Commands = Commands {
    what: "syslog action",
    key: Key::Argument(0),
    known: &[(3, Writes(&[Returned(1)])), (9, QUIET), (10, QUIET)],
    others: |_| Some(DENIED),
};

/// unshare(2): the flags are in argument 0. Namespaces are reserved for those who may mount.
pub(in crate::syscalls) static UNSHARE: Commands = Commands {
    what: "unshare flags",
    key: Key::Argument(0),
    known: &[
        (0, QUIET),
        (libc::CLONE_FS as u64, QUIET),
        (libc::CLONE_FILES as u64, QUIET),
        ((libc::CLONE_FS | libc::CLONE_FILES) as u64, QUIET),
        (libc::CLONE_SYSVSEM as u64, QUIET),
    ],
    others: |_| Some(DENIED),
};
