//! System V message queues and semaphores of the caller's namespace (proc_sysvipc(5)).

use nix::unistd::Pid;

/// A message queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageQueue {
    /// The processes that sent to it last and received from it last; 0 for none.
    pub users: [i32; 2],
}

/// A set of semaphores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SemaphoreSet {
    /// How many there are.
    pub count: u32,
}

/// Returns the message queue with this id.
#[must_use]
pub fn message_queue(id: i32) -> Option<MessageQueue> {
    // key id perms cbytes qnum lspid lrpid …
    let row = row("msg", id)?;
    let user = |at: usize| row.get(at)?.parse().ok();
    Some(MessageQueue { users: [user(5)?, user(6)?] })
}

/// Returns the set of semaphores with this id.
#[must_use]
pub fn semaphore_set(id: i32) -> Option<SemaphoreSet> {
    // key id perms nsems …
    Some(SemaphoreSet { count: row("sem", id)?.get(3)?.parse().ok()? })
}

fn row(kind: &str, id: i32) -> Option<Vec<String>> {
    find(&std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).ok()?, id)
}

/// Returns the words of the line with this id. The first line has the headings.
fn find(text: &str, id: i32) -> Option<Vec<String>> {
    let rows = text.lines().skip(1).map(|line| line.split_whitespace());
    let has_id = |row: &std::str::SplitWhitespace<'_>| {
        row.clone().nth(1).and_then(|word| word.parse().ok()) == Some(id)
    };
    rows.into_iter().find(has_id).map(|row| row.map(str::to_owned).collect())
}

/// Whether a task has the same System V objects as the caller (ipc_namespaces(7)).
#[must_use]
pub fn shares_ipc(tid: Pid) -> bool {
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/ipc")).ok();
    namespace(&tid.to_string()) == namespace("self")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_ids() {
        let text = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid\n\
                             0          3   600           0          0   12   13     0     0\n\
                             0          4   600           0          0    0    0     0     0\n";
        let row = find(text, 3).unwrap();
        assert_eq!((row[5].as_str(), row[6].as_str()), ("12", "13"));
        assert_eq!((find(text, 5), find("", 3)), (None, None));
    }

    #[test]
    fn sets_of_ours_are_found() {
        // SAFETY: semget and semctl with this command take no pointer.
        let set = unsafe { libc::semget(libc::IPC_PRIVATE, 3, 0o600) };
        assert!(set >= 0, "{}", std::io::Error::last_os_error());
        let found = semaphore_set(set);
        // SAFETY: as above.
        unsafe { libc::semctl(set, 0, libc::IPC_RMID) };
        assert_eq!(found, Some(SemaphoreSet { count: 3 }));
        assert_eq!(semaphore_set(set), None);
        assert!(shares_ipc(Pid::this()));
    }
}
