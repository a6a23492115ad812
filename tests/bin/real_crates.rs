//! Records the tests of published crates: what passes by itself must pass when it is recorded without chaos, and its
//! trace must replay.
//!
//! ```text
//! cargo build --release && cargo run --release -p rrtest-tests --bin real-crates [-- [--native-only] [NAME]...]
//! ```
//!
//! The crates and their versions are listed in `real_crates.toml`. Each is downloaded from crates.io and copied out of
//! cargo's cache as a project of its own. What does not pass or replay is printed under the table, its traces and the
//! recorder's messages stay where the last line says, and the exit code is 1.
//!
//! Tests that fail by themselves, for want of a network say, are left out and named. `--chaos N` makes N attempts of
//! each test under chaos, and lists what fails with what it said: each is a real bug, an assumption of the test, or a
//! fault of ours. `--with=--for=2m` ends them after that time, whatever N is; `--with=--time=virtual` records in
//! virtual time. `--source NAME=DIR` takes the tests of a crate from its release sources.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Artifact, Message, MetadataCommand, TargetKind};
use clap::Parser;
use serde::Deserialize;

/// Record the tests of published crates and replay the traces
#[derive(Parser)]
struct Options {
    /// Only these crates [default: all]
    names: Vec<String>,
    /// Run the tests by themselves only
    #[arg(long)]
    native_only: bool,
    /// The cargo-rrtest program [default: the one built beside this program]
    #[arg(long, value_name = "PATH")]
    tool: Option<PathBuf>,
    /// Record this many attempts of each test under chaos, and list what fails
    #[arg(long, value_name = "N", conflicts_with = "native_only")]
    chaos: Option<u32>,
    /// Record with this argument, too, such as --with=--time=virtual
    #[arg(long, value_name = "ARG", conflicts_with = "native_only", allow_hyphen_values = true)]
    with: Vec<String>,
    /// Take a crate from this directory, such as its release sources; its version is not looked at
    #[arg(long = "source", value_name = "NAME=DIR", value_parser = named_dir)]
    sources: Vec<(String, PathBuf)>,
    /// Where to download and build
    #[arg(long, value_name = "PATH", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/real-crates"))]
    dir: PathBuf,
}

/// `real_crates.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(rename = "crate")]
    crates: Vec<Published>,
}

/// A version of a crate on crates.io.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    name: String,
    version: String,
    /// Further arguments of `cargo test`.
    #[serde(default)]
    args: Vec<String>,
    /// The same for the release sources, which may have more.
    #[serde(default, rename = "source-args")]
    source_args: Option<Vec<String>>,
}

/// A test: its binary, named as nextest does, and its name.
type TestId = (String, String);

/// A line of `cargo rrtest --message-format json`.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    Attempt(Attempt),
    #[serde(other)]
    Other,
}

/// A recorded test.
#[derive(Deserialize)]
struct Attempt {
    binary: String,
    test: String,
    outcome: String,
    seed: String,
    message: Option<String>,
    trace: Option<PathBuf>,
    verified: Option<bool>,
}

/// The table's line for one crate, and what lies under the table.
#[derive(Default)]
struct Row {
    tests: usize,
    native: usize,
    recorded: usize,
    replayed: usize,
    /// What passed by itself but was not recorded and replayed: the test, and what happened.
    exceptions: Vec<(TestId, String)>,
    /// Tests that fail by themselves.
    fail_anyway: Vec<TestId>,
}

/// Seconds until a test counts as hung, by itself and recorded.
const TIMEOUT: &str = "120";

fn named_dir(text: &str) -> Result<(String, PathBuf), String> {
    let (name, dir) = text.split_once('=').ok_or("not of the form NAME=DIR")?;
    let dir = Path::new(dir).canonicalize().map_err(|error| format!("{dir}: {error}"))?;
    Ok((name.to_owned(), dir))
}

