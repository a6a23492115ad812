//! What we ask of cargo: where things are, and a build of the tests together with how each would be run.

use std::collections::{HashMap, HashSet};
use std::env;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cargo_metadata::{Artifact, Message, Metadata, MetadataCommand, PackageId, Target, TargetKind};
use clap::ColorChoice;
use nix::unistd::Pid;
use rrtest_engine::program::Program;
use rrtest_engine::record::starting;

use super::c_code;
use super::config::Config;
use super::instrument::{Level, Runtime};
use super::selection::Selection;
use super::wrapper;
use crate::base::exit::{CliError, Status};
use crate::base::group;
use crate::discover::choice::Choice;
use crate::discover::find::{self, Discovered, Grouping};
use crate::discover::runner::{self, Capture};
use crate::discover::secrets::Secrets;

/// The project at hand.
#[derive(Debug)]
pub(crate) struct Project {
    /// What `cargo metadata` tells.
    pub(crate) metadata: Metadata,
    /// Cargo's target directory, or the one given on the command line.
    pub(crate) target_dir: PathBuf,
}

impl Project {
    /// Ask cargo about the project that `selection` names.
    pub(crate) fn find(selection: &Selection) -> Result<Self, CliError> {
        let mut command = MetadataCommand::new();
        command.cargo_path(program()).no_deps().other_options(selection.manifest_args());
        let metadata = command.exec().map_err(|error| match error {
            cargo_metadata::Error::CargoMetadata { stderr } => {
                CliError::new(Status::Failed, stderr.trim_end().trim_start_matches("error: "))
            }
            error => CliError::new(Status::Failed, format!("cargo metadata: {error}")),
        })?;
        let target_dir = match &selection.target_dir {
            Some(dir) => std::path::absolute(dir)
                .map_err(|error| CliError::os("cannot determine the working directory", &error))?,
            None => metadata.target_directory.clone().into_std_path_buf(),
        };
        Ok(Self { metadata, target_dir })
    }

    /// Whether a package of the workspace has an example.
    pub(crate) fn has_examples(&self) -> bool {
        let is_example = |target: &Target| target.kind.contains(&TargetKind::Example);
        self.metadata.packages.iter().any(|package| package.targets.iter().any(is_example))
    }
}

/// The cargo that called us, or the one in `PATH`.
fn program() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// The root of the workspace here, or of the one with this manifest; none if cargo knows none.
pub(crate) fn workspace_root(cwd: &Path, manifest: Option<&Path>) -> Option<PathBuf> {
    let mut command = Command::new(program());
    command.args(["locate-project", "--workspace", "--message-format=plain", "--quiet"]).current_dir(cwd);
    command.args(manifest.iter().flat_map(|path| [Path::new("--manifest-path"), path]));
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    let path = String::from_utf8(output.stdout).ok()?;
    Some(Path::new(path.trim_end()).parent()?.to_owned())
}

/// Let cargo list its unstable flags.
pub(crate) fn list_unstable_flags() -> Result<Status, CliError> {
    let status = Command::new(program()).args(["-Z", "help"]).status();
    let status =
        status.map_err(|error| CliError::os(format!("cannot run `{}`", program().display()), &error))?;
    if status.success() { Ok(Status::Success) } else { Err(CliError::said(Status::Failed)) }
}

/// How to build.
#[derive(Clone, Debug)]
pub(crate) struct Build<'a> {
    /// What.
    pub(crate) selection: &'a Selection,
    /// The target triple.
    pub(crate) target: &'a str,
    /// The preemption level.
    pub(crate) level: Level,
    /// The directory of builds of this level.
    pub(crate) build_dir: &'a Path,
    /// The user's configuration.
    pub(crate) config: &'a Config,
    /// `-q` (below 0) or `-v` (above 0), as often as given.
    pub(crate) verbosity: i16,
    /// `--color`.
    pub(crate) color: Option<ColorChoice>,
    /// Build, and find no tests.
    pub(crate) no_run: bool,
    /// When it is given up, if it is not done.
    pub(crate) deadline: Option<Instant>,
    /// Whether the compiler's messages have one line each.
    pub(crate) short: bool,
    /// Whether there are examples in the project.
    pub(crate) has_examples: bool,
    /// Beside the attempts at another build: without a word unless it fails, giving way to them, and given up on a flag.
    pub(crate) in_background: bool,
    /// What the tests do not get of the environment.
    pub(crate) secrets: &'a Secrets,
}

