//! What a program would see of itself if nobody recorded it.
//!
//! The kernel tells a process that it is traced, filtered and at fixed addresses: in personality(2), in prctl(2), and in files of
//! /proc (proc_pid_status(5), proc_pid_stat(5), proc_pid_personality(5)). There is code that goes another way then: debuggers'
//! traps, sanitizers, programs that start themselves once more with other addresses. So what is ours is taken out of it. In its
//! place comes what the recorder sees of itself, whom nobody records, or what the program has asked for since.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use nix::unistd::Pid;

use super::call::Call;
use super::tasks::{Hold, Task, Tasks};
use crate::record::kernel::fds;
use crate::record::options::Options;
use crate::record::poller::Poller;
use crate::record::time::clocks::Clocks;
use crate::record::time::proc::ProcTimes;
use crate::task::TaskId;

/// What would be so of a task if it were not recorded.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Natively {
    /// Its personality(2).
    pub(in crate::record) persona: u32,
    /// `PR_SET_NO_NEW_PRIVS` of prctl(2).
    pub(in crate::record) no_new_privileges: bool,
}

/// What is so of us, and would be of a program that we start.
struct Ours {
    natively: Natively,
    /// The lines of `/proc/self/status` about filters, each with its name.
    filters: Vec<(String, String)>,
}

/// Lines of `/proc/PID/status` that are as they are because of our filter.
const FILTERS: [&str; 3] = ["NoNewPrivs", "Seccomp", "Seccomp_filters"];

/// The files of `/proc/PID` that are shown otherwise than they are. The buffer (`is_recorders` of its `record.rs`) leaves them to us.
const FILES: [&str; 3] = ["status", "stat", "personality"];

static OURS: LazyLock<Ours> = LazyLock::new(|| {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let lines = status.lines().filter_map(|line| line.split_once(":\t"));
    let filters = lines.filter(|(name, _)| FILTERS.contains(name));
    let filters: Vec<_> = filters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let persona = std::fs::read_to_string("/proc/self/personality").unwrap_or_default();
    let no_new_privileges = filters.iter().any(|(name, value)| name == FILTERS[0] && value == "1");
    Ours {
        natively: Natively {
            persona: u32::from_str_radix(persona.trim(), 16).unwrap_or(0),
            no_new_privileges,
        },
        filters,
    }
});

impl Natively {
    /// Of a program that we start.
    pub(in crate::record) fn started() -> Self {
        OURS.natively
    }
}

/// What is read of a file.
#[derive(Debug)]
pub(in crate::record) struct Shown {
    pub(in crate::record) bytes: Vec<u8>,
    /// Where the next read(2) goes on; none for pread(2), which leaves that.
    pub(in crate::record) next: Option<u64>,
}

impl Shown {
    /// What a read of so many bytes at an offset gets of a text, and whether that moves the offset on.
    pub(in crate::record) fn part(text: &[u8], at: u64, len: u64, moves: bool) -> Self {
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
        let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)).min(text.len());
        Self { bytes: text[start..end].to_vec(), next: moves.then_some(end as u64) }
    }
}

impl ProcTimes {
    /// What a read(2) or pread(2) of a file in /proc that tells of a recorded task would have shown natively; none for any other
    /// call and file.
    pub(in crate::record) fn shown(
        &self,
        tasks: &Tasks,
        poller: &mut Poller,
        clocks: &Clocks,
        id: TaskId,
        call: &Call,
    ) -> Option<Shown> {
        let [fd, _, len, at, ..] = call.args();
        let reads = call.number() as i64 == libc::SYS_read;
        if !(reads || call.number() as i64 == libc::SYS_pread64) {
            return None;
        }
        let path = poller.tells(tasks, id, fd)?;
        let tid = tasks[id].tid;
        let text = self.text_of(tasks, clocks, id, &path)?;
        let at = if reads { fds::offset(tid, fd) } else { at };
        Some(Shown::part(text.as_bytes(), at, len, reads))
    }