fn main() -> Result<ExitCode> {
    let mut options = Options::parse();
    fs::create_dir_all(&options.dir).with_context(|| format!("cannot make {}", options.dir.display()))?;
    options.dir = options.dir.canonicalize()?;
    let tool = match &options.tool {
        Some(tool) => tool.canonicalize().with_context(|| format!("no {}", tool.display()))?,
        None => std::env::current_exe()?.with_file_name("cargo-rrtest"),
    };
    ensure!(options.native_only || tool.is_file(), "no {}; `cargo build` makes it", tool.display());

    let mut list: List = toml::from_str(include_str!("../real_crates.toml"))?;
    for published in &mut list.crates {
        if let (Some(_), Some(args)) = (options.source(&published.name), published.source_args.take()) {
            published.args = args;
        }
    }
    let known = |name: &String| list.crates.iter().any(|published| published.name == *name);
    if let Some(name) = options.names.iter().find(|name| !known(name)) {
        bail!("{name} is not in real_crates.toml");
    }

    match options.chaos {
        Some(_) => println!("| crate | tests | passed natively | passed every attempt | attempts |"),
        None => println!("| crate | tests | passed natively | passed recorded | replayed |"),
    }
    println!("|---|---:|---:|---:|---:|");
    let mut rows = Vec::new();
    for published in &list.crates {
        if !options.names.is_empty() && !options.names.contains(&published.name) {
            continue;
        }
        let title = match options.source(&published.name) {
            Some(dir) => format!("{} in {}", published.name, dir.display()),
            None => format!("{} {}", published.name, published.version),
        };
        match check(published, &options, &tool).with_context(|| title.clone()) {
            Ok(row) => {
                let Row { tests, native, recorded, replayed, .. } = row;
                if options.native_only {
                    println!("| {title} | {tests} | {native} | | |");
                } else {
                    println!("| {title} | {tests} | {native} | {recorded} | {replayed} |");
                }
                rows.push((title, row));
            }
            Err(error) => {
                println!("| {title} | {error:#} | | | |");
                rows.push((
                    title,
                    Row { exceptions: vec![(TestId::default(), format!("{error:#}"))], ..Row::default() },
                ));
            }
        }
    }
    for (title, row) in &rows {
        for (binary, test) in &row.fail_anyway {
            println!("- {title}: `{binary} {test}` fails natively");
        }
        for ((binary, test), what) in &row.exceptions {
            println!("- {title}: `{binary} {test}` {what}");
        }
    }
    println!("{}", options.dir.display());
    let good = options.native_only || rows.iter().all(|(_, row)| row.exceptions.is_empty());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    /// The directory that the user has a crate in.
    fn source(&self, name: &str) -> Option<&Path> {
        self.sources.iter().find(|(known, _)| known == name).map(|(_, dir)| dir.as_path())
    }
}

/// Run, record and replay the tests of one crate.
fn check(published: &Published, options: &Options, tool: &Path) -> Result<Row> {
    let source = match options.source(&published.name) {
        Some(dir) => {
            let copy = options.dir.join(format!("{}-source", published.name));
            own_copy(&published.name, dir, &copy, &options.dir)?
        }
        None => download(published, &options.dir)?,
    };
    let native = run(published, &source, &options.dir)?;
    let passes = |id: &TestId| native.get(id).copied().unwrap_or(false);
    let mut row = Row {
        tests: native.len(),
        native: native.values().filter(|passed| **passed).count(),
        fail_anyway: native.keys().filter(|id| !passes(id)).cloned().collect(),
        ..Row::default()
    };
    if options.native_only {
        return Ok(row);
    }

    if let Some(runs) = options.chaos {
        let attempts = record(published, &source, options, tool, &["--runs", &runs.to_string()])?;
        return under_chaos(row, &attempts, passes, tool);
    }

    let attempts = record(published, &source, options, tool, &["--no-chaos", "--keep", "always"])?;
    let mut attempts: BTreeMap<_, _> = attempts.into_iter().map(|attempt| (attempt.id(), attempt)).collect();
    for id in native.keys().filter(|id| passes(id)) {
        let what = match attempts.remove(id) {
            None => "was not recorded".to_owned(),
            Some(attempt) => {
                row.recorded += usize::from(attempt.outcome == "passed");
                match replay(&attempt, tool)? {
                    None => {
                        row.replayed += 1;
                        continue;
                    }
                    Some(what) => what,
                }
            }
        };
        row.exceptions.push((id.clone(), what));
    }
    Ok(row)
}

impl Attempt {
    fn id(&self) -> TestId {
        (self.binary.clone(), self.test.clone())
    }
}

/// Count the tests that passed all attempts, and tell of each other one, once for each way in which it failed.
fn under_chaos(
    mut row: Row,
    attempts: &[Attempt],
    passes: impl Fn(&TestId) -> bool,
    tool: &Path,
) -> Result<Row> {
    let mut tests: BTreeMap<TestId, Vec<&Attempt>> = BTreeMap::new();
    // When the time is up, some are under way.
    let ended = attempts.iter().filter(|attempt| attempt.outcome != "unfinished");
    for attempt in ended.filter(|attempt| passes(&attempt.id())) {
        row.replayed += 1;
        tests.entry(attempt.id()).or_default().push(attempt);
    }
    for (id, attempts) in &tests {
        let mut ways: BTreeMap<String, (usize, &str)> = BTreeMap::new();
        for attempt in attempts.iter().filter(|attempt| attempt.outcome != "passed") {
            ways.entry(said(attempt, tool)?).or_insert((0, &attempt.seed)).0 += 1;
        }
        row.recorded += usize::from(ways.is_empty());
        row.exceptions.extend(ways.into_iter().map(|(way, (count, seed))| {
            (id.clone(), format!("{count} of {}, for one with seed {seed}: {way}", attempts.len()))
        }));
    }
    Ok(row)
}