/// What cargo built, and how it would run it.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// Test executables by path.
    pub(crate) artifacts: HashMap<PathBuf, Artifact>,
    /// In cargo's order.
    pub(crate) captures: Vec<Capture>,
    /// Whether C code is without the clock, as it did not build with it.
    pub(crate) without_c: bool,
}

impl Built {
    /// The tests in it, filtered.
    pub(crate) fn tests(
        &self,
        project: &Project,
        choice: &Choice,
        grouping: Grouping<'_>,
    ) -> Result<Discovered, CliError> {
        find::tests(&project.metadata.packages, &self.artifacts, &self.captures, choice, grouping)
    }
}

impl Build<'_> {
    /// Build, with cargo's own messages on standard error, and list the tests.
    ///
    /// One `cargo test` does all: it names the artifacts on its standard output and then "runs" each with us as its
    /// target runner, so that environment and working directory come from cargo itself and cannot belong to another
    /// build than the artifacts. `cores` binaries at a time list their tests while it does so.
    pub(crate) fn run(&self, cores: usize, stop: &AtomicBool) -> Result<Built, CliError> {
        let refused = self.build_dir.join("without-c");
        let variables = match self.level {
            Level::Syscall => Vec::new(),
            _ if refused.exists() => Vec::new(),
            _ => c_code::variables(self.target, self.build_dir, self.config),
        };
        let told = self.test(&variables, cores, stop)?;
        if told.finished || !told.a_build_script_failed() || variables.is_empty() {
            return self.built(told, &variables, refused.exists());
        }
        // Perhaps the flags for C code are to blame. If so, they will be the next time.
        let told = self.test(&[], cores, stop)?;
        if told.finished {
            let _kept = std::fs::write(&refused, "");
        }
        self.built(told, &[], true)
    }

    fn built(&self, told: Told, variables: &[(String, String)], without_c: bool) -> Result<Built, CliError> {
        if !told.finished && self.in_background {
            return Err(CliError::new(Status::Failed, told.stderr.trim_end()));
        }
        if !told.finished {
            return Err(CliError::said(Status::Failed));
        }
        if !told.success {
            return Err(CliError::new(
                Status::Recorder,
                "cargo built the tests, but failed to say how it runs them (see above)",
            ));
        }
        self.examples(variables)?;
        Ok(Built { artifacts: told.artifacts, captures: told.captures, without_c })
    }

    /// `cargo test`, as far as it comes. `variables` are for the compilers of C code.
    fn test(
        &self,
        variables: &[(String, String)],
        cores: usize,
        stop: &AtomicBool,
    ) -> Result<Told, CliError> {
        let mut command = self.command(&self.selection.test_args(), variables)?;
        let short = if self.short { ",json-diagnostic-short" } else { "" };
        command
            .arg(format!("--message-format=json-render-diagnostics{short}"))
            .args(self.no_run.then_some("--no-run"));
        if self.in_background {
            command.arg("--quiet").stderr(Stdio::piped());
        } else {
            command.args((self.verbosity < 0).then_some("--quiet"));
            command.args((0..self.verbosity).map(|_| "--verbose"));
        }
        let starting = starting();
        let mut child = command
            .spawn()
            .map_err(|error| CliError::os(format!("cannot run `{}`", program().display()), &error))?;
        drop(starting);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (sender, programs) = mpsc::channel();
        let (done, finished) = mpsc::channel::<()>();
        let group = Pid::from_raw(child.id().cast_signed());
        let (told, captures, stderr, killed) = thread::scope(|scope| {
            let captures = scope.spawn(|| runner::ask_all(programs, cores, self.secrets, stop));
            let stderr = scope.spawn(|| runner::text(stderr));
            let longest = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let guard = match (self.in_background, longest) {
                (true, _) => Some(scope.spawn(move || group::guard(group, &finished, stop, Duration::MAX))),
                // It has our process group, so that Ctrl-C in a terminal is for it as well.
                (false, Some(longest)) => Some(scope.spawn(move || {
                    group::end_after(group, &finished, longest);
                    Vec::new()
                })),
                (false, None) => None,
            };
            let told = stdout.map_or_else(|| Ok(Told::default()), |stdout| Told::read(stdout, sender));
            let stderr = stderr.join().unwrap_or_default();
            drop(done);
            let killed = guard.and_then(|guard| guard.join().ok()).unwrap_or_default();
            (told, captures.join(), stderr, killed)
        });
        let status = child.wait().map_err(|error| CliError::os("cannot wait for cargo", &error))?;
        group::wait_for_end(group, killed);
        let told = told?;
        let captures = captures.map_err(|_| CliError::said(Status::Recorder));
        let captures = if told.finished && status.success() { captures?? } else { Vec::new() };
        Ok(Told { success: status.success(), captures, stderr, ..told })
    }

    /// Build the examples, as `cargo test` does: tests start them. What was built before is found fresh, and has said all
    /// that there is to say.
    fn examples(&self, variables: &[(String, String)]) -> Result<(), CliError> {
        let Some(args) = self.selection.default_build_args().filter(|_| self.has_examples) else {
            return Ok(());
        };
        let output = self
            .command(&args, variables)?
            .args(["--message-format=json,json-diagnostic-rendered-ansi", "--quiet"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| CliError::os(format!("cannot run `{}`", program().display()), &error))?;
        for message in Message::parse_stream(output.stdout.as_slice()).map_while(Result::ok) {
            if let Message::CompilerMessage(message) = message
                && message.target.kind.contains(&TargetKind::Example)
            {
                // Nothing can be done if standard error is closed.
                let _written = write!(anstream::stderr(), "{}", message.message.rendered.unwrap_or_default());
            }
        }
        if output.status.success() { Ok(()) } else { Err(CliError::said(Status::Failed)) }
    }

    fn command(&self, args: &[String], variables: &[(String, String)]) -> Result<Command, CliError> {
        let ourselves =
            env::current_exe().map_err(|error| CliError::os("cannot find our own executable", &error))?;
        let chain = wrapper::of_user(self.config);
        let runtime = Runtime::put_into(self.build_dir)?;
        let order = wrapper::Order {
            flags: self.level.flags(),
            link_flags: runtime.link_flags(),
            host_link_flags: runtime.host_link_flags(),
            chain,
            in_background: self.in_background,
        };
        let ours = variables.iter().map(|(name, _)| name.as_str()).chain(["RUSTC_WRAPPER"]);
        let ours = ours.map(|name| (name.to_owned(), env::var_os(name)));
        // Ours alone: no test is to see it, whoever has set it.
        let ours = ours.chain([(wrapper::VARIABLE.to_owned(), None)]);
        let capture = runner::Order { users: ours.collect() };
        let cargo = program();
        let mut command = match self.in_background {
            true => group::background(&cargo)
                .map_err(|error| CliError::os("cannot find our own executable", &error))?,
            false => Command::new(cargo),
        };
        command
            .arg("test")
            .args(args)
            .args(["--target", self.target])
            .arg("--target-dir")
            .arg(self.build_dir)
            // Cargo can be told to keep intermediate files elsewhere; there, ours would mix with plain ones.
            .args(["--config", &format!("build.build-dir={}", toml_string(self.build_dir))])
            // Not CARGO_TARGET_…_RUNNER: cargo splits that at spaces, and our path may have some.
            .args(["--config", &runner_setting(self.target, &ourselves)])
            .args(self.color.map(|color| format!("--color={color}")))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("RUSTC_WRAPPER", &ourselves)
            .env(wrapper::VARIABLE, serde_json::to_string(&order).unwrap_or_default())
            .env(runner::VARIABLE, serde_json::to_string(&capture).unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Ok(command)
    }
}

/// What cargo says on its standard output.
#[derive(Debug, Default)]
struct Told {
    artifacts: HashMap<PathBuf, Artifact>,
    /// The packages whose build scripts have been built and have not run to their end.
    scripts: HashSet<PackageId>,
    /// Whether all was built.
    finished: bool,
    /// Whether all was "run".
    success: bool,
    captures: Vec<Capture>,
    /// What nobody has seen of cargo's standard error.
    stderr: String,
}

impl Told {
    /// Whether one has, as far as can be seen: cargo starts no further ones when something fails.
    fn a_build_script_failed(&self) -> bool {
        !self.scripts.is_empty()
    }

    /// Read it to the end, and pass on the binaries that cargo would run as they come.
    fn read(stdout: ChildStdout, programs: mpsc::Sender<Program>) -> Result<Self, CliError> {
        let mut told = Self::default();
        for message in Message::parse_stream(BufReader::new(stdout)) {
            match message {
                Ok(Message::CompilerArtifact(artifact)) if artifact.profile.test => {
                    if let Some(path) = artifact.executable.clone() {
                        told.artifacts.insert(path.into_std_path_buf(), artifact);
                    }
                }
                Ok(Message::CompilerArtifact(artifact))
                    if artifact.target.kind.contains(&TargetKind::CustomBuild) =>
                {
                    told.scripts.insert(artifact.package_id);
                }
                Ok(Message::BuildScriptExecuted(script)) => {
                    told.scripts.remove(&script.package_id);
                }
                Ok(Message::BuildFinished(build)) => told.finished = build.success,
                // Nobody listens only if all listeners have failed, which they tell themselves.
                Ok(Message::TextLine(line)) => {
                    drop(runner::told(&line).map(|program| programs.send(program)));
                }
                Ok(_) => {}
                Err(error) => return Err(CliError::os("cannot read what cargo says", &error)),
            }
        }
        Ok(told)
    }
}

fn toml_string(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

fn runner_setting(target: &str, ourselves: &Path) -> String {
    format!("target.{target}.runner=[{},\"{}\"]", toml_string(ourselves), runner::COMMAND)
}

/// The runner that the user has set for `target`, in words; it is set aside, because what it starts would be another
/// program than the one that we built.
pub(crate) fn runner_of_user(config: &Config, target: &str) -> Option<String> {
    if let Some((runner, _)) = config.get(&["target", target, "runner"]) {
        return Some(format!("`{runner}` (of target {target})"));
    }
    config.subtables("target").into_iter().find_map(|(name, table)| {
        let runner = table.get("runner").filter(|_| name.starts_with("cfg("))?;
        Some(format!("`{}` (of {name})", runner.as_str().map_or_else(|| runner.to_string(), str::to_owned)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_a_toml_array_whatever_the_path() {
        let setting = runner_setting("x86_64-unknown-linux-gnu", Path::new("/a b/\"c\"'d'\\e"));
        let table: toml::Table = setting.parse().expect("toml");
        let runner = &table["target"]["x86_64-unknown-linux-gnu"]["runner"];
        assert_eq!(runner[0].as_str(), Some("/a b/\"c\"'d'\\e"));
        assert_eq!(runner[1].as_str(), Some(runner::COMMAND));
    }

    #[test]
    fn runners_of_the_user_are_found() {
        let arguments = ["target.'cfg(unix)'.runner='sudo -E'".to_owned()];
        let config = Config::load(Path::new("/"), &arguments);
        assert_eq!(runner_of_user(&config, "no-such-target").expect("a runner"), "`sudo -E` (of cfg(unix))");
    }
}
