//! The call in which a task sleeps (proc_pid_syscall(5)).

use nix::unistd::Pid;

/// Returns the system call in which a task sleeps, with its arguments; none if it runs.
#[must_use]
pub fn call_in_progress(tid: Pid) -> Option<(i64, [u64; 6])> {
    parse(&std::fs::read_to_string(format!("/proc/{tid}/syscall")).ok()?)
}

fn parse(text: &str) -> Option<(i64, [u64; 6])> {
    let mut fields = text.split_whitespace();
    let number = fields.next()?.parse().ok()?;
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = u64::from_str_radix(fields.next()?.trim_start_matches("0x"), 16).ok()?;
    }
    Some((number, args))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_in_progress_is_read() {
        let read = "0 0x3 0x7ffe18 0x400 0x0 0x0 0x7fff 0x7ffe08 0x7f12\n";
        assert_eq!(parse(read), Some((libc::SYS_read, [3, 0x7f_fe18, 0x400, 0, 0, 0x7fff])));
        for none in ["running\n", "-1 0x7ffe08 0x7f12\n", ""] {
            assert_eq!(parse(none), None, "{none:?}");
        }
    }
}