/// What a failing attempt said, in a line: the recorder's message, or where the test panicked and why.
fn said(attempt: &Attempt, tool: &Path) -> Result<String> {
    let outcome = &attempt.outcome;
    if let Some(message) = &attempt.message {
        return Ok(format!("{outcome}: {message}"));
    }
    // Only one trace is kept of failures that look alike to the recorder.
    let Some(trace) = &attempt.trace else { return Ok(format!("{outcome}, as another that is kept")) };
    let output = limited(tool).args(["rrtest", "replay"]).arg(trace).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let panic = text.lines().skip_while(|line| !line.contains("panicked at")).take(4);
    let panic = panic.map(str::trim).collect::<Vec<_>>().join(" ");
    Ok(format!("{outcome}: {panic} [{}]", trace.display()))
}

/// Replay a test that was to pass. Returns what is wrong with it, if anything. A trace that replays is removed.
fn replay(attempt: &Attempt, tool: &Path) -> Result<Option<String>> {
    if attempt.outcome != "passed" {
        let message = attempt.message.as_deref().unwrap_or_default();
        return Ok(Some(format!("{} {message}", attempt.outcome)));
    }
    let Some(trace) = &attempt.trace else { return Ok(Some("left no trace".to_owned())) };
    if attempt.verified != Some(true) {
        return Ok(Some("left a trace that does not replay".to_owned()));
    }
    let status = limited(tool)
        .args(["rrtest", "replay"])
        .arg(trace)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Ok(Some(format!("replayed once, then not: {status}")));
    }
    fs::remove_file(trace).with_context(|| format!("cannot remove {}", trace.display()))?;
    Ok(None)
}

/// The crate's source as a project of its own.
fn download(published: &Published, dir: &Path) -> Result<PathBuf> {
    let Published { name, version, .. } = published;
    let source = dir.join(format!("{name}-{version}"));
    if source.join("Cargo.toml").is_file() {
        return Ok(source);
    }

    let scratch = dir.join("download");
    fs::create_dir_all(scratch.join("src"))?;
    fs::write(scratch.join("src/lib.rs"), "")?;
    let manifest = format!(
        "package = {{ name = \"download\", edition = \"2021\" }}\n\
         dependencies = {{ {name} = {{ version = \"={version}\", default-features = false }} }}\n\
         workspace = {{}}\n"
    );
    fs::write(scratch.join("Cargo.toml"), manifest)?;
    let metadata = MetadataCommand::new()
        .manifest_path(scratch.join("Cargo.toml"))
        .other_options(["--filter-platform".to_owned(), "x86_64-unknown-linux-gnu".to_owned()])
        .exec()?;
    let package = metadata.packages.iter().find(|package| package.name.as_str() == name);
    let cached =
        package.and_then(|package| package.manifest_path.parent()).context("cargo did not get it")?;

    own_copy(name, cached.as_std_path(), &source, dir)
}

/// Copy a package to `source`, made a workspace of its own.
fn own_copy(name: &str, from: &Path, source: &Path, dir: &Path) -> Result<PathBuf> {
    let partial = dir.join("partial");
    for old in [&partial, source] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    copy(from, &partial)?;
    let manifest = partial.join("Cargo.toml");
    let mut text = fs::read_to_string(&manifest)?;
    // Without this, cargo would look for a workspace in the folders above.
    if !text.lines().any(|line| line.trim() == "[workspace]") {
        text.push_str("\n[workspace]\n");
    }
    // Where what the tests use depends on the crate itself, it is to be this copy and not the one on crates.io.
    let (package, lock) = (format!("name = \"{name}\"\n"), partial.join("Cargo.lock"));
    if fs::read_to_string(&lock).is_ok_and(|lock| lock.matches(&package).count() > 1) {
        text.push_str(&format!("\n[patch.crates-io]\n{name} = {{ path = \".\" }}\n"));
        fs::remove_file(&lock)?;
    }
    fs::write(&manifest, text)?;
    fs::rename(&partial, source)?;
    Ok(source.to_owned())
}

/// Copy a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    Ok(())
}

