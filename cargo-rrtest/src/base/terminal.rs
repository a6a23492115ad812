//! What all that we print has in common: colours, and the streams that it goes to.

use std::env;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use anstyle::{AnsiColor, Style};
use clap::ColorChoice;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

use super::exit::CliError;
use super::words::visible;

/// As it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// A failure, or an error.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// A warning.
pub(crate) const CAUTION: Style = AnsiColor::Yellow.on_default().bold();
/// What matters in a line.
pub(crate) const BOLD: Style = Style::new().bold();
/// What matters less.
pub(crate) const DIM: Style = Style::new().dimmed();

/// `--color`, else `CARGO_TERM_COLOR`, decide for all that we print; else the terminal and `NO_COLOR` do.
pub(crate) fn choose_colors(option: Option<ColorChoice>) {
    let term_color = env::var("CARGO_TERM_COLOR").unwrap_or_default();
    let choice = match (option, term_color.as_str()) {
        (Some(ColorChoice::Always), _) | (None, "always") => anstream::ColorChoice::Always,
        (Some(ColorChoice::Never), _) | (None, "never") => anstream::ColorChoice::Never,
        _ => anstream::ColorChoice::Auto,
    };
    choice.write_global();
}

/// Whether what goes to standard error is coloured.
pub(crate) fn stderr_has_colors() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// The terminal's modes before keys were hidden.
static MODES: Mutex<Option<Termios>> = Mutex::new(None);

/// Let the terminal not show Ctrl-C as `^C`: behind a progress bar that begins a new line, and nobody knows any more where the bar is.
pub(crate) fn hide_control_keys() {
    let stderr = io::stderr();
    // Whoever is not in the foreground would be stopped for touching the terminal (SIGTTOU).
    if tcgetpgrp(&stderr) != Ok(getpgrp()) {
        return;
    }
    let Ok(modes) = tcgetattr(&stderr) else { return };
    let mut hiding = modes.clone();
    hiding.local_flags.remove(LocalFlags::ECHOCTL);
    if tcsetattr(&stderr, SetArg::TCSANOW, &hiding).is_ok() {
        MODES.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(modes);
    }
}

/// Let it show them again, if it did before.
pub(crate) fn show_control_keys() {
    let modes = MODES.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(modes) = modes.filter(|_| tcgetpgrp(io::stderr()) == Ok(getpgrp())) {
        // A terminal that is gone shows nothing.
        let _set = tcsetattr(io::stderr(), SetArg::TCSANOW, &modes);
    }
}

/// The width of the terminal that standard error is.
pub(crate) fn width() -> usize {
    /// Where it is not known.
    const USUAL: usize = 80;
    terminal_size::terminal_size_of(io::stderr())
        .map_or(USUAL, |(terminal_size::Width(width), _)| width.into())
}

/// Print on standard output. That nobody listens is no failure.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    printed(anstream::stdout().lock().write_all(text.as_bytes())).map(drop)
}

/// What came of writing to standard output: whether somebody listens. That nobody does is no failure.
pub(crate) fn printed(written: io::Result<()>) -> Result<bool, CliError> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::os("cannot write to standard output", &error)),
    }
}

/// Say why a command ends early. Nothing of the message does anything to a terminal: it may quote a trace, which may come from
/// anywhere.
pub(crate) fn error(message: &str) {
    let message = visible(message);
    // Nothing can be done if standard error is closed.
    let _written = writeln!(anstream::stderr(), "{BAD}error{BAD:#}{BOLD}:{BOLD:#} {message}");
}
/// A fact, and what it is. Nothing of it does anything to a terminal: it may come from anywhere.
pub(crate) fn fact_line(key: &str, value: &str) -> String {
    let (key, value) = (visible(key), visible(value));
    format!("{BOLD}{key:>12}{BOLD:#} {}\n", value.replace('\n', "\n             "))
}
