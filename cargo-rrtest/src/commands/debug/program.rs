//! The debugger that is started: finding it, and starting it on a trace.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};

use super::scene::Scene;
use super::{gdb, lldb};
use crate::base::exit::{CliError, Status};
use crate::commands::options::traces::Debug;

/// A debugger that is installed.
pub(super) enum Program {
    /// gdb, or what starts it.
    Gdb(PathBuf),
    Lldb(PathBuf),
}

/// One that runs.
pub(super) struct Running(Child);

/// Finds the debugger: the one that was asked for, or gdb with the printers of Rust's types.
pub(super) fn find(options: &Debug) -> Result<Program, CliError> {
    if let Some(program) = &options.gdb {
        return Ok(Program::Gdb(program.clone()));
    }
    if let Some(program) = &options.lldb {
        return Ok(Program::Lldb(program.clone()));
    }
    match (in_path("rust-gdb"), in_path("gdb")) {
        // rust-gdb starts gdb.
        (Some(_), Some(_)) => Ok(Program::Gdb("rust-gdb".into())),
        (None, Some(gdb)) => Ok(Program::Gdb(gdb)),
        (_, None) => Err(CliError::usage(
            "there is no gdb in PATH\n  install it (`apt install gdb`, `dnf install gdb`, `pacman -S gdb`), name one by \
             --gdb, take lldb by --lldb, or serve a debugger on another machine by --server; `cargo rrtest backtrace` \
             needs none",
        )),
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|directory| directory.join(name)).find(|path| path.is_file())
}

impl Program {
    /// Starts it, with a script in a directory of its own, and with arguments.
    pub(super) fn start(
        &self,
        directory: &Path,
        scene: &Scene<'_>,
        arguments: &[OsString],
    ) -> Result<Running, CliError> {
        let path = directory.join("commands");
        let (program, script, options) = match self {
            Self::Gdb(program) => (program, gdb::script(scene), ["-q", "-x"].as_slice()),
            Self::Lldb(program) => {
                // It has no command that says something.
                anstream::eprint!("{}", scene.banner.text_with(lldb::TRIES));
                (program, lldb::script(scene), ["--source"].as_slice())
            }
        };
        let written = fs::write(&path, script);
        written.map_err(|error| CliError::os(format!("cannot write `{}`", path.display()), &error))?;
        // What the user gives comes last, when all is set up.
        let child = Command::new(program).args(options).arg(&path).args(arguments).spawn();
        child.map(Running).map_err(|error| {
            CliError::new(Status::Usage, format!("cannot start `{}`: {error}", program.display()))
        })
    }
}

impl Running {
    /// Whether it has not ended yet.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits for its end, and returns how it has ended.
    pub(super) fn wait(mut self) -> Result<ExitCode, CliError> {
        let status = self.0.wait().map_err(|error| CliError::os("cannot wait for the debugger", &error))?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(Status::Recorder.into(), ExitCode::from))
    }
}