/// Run each test by itself, in a process of its own. Returns which pass.
fn run(published: &Published, source: &Path, dir: &Path) -> Result<BTreeMap<TestId, bool>> {
    let output = cargo("cargo", source, dir)
        .args(["test", "--no-run", "--message-format", "json-render-diagnostics"])
        .args(&published.args)
        .stderr(log(published, dir, "build")?)
        .output()?;
    let mut tests = BTreeMap::new();
    for message in Message::parse_stream(&*output.stdout) {
        match message? {
            Message::CompilerArtifact(artifact) if artifact.profile.test => {
                let Some(program) = &artifact.executable else { continue };
                let program = program.as_std_path();
                let binary = binary_id(published, &artifact);
                if has_own_harness(&artifact, source)? {
                    let passed = passes(program, &[], source)?;
                    tests.insert((binary, artifact.target.name), passed);
                    continue;
                }
                for name in list(program, source)? {
                    let passed = passes(program, &["--exact", &name, "--nocapture"], source)?;
                    tests.insert((binary.clone(), name), passed);
                }
            }
            Message::BuildFinished(finished) => ensure!(finished.success, "does not build"),
            _ => {}
        }
    }
    ensure!(!tests.is_empty(), "has no tests");
    Ok(tests)
}

/// Whether a test binary succeeds.
fn passes(program: &Path, args: &[&str], source: &Path) -> Result<bool> {
    let status = limited(program)
        .args(args)
        .current_dir(source)
        .env("CARGO_MANIFEST_DIR", source)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}

/// Whether a binary is no libtest: its manifest says `harness = false`.
fn has_own_harness(artifact: &Artifact, source: &Path) -> Result<bool> {
    let manifest: toml::Table = toml::from_str(&fs::read_to_string(source.join("Cargo.toml"))?)?;
    let tests = manifest.get("test").and_then(toml::Value::as_array);
    let named = |test: &&toml::Value| {
        test.get("name").and_then(toml::Value::as_str) == Some(&artifact.target.name)
            || test
                .get("path")
                .and_then(toml::Value::as_str)
                .is_some_and(|path| artifact.target.src_path.ends_with(path))
    };
    let entry = tests.into_iter().flatten().find(named);
    let harness = entry.and_then(|test| test.get("harness")).and_then(toml::Value::as_bool);
    Ok(artifact.target.kind.contains(&TargetKind::Test) && harness == Some(false))
}

/// The tests in a binary, without those to be ignored.
fn list(program: &Path, source: &Path) -> Result<Vec<String>> {
    let list = |args: &[&str]| -> Result<Vec<String>> {
        let output = limited(program)
            .args(["--list", "--format", "terse"])
            .args(args)
            .current_dir(source)
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        ensure!(output.status.success(), "{} does not list its tests", program.display());
        let text = String::from_utf8(output.stdout)?;
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    };
    let ignored = list(&["--ignored"])?;
    Ok(list(&[])?.into_iter().filter(|name| !ignored.contains(name)).collect())
}

fn binary_id(published: &Published, artifact: &Artifact) -> String {
    let (package, target) = (&published.name, &artifact.target);
    match target.kind.first() {
        Some(TargetKind::Test) => format!("{package}::{}", target.name),
        Some(kind @ (TargetKind::Bin | TargetKind::Example)) => format!("{package}::{kind}/{}", target.name),
        _ => package.clone(),
    }
}

/// Record the tests, in the way that these arguments say.
fn record(
    published: &Published,
    source: &Path,
    options: &Options,
    tool: &Path,
    way: &[&str],
) -> Result<Vec<Attempt>> {
    let dir = &options.dir;
    let output = cargo(tool, source, dir)
        .args(["rrtest", "run", "--message-format", "json"])
        .args(way)
        .args(&options.with)
        .args(["--timeout", &format!("{TIMEOUT}s")])
        .arg("--trace-dir")
        .arg(dir.join("traces").join(&published.name))
        .args(&published.args)
        .stderr(log(published, dir, "record")?)
        .output()?;
    let mut attempts = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line = serde_json::from_slice(line)
            .with_context(|| format!("cargo rrtest printed `{}`", String::from_utf8_lossy(line)))?;
        if let Line::Attempt(attempt) = line {
            attempts.push(attempt);
        }
    }
    ensure!(!attempts.is_empty(), "cargo rrtest recorded nothing: {}", output.status);
    Ok(attempts)
}

/// A cargo command on a project. All projects build into one folder, so that they share their dependencies.
fn cargo(program: impl AsRef<OsStr>, source: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(source).env("CARGO_TARGET_DIR", dir.join("target")).stdin(Stdio::null());
    command
}

/// A command that is killed when it takes too long.
fn limited(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--signal", "KILL", TIMEOUT]).arg(program);
    command
}

/// A file for the messages of one step.
fn log(published: &Published, dir: &Path, step: &str) -> Result<File> {
    let path = dir.join(format!("{}.{step}.log", published.name));
    File::create(&path).with_context(|| format!("cannot write {}", path.display()))
}
