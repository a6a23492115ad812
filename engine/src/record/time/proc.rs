//! Times in `/proc`, where the program's clocks differ from the machine's: how long the machine has been up
//! (proc_uptime(5)), when it was booted (proc_stat(5)), and when a process was started, counted from boot
//! (proc_pid_stat(5)).
//!
//! These are texts, which the kernel makes as they are read. The recorder reads them in the program's place, rewrites
//! the times, and returns the part that the program asks for. A reader that continues after the start of a text gets
//! the rest of the same text.

use std::collections::HashMap;
use std::ffi::OsStr;

use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use super::clocks::{Clocks, SECOND, nanoseconds};
use super::told::CLOCK_TICK;
use crate::record::kernel::fds;
use crate::record::options::Options;
use crate::record::poller::Poller;
use crate::record::tree::call::Call;
use crate::record::tree::shown::{FILES, Shown, stat, state, status};
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::tracee::Fd;

/// State of these texts.
#[derive(Debug, Default)]
pub(in crate::record) struct ProcTimes {
    /// How many ns the program's clocks differed when a task was created, for those created after a fast-forward.
    born: HashMap<i32, i64>,
    /// Texts that a process has begun to read from a descriptor.
    texts: HashMap<(Pid, i32), Vec<u8>>,
}

/// A text with times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Uptime,
    /// The machine's statistics.
    Machine,
    /// The text of this process or thread.
    Stat(i32),
}

impl Text {
    /// Returns the kind of text at a path; `None` if it has no times.
    fn at(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/proc/")?;
        if rest == "uptime" {
            return Some(Self::Uptime);
        }
        if rest == "stat" {
            return Some(Self::Machine);
        }
        let process = rest.strip_suffix("/stat")?;
        // PID, or PID/task/TID.
        let thread = process.split_once("/task/").map_or(process, |(_, thread)| thread);
        thread.parse().ok().map(Self::Stat)
    }
}

impl ProcTimes {
    /// Notes a new task.
    pub(in crate::record) fn note_birth(&mut self, clocks: &Clocks, tid: Pid) {
        if clocks.ahead() != 0 {
            self.born.insert(tid.as_raw(), clocks.differs(libc::CLOCK_BOOTTIME));
        }
    }

    /// Rewrites the times in the text of a path, if it has any.
    pub(in crate::record) fn at_its_time(&self, clocks: &Clocks, path: &Path, text: String) -> String {
        let known = path.to_str().and_then(Text::at).filter(|_| clocks.differ());
        match known.map(|known| self.with_times(clocks, known, text.as_bytes())) {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => text,
        }
    }

    /// Returns what to show to a call that reads a text with times; `None` if it reads none.
    pub(in crate::record) fn read_times(
        &mut self,
        tasks: &Tasks,
        clocks: &Clocks,
        id: TaskId,
        call: &Call,
    ) -> Option<Shown> {
        let reads = matches!(call.number() as i64, libc::SYS_read | libc::SYS_pread64);
        if !clocks.differ() || !reads {
            return None;
        }
        let [fd, _, count, at, ..] = call.args();
        let (pid, tid, fd) = (tasks[id].pid, tasks[id].tid, fd as i32);
        let (path, text) = text_of(tid, fd)?;
        let moves = call.number() == libc::SYS_read as u64;
        let offset = if moves { fds::offset(tid, fd as u64) } else { at };
        let known = self.texts.remove(&(pid, fd)).filter(|_| offset > 0);
        let bytes = match known {
            Some(bytes) => bytes,
            // If the file cannot be read, the kernel reports why.
            None => self.with_times(clocks, text, &std::fs::read(&path).ok()?),
        };
        let shown = Shown::part(&bytes, offset, count, moves);
        self.texts.insert((pid, fd), bytes);
        Some(shown)
    }

    fn with_times(&self, clocks: &Clocks, text: Text, bytes: &[u8]) -> Vec<u8> {
        let told = std::str::from_utf8(bytes).ok().and_then(|told| match text {
            Text::Uptime => uptime(told, nanoseconds(&clocks.read(libc::CLOCK_BOOTTIME).ok()?)?),
            Text::Machine => booted(told, clocks.shift().wall - clocks.shift().up),
            Text::Stat(task) => started(told, self.born.get(&task).copied().unwrap_or(clocks.shift().up)),
        });
        told.map_or_else(|| bytes.to_vec(), String::into_bytes)
    }

    /// Returns what a read(2) or pread(2) of a file in /proc about a recorded task would have shown natively; `None`
    /// for any other call and file.
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

