//! Any program by itself, recorded, and replayed: whether the recording and the replay are faithful.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{User, geteuid};
use tempfile::TempDir;

use crate::tool;

/// The exit code of `cargo rrtest` when the recorder failed or the program does what it cannot record.
const RECORDER: i32 = 70;

/// Words of the message that names what cannot be recorded.
const UNSUPPORTED: &str = " cannot be recorded";

/// A place to run programs in, each with a clean working directory.
#[derive(Debug)]
pub struct Sandbox {
    /// A short path, as sockets need, that any user can enter.
    dir: TempDir,
    /// Within the directory, so that any user can run it.
    tool: PathBuf,
    /// Whom programs run as, if not as us.
    user: Option<User>,
    /// How programs are recorded: further options of `exec`.
    way: Vec<String>,
    /// What takes longer is killed.
    pub limit: Duration,
}

/// What a program did.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its exit code, or 128 and the number of the signal that killed it; none if it was killed for its time.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// How long it ran.
    pub wall: Duration,
}

/// What came of recording and replaying a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did as it does by itself, and the replay did the same; how long recording and replay took.
    Faithful(Duration, Duration),
    /// The recorder said that this cannot be recorded.
    Unsupported(String),
    /// The replay did the same, but recorded it ended with this exit code, unlike by itself; its standard error.
    Otherwise(i32, String),
    /// Anything else.
    Wrong(String),
}

/// What [`Sandbox::try_out`] compares with the run of the program by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Its exit status.
    Status,
    /// Its standard output too.
    Output,
}

impl Sandbox {
    /// A place for programs that run as an ordinary user, also if we are root, or as us.
    ///
    /// # Errors
    /// If its files cannot be made.
    pub fn new(tool: &Path, ordinary_user: bool) -> io::Result<Self> {
        Self::in_dir(short_dir()?, tool, ordinary_user)
    }

