//! The processes of a run: it gets a session of its own (setsid(2)), which they do not leave.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::unistd::{Pid, setsid};

/// A command in a session of its own.
#[derive(Debug)]
pub struct Session {
    /// The command.
    pub child: Child,
    id: Pid,
}

impl Session {
    /// Start a command in a new session.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        // SAFETY: setsid is async-signal-safe, and nothing else is done between fork and exec.
        unsafe {
            command.pre_exec(|| setsid().map(drop).map_err(Into::into));
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let id = Pid::from_raw(child.id().cast_signed());
        Self { child, id }
    }

    /// The command's process.
    #[must_use]
    pub fn id(&self) -> Pid {
        self.id
    }
}

/// The processes of a session that live, each with its command line.
#[must_use]
pub fn living(session: Pid) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let process = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain anything; state, parent, group and session follow it.
        let mut fields = stat[stat.rfind(')')? + 2..].split(' ');
        let (state, of) = (fields.next()?, fields.nth(2)?.parse::<i32>().ok()?);
        if of != session.as_raw() || state == "Z" || state == "X" {
            return None;
        }
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        Some(format!("{pid} {state} {}", String::from_utf8_lossy(&words).replace('\0', " ")))
    };
    pids.filter_map(process).collect()
}
