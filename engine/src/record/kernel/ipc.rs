//! System V message queues and semaphores (sysvipc(7)): which processes have used them.
//!
//! No process holds them open. `/proc/sysvipc` (proc_sysvipc(5)) and semctl(2) name the processes that used them last.

use std::collections::BTreeSet;

use nix::unistd::Pid;

/// Kinds of System V objects that tasks wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::record) enum Ipc {
    Queue,
    Semaphores,
}

/// What the kernel reports about an object.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// Number of semaphores.
    count: i32,
    /// The processes that used it last; 0 for none.
    users: [i32; 2],
}

impl Row {
    pub(in crate::record) fn of(kind: Ipc, id: i32) -> Option<Self> {
        let name = if kind == Ipc::Queue { "msg" } else { "sem" };
        let text = std::fs::read_to_string(format!("/proc/sysvipc/{name}")).ok()?;
        text.lines()
            .skip(1)
            .filter_map(|line| Self::decode(kind, line))
            .find_map(|(its, row)| (its == id).then_some(row))
    }

    /// Parses a line into the id and the rest.
    pub(in crate::record) fn decode(kind: Ipc, line: &str) -> Option<(i32, Self)> {
        let numbers: Vec<i32> = line.split_whitespace().map(|word| word.parse().unwrap_or(-1)).collect();
        match (kind, &numbers[..]) {
            // key id perms cbytes qnum lspid lrpid …
            (Ipc::Queue, &[_, id, _, _, _, sender, receiver, ..]) => {
                Some((id, Self { count: 0, users: [sender, receiver] }))
            }
            // key id perms nsems …
            (Ipc::Semaphores, &[_, id, _, count, ..]) => Some((id, Self { count, users: [0; 2] })),
            _ => None,
        }
    }
}

/// Whether none of these processes is known to have used an object.
pub(in crate::record) fn is_unknown_to(kind: Ipc, id: i32, outsiders: &BTreeSet<Pid>) -> bool {
    let Some(row) = Row::of(kind, id) else { return false };
    let last = |at: i32| {
        // SAFETY: this command takes no further argument.
        unsafe { libc::semctl(id, at, libc::GETPID) }
    };
    let semaphores: Vec<i32> =
        if kind == Ipc::Semaphores { (0..row.count).map(last).collect() } else { Vec::new() };
    let mut users = row.users.into_iter().chain(semaphores);
    users.all(|user| user >= 0 && !outsiders.contains(&Pid::from_raw(user)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_read() {
        let line = "         0          3   600           0          0   12   13     0     0     0     0 1700000000          0 1700000001";
        let row = Row { count: 0, users: [12, 13] };
        assert_eq!(Row::decode(Ipc::Queue, line), Some((3, row)));
        let line = "         0          1   600          2     0     0     0     0          0 1700000001";
        let row = Row { count: 2, users: [0, 0] };
        assert_eq!(Row::decode(Ipc::Semaphores, line), Some((1, row)));
        assert_eq!(Row::decode(Ipc::Queue, "       key      msqid"), None);
        assert_eq!(Row::decode(Ipc::Semaphores, ""), None);
    }
}
