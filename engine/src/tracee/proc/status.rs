//! Reads a task's state and the like from `/proc`.

use std::time::Duration;

use nix::unistd::Pid;

use crate::Error;
use crate::tracee::system::on_task;

/// A task's state as the kernel reports it (`/proc/PID/stat`, proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// On a core or waiting for one.
    Runnable,
    /// Asleep, perhaps forever.
    Sleeping,
    /// In a short wait, for instance for the disk.
    DiskSleep,
    /// In a ptrace stop.
    Stopped,
    /// Dead or dying.
    Dead,
}

/// Whether reading `/proc` failed because the task does not exist, rather than for instance for lack of descriptors.
fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// Returns a task's state. A task that does not exist is dead; one whose state cannot be read counts as running.
#[must_use]
pub fn state(tid: Pid) -> State {
    let stat = match std::fs::read(format!("/proc/{tid}/stat")) {
        Ok(stat) => stat,
        Err(error) if is_gone(&error) => return State::Dead,
        Err(_) => return State::Runnable,
    };
    // The name, in parentheses, may contain anything: the state follows the last parenthesis.
    let letter = stat.iter().rposition(|&b| b == b')').and_then(|at| stat.get(at + 2));
    match letter {
        Some(b'R') => State::Runnable,
        Some(b'S') => State::Sleeping,
        Some(b't' | b'T') => State::Stopped,
        Some(b'D') => State::DiskSleep,
        _ => State::Dead,
    }
}

/// Whether a task is asleep, rather than about to be: a task says that it sleeps before it looks for the last time
/// whether it has to, and can lose its core in between. If that is so, this waits until it is decided:
/// `/proc/TID/syscall` does (proc_pid_syscall(5); `task_current_syscall()` in the kernel's `lib/syscall.c`).
#[must_use]
pub fn is_asleep(tid: Pid) -> bool {
    let call = || std::fs::read(format!("/proc/{tid}/syscall"));
    // Where that cannot be read, the state is all there is to go by.
    state(tid) == State::Sleeping && call().map_or(true, |call| call != b"running\n")
}

/// Whether a task is dead or dying of SIGKILL (`/proc/PID/status`).
#[must_use]
pub fn being_killed(tid: Pid) -> bool {
    let status = match std::fs::read_to_string(format!("/proc/{tid}/status")) {
        Ok(status) => status,
        Err(error) => return is_gone(&error),
    };
    let field = |name: &str| field_of(&status, name).unwrap_or_default();
    let pending = u64::from_str_radix(field("SigPnd:"), 16).unwrap_or(0);
    pending >> (libc::SIGKILL - 1) & 1 == 1 || field("State:").starts_with(['Z', 'X'])
}

/// A field of `/proc/PID/status` (proc_pid_status(5)), by its name with the colon; none if it is not there.
#[must_use]
pub fn status_field(pid: Pid, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field_of(&status, name).map(str::to_owned)
}

fn field_of<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Returns a task's personality(2) (proc_pid_personality(5)).
#[must_use]
pub fn personality(tid: Pid) -> Option<u32> {
    u32::from_str_radix(std::fs::read_to_string(format!("/proc/{tid}/personality")).ok()?.trim(), 16).ok()
}

/// Iterates over the processes that there are, as far as the caller may see.
pub fn processes() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)))
}

/// Returns the size of the descriptor table of a task's process: select(2) ignores larger descriptors.
#[must_use]
pub fn descriptor_room(tid: Pid) -> Option<usize> {
    status_field(tid, "FDSize:")?.parse().ok()
}

/// Returns the processor time of a process (clock_getcpuclockid(3)).
///
/// # Errors
/// If the process is gone.
pub fn cpu_time(pid: Pid) -> Result<Duration, Error> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both calls write to the live locals that they are given.
    let (found, got) = unsafe {
        let found = libc::clock_getcpuclockid(pid.as_raw(), &raw mut clock);
        (found, found == 0 && libc::clock_gettime(clock, &raw mut time) == 0)
    };
    if !got {
        // The first of them returns its error.
        let error = if found == 0 {
            std::io::Error::last_os_error()
        } else {
            std::io::Error::from_raw_os_error(found)
        };
        return Err(on_task(format!("read the processor time of process {pid}"))(error));
    }
    Ok(Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32))
}

/// Returns a task's name.
#[must_use]
pub fn comm(tid: Pid) -> String {
    std::fs::read(format!("/proc/{tid}/comm"))
        .map(|name| String::from_utf8_lossy(&name).trim_end().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let own = Pid::this();
        assert!(processes().any(|pid| pid == own));
        // SAFETY: personality(2) takes no pointer; this value asks only.
        assert_eq!(personality(own), Some(unsafe { libc::personality(0xffff_ffff) }.cast_unsigned()));
        assert_eq!(status_field(own, "Pid:"), Some(own.to_string()));
        assert_eq!(status_field(own, "None:"), None);
        let none = Pid::from_raw(i32::MAX);
        assert_eq!((state(none), personality(none), status_field(none, "Pid:")), (State::Dead, None, None));
        assert!(being_killed(none) && !being_killed(own));
    }

    #[test]
    fn who_waits_for_a_pipe_is_asleep_and_who_computes_is_not() {
        use std::io::{Read, Write};
        use std::sync::mpsc;

        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let (tell, told) = mpsc::channel();
        let waiting = std::thread::spawn(move || {
            tell.send(nix::unistd::gettid()).unwrap();
            reader.read_exact(&mut [0]).unwrap();
        });
        let tid = told.recv().unwrap();
        while !is_asleep(tid) {
            std::thread::yield_now();
        }
        assert!(!is_asleep(nix::unistd::gettid()));
        writer.write_all(&[1]).unwrap();
        waiting.join().unwrap();
        assert!(!is_asleep(tid), "it has ended");
    }
}
