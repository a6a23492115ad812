//! `exec`: record one run of any program.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rrtest_engine::ending::Ending;
use rrtest_engine::program::Program;
use rrtest_engine::record::{Outsiders, Stdin};
use rrtest_engine::trace::event::Stream;

use super::cli::{Exec, MessageFormat};
use super::prune;
use crate::attempt::engine::Real;
use crate::attempt::events::{Attempt, Reporter, RunEvent, Summary};
use crate::attempt::order::Order;
use crate::attempt::record::{Job, Setting};
use crate::attempt::seed::Seed;
use crate::base::cores::cores;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::base::terminal::{self, CAUTION};
use crate::build::instrument::Level;
use crate::build::selection::Selection;
use crate::discover::secrets;
use crate::discover::test::{Rules, Test};
use crate::ending::backtrace::Frames;
use crate::ending::describe;
use crate::ending::outcome::Outcome;
use crate::report::display;
use crate::report::json::Json;
use crate::store::traces::Store;

/// Record the program, and end as it ends: its exit code, 128 and the signal's number, or 101 if it did not end by
/// itself.
pub(crate) fn run(options: &Exec) -> Result<u8, CliError> {
    let interrupt = Interrupt::install_beside_program()?;
    let program = program(options)?;
    let name = program.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let test = Test {
        package: String::new(),
        binary: "exec".to_owned(),
        name: Some(name),
        program,
        harness: false,
        mates: Arc::default(),
        kind: String::new(),
        target: String::new(),
        ignored: false,
        rules: Rules::default(),
        source: Path::new("").into(),
    };
    let store = Store::find(options.recording.trace_dir.as_deref(), &Selection::default())?;
    let strategies = options.strategies();
    let json = options.message_format == MessageFormat::Json;
    let listen = |stream: Stream, bytes: &[u8]| {
        if stream == Stream::Stdout && !json {
            pass_on(io::stdout().as_fd(), bytes, &interrupt.stop)
        } else {
            pass_on(io::stderr().as_fd(), bytes, &interrupt.stop)
        }
    };
    let setting = Setting {
        engine: &Real,
        store: &store,
        keep: options.recording.keep,
        timeout: options.timeout.unwrap_or(Duration::MAX),
        judges: false,
        stdin: Stdin::Inherit,
        // Whoever runs it may be about to connect to it.
        outsiders: Outsiders::MayCome,
        listener: Some(&listen),
        strategies: &strategies,
        time: options.recording.time,
        processor: options.recording.cpu,
        surprises: options.recording.surprises,
        rustc: "",
        known: Mutex::default(),
        kept: Mutex::default(),
        attached: options.recording.attached(test.program.cwd.clone()),
        in_use: None,
        judging: Mutex::default(),
        // What has been recorded until then is worth keeping.
        end: Some(&interrupt.stop),
    };
    let seed = options.recording.seed.unwrap_or_else(|| Seed::arbitrary(&strategies, true));
    let job = Job {
        test: Arc::new(test),
        level: Level::Syscall,
        number: 1,
        seed,
        order: Order::Usual,
        measure: false,
        patience: None,
        until: None,
        watched: false,
    };
    let core = cores()?.first().copied().unwrap_or(0);
    let never = AtomicBool::new(false);
    let attempt = setting.judge(setting.record(job, core, None, &never)?, core, &never);
    tell(&attempt, interrupt.by_user());
    if let Some(warning) = setting.to_attach(&attempt).and_then(|pending| setting.attach(pending)) {
        anstream::eprintln!("{CAUTION}warning{CAUTION:#}: {warning}");
    }
    prune::prune(&store, options.recording.trace_limit, json);
    let status = if interrupt.by_user() { Status::Interrupted as u8 } else { status(&attempt) };
    if json {
        report(attempt, status)?;
    }
    Ok(status)
}

fn program(options: &Exec) -> Result<Program, CliError> {
    let Some((name, args)) = options.program.split_first() else {
        return Err(CliError::usage("no program to record"));
    };
    let cwd =
        env::current_dir().map_err(|error| CliError::os("cannot determine the working directory", &error))?;
    let path = find(name, &cwd, env::var_os("PATH").as_deref())
        .ok_or_else(|| CliError::usage(format!("cannot find the program `{}`", name.display())))?;
    let mut env = env::vars_os().collect();
    let taken = options.recording.secrets().take_out(&mut env);
    if let Some(warning) = secrets::warning(&taken) {
        anstream::eprintln!("{CAUTION}warning{CAUTION:#}: {warning}");
    }
    Ok(Program { path, args: args.to_vec(), env, cwd })
}

/// The executable file that a shell would take. A path stays as it was typed: scripts see it as their `$0`.
fn find(name: &OsStr, cwd: &Path, search: Option<&OsStr>) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if name.as_encoded_bytes().contains(&b'/') {
        return is_program(&cwd.join(name)).then(|| name.into());
    }
    env::split_paths(search?).map(|dir| cwd.join(dir).join(name)).find(is_program)
}

/// Write all of it, as the program's own write(2) would have done. Past `stop`, do not wait for a reader.
pub(super) fn pass_on(to: BorrowedFd<'_>, bytes: &[u8], stop: &AtomicBool) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(to, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            // By the recorder's wake-up timer.
            Err(Errno::EINTR) if !stop.load(Ordering::SeqCst) => {}
            // The program may have made its standard input non-blocking, which often is the same terminal.
            Err(Errno::EAGAIN) if !stop.load(Ordering::SeqCst) => {
                // Whatever came of it, the next write tells.
                let _ready = poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// What the program's own output does not tell.
fn tell(attempt: &Attempt, stopped: bool) {
    let by_itself = |ending: &&Ending| matches!(ending, Ending::Exited(_));
    let ending = attempt.ending.as_ref().filter(|ending| !attempt.outcome.is_ours() && !by_itself(ending));
    if stopped && attempt.message.is_none() {
        terminal::error(match attempt.trace {
            Some(_) => "terminated: the trace holds what was recorded so far",
            None => "terminated",
        });
    } else if let Some(ending) = ending {
        terminal::error(&describe::ending(ending, Frames::Own).join("\n"));
    }
    if let Some(message) = &attempt.message {
        terminal::error(message);
    }
    display::trace(attempt);
}

/// The lines of JSON, as of a run with one test.
fn report(attempt: Attempt, exit_code: u8) -> Result<(), CliError> {
    let mut summary = Summary::of_none(1, false);
    summary.count(&attempt);
    summary.wall = attempt.wall;
    summary.exit_code = exit_code;
    let mut json = Json::new(io::stdout());
    json.report(&RunEvent::Attempt(Box::new(attempt)))?;
    json.report(&RunEvent::Summary(summary))
}

fn status(attempt: &Attempt) -> u8 {
    match (&attempt.outcome, &attempt.ending) {
        (Outcome::Unsupported | Outcome::Error, _) | (_, None) => Status::Recorder as u8,
        (_, Some(Ending::Exited(code))) => *code as u8,
        (_, Some(Ending::Killed { signal, .. })) => 128 + *signal as u8,
        _ => Status::Failed as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("tool");
        std::fs::write(&file, "").expect("a file");
        let search = Some(dir.path().as_os_str());
        assert_eq!(find(OsStr::new("tool"), Path::new("/"), search), None, "not executable");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("permissions");
        assert_eq!(find(OsStr::new("tool"), Path::new("/"), search), Some(file.clone()));
        assert_eq!(find(OsStr::new("./tool"), dir.path(), None), Some("./tool".into()));
        assert_eq!(find(OsStr::new("tool"), dir.path(), None), None, "a bare name is looked up in PATH");
    }
}
