//! As target runner: cargo calls us in place of each test binary, with the environment and the working directory that
//! the binary would have had. We pass both on to the process that called cargo, and run nothing. That process asks the
//! binaries for their tests, several at a time, while cargo goes on.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rrtest_engine::program::Program;
use rrtest_engine::record::starting;
use serde::{Deserialize, Serialize};

use super::listing::{Answer, Listing};
use super::secrets::Secrets;
use crate::base::exit::{CliError, Status};
use crate::base::{group, words};

/// What is read of an answer at most, in bytes.
const MOST_SAID: u64 = 64 << 20;

/// The hidden command that cargo calls.
pub(crate) const COMMAND: &str = "__capture";

/// The environment variable that carries an [`Order`] from us to us, through cargo.
pub(crate) const VARIABLE: &str = "__RRTEST_CAPTURE";

/// What a line begins with that tells of a binary, on the standard output that we share with cargo.
const MARK: &str = "rrtest-binary ";

/// How long a binary may take to list its tests. One that ignores the question may run anything.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the runner is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The variables that we have set for cargo, with the values that the user has given them: tests must see those.
    pub(crate) users: Vec<(String, Option<OsString>)>,
}

/// What is known of one test binary.
#[derive(Debug)]
pub(crate) struct Capture {
    /// The binary as cargo runs it, without arguments.
    pub(crate) program: Program,
    /// What it says of its tests.
    pub(crate) listing: Listing,
    /// The variables of its environment that it does not get.
    pub(crate) secrets: BTreeSet<String>,
}

/// Tell of one binary. `args` is the binary and the arguments that cargo has for it (none).
pub(crate) fn capture(args: &[OsString]) -> Result<(), CliError> {
    let order: Order =
        env::var(VARIABLE).ok().and_then(|text| serde_json::from_str(&text).ok()).ok_or_else(|| {
            CliError::usage("this command is internal: cargo calls it while `cargo rrtest` finds tests")
        })?;
    let binary = args.first().ok_or_else(|| CliError::usage("no test binary given"))?;
    let cwd =
        env::current_dir().map_err(|error| CliError::os("cannot determine the working directory", &error))?;
    let path = cwd.join(binary);
    let program = Program { path, args: Vec::new(), env: environment(order.users), cwd };
    let program = serde_json::to_string(&program).map_err(|error| {
        CliError::new(Status::Recorder, format!("cannot serialize the test binary's description: {error}"))
    })?;
    writeln!(io::stdout(), "{MARK}{program}")
        .map_err(|error| CliError::os("cannot write to standard output", &error))
}

/// The binary that a line of cargo's standard output tells of.
pub(crate) fn told(line: &str) -> Option<Program> {
    serde_json::from_str(line.strip_prefix(MARK)?).ok()
}

/// The environment as it would be without us.
fn environment(users: Vec<(String, Option<OsString>)>) -> Vec<(OsString, OsString)> {
    let ours = users.iter().map(|(name, _)| name.as_str()).chain([VARIABLE]);
    let ours: Vec<_> = ours.map(OsString::from).collect();
    let users = users.into_iter().filter_map(|(name, value)| Some((OsString::from(name), value?)));
    env::vars_os().filter(|(name, _)| !ours.contains(name)).chain(users).collect()
}

/// Ask binaries for their tests as they become known, `workers` of them at a time, and give the answers in the same
/// order. Past `stop` no answer is waited for.
pub(crate) fn ask_all(
    programs: mpsc::Receiver<Program>,
    workers: usize,
    secrets: &Secrets,
    stop: &AtomicBool,
) -> Result<Vec<Capture>, CliError> {
    let programs = Mutex::new(programs.into_iter().enumerate());
    let captures = Mutex::new(Vec::new());
    let work = || {
        loop {
            // Who waits for the next binary holds the lock: the others have nothing else to wait for.
            let next = programs.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((index, program)) = next else { return };
            let capture = Capture::of(program, secrets, stop);
            captures.lock().unwrap_or_else(PoisonError::into_inner).push((index, capture));
        }
    };
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    let mut captures = captures.into_inner().unwrap_or_else(PoisonError::into_inner);
    captures.sort_by_key(|(index, _)| *index);
    captures.into_iter().map(|(_, capture)| capture).collect()
}

impl Capture {
    fn of(mut program: Program, secrets: &Secrets, stop: &AtomicBool) -> Result<Self, CliError> {
        let secrets = secrets.take_out(&mut program.env);
        let listing = Listing::of(|args| ask(&program, args, stop))?;
        Ok(Self { program, listing, secrets })
    }
}

fn ask(program: &Program, args: &[&str], stop: &AtomicBool) -> Result<Answer, CliError> {
    let starting = starting();
    let child = Command::new(&program.path)
        .args(args)
        .current_dir(&program.cwd)
        .env_clear()
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    drop(starting);
    let mut child = match child {
        Ok(child) => child,
        // The others can be asked all the same.
        Err(error) => return Ok(Answer { stderr: error.to_string(), ..Answer::default() }),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let (done, finished) = mpsc::channel::<()>();
    // The pipes end with the last process that holds them, so the guard must outlive the reading.
    let (stdout, stderr) = thread::scope(|scope| {
        scope.spawn(move || group::guard(group, &finished, stop, LIST_TIMEOUT));
        let stderr = scope.spawn(|| said(stderr));
        let answers = (said(stdout), stderr.join().unwrap_or_default());
        drop(done);
        answers
    });
    let status = child.wait();
    let status = status
        .map_err(|error| CliError::os(format!("cannot wait for {}", program.path.display()), &error))?;
    match (stdout, stderr) {
        (Some(stdout), Some(stderr)) => Ok(Answer { success: status.success(), stdout, stderr }),
        _ => {
            let stderr = format!("it prints more than {}", words::size(MOST_SAID));
            Ok(Answer { stderr, ..Answer::default() })
        }
    }
}

/// What a binary has said by the end of a pipe; none if that is more than any list of tests has. Whoever goes on writing
/// then writes to nobody.
fn said(pipe: Option<impl Read>) -> Option<String> {
    let text = text(pipe.map(|pipe| pipe.take(MOST_SAID + 1)));
    (text.len() as u64 <= MOST_SAID).then_some(text)
}

/// What a pipe has until its end or an error.
pub(crate) fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ends = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_never_ends_is_not_read_to_its_end() {
        assert_eq!(said(Some(&b"a: test\n"[..])).as_deref(), Some("a: test\n"));
        assert_eq!(said(Some(io::repeat(b'x'))), None);
    }
}
