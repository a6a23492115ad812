//! The options of prctl(2) and the codes of arch_prctl(2).

use crate::syscalls::describe::{
    Answer,
    Answer::{Emulated, Refused, Writes},
    Commands, Emulation as E, Key,
    Out::{Fixed, Returned},
};

const QUIET: Answer = Writes(&[]);
const IGNORED: Answer = Emulated(E::Nothing);

/// prctl(2): the option is in argument 0.
pub(in crate::syscalls) static PRCTL: Commands = Commands {
    what: "prctl option",
    key: Key::Argument(0),
    known: &[
        (libc::PR_SET_PDEATHSIG as u64, QUIET),
        (libc::PR_GET_PDEATHSIG as u64, Writes(&[Fixed(1, 4)])),
        // Only root can inspect a process that is not dumpable.
        (libc::PR_GET_DUMPABLE as u64, Emulated(E::GetDumpable)),
        (libc::PR_SET_DUMPABLE as u64, Emulated(E::SetDumpable)),
        (libc::PR_GET_UNALIGN as u64, Writes(&[Fixed(1, 4)])),
        (libc::PR_SET_UNALIGN as u64, QUIET),
        (libc::PR_GET_KEEPCAPS as u64, QUIET),
        (libc::PR_SET_KEEPCAPS as u64, QUIET),
        (libc::PR_GET_FPEMU as u64, Writes(&[Fixed(1, 4)])),
        (libc::PR_SET_FPEMU as u64, QUIET),
        (libc::PR_GET_FPEXC as u64, Writes(&[Fixed(1, 4)])),
        (libc::PR_SET_FPEXC as u64, QUIET),
        (libc::PR_GET_TIMING as u64, QUIET),
        (libc::PR_SET_TIMING as u64, QUIET),
        (libc::PR_SET_NAME as u64, QUIET),
        (libc::PR_GET_NAME as u64, Writes(&[Fixed(1, 16)])),
        (libc::PR_GET_ENDIAN as u64, Writes(&[Fixed(1, 4)])),
        (libc::PR_SET_ENDIAN as u64, QUIET),
        // The existing filter is the recorder's.
        (libc::PR_GET_SECCOMP as u64, IGNORED),
        (libc::PR_SET_SECCOMP as u64, Refused(libc::EINVAL)),
        (libc::PR_CAPBSET_READ as u64, QUIET),
        (libc::PR_CAPBSET_DROP as u64, QUIET),
        // Only the recorder may decide whether the counter can be read.
        (libc::PR_GET_TSC as u64, Refused(libc::EINVAL)),
        (libc::PR_SET_TSC as u64, Refused(libc::EINVAL)),
        (libc::PR_GET_SECUREBITS as u64, QUIET),
        (libc::PR_SET_SECUREBITS as u64, QUIET),
        (libc::PR_SET_TIMERSLACK as u64, QUIET),
        (libc::PR_GET_TIMERSLACK as u64, QUIET),
        (libc::PR_TASK_PERF_EVENTS_DISABLE as u64, IGNORED),
        (libc::PR_TASK_PERF_EVENTS_ENABLE as u64, IGNORED),
        (libc::PR_MCE_KILL as u64, QUIET),
        (libc::PR_MCE_KILL_GET as u64, QUIET),
        // These move the heap and the arguments.
        (libc::PR_SET_MM as u64, Refused(libc::EPERM)),
        (libc::PR_SET_CHILD_SUBREAPER as u64, QUIET),
        (libc::PR_GET_CHILD_SUBREAPER as u64, Writes(&[Fixed(1, 4)])),
        (libc::PR_SET_NO_NEW_PRIVS as u64, QUIET),
        (libc::PR_GET_NO_NEW_PRIVS as u64, Emulated(E::GetNoNewPrivileges)),
        (libc::PR_GET_TID_ADDRESS as u64, Writes(&[Fixed(1, 8)])),
        (libc::PR_SET_THP_DISABLE as u64, QUIET),
        (libc::PR_GET_THP_DISABLE as u64, QUIET),
        (libc::PR_CAP_AMBIENT as u64, QUIET),
        (PR_GET_SPECULATION_CTRL, QUIET),
        (PR_SET_SPECULATION_CTRL, QUIET),
        (PR_SET_IO_FLUSHER, QUIET),
        (PR_GET_IO_FLUSHER, QUIET),
        // These make a handler of the program's make calls in place of the kernel.
        (PR_SET_SYSCALL_USER_DISPATCH, Refused(libc::EINVAL)),
        // Where it does not write, the kernel requires a null pointer.
        (PR_SCHED_CORE, Writes(&[Fixed(4, 8)])),
        (PR_SET_MDWE, QUIET),
        (PR_GET_MDWE, QUIET),
        (PR_SET_MEMORY_MERGE, QUIET),
        (PR_GET_MEMORY_MERGE, QUIET),
        (PR_TIMER_CREATE_RESTORE_IDS, QUIET),
        (PR_FUTEX_HASH, QUIET),
        (libc::PR_SET_VMA as u64, QUIET),
        (libc::PR_SET_PTRACER as u64, QUIET),
        (PR_GET_AUXV, Writes(&[Returned(1)])),
    ],
    others: |_| None,
};

