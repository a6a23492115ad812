//! What a task is shown of itself in files of /proc (proc_pid_status(5), proc_pid_stat(5)): as if nobody recorded it.

use std::fmt::Write as _;

use super::natively::Natively;
use super::tasks::{Hold, Task};

/// The files of `/proc/PID` that are shown otherwise than they are. The buffer (`is_recorders` of its `record.rs`) leaves them to us.
pub(in crate::record) const FILES: [&str; 3] = ["status", "stat", "personality"];

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

/// The state of a task as the kernel names it, if it is ours that says otherwise: who reads runs.
pub(in crate::record) fn state(task: &Task, reads: bool) -> Option<(char, &'static str)> {
    match task.hold() {
        Hold::Suspended(..) => None,
        hold if reads || hold.runnable() => Some(('R', "running")),
        _ => Some(('S', "sleeping")),
    }
}

/// `/proc/PID/status` without us.
pub(in crate::record) fn status(text: &str, task: &Task, reads: bool) -> String {
    let state = state(task, reads);
    let mut status = String::with_capacity(text.len());
    for line in text.lines() {
        let name = line.split_once(':').map_or(line, |(name, _)| name);
        let ours = Natively::filters().iter().find(|(filter, _)| filter == name);
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
pub(in crate::record) fn stat(text: &str, state: Option<(char, &str)>) -> String {
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