    /// What the file of /proc at this path would tell a task; none if that is what it tells.
    fn text_of(&self, tasks: &Tasks, clocks: &Clocks, reader: TaskId, path: &Path) -> Option<String> {
        let parts: Vec<_> = path.iter().map(OsStr::to_string_lossy).collect();
        let (task, name) = match &parts[..] {
            [.., _, task, tid, name] if task == "task" => (tid, name),
            [.., tid, name] => (tid, name),
            _ => return None,
        };
        let task = tasks.with_tid(Pid::from_raw(task.parse().ok()?))?;
        let text = || std::fs::read_to_string(path).ok();
        match &**name {
            "status" => Some(status(&text()?, task, task.id == reader)),
            "stat" => Some(stat(&self.at_its_time(clocks, path, text()?), state(task, task.id == reader))),
            "personality" => Some(format!("{:08x}\n", task.natively.persona)),
            _ => None,
        }
    }
}

impl Poller {
    /// Whether a descriptor is of a file in /proc that is ours to look at: what it tells may have to be changed, or what is
    /// written there changes a process's memory.
    pub(in crate::record) fn is_recorders(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        id: TaskId,
        fd: u64,
    ) -> bool {
        let tid = tasks[id].tid;
        self.is_of_proc(tasks, id, fd)
            && (fds::is_memory(tid, fd)
                || self.tells(tasks, id, fd).is_some()
                || options.has_times(tid, fd as i32))
    }

    /// The path of a descriptor's file, if that is one that tells of how a process is run.
    pub(super) fn tells(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> Option<PathBuf> {
        if !self.is_of_proc(tasks, id, fd) {
            return None;
        }
        let path = std::fs::read_link(format!("/proc/{}/fd/{}", tasks[id].tid, fd as i32)).ok()?;
        path.file_name().is_some_and(|name| FILES.iter().any(|file| name == *file)).then_some(path)
    }
}

/// The state of a task as the kernel names it, if it is ours that says otherwise: who reads runs.
fn state(task: &Task, reads: bool) -> Option<(char, &'static str)> {
    match task.hold() {
        Hold::Suspended(..) => None,
        hold if reads || hold.runnable() => Some(('R', "running")),
        _ => Some(('S', "sleeping")),
    }
}

/// `/proc/PID/status` without us.
fn status(text: &str, task: &Task, reads: bool) -> String {
    let state = state(task, reads);
    let mut status = String::with_capacity(text.len());
    for line in text.lines() {
        let name = line.split_once(':').map_or(line, |(name, _)| name);
        let ours = OURS.filters.iter().find(|(filter, _)| filter == name);
        let value = match (name, ours, state) {
            ("State", _, Some((letter, word))) => format!("{letter} ({word})"),
            ("TracerPid", ..) => "0".to_owned(),
            ("NoNewPrivs", ..) => u8::from(task.natively.no_new_privileges).to_string(),
            ("Cpus_allowed", ..) => format!("{:x}", task.affinity),
            ("Cpus_allowed_list", ..) => list(task.affinity),
            (_, Some((_, value)), _) => value.clone(),
            _ => {
                // A string takes whatever is written to it.
                let _written = writeln!(status, "{line}");
                continue;
            }
        };
        let _written = writeln!(status, "{name}:\t{value}");
    }
    status
}

/// `/proc/PID/stat` with this state, the first field behind the name, which is in parentheses.
fn stat(text: &str, state: Option<(char, &str)>) -> String {
    match (text.rsplit_once(") "), state) {
        (Some((name, rest)), Some((letter, _))) => {
            format!("{name}) {letter}{}", rest.get(1..).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

/// The bits of a set as the kernel lists them: `0-2,5`.
fn list(set: u64) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for bit in (0..u64::BITS).filter(|bit| set >> bit & 1 == 1) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == bit => *last = bit,
            _ => ranges.push((bit, bit)),
        }
    }
    let range = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_listed_as_the_kernel_lists_them() {
        assert_eq!(list(0b1111), "0-3");
        assert_eq!(list(0b100_0110), "1-2,6");
        assert_eq!(list(0), "");
        assert_eq!(list(u64::MAX), "0-63");
    }

    #[test]
    fn the_state_follows_the_name_whatever_that_is() {
        let text = "7 (a) t) t 1 7 7\n";
        assert_eq!(stat(text, Some(('R', "running"))), "7 (a) t) R 1 7 7\n");
        assert_eq!(stat(text, None), text);
    }
}
