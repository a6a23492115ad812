//! What `/proc` says of processes.

use std::fs;
use std::io;

use nix::unistd::Pid;

/// What proc_pid_stat(5) says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Its process group.
    pub(crate) group: Pid,
    /// Whether it lives. One thread may be dead and others not.
    pub(crate) lives: bool,
}

impl Stat {
    /// Reads the text of `/proc/PID/stat`.
    fn parse(text: &str) -> Option<Self> {
        // The name, in parentheses, may contain anything; state, parent and group follow it, and the number of threads as the
        // eighteenth.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let [state, _, group, ..] = fields[..] else { return None };
        let threads = fields.get(17).and_then(|threads| threads.parse().ok()).unwrap_or(1);
        Some(Self {
            group: Pid::from_raw(group.parse().ok()?),
            lives: !matches!(state, "Z" | "X") || threads > 1,
        })
    }
}

/// What is said of this process; none if it is no more.
pub(crate) fn stat(process: Pid) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Whom the threads of a process have started (proc_tid_children(5)); nobody where the kernel does not tell.
pub(crate) fn children(process: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .map(Pid::from_raw)
        .collect()
}

/// The signals that whoever started us had ignored (nohup(1), `&` of a shell), the lowest bit for signal 1: `SigIgn` in
/// proc_pid_status(5).
pub(crate) fn ignored_signals() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .ok_or_else(|| io::Error::other("/proc/self/status does not say which signals are ignored"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_by_their_state_and_threads() {
        let stat = |state: &str, threads: u32| {
            Stat::parse(&format!("7 (a) (b) {state} 1 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 99"))
        };
        let of_five = |lives| Some(Stat { group: Pid::from_raw(5), lives });
        assert_eq!((stat("R", 1), stat("Z", 2)), (of_five(true), of_five(true)));
        assert_eq!((stat("Z", 1), stat("X", 1)), (of_five(false), of_five(false)));
        assert_eq!(Stat::parse(""), None);
    }
}
