//! Whether tasks that wait in the kernel can ever go on.
//!
//! A wait for children, or for a pipe that only the program's own processes have, ends only by what one of them does. If
//! none of them can run, and nobody else could do it, that is a deadlock. What is not certain counts as waiting for the
//! world: the program then runs into its time limit.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::Pid;

use super::fds::links;
use super::recorder::{Flow, Recorder};
use super::tasks::{Call, Hold, Task};
use crate::task::TaskId;
use crate::tracee::{Memory, State, state};

/// How deep epoll descriptors may watch each other (`EP_MAX_NESTS`, fs/eventpoll.c).
pub(super) const NESTS: u32 = 5;

impl Recorder<'_> {
    /// Whether no task that waits in the kernel or for descriptors can be woken by anybody but another task of the program,
    /// which cannot run.
    pub(super) fn stuck(&mut self) -> Flow<bool> {
        if !self.waits_for_itself(&Outside::default()) {
            return Ok(false);
        }
        // Others may have let go of it just before this look, so that it is ready now.
        let outside = self.outside();
        self.poll_watches()?;
        self.poll_kernel()?;
        Ok(self.tasks.runnable().is_empty() && self.waits_for_itself(&outside))
    }

    fn waits_for_itself(&self, outside: &Outside) -> bool {
        self.tasks.living().all(|task| match task.hold() {
            Hold::InKernel(running, _) => {
                state(running.tid()) == State::Sleeping && self.waits_for_the_program(task, outside)
            }
            Hold::Waiting(..) => {
                self.watches.descriptors(task.id).all(|fd| self.ours(task.tid, fd, NESTS, outside))
            }
            // SIGCONT may come from a terminal.
            Hold::Suspended(..) => false,
            _ => true,
        })
    }

    /// Whether what a task waits for in the kernel is up to the program alone.
    pub(super) fn waits_for_the_program(&self, task: &Task, outside: &Outside) -> bool {
        let Some((number, args)) = call_in_progress(task.tid) else { return false };
        match number {
            libc::SYS_wait4 | libc::SYS_waitid => true,
            libc::SYS_ppoll => {
                let [_, _, limit, ..] = args;
                let mut fds = polled(&task.space.memory, &args).into_iter();
                limit == 0 && fds.all(|fd| self.ours(task.tid, fd, NESTS, outside))
            }
            _ => false,
        }
    }

    /// Whether only the program's own tasks can make this descriptor ready.
    pub(super) fn ours(&self, tid: Pid, fd: i32, nests: u32, outside: &Outside) -> bool {
        let path = format!("/proc/{tid}/fd/{fd}");
        let Ok(link) = std::fs::read_link(&path) else { return false };
        let link = link.to_string_lossy();
        let info = || std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).unwrap_or_default();
        match &*link {
            "anon_inode:[eventfd]" => true,
            "anon_inode:[timerfd]" => info().contains("it_value: (0, 0)"),
            "anon_inode:[eventpoll]" if nests > 0 => {
                of_epoll(&info()).all(|fd| self.ours(tid, fd, nests - 1, outside))
            }
            pipe if pipe.starts_with("pipe:") => {
                inode(Path::new(&path)) != inode(Path::new("/dev/stdin")) && !outside.has(pipe)
            }
            socket if socket.starts_with("socket:") => {
                let peer = inode(Path::new(&path)).and_then(|inode| self.pairs.get(&inode));
                peer.is_some_and(|peer| !outside.has(&format!("socket:[{peer}]")))
            }
            _ => false,
        }
    }

    /// What others than the program and its recorder have. That may be for a moment only: a child of the recorder's that
    /// another recording is about to start has all that the recorder had.
    fn outside(&self) -> Outside {
        let mut own = self.processes();
        own.insert(Pid::this());
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
        let links = pids.filter(|pid| !own.contains(pid)).flat_map(links).map(|(_, link)| link);
        Outside(links.filter(|link| link.starts_with("pipe:") || link.starts_with("socket:")).collect())
    }

    /// Take note of a socketpair(2) that a task has made.
    pub(super) fn note_pair(&mut self, id: TaskId, call: &Call) {
        let (tid, space) = (self.task(id).tid, self.space(id));
        let [one, other] = [0, 4].map(|at| {
            let fd = space.memory.u32(call.args()[3] + at).ok()?;
            inode(Path::new(&format!("/proc/{tid}/fd/{fd}")))
        });
        if let (Some(one), Some(other)) = (one, other) {
            self.pairs.extend([(one, other), (other, one)]);
        }
    }
}

/// The pipes and sockets that somebody outside the program has, as links in `/proc/PID/fd` name them (proc_pid_fd(5)).
#[derive(Debug, Default)]
pub(super) struct Outside(BTreeSet<String>);

impl Outside {
    fn has(&self, link: &str) -> bool {
        self.0.contains(link)
    }
}

/// The descriptors that a ppoll(2) with these arguments waits for.
pub(super) fn polled(memory: &Memory, args: &[u64; 6]) -> Vec<i32> {
    let [fds, count, ..] = *args;
    // struct pollfd: descriptor, events, what came.
    let fds = memory.available(fds, count as usize * 8);
    let fds = fds.chunks_exact(8).map(|one| i32::from_ne_bytes([one[0], one[1], one[2], one[3]]));
    fds.filter(|fd| *fd >= 0).collect()
}

pub(super) fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// The system call that a task sleeps in, with its arguments (`/proc/PID/syscall`, proc_pid_syscall(5)).
pub(super) fn call_in_progress(tid: Pid) -> Option<(i64, [u64; 6])> {
    call_of(&std::fs::read_to_string(format!("/proc/{tid}/syscall")).ok()?)
}

/// The call that `/proc/PID/syscall` tells of; none for a task that runs.
fn call_of(text: &str) -> Option<(i64, [u64; 6])> {
    let mut fields = text.split_whitespace();
    let number = fields.next()?.parse().ok()?;
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = u64::from_str_radix(fields.next()?.trim_start_matches("0x"), 16).ok()?;
    }
    Some((number, args))
}

/// The descriptors that an epoll descriptor of a task watches; -1 for what cannot be read.
pub(super) fn watched(tid: Pid, fd: i32) -> Vec<i32> {
    let info = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).unwrap_or_default();
    of_epoll(&info).collect()
}

/// The descriptors that an epoll descriptor watches, as its `fdinfo` has them (proc_pid_fdinfo(5)).
fn of_epoll(info: &str) -> impl Iterator<Item = i32> {
    info.lines()
        .filter_map(|line| line.strip_prefix("tfd:"))
        .map(|rest| rest.split_whitespace().next().and_then(|fd| fd.parse().ok()).unwrap_or(-1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watched_descriptors_are_read() {
        let info =
            "pos:\t0\nflags:\t02\ntfd:        5 events: 80000019 data: 0  pos:0 ino:61af sdev:7\ntfd: x\n";
        assert_eq!(of_epoll(info).collect::<Vec<_>>(), [5, -1]);
        assert_eq!(of_epoll("pos:\t0\n").count(), 0);
    }

    #[test]
    fn a_call_in_progress_is_read() {
        let read = "0 0x3 0x7ffe18 0x400 0x0 0x0 0x7fff 0x7ffe08 0x7f12\n";
        assert_eq!(call_of(read), Some((libc::SYS_read, [3, 0x7f_fe18, 0x400, 0, 0, 0x7fff])));
        for none in ["running\n", "-1 0x7ffe08 0x7f12\n", ""] {
            assert_eq!(call_of(none), None, "{none:?}");
        }
    }
}
