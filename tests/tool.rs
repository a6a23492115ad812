//! The program under test, and what came of running it.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Nothing that is run here takes nearly so long: what does hangs.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Variables that reach `cargo` and tests from whoever runs us, and must not change what they do.
const UNWANTED: &[&str] =
    &["CI", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUST_BACKTRACE", "NO_COLOR"];

/// Variables of cargo that say where it finds crates and compilers.
const NEEDED: &[&str] = &["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_SOURCE_"];

/// `cargo-rrtest`.
#[derive(Debug)]
pub struct Tool {
    /// The executable file.
    pub path: PathBuf,
}

impl Tool {
    /// Build it, in the profile that we were built in, so that nothing is compiled for us alone.
    ///
    /// # Panics
    /// If it does not build.
    #[must_use]
    pub fn build() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
        let output = Command::new(cargo())
            // The whole workspace, so that dependencies have the features that `cargo test` gives them.
            .args([
                "build",
                "--workspace",
                "--bin",
                "cargo-rrtest",
                "--message-format=json-render-diagnostics",
            ])
            .args((!cfg!(debug_assertions)).then_some("--release"))
            .arg("--manifest-path")
            .arg(manifest)
            .stderr(Stdio::inherit())
            .output()
            .expect("cannot run cargo");
        let messages = String::from_utf8(output.stdout).expect("text");
        let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let path = messages
            .filter(|message| message["target"]["name"] == "cargo-rrtest")
            .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
        Self { path: path.expect("cargo-rrtest does not build") }
    }

    /// The program in directory `dir`, as `cargo rrtest` starts it.
    #[must_use]
    pub fn cargo(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("rrtest").current_dir(dir);
        clean(&mut command);
        command
    }
}

/// The cargo that runs us.
#[must_use]
pub fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// Let a command do the same whoever runs us.
pub fn clean(command: &mut Command) {
    let unwanted = |name: &OsStr| {
        let name = name.to_string_lossy();
        UNWANTED.contains(&&*name)
            || name.starts_with("GITHUB_")
            || (name.starts_with("CARGO_") && !NEEDED.iter().any(|needed| name.starts_with(needed)))
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| unwanted(name)) {
        command.env_remove(name);
    }
    command.env("CARGO_TERM_COLOR", "never");
}

/// What came of running a command.
#[derive(Debug)]
pub struct Run {
    /// The command, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error, as text.
    pub stderr: String,
}

impl Run {
    /// Run a command to its end.
    ///
    /// # Panics
    /// If it cannot be started, or does not end.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        Self::rest(child, words(command))
    }

    /// Wait for the end of a command that runs, and for all processes that hold its output.
    ///
    /// # Panics
    /// If it does not end.
    #[must_use]
    pub fn rest(mut child: Child, command: String) -> Self {
        let (sender, receiver) = mpsc::channel();
        let pid = Pid::from_raw(child.id().cast_signed());
        let readers = [read(child.stdout.take(), sender.clone()), read(child.stderr.take(), sender)];
        if readers.iter().any(|_| receiver.recv_timeout(PATIENCE).is_err()) {
            // Its readers end with it; should a process of its own hold their pipes, they are left alone.
            let _gone = kill(pid, Signal::SIGKILL);
            panic!("hangs: {command}");
        }
        let [stdout, stderr] = readers.map(|reader| reader.join().expect("a reader"));
        let status = child.wait().expect("a child");
        Self { command, status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
    }

    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// This run, provided that it ended with this exit code.
    ///
    /// # Panics
    /// If it did not.
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// The exit code, for a program that was not killed and did not panic.
    ///
    /// # Panics
    /// If it was or did.
    #[must_use]
    pub fn code(&self) -> i32 {
        assert!(!self.stderr.contains("panicked"), "{self}");
        self.status.code().unwrap_or_else(|| panic!("killed: {self}"))
    }

    /// Assert that standard error has each of these texts.
    ///
    /// # Panics
    /// If one is missing.
    #[must_use]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "does not say `{text}`: {self}");
        }
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, status, stderr, .. } = self;
        let ending = match status.signal() {
            Some(signal) => format!("signal {signal}"),
            None => format!("exit code {}", status.code().unwrap_or(-1)),
        };
        write!(f, "{command}\n{ending}\n── stdout\n{}\n── stderr\n{stderr}\n──", self.text())
    }
}

/// A command line for messages.
fn words(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let dir = command.get_current_dir().unwrap_or(Path::new("."));
    format!("{words:?} in {}", dir.display())
}

fn read(pipe: Option<impl Read + Send + 'static>, done: mpsc::Sender<()>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        }
        // Nobody listens after a timeout.
        let _sent = done.send(());
        bytes
    })
}
