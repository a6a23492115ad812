//! A terminal for a command that wants one: the other end of a pseudo-terminal (pty(7)).

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::pty::openpty;
use nix::unistd::setsid;

/// What a program does not show within this time it never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// The Ctrl-C key.
pub const CTRL_C: &str = "\x03";

/// A command in a session of its own, with a terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keys: File,
    /// Says what appears, and hangs up when nobody is left to write.
    screen: Receiver<Vec<u8>>,
    /// What has appeared since the text that was expected last.
    seen: String,
}

impl Terminal {
    /// Start a command.
    ///
    /// # Panics
    /// If there is no terminal, or it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let ends = openpty(None, None).expect("a pseudo-terminal");
        let end = || ends.slave.try_clone().expect("a descriptor");
        command.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: all three calls are async-signal-safe, and nothing else is done between fork and exec.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                // Shells have the commands that they start in the background ignore it, and so would ours.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        // The command holds copies of the terminal's end: with them the screen would never end.
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let keys = File::from(ends.master);
        let mut master = keys.try_clone().expect("a descriptor");
        let (sender, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // With nobody left at the other end, reading fails (EIO).
            while let Ok(count @ 1..) = master.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, screen, seen: String::new() }
    }

    /// Wait until this text appears. What was before it is forgotten.
    ///
    /// # Panics
    /// If it does not.
    pub fn expect(&mut self, text: &str) {
        assert!(self.shows(text), "`{text}` does not appear: {}", self.seen);
    }

    /// Whether this text appears before the command ends. What was before it is forgotten.
    ///
    /// # Panics
    /// If neither comes.
    pub fn shows(&mut self, text: &str) -> bool {
        loop {
            if let Some((_, rest)) = self.seen.split_once(text) {
                self.seen = rest.to_owned();
                return true;
            }
            if !self.more() {
                return false;
            }
        }
    }

    /// Whether more has appeared; if not, the command has ended.
    fn more(&mut self) -> bool {
        match self.screen.recv_timeout(PATIENCE) {
            Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
            Err(mpsc::RecvTimeoutError::Disconnected) => return false,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs: {}", self.seen),
        }
        true
    }

    /// Type.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn send(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("a terminal");
    }

    /// Wait for the command's end; its status, and what has appeared since the text that was expected last.
    ///
    /// # Panics
    /// If it does not end.
    #[must_use]
    pub fn end(mut self) -> (ExitStatus, String) {
        while self.more() {}
        (self.child.wait().expect("a child"), self.seen)
    }
}
