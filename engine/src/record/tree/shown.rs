//! What a task is shown of itself in files of /proc (proc_pid_status(5), proc_pid_stat(5)): as if it were not recorded.

use std::fmt::Write as _;

use super::natively::Natively;
use super::task::{Hold, Task};

/// Files of `/proc/PID` whose contents are changed. The buffer (`is_recorders` in its `record.rs`) leaves them to the
/// recorder.
pub(in crate::record) const FILES: [&str; 3] = ["status", "stat", "personality"];

/// The result of reading a file.
#[derive(Debug)]
pub(in crate::record) struct Shown {
    pub(in crate::record) bytes: Vec<u8>,
    /// Offset for the next read(2); `None` for pread(2), which does not move it.
    pub(in crate::record) next: Option<u64>,
}

impl Shown {
    /// Returns what reading `len` bytes at offset `at` gives of a text. `moves` says whether this moves the offset.
    pub(in crate::record) fn part(text: &[u8], at: u64, len: u64, moves: bool) -> Self {
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
        let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)).min(text.len());
        Self { bytes: text[start..end].to_vec(), next: moves.then_some(end as u64) }
    }
}

/// Returns the state of a task as the kernel names it, if recording changes it. The task that reads it is running.
pub(in crate::record) fn state(task: &Task, reads: bool) -> Option<(char, &'static str)> {
    match task.hold() {
        Hold::Suspended(..) => None,
        hold if reads || hold.runnable() => Some(('R', "running")),
        _ => Some(('S', "sleeping")),
    }
}

/// Removes the traces of recording from `/proc/PID/status`.
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
                // Writing to a string cannot fail.
                let _written = writeln!(status, "{line}");
                continue;
            }
        };
        let _written = writeln!(status, "{name}:\t{value}");
    }
    status
}

/// Replaces the state in `/proc/PID/stat`, the first field after the name, which is in parentheses.
pub(in crate::record) fn stat(text: &str, state: Option<(char, &str)>) -> String {
    match (text.rsplit_once(") "), state) {
        (Some((name, rest)), Some((letter, _))) => {
            format!("{name}) {letter}{}", rest.get(1..).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

/// Formats the bits of a set as the kernel lists them: `0-2,5`.
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
