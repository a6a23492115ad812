//! Ctrl-C: the first one asks for an orderly end, the second one ends at once.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::exit::{CliError, Status};
use super::{proc, terminal};

/// Within this time a second Ctrl-C is meant for us, if the first was the recorded program's.
const TWICE: Duration = Duration::from_secs(1);

/// What Ctrl-C and others have asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    /// Give up what is running: set by Ctrl-C, by a failure that ends a campaign, or by its deadline.
    pub(crate) stop: Arc<AtomicBool>,
    /// Whether it was Ctrl-C (or a termination signal).
    pub(crate) by_user: Arc<AtomicBool>,
}

impl Interrupt {
    /// Watch for Ctrl-C from now on. To be called once.
    pub(crate) fn install() -> Result<Self, CliError> {
        let interrupt = Self::default();
        let handler = interrupt.clone();
        ctrlc::set_handler(move || handler.ask())
            .map_err(|error| CliError::new(Status::Recorder, format!("cannot watch for Ctrl-C: {error}")))?;
        Ok(interrupt)
    }

    /// Watch for it beside a recorded program that the terminal sends its signals to as well: they are its business,
    /// as under strace(1), unless they come twice in a moment. To be called once, before there are other threads.
    pub(crate) fn install_beside_program() -> Result<Self, CliError> {
        let failed = |error: io::Error| CliError::os("cannot watch for Ctrl-C", &error);
        let ignored = proc::ignored_signals().map_err(failed)?;
        // Blocked, not handled: a handler would be the forked program's too until it is executed.
        let signals: SigSet = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP]
            .into_iter()
            .filter(|signal| ignored & (1 << (*signal as i32 - 1)) == 0)
            .collect();
        signals.thread_block().map_err(|errno| failed(errno.into()))?;
        let interrupt = Self::default();
        let watcher = interrupt.clone();
        thread::Builder::new().spawn(move || watcher.watch(&signals)).map_err(failed)?;
        Ok(interrupt)
    }

    fn watch(&self, signals: &SigSet) {
        let mut last: Option<Instant> = None;
        // It cannot fail: the set is valid.
        while let Ok(signal) = signals.wait() {
            let keys = matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
            let again = last.replace(Instant::now()).is_some_and(|last| last.elapsed() < TWICE);
            if !keys || again {
                self.ask();
            }
        }
    }

    /// The user asks for an end.
    fn ask(&self) {
        self.stop.store(true, Ordering::SeqCst);
        if self.by_user.swap(true, Ordering::SeqCst) {
            // A progress bar may stand in the line.
            terminal::show_control_keys();
            if io::stderr().is_terminal() {
                let _cleared = io::stderr().write_all(b"\r\x1b[K");
            }
            // Recorded processes are bound to their recorder: they end with us.
            std::process::exit(Status::Interrupted as i32);
        }
    }

    /// Whether the user asked for an end.
    pub(crate) fn by_user(&self) -> bool {
        self.by_user.load(Ordering::SeqCst)
    }
}

/// Leaves Ctrl-C to a program that has been started and that the terminal sends it to as well.
pub(crate) fn leave_ctrl_c_to_child() {
    extern "C" fn nothing(_: i32) {}
    let handler = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    let _set = unsafe { sigaction(Signal::SIGINT, &handler) };
}

/// Let writes beyond the file size limit (`ulimit -f`) fail, instead of ending us without a word. Programs that we start see
/// nothing of it: their signal has its default action again (execve(2)).
pub(crate) fn survive_file_size_limit() {
    extern "C" fn nothing(_: i32) {}
    let ignored = proc::ignored_signals().unwrap_or(0) & (1 << (Signal::SIGXFSZ as i32 - 1)) != 0;
    let handler = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    if !ignored {
        // SAFETY: the handler does nothing.
        let _set = unsafe { sigaction(Signal::SIGXFSZ, &handler) };
    }
}
