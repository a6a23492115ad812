//! The compiler that cargo will use, and whether its LLVM takes the passes of an instrumented build.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::config::Config;
use super::instrument::{self, Level};
use crate::base::exit::{CliError, Status};
use crate::base::hash::fnv1a;

/// A program that every level instruments.
const SAMPLE: &str = "
    pub fn sample(counter: &std::sync::atomic::AtomicU32, place: &mut u32) {
        *place = counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }";

/// Why the clock cannot be compiled into tests.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The compiler does not take the passes: in its words.
    Passes(String),
    /// Nothing can be compiled there, whatever it is.
    Place(CliError),
}

/// A Rust compiler.
#[derive(Debug)]
pub(crate) struct Toolchain {
    rustc: PathBuf,
    cwd: PathBuf,
    verbose_version: String,
}

impl Toolchain {
    /// The compiler that cargo would use in `cwd`.
    pub(crate) fn find(cwd: &Path, config: &Config) -> Result<Self, CliError> {
        let from_env = env::var_os("RUSTC").filter(|path| !path.is_empty()).map(PathBuf::from);
        let rustc =
            from_env.or_else(|| config.program(&["build", "rustc"])).unwrap_or_else(|| "rustc".into());
        let output = Command::new(&rustc).arg("-vV").current_dir(cwd).output();
        let output =
            output.map_err(|error| CliError::os(format!("cannot run `{}`", rustc.display()), &error))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(CliError::new(
                Status::Failed,
                format!("`{} -vV` failed:\n{}", rustc.display(), stderr.trim_end()),
            ));
        }
        let verbose_version = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Self { rustc, cwd: cwd.to_owned(), verbose_version })
    }

    /// Its name and version, as `rustc -V` prints them.
    pub(crate) fn version(&self) -> &str {
        self.verbose_version.lines().next().unwrap_or("rustc, unknown version")
    }

    /// The triple it compiles for by default.
    pub(crate) fn host(&self) -> &str {
        self.verbose_version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or(env!("RRTEST_TARGET"))
    }

    /// Why this compiler cannot build for a level; none if it can. That it can is remembered in the build directory.
    pub(crate) fn refusal(&self, level: Level, target: &str, build_dir: &Path) -> Option<Refusal> {
        let about = format!("{:?}{target}{:?}{}", self.rustc, level.codegen_flags(), self.verbose_version);
        let mark = build_dir.join(format!("toolchain-{:016x}", fnv1a(about.as_bytes())));
        if mark.exists() {
            return None;
        }
        let unusable = |error: &std::io::Error| {
            let what = format!("cannot build in the target directory: {}", build_dir.display());
            Refusal::Place(CliError { status: Status::Failed, ..CliError::os(what, error) })
        };
        let dir = std::fs::create_dir_all(build_dir).and_then(|()| tempfile::tempdir_in(build_dir));
        let dir = match dir {
            Ok(dir) => dir,
            Err(error) => return Some(unusable(&error)),
        };
        match self.try_passes_in(dir.path(), level, target) {
            Ok(()) => {
                // Where the answer cannot be kept, it is asked for again.
                let _kept = std::fs::write(&mark, "");
                None
            }
            // Is it the passes, or would it refuse anything (on a full disk, without the target's std)?
            Err(words) => Some(match self.compile(dir.path(), &[], target) {
                Ok(_) => Refusal::Passes(words),
                Err(words) => Refusal::Place(CliError::new(
                    Status::Failed,
                    format!("{} cannot compile in {}:\n{words}", self.version(), build_dir.display()),
                )),
            }),
        }
    }

    /// Compile the sample, and look for the calls in what comes out.
    pub(crate) fn try_passes(&self, level: Level, target: &str) -> Result<(), String> {
        let dir = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
        self.try_passes_in(dir.path(), level, target)
    }

    /// The same in this directory.
    fn try_passes_in(&self, dir: &Path, level: Level, target: &str) -> Result<(), String> {
        let Some(entry_point) = level.entry_point() else { return Ok(()) };
        let bytes = self.compile(dir, level.codegen_flags(), target)?;
        if instrument::names(&bytes, entry_point) {
            Ok(())
        } else {
            Err("it accepts the passes, but ignores them".to_owned())
        }
    }

    /// What becomes of the sample with these flags; or what the compiler says.
    fn compile(&self, dir: &Path, flags: &[&str], target: &str) -> Result<Vec<u8>, String> {
        let object = dir.join("sample.o");
        let mut child = Command::new(&self.rustc)
            .args(["--crate-name", "sample", "--crate-type", "lib", "--target", target])
            .args(flags)
            // With an output directory rustc keeps its temporary files there, too: another attempt may be made at the
            // same time in the same working directory.
            .args(["-Ccodegen-units=1", "--emit=obj", "--out-dir"])
            .arg(dir)
            .arg("-")
            .current_dir(&self.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run `{}`: {error}", self.rustc.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A compiler that does not read says why on its standard error.
            let _written = stdin.write_all(SAMPLE.as_bytes());
        }
        let output = child.wait_with_output().map_err(|error| format!("cannot wait for rustc: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned());
        }
        std::fs::read(&object).map_err(|error| format!("rustc left no object: {error}"))
    }
}