    /// Returns what the file of /proc at this path would show a task natively; `None` if it shows that anyway.
    pub(in crate::record) fn text_of(
        &self,
        tasks: &Tasks,
        clocks: &Clocks,
        reader: TaskId,
        path: &Path,
    ) -> Option<String> {
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

impl Options<'_> {
    /// Whether a descriptor refers to a text with times of the machine's clocks.
    pub(in crate::record) fn has_times(&self, clocks: &Clocks, tid: Pid, fd: i32) -> bool {
        clocks.may_differ(self) && text_of(tid, fd).is_some()
    }
}

/// Returns path and kind of the text to which a descriptor refers.
fn text_of(tid: Pid, fd: i32) -> Option<(String, Text)> {
    let path = Fd::of(tid, fd).link().ok()?.into_os_string().into_string().ok()?;
    Text::at(&path).map(|text| (path, text))
}

/// Puts ns into `SECONDS.HUNDREDTHS IDLE`.
fn uptime(text: &str, ns: u64) -> Option<String> {
    let (_, rest) = text.split_once(' ')?;
    let hundredths = ns / (SECOND / 100);
    Some(format!("{}.{:02} {rest}", hundredths / 100, hundredths % 100))
}

/// Adds ns to the start time in `PID (NAME) STATE …`, the 22nd field.
fn started(text: &str, ns: i64) -> Option<String> {
    /// Its index after the name.
    const FIELD: usize = 22 - 3;
    let (name, rest) = text.rsplit_once(") ")?;
    let mut fields: Vec<_> = rest.split(' ').map(str::to_owned).collect();
    let start = fields.get_mut(FIELD)?;
    // What was started before the boot that the program is told of has been there from the beginning.
    *start = start.parse::<u64>().ok()?.saturating_add_signed(ns / CLOCK_TICK.cast_signed()).to_string();
    Some(format!("{name}) {}", fields.join(" ")))
}

/// Adds ns to the time of boot in seconds, in the line `btime SECONDS`.
fn booted(text: &str, ns: i64) -> Option<String> {
    let (before, rest) = text.split_once("\nbtime ")?;
    let (seconds, behind) = rest.split_once('\n')?;
    let seconds = seconds.parse::<u64>().ok()?.saturating_add_signed(ns.div_euclid(SECOND.cast_signed()));
    Some(format!("{before}\nbtime {seconds}\n{behind}"))
}

impl Poller {
    /// Whether the recorder must handle calls on a descriptor of a file that the kernel makes: what is read may have to
    /// be changed, or what is written changes a process's memory.
    pub(in crate::record) fn is_recorders(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        clocks: &Clocks,
        id: TaskId,
        fd: u64,
    ) -> bool {
        let tid = tasks[id].tid;
        let of_proc = self.is_of_proc(tasks, id, fd)
            && (fds::is_memory(tid, fd)
                || self.tells(tasks, id, fd).is_some()
                || options.has_times(clocks, tid, fd as i32));
        of_proc || self.quota(tasks, id, fd).is_some()
    }

    /// Returns the path of a descriptor's file, if that is one that shows how a process is run.
    pub(in crate::record) fn tells(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> Option<PathBuf> {
        if !self.is_of_proc(tasks, id, fd) {
            return None;
        }
        let path = Fd::argument(tasks[id].tid, fd).link().ok()?;
        path.file_name().is_some_and(|name| FILES.iter().any(|file| name == *file)).then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_times_are_known_by_their_paths() {
        assert_eq!(Text::at("/proc/uptime"), Some(Text::Uptime));
        assert_eq!(Text::at("/proc/12/stat"), Some(Text::Stat(12)));
        assert_eq!(Text::at("/proc/12/task/13/stat"), Some(Text::Stat(13)));
        assert_eq!(Text::at("/proc/stat"), Some(Text::Machine));
        for other in ["/proc/12/status", "/proc/12/net/stat", "/etc/uptime", "uptime"] {
            assert_eq!(Text::at(other), None, "{other}");
        }
    }

    #[test]
    fn times_are_written_anew() {
        assert_eq!(uptime("99.95 7.00\n", 3_700_029_999_999).as_deref(), Some("3700.02 7.00\n"));
        let fields: Vec<_> = (3..=52).map(|field| field.to_string()).collect();
        let text = format!("7 (a ) b) {}\n", fields.join(" "));
        let [later, earlier] = [5_000_000_000, -5_000_000_000].map(|ns| started(&text, ns).expect("a text"));
        assert_eq!(later, text.replace(" 22 ", " 522 "));
        assert_eq!(earlier, text.replace(" 22 ", " 0 "));
        assert_eq!(started("7 (a) R 1", 1), None);
        let machine = |seconds: u64| format!("cpu 1 2\nbtime {seconds}\nprocesses 3\n");
        assert_eq!(booted(&machine(1000), -1).as_deref(), Some(&machine(999)[..]));
        assert_eq!(booted("cpu 1 2\n", 1), None);
    }
}
