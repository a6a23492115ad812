//! System V message queues and semaphores (sysvipc(7)): which processes have used them.
//!
//! No process holds them open. `/proc/sysvipc` (proc_sysvipc(5)) and semctl(2) name the processes that used them last.

use std::collections::BTreeSet;

use nix::unistd::Pid;

use crate::tracee::{message_queue, semaphore_set};

/// Kinds of System V objects that tasks wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::record) enum Ipc {
    Queue,
    Semaphores,
}

/// Whether none of these processes is known to have used an object.
pub(in crate::record) fn is_unknown_to(kind: Ipc, id: i32, outsiders: &BTreeSet<Pid>) -> bool {
    let users: Vec<i32> = match kind {
        Ipc::Queue => match message_queue(id) {
            Some(queue) => queue.users.to_vec(),
            None => return false,
        },
        Ipc::Semaphores => match semaphore_set(id) {
            Some(set) => (0..set.count).map(|number| last_user(id, number)).collect(),
            None => return false,
        },
    };
    users.into_iter().all(|user| user >= 0 && !outsiders.contains(&Pid::from_raw(user)))
}

/// Returns the process that used a semaphore last; 0 for none, -1 if that may not be known.
fn last_user(set: i32, number: u32) -> i32 {
    // SAFETY: this command takes no further argument.
    unsafe { libc::semctl(set, number.cast_signed(), libc::GETPID) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_used_an_object_last_is_known() {
        // SAFETY: semget takes no pointer.
        let set = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
        assert!(set >= 0, "{}", std::io::Error::last_os_error());
        let own = Pid::this();
        assert!(is_unknown_to(Ipc::Semaphores, set, &[own].into()), "nobody has");
        // SAFETY: this command takes a number.
        unsafe { libc::semctl(set, 0, libc::SETVAL, 1) };
        assert!(is_unknown_to(Ipc::Semaphores, set, &BTreeSet::new()));
        assert!(!is_unknown_to(Ipc::Semaphores, set, &[own].into()));
        // SAFETY: this command takes no further argument.
        unsafe { libc::semctl(set, 0, libc::IPC_RMID) };
        assert!(!is_unknown_to(Ipc::Semaphores, set, &BTreeSet::new()), "what is not there may be anybody's");
    }
}
