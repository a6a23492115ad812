//! As target runner: cargo calls us in place of each test binary, with the environment and the working directory that
//! the binary would have had. We note both, ask the binary for its tests, and run none.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rrtest_engine::program::Program;
use serde::{Deserialize, Serialize};

use crate::exit::{Status, Stop};
use crate::wrapper;

/// The hidden command that cargo calls.
pub(crate) const COMMAND: &str = "__capture";

/// The environment variable that carries an [`Order`] from us to us, through cargo.
pub(crate) const VARIABLE: &str = "__RRTEST_CAPTURE";

/// How long a binary may take to list its tests. One that ignores the question may run anything.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the runner is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Where captures go.
    pub(crate) dir: PathBuf,
    /// The user's `RUSTC_WRAPPER`, which tests must see in place of ours.
    pub(crate) rustc_wrapper: Option<OsString>,
}

/// What the runner noted of one test binary.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Capture {
    /// The binary as cargo runs it, without arguments.
    pub(crate) program: Program,
    /// What it answers to `--list --format terse`: all tests.
    pub(crate) all: Answer,
    /// With `--ignored` in addition: the ignored tests.
    pub(crate) ignored: Answer,
}

/// What a binary answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Whether it exited with 0 in time.
    pub(crate) success: bool,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

/// Note one binary. `args` is the binary and the arguments that cargo has for it (none).
pub(crate) fn capture(args: &[OsString]) -> Result<(), Stop> {
    let order: Order = env::var(VARIABLE)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .ok_or_else(|| Stop::usage("this command is for cargo to call, while `cargo rrtest` finds tests"))?;
    let binary = args.first().ok_or_else(|| Stop::usage("no test binary given"))?;
    let cwd = env::current_dir().map_err(|error| Stop::os("no working directory", &error))?;
    let path = cwd.join(binary);
    let program = Program { path, args: Vec::new(), env: environment(order.rustc_wrapper), cwd };
    let all = ask(&program, &["--list", "--format", "terse"])?;
    let ignored = ask(&program, &["--list", "--format", "terse", "--ignored"])?;
    let capture = serde_json::to_vec(&Capture { program, all, ignored })
        .map_err(|error| Stop::new(Status::Recorder, format!("cannot note a test binary: {error}")))?;
    // Cargo runs one binary after the other, so the count numbers them in order.
    let count = fs::read_dir(&order.dir).map_or(0, Iterator::count);
    let file = order.dir.join(format!("{count:06}.json"));
    fs::write(&file, capture).map_err(|error| Stop::os(format!("cannot write {}", file.display()), &error))
}

/// The environment as it would be without us.
fn environment(rustc_wrapper: Option<OsString>) -> Vec<(OsString, OsString)> {
    let ours = [VARIABLE, wrapper::VARIABLE, "RUSTC_WRAPPER"];
    let user = rustc_wrapper.map(|wrapper| (OsString::from("RUSTC_WRAPPER"), wrapper));
    env::vars_os().filter(|(name, _)| !ours.iter().any(|our| name == our)).chain(user).collect()
}

fn ask(program: &Program, args: &[&str]) -> Result<Answer, Stop> {
    let mut child = Command::new(&program.path)
        .args(args)
        .env_clear()
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| Stop::os(format!("cannot run {}", program.path.display()), &error))?;
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let (done, finished) = std::sync::mpsc::channel::<()>();
    let guard = thread::spawn(move || {
        if finished.recv_timeout(LIST_TIMEOUT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _gone = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
    });
    // The pipes end with the last process that holds them, so the guard must outlive the reading.
    let text = |reader: thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    let status = child.wait();
    drop(done);
    let _guard_ended = guard.join();
    let status =
        status.map_err(|error| Stop::os(format!("cannot wait for {}", program.path.display()), &error))?;
    Ok(Answer { success: status.success(), stdout, stderr })
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What has been read until an error is all that there is.
            let _ends = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// The captures in a directory, in the order in which cargo ran the binaries.
pub(crate) fn captures(dir: &Path) -> Result<Vec<Capture>, Stop> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Stop::new(
            Status::Recorder,
            format!("cannot read what cargo was seen to run in {}: {error}", dir.display()),
        )
    };
    let mut files = fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>())
        .map_err(|error| unreadable(&error))?;
    files.sort();
    let read = |path: &PathBuf| -> Result<Capture, Stop> {
        let bytes = fs::read(path).map_err(|error| unreadable(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))
    };
    files.iter().map(read).collect()
}
