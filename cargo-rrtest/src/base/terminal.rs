//! What all that we print has in common: colours, and the streams that it goes to.

use std::env;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use clap::ColorChoice;

use super::exit::CliError;

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

/// Print on standard output. That nobody listens is no failure.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    match anstream::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::os("cannot write to standard output", &error))
        }
        _ => Ok(()),
    }
}

/// Say why a command ends early.
pub(crate) fn error(message: &str) {
    // Nothing can be done if standard error is closed.
    let _written = writeln!(anstream::stderr(), "{BAD}error{BAD:#}{BOLD}:{BOLD:#} {message}");
}
