//! A process among others: its parent, group, session and terminal (proc_pid_stat(5)).

use nix::unistd::Pid;

/// Where a process belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Belonging {
    /// Its parent.
    pub parent: Pid,
    /// Its process group.
    pub group: Pid,
    /// Its controlling terminal, as stat(2) numbers devices; 0 for none.
    pub terminal: u64,
    /// The process group in the terminal's foreground.
    pub foreground: Pid,
}

/// Returns where a process belongs; none if it is gone.
#[must_use]
pub fn belonging(pid: Pid) -> Option<Belonging> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Belonging> {
    // The name, in parentheses, may contain anything: state, parent, group, session, terminal, and the terminal's
    // foreground group follow the last parenthesis.
    let mut numbers = stat.rsplit_once(')')?.1.split_whitespace().skip(1).map(str::parse::<i32>);
    let mut next = || numbers.next()?.ok();
    let [parent, group, _session, terminal, foreground] = [next()?, next()?, next()?, next()?, next()?];
    let [parent, group, foreground] = [parent, group, foreground].map(Pid::from_raw);
    Some(Belonging { parent, group, terminal: device(terminal.cast_unsigned()), foreground })
}

/// Converts a device number from the kernel's encoding (linux/kdev_t.h, `new_encode_dev`) to stat(2)'s.
fn device(number: u32) -> u64 {
    libc::makedev(number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_parent_and_a_group() {
        let own = belonging(Pid::this()).unwrap();
        assert_eq!((own.parent, own.group), (Pid::parent(), nix::unistd::getpgrp()));
        assert_eq!(belonging(Pid::from_raw(i32::MAX)), None);
    }

    #[test]
    fn names_may_contain_anything() {
        let stat = "12 (a) R 1 (b) S 7 8 9 34818 10 4194560 1 0\n";
        let [parent, group, foreground] = [7, 8, 10].map(Pid::from_raw);
        let terminal = libc::makedev(136, 2);
        assert_eq!(parse(stat), Some(Belonging { parent, group, terminal, foreground }));
        assert_eq!(parse("12 (a) S 7 8 9 0 -1 1\n").map(|it| it.terminal), Some(0));
        assert_eq!((parse("12 (a) S 7"), parse("")), (None, None));
    }
}