// linux/prctl.h
const PR_GET_SPECULATION_CTRL: u64 = 52;
const PR_SET_SPECULATION_CTRL: u64 = 53;
const PR_SET_IO_FLUSHER: u64 = 57;
const PR_GET_IO_FLUSHER: u64 = 58;
const PR_SET_SYSCALL_USER_DISPATCH: u64 = 59;
const PR_SCHED_CORE: u64 = 62;
const PR_SET_MDWE: u64 = 65;
const PR_GET_MDWE: u64 = 66;
const PR_SET_MEMORY_MERGE: u64 = 67;
const PR_GET_MEMORY_MERGE: u64 = 68;
const PR_TIMER_CREATE_RESTORE_IDS: u64 = 77;
const PR_FUTEX_HASH: u64 = 78;
const PR_GET_AUXV: u64 = 0x4155_5856;

/// arch_prctl(2): the code is in argument 0, outputs go to argument 1. Whatever it changes, it changes in replay too.
pub(in crate::syscalls) static ARCH_PRCTL: Commands = Commands {
    what: "arch_prctl code",
    key: Key::Argument(0),
    known: &[
        (ARCH_SET_GS, QUIET),
        (ARCH_SET_FS, QUIET),
        (ARCH_GET_FS, Writes(&[Fixed(1, 8)])),
        (ARCH_GET_GS, Writes(&[Fixed(1, 8)])),
        (ARCH_GET_CPUID, QUIET),
        (ARCH_SET_CPUID, Refused(libc::ENODEV)),
        (ARCH_GET_XCOMP_SUPP, Writes(&[Fixed(1, 8)])),
        (ARCH_GET_XCOMP_PERM, Writes(&[Fixed(1, 8)])),
        (ARCH_REQ_XCOMP_PERM, QUIET),
        (ARCH_GET_UNTAG_MASK, Writes(&[Fixed(1, 8)])),
        (ARCH_ENABLE_TAGGED_ADDR, Refused(libc::ENODEV)),
        (ARCH_GET_MAX_TAG_BITS, Writes(&[Fixed(1, 8)])),
    ],
    // Moving the vDSO, shadow stacks, guests: fails as on a processor without them.
    others: |_| Some(Refused(libc::EINVAL)),
};

// asm/prctl.h
const ARCH_SET_GS: u64 = 0x1001;
const ARCH_SET_FS: u64 = 0x1002;
const ARCH_GET_FS: u64 = 0x1003;
const ARCH_GET_GS: u64 = 0x1004;
const ARCH_GET_CPUID: u64 = 0x1011;
const ARCH_SET_CPUID: u64 = 0x1012;
const ARCH_GET_XCOMP_SUPP: u64 = 0x1021;
const ARCH_GET_XCOMP_PERM: u64 = 0x1022;
const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
const ARCH_GET_UNTAG_MASK: u64 = 0x4001;
const ARCH_ENABLE_TAGGED_ADDR: u64 = 0x4002;
const ARCH_GET_MAX_TAG_BITS: u64 = 0x4003;
