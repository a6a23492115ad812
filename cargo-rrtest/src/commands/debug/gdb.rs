//! gdb: finding it, and starting it on a trace.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};

use super::banner::Banner;
use crate::base::exit::{CliError, Status};
use crate::commands::cli::Debug;

/// A debugger that is installed.
pub(super) struct Gdb(PathBuf);

/// One that runs.
pub(super) struct Running(Child);

/// Commands of ours, each of which is also one of `monitor`: name, arguments, whether it goes to another moment, help.
const COMMANDS: [(&str, &str, bool, &str); 7] = [
    ("when", "", false, "Tell this moment: event, ticks and instructions since, and the thread that runs."),
    ("seek", " $arg0", true, "Go to a moment, as `when` tells it: seek EVENT[.TICKS[.INSTRUCTIONS]]."),
    ("checkpoint", "", false, "Remember this moment, for `restart NUMBER`."),
    ("restart", " $arg0", true, "Go to a moment that `checkpoint` has remembered: restart NUMBER."),
    ("events", "", false, "List the events of the trace around this moment."),
    ("explanation", "", false, "Tell what the failure needs, as experiments have shown."),
    ("ps", "", false, "List the living processes and threads of the run."),
];

/// Finds the debugger: the one that was asked for, or gdb with the printers of Rust's types.
pub(super) fn find(options: &Debug) -> Result<Gdb, CliError> {
    if let Some(program) = &options.gdb {
        return Ok(Gdb(program.clone()));
    }
    match (in_path("rust-gdb"), in_path("gdb")) {
        // rust-gdb starts gdb.
        (Some(_), Some(_)) => Ok(Gdb("rust-gdb".into())),
        (None, Some(gdb)) => Ok(Gdb(gdb)),
        (_, None) => Err(CliError::usage(
            "there is no gdb in PATH\n  install it (`apt install gdb`, `dnf install gdb`, `pacman -S gdb`), name one by \
             --gdb, or serve one on another machine by --server; `cargo rrtest backtrace` needs none",
        )),
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|directory| directory.join(name)).find(|path| path.is_file())
}

impl Gdb {
    /// Starts it, connected to a socket.
    pub(super) fn start(
        &self,
        directory: &Path,
        (socket, files): (&Path, &Path),
        (banner, frame): (&Banner, Option<(usize, usize)>),
        arguments: &[OsString],
    ) -> Result<Running, CliError> {
        let script = directory.join("commands.gdb");
        let written = fs::write(&script, commands(socket, files, banner, frame));
        written.map_err(|error| CliError::os(format!("cannot write `{}`", script.display()), &error))?;
        // What the user gives comes last, when all is set up.
        let child = Command::new(&self.0).arg("-q").arg("-x").arg(&script).args(arguments).spawn();
        child.map(Running).map_err(|error| {
            CliError::new(Status::Usage, format!("cannot start `{}`: {error}", self.0.display()))
        })
    }
}

/// What gdb is told at its start.
/// `frame` is the number of a thread and of a frame of it.
fn commands(socket: &Path, files: &Path, banner: &Banner, frame: Option<(usize, usize)>) -> String {
    let mut text = String::from(
        "set confirm off\nset pagination off\nset breakpoint pending on\nset print thread-events off\n\
         set remotetimeout 600\n",
    );
    for (name, arguments, moves, help) in COMMANDS {
        let again = format!("disconnect\ntarget remote {}", socket.display());
        let then = if moves { again.as_str() } else { "" };
        text +=
            &format!("define {name}\nmonitor {name}{arguments}\n{then}\nend\ndocument {name}\n{help}\nend\n");
    }
    // What the trace carries comes before what this machine has.
    let files = files.display();
    text += &format!("set sysroot {files}\ndirectory {files}\n");
    text += &format!("target remote {}\n", socket.display());
    for line in banner.text().lines() {
        text += &format!("echo {}\\n\n", escaped(line));
    }
    if let Some((thread, frame)) = frame {
        // gdb begins with the first.
        let thread = if thread > 1 { format!("thread {thread}\n") } else { String::new() };
        text += &format!("{thread}frame {frame}\n");
    }
    text + "set pagination on\n"
}

/// A text as `echo` takes it.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for (at, character) in text.char_indices() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '"' | '\'' => escaped.extend(['\\', character]),
            // Leading blanks are not taken.
            ' ' if text[..at].trim().is_empty() => escaped.push_str("\\ "),
            _ => escaped.push(character),
        }
    }
    escaped
}

impl Running {
    /// Whether it has not ended yet.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits for its end, and returns how it has ended.
    pub(super) fn wait(mut self) -> Result<ExitCode, CliError> {
        let status = self.0.wait().map_err(|error| CliError::os("cannot wait for gdb", &error))?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(Status::Recorder.into(), ExitCode::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_echoed_is_shown_as_it_is() {
        assert_eq!(escaped("  left: \"a\\b\""), "\\ \\ left: \\\"a\\\\b\\\"");
    }
}