    /// The same for programs that fill the disk if they can: what they and the recorder write is in memory, and no
    /// more than so many bytes, provided that we are root. Only the calling thread and what it starts see it.
    ///
    /// # Errors
    /// If its files cannot be made.
    pub fn confined(tool: &Path, ordinary_user: bool, bytes: u64) -> io::Result<Self> {
        let dir = short_dir()?;
        if geteuid().is_root() {
            let none = None::<&str>;
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)?;
            let size = format!("size={bytes}");
            mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(&*size))?;
        }
        Self::in_dir(dir, tool, ordinary_user)
    }

    fn in_dir(dir: TempDir, tool: &Path, ordinary_user: bool) -> io::Result<Self> {
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        let own = dir.path().join("cargo-rrtest");
        fs::copy(tool, &own)?;
        let user = if ordinary_user && geteuid().is_root() { User::from_name("nobody")? } else { None };
        Ok(Self { dir, tool: own, user, way: Vec::new(), limit: Duration::from_secs(60) })
    }

    /// It, with these options of `exec` and this limit.
    #[must_use]
    pub fn with(mut self, way: &[String], limit: Duration) -> Self {
        self.way = way.to_vec();
        self.limit = limit;
        self
    }

    /// The programs' working directory.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Run a program by itself, in a directory that `setup`, a shell script, has filled.
    ///
    /// # Errors
    /// If it cannot be started, or the setup fails.
    pub fn native(&self, setup: &str, words: &[String]) -> io::Result<Done> {
        self.prepare(setup)?;
        self.run(words, &self.work())
    }

    /// Record a program and replay its trace, with all that it had to do with gone. `native` is what it does by itself.
    ///
    /// # Errors
    /// If the recorder cannot be started, or the setup fails.
    pub fn try_out(
        &self,
        setup: &str,
        words: &[String],
        native: &Done,
        compare: Compare,
    ) -> io::Result<Verdict> {
        let traces = self.empty("traces")?;
        self.prepare(setup)?;
        let mut record: Vec<&OsStr> = [self.tool.as_os_str()].to_vec();
        record.extend(["rrtest", "exec", "--keep", "always", "--trace-dir"].map(OsStr::new));
        record.push(traces.as_os_str());
        record.extend(self.way.iter().map(OsStr::new));
        record.push(OsStr::new("--"));
        record.extend(words.iter().map(OsStr::new));
        let recorded = self.run(&record, &self.work())?;
        let trace = crate::traces(&traces).pop();
        let shown = match self.judge(&recorded, native, compare, trace.is_some()) {
            Ok(shown) => shown,
            Err(verdict) => return Ok(verdict),
        };

        let _empty = self.empty("work")?;
        let trace = trace.unwrap_or_default();
        let replay = [self.tool.as_os_str(), OsStr::new("rrtest"), OsStr::new("replay"), trace.as_os_str()];
        let replayed = self.run(&replay, Path::new("/"))?;
        Ok(match (self.difference(&recorded, shown, &replayed), recorded.code) {
            (None, Some(code)) if recorded.code != native.code => {
                Verdict::Otherwise(code, String::from_utf8_lossy(shown).into_owned())
            }
            (None, _) => Verdict::Faithful(recorded.wall, replayed.wall),
            (Some(what), _) => Verdict::Wrong(what),
        })
    }

    /// Whether a recording is as it should be. Returns the program's standard error, which ours is under.
    fn judge<'a>(
        &self,
        recorded: &'a Done,
        native: &Done,
        compare: Compare,
        kept: bool,
    ) -> Result<&'a [u8], Verdict> {
        let wrong = |what: String| Err(Verdict::Wrong(what));
        let Some(code) = recorded.code else {
            return wrong(format!("recording takes more than {:?}", self.limit));
        };
        let text = &recorded.stderr;
        let Some(at) = own_report(text, "trace ").filter(|_| kept) else {
            let report = own_report(text, "error: ").map_or(String::new(), |at| first_line(&text[at..]));
            let report = report.trim_start_matches("error: ");
            return match report.split_once(UNSUPPORTED) {
                Some((what, _)) if code == RECORDER => Err(Verdict::Unsupported(what.to_owned())),
                _ => wrong(format!("no trace, exit code {code}: {report}")),
            };
        };
        let report = first_line(&text[at..]);
        if !report.ends_with("(verified)") {
            return wrong(format!("exit code {code}, {report}"));
        }
        let same = Some(code) == native.code;
        if same && compare == Compare::Output && recorded.stdout != native.stdout {
            return wrong(format!(
                "by itself it prints other: {}",
                first_difference(&recorded.stdout, &native.stdout)
            ));
        }
        Ok(&text[..at])
    }

    /// How a replay differs from the recording, whose standard error was `stderr`.
    fn difference(&self, recorded: &Done, stderr: &[u8], replayed: &Done) -> Option<String> {
        match replayed.code {
            None => Some(format!("the replay takes more than {:?}", self.limit)),
            Some(code) if code != 0 => {
                Some(format!("the replay ends with exit code {code}: {}", last_line(&replayed.stderr)))
            }
            _ if replayed.stdout != recorded.stdout => {
                let first = first_difference(&replayed.stdout, &recorded.stdout);
                Some(format!("the replay prints other: {first}"))
            }
            _ if !replayed.stderr.starts_with(stderr) => {
                let first = first_difference(&replayed.stderr, stderr);
                Some(format!("the replay prints other on standard error: {first}"))
            }
            _ => None,
        }
    }

    /// Fill the working directory.
    fn prepare(&self, setup: &str) -> io::Result<()> {
        let work = self.empty("work")?;
        let done = self.run(&["sh", "-ec", setup], &work)?;
        if done.code == Some(0) {
            return Ok(());
        }
        Err(io::Error::other(format!("setup fails: {}", String::from_utf8_lossy(&done.stderr))))
    }

    /// An empty directory in ours, which belongs to the user.
    fn empty(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.dir.path().join(name);
        if path.exists() {
            // What ran as another user may have taken its own permissions away.
            let _best_effort = Command::new("chmod").args(["-Rf", "u+rwx"]).arg(&path).status();
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        if let Some(user) = &self.user {
            chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(path)
    }

    /// Run a command to its end. Its output goes to files: a process that it leaves behind holds nothing up.
    fn run<S: AsRef<OsStr>>(&self, words: &[S], cwd: &Path) -> io::Result<Done> {
        let (stdout, stderr) = (self.dir.path().join("stdout"), self.dir.path().join("stderr"));
        let mut command = Command::new("timeout");
        command.args(["--signal", "KILL", &self.limit.as_secs().to_string()]).args(words);
        tool::clean(&mut command);
        command.current_dir(cwd).env("PATH", search_path()).env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null()).stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            command.env("HOME", self.work()).env("USER", &user.name).env("LOGNAME", &user.name);
        }
        let start = Instant::now();
        let status = command.status()?;
        let wall = start.elapsed();
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        let code = code.filter(|_| wall < self.limit);
        Ok(Done { code, stdout: fs::read(stdout)?, stderr: fs::read(stderr)?, wall })
    }
}

/// Sockets need a short path.
fn short_dir() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("rrtest-lab-").tempdir_in("/tmp")
}

/// Debian's programs before those that a user may have put in their place.
fn search_path() -> String {
    let rest = std::env::var("PATH").unwrap_or_default();
    format!("/usr/bin:/bin:/usr/sbin:/sbin:{rest}")
}

/// Whether a command is in the search path.
#[must_use]
pub fn is_installed(command: &str) -> bool {
    std::env::split_paths(&search_path()).any(|dir| dir.join(command).is_file())
}

/// Where the report of the tool begins in its standard error, under what the program wrote: with the last line that
/// starts so.
fn own_report(stderr: &[u8], start: &str) -> Option<usize> {
    let begins = |line: &[u8]| line.trim_ascii_start().starts_with(start.as_bytes());
    let mut at = 0;
    let lines = stderr.split_inclusive(|byte| *byte == b'\n').map(|line| {
        at += line.len();
        (at - line.len(), line)
    });
    lines.filter(|(_, line)| begins(line)).last().map(|(at, _)| at)
}

fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().next().unwrap_or_default().trim_start().to_owned()
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().last().unwrap_or_default().to_owned()
}

/// The first line that differs, as it is and as it should be.
fn first_difference(is: &[u8], should: &[u8]) -> String {
    let lines =
        |bytes: &[u8]| -> Vec<String> { String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect() };
    let (is, should) = (lines(is), lines(should));
    let at = is.iter().zip(&should).take_while(|(a, b)| a == b).count();
    let line = |lines: &[String]| lines.get(at).map_or("nothing".to_owned(), |line| format!("`{line}`"));
    format!("line {}: {}, not {}", at + 1, line(&is), line(&should))
}
