//! clone(2), clone3(2), fork(2) and vfork(2): what a new task shares with its creator.

use crate::Error;
use crate::tracee::Memory;

/// A decoded call that creates a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneCall {
    /// `CLONE_*`, without the exit signal.
    pub flags: u64,
    /// The stack pointer of the new task; 0 for the creator's.
    pub stack: u64,
    /// Where the creator finds the new task's id (`CLONE_PARENT_SETTID`).
    pub parent_tid: u64,
    /// Where the new task finds its id (`CLONE_CHILD_SETTID`), and where the kernel clears it when the task ends
    /// (`CLONE_CHILD_CLEARTID`).
    pub child_tid: u64,
    /// Where the creator finds a descriptor (`CLONE_PIDFD`).
    pub pidfd: u64,
    /// Thread-local storage (`CLONE_SETTLS`).
    pub tls: u64,
    /// Whether the caller chooses the new task's id.
    pub chooses_tid: bool,
}

/// Flags that put a new task into namespaces of its own (namespaces(7)).
pub const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64
    | NEWTIME;

/// `CLONE_NEWTIME`: only for clone3(2); in clone(2) it is part of the exit signal.
const NEWTIME: u64 = 0x80;

/// The byte of clone(2)'s flags with the exit signal.
const EXIT_SIGNAL: u64 = 0xff;

impl CloneCall {
    /// Decodes the call with this number.
    ///
    /// # Errors
    /// If its arguments cannot be read.
    pub fn decode(memory: &Memory, number: u64, args: &[u64; 6]) -> Result<Self, Error> {
        let [flags, stack, parent_tid, child_tid, tls, _] = *args;
        Ok(match number as i64 {
            libc::SYS_fork => Self::default(),
            libc::SYS_vfork => Self { flags: (libc::CLONE_VM | libc::CLONE_VFORK) as u64, ..Self::default() },
            libc::SYS_clone => Self {
                flags: flags & !EXIT_SIGNAL & 0xffff_ffff,
                stack,
                parent_tid,
                child_tid,
                pidfd: parent_tid,
                tls,
                chooses_tid: false,
            },
            _ => {
                // struct clone_args (clone(2)) up to `set_tid_size`; fields that `size` leaves out are zero.
                let (address, size) = (flags, stack);
                let [flags, pidfd, child_tid, parent_tid, _, bottom, len, tls, _, tids] =
                    memory.words(address, size)?;
                let stack = if bottom == 0 { 0 } else { bottom.wrapping_add(len) };
                Self { flags, pidfd, child_tid, parent_tid, stack, tls, chooses_tid: tids != 0 }
            }
        })
    }

    /// Whether it has this flag.
    #[must_use]
    pub fn has(&self, flag: i32) -> bool {
        self.flags & u64::from(flag.cast_unsigned()) != 0
    }

    /// Returns the arguments of the clone(2) call that does the same in a replay: a process becomes the replayer's
    /// child, and its end is not reported to anybody.
    #[must_use]
    pub fn replayed(&self) -> [u64; 6] {
        const KEPT: i32 = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM
            | libc::CLONE_SETTLS
            | libc::CLONE_CHILD_CLEARTID;
        let parent = if self.has(libc::CLONE_THREAD) { 0 } else { libc::CLONE_PARENT };
        let flags = self.flags & u64::from(KEPT.cast_unsigned()) | u64::from(parent.cast_unsigned());
        [flags, self.stack, 0, self.child_tid, self.tls, 0]
    }
}
