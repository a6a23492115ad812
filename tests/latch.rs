//! FIFOs by which a recorded program says that it has come to some point, or waits until it is told to go on.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use nix::sys::stat::Mode;

use crate::tool::PATIENCE;

/// Listens at the FIFO.
#[derive(Debug)]
pub struct FifoLatch {
    /// Says something for each byte; hangs up with the last writer.
    heard: Receiver<()>,
}

impl FifoLatch {
    /// A latch at `path`, where nothing is.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        nix::unistd::mkfifo(path, Mode::S_IRWXU).expect("a FIFO");
        let path = path.to_owned();
        let (sender, heard) = mpsc::channel();
        thread::spawn(move || {
            // Waits until a program opens it.
            let mut fifo = File::open(path).expect("a FIFO");
            while fifo.read_exact(&mut [0]).is_ok() && sender.send(()).is_ok() {}
        });
        Self { heard }
    }

    /// Wait until a program has written a byte.
    ///
    /// # Panics
    /// If none does.
    pub fn wait(&self) {
        self.heard.recv_timeout(PATIENCE).expect("the recorded program writes to the FIFO");
    }

    /// Wait until no process has the FIFO open for writing, after one had.
    ///
    /// # Panics
    /// If that does not come.
    pub fn wait_for_end(&self) {
        let end = self.heard.recv_timeout(PATIENCE);
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected), "the recorded program is still there");
    }
}

/// A FIFO that whoever reads it comes to the end of once this is dropped.
#[derive(Debug)]
pub struct Untold {
    /// Open for writing, so that readers wait.
    _open: File,
}

impl Untold {
    /// One at `path`, where nothing is.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        nix::unistd::mkfifo(path, Mode::S_IRWXU).expect("a FIFO");
        // For reading, too: open(2) does not wait for another end then (fifo(7)).
        Self { _open: File::options().read(true).write(true).open(path).expect("a FIFO") }
    }
}
