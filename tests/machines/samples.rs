//! What is recorded for other machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rrtest_engine::record::Processor;

use crate::Harness;
use crate::project::Project;
use crate::races::RACES;
use crate::tool::{Run, clean};

/// A trace, and what its replay printed on the machine that recorded it, which is in files beside it.
#[derive(Debug)]
pub struct Sample {
    /// What it is called in tables. It ends with the processor that the program saw, unless that is the default.
    pub name: String,
    /// The trace.
    pub trace: PathBuf,
    /// The replay where it was recorded.
    pub there: Done,
}

/// What a run printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Done {
    /// What a machine's job has left beside `path`, if it has.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        let read = |what: &str| fs::read(format!("{}.{what}", path.display())).ok();
        let code = String::from_utf8(read("code")?).ok()?.trim().parse().ok()?;
        Some(Self { code, stdout: read("stdout")?, stderr: read("stderr")? })
    }
}

impl Done {
    /// Leaves it beside `path`, as a machine's job does.
    fn write(&self, path: &Path) -> Result<()> {
        for (what, bytes) in
            [("code", self.code.to_string().as_bytes()), ("stdout", &self.stdout), ("stderr", &self.stderr)]
        {
            fs::write(format!("{}.{what}", path.display()), bytes)?;
        }
        Ok(())
    }
}

impl Sample {
    /// The name of its trace, here and elsewhere.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.rrtrace", self.name)
    }

    /// The processor that the program saw.
    #[must_use]
    pub fn level(&self) -> Processor {
        self.name.rsplit('-').next().and_then(|end| end.parse().ok()).unwrap_or_default()
    }
}

/// The samples in a directory, recorded here or on another machine.
///
/// # Errors
/// If they cannot be read.
pub fn read(dir: &Path) -> Result<Vec<Sample>> {
    let dir = dir.canonicalize().with_context(|| format!("no {}", dir.display()))?;
    let mut samples = Vec::new();
    for trace in crate::traces(&dir) {
        if trace.extension().is_some_and(|extension| extension == "rrtrace") {
            let there = Done::read(&trace).with_context(|| format!("nothing beside {}", trace.display()))?;
            let name = trace.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            samples.push(Sample { name, trace, there });
        }
    }
    Ok(samples)
}

/// Replays `file` in `dir`.
///
/// # Errors
/// If the program does not start or is killed.
pub(super) fn replay(program: &Path, dir: &Path, file: &str) -> Result<Done> {
    let mut command = Command::new(program);
    command.args(["rrtest", "replay", file]).current_dir(dir).env_clear();
    let run = Run::of(&mut command);
    let code = run.status.code().with_context(|| format!("killed: {run}"))?;
    Ok(Done { code, stdout: run.stdout, stderr: run.stderr.into_bytes() })
}

/// Records samples into a directory: those whose names have one of `only` in them, or all.
///
/// # Errors
/// If one cannot be made.
///
/// # Panics
/// If one does not end as it should, or does not replay here.
pub fn record(world: &Harness, dir: &Path, only: &[String]) -> Result<()> {
    fs::create_dir_all(dir)?;
    let recorder = Recorder { world, dir: dir.canonicalize()?, only };
    recorder.races()?;
    recorder.tests()?;
    recorder.python()?;
    recorder.c_programs()
}

/// Records samples into a directory.
struct Recorder<'world> {
    world: &'world Harness,
    dir: PathBuf,
    only: &'world [String],
}

impl Recorder<'_> {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    /// Takes over the one trace of a directory, and replays it. Returns what that printed.
    fn take(&self, name: &str, traces: &Path) -> Result<Done> {
        let found = crate::traces(traces);
        let [trace] = &found[..] else { panic!("{name}: one trace, not {found:?}") };
        let file = format!("{name}.rrtrace");
        let path = self.dir.join(&file);
        fs::copy(trace, &path)?;
        let done = replay(&self.world.tool.path, &self.dir, &file)?;
        ensure!(done.code == 0, "{name} does not replay where it was recorded");
        done.write(&path)?;
        Ok(done)
    }

    /// The failures of the races.
    fn races(&self) -> Result<()> {
        for race in RACES {
            if self.wants(race.package) {
                let traces = self.world.dir();
                let _found = race.find(self.world, 3, traces.path());
                self.take(race.package, traces.path())?;
            }
        }
        Ok(())
    }

    /// Tests that pass: one starts programs, one has an asynchronous runtime.
    fn tests(&self) -> Result<()> {
        if self.wants("spawns") {
            let project = Project::of_test(self.world, include_str!("programs/spawns.rs"));
            let run = project.rrtest(self.world, &["--keep", "always"]);
            self.test("spawns", run)?;
        }
        if self.wants("tokio") {
            let traces = self.world.dir();
            let mut run = self.world.fixture("steady", traces.path());
            run.args(["--keep", "always", "tokio_channels_carry_everything"]);
            self.test("tokio", run)?;
        }
        Ok(())
    }

    /// Runs a test that passes.
    fn test(&self, name: &str, mut run: Command) -> Result<()> {
        let traces = self.world.dir();
        let _passed = Run::of(run.arg("--trace-dir").arg(traces.path())).expect(0);
        self.take(name, traces.path())?;
        Ok(())
    }

    /// Records a program. What the recording printed is what the replay does.
    fn program(&self, name: &str, level: Processor, code: i32, program: &[&str]) -> Result<()> {
        let traces = self.world.dir();
        let mut command = Command::new(&self.world.tool.path);
        command.args(["rrtest", "exec", "--keep", "always", "--cpu", level.as_str(), "--trace-dir"]);
        command.arg(traces.path()).arg("--").args(program).current_dir(&self.dir);
        clean(&mut command);
        let recorded = Run::of(&mut command).expect(code);
        let replayed = self.take(name, traces.path())?;
        ensure!(
            replayed.stdout == recorded.stdout,
            "{name}: the replay does not print what the recording did: {recorded}"
        );
        Ok(())
    }

    fn python(&self) -> Result<()> {
        if !self.wants("python") {
            return Ok(());
        }
        let script = super::file("programs/threads.py");
        let script = script.to_str().context("a path in UTF-8")?;
        self.program("python", Processor::V2, 0, &["python3", script])
    }

    fn c_programs(&self) -> Result<()> {
        use Processor::{Native, V2, V3};
        for (name, level) in [("strings", V2), ("strings-v3", V3), ("strings-native", Native)] {
            self.c_program(name, "strings.c", &["cc"], level, 7)?;
        }
        self.c_program("strings-static", "strings.c", &["cc", "-static"], V2, 7)?;
        self.c_program("strings-static-v3", "strings.c", &["cc", "-static"], V3, 7)?;
        self.c_program("vectors-v3", "vectors.c", &["cc"], V3, 0)?;
        if crate::faithful::is_installed("musl-gcc") {
            self.c_program("strings-musl", "strings.c", &["musl-gcc", "-static"], V2, 7)?;
        } else {
            self.world.skip(
                "machines: strings-musl",
                "there is no `musl-gcc`, a part of the Debian package musl-tools",
            );
        }
        Ok(())
    }

    fn c_program(
        &self,
        name: &str,
        source: &str,
        compiler: &[&str],
        level: Processor,
        code: i32,
    ) -> Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        compile(compiler, source, &self.dir.join(name))?;
        self.program(name, level, code, &[&format!("./{name}")])
    }
}

/// Compiles one of the C programs.
fn compile(compiler: &[&str], source: &str, out: &Path) -> Result<()> {
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]).args(["-O1", "-fno-builtin", "-o"]).arg(out);
    let run = Run::of(command.arg(super::file("programs").join(source)));
    ensure!(run.status.success(), "{source} does not compile: {run}");
    Ok(())
}

/// What is recorded on another machine: names and shell commands, of programs that are there, and of some that are put
/// into `dir` for it.
pub(super) fn commands(dir: &Path) -> Result<Vec<(String, String)>> {
    fs::copy(super::file("programs/threads.py"), dir.join("threads.py"))?;
    compile(&["cc", "-static"], "strings.c", &dir.join("strings"))?;
    let commands = [
        ("shell", "for i in 1 2 3; do echo $i | tr 1-3 a-c; done | sort -r; ls /; exit 5"),
        (
            "perl",
            "perl -e 'for (1..3) { if (!fork) { exit $_ } wait; print $? >> 8, \"\\n\" } kill USR1 => $$'",
        ),
        ("python", "exec python3 threads.py"),
        ("strings-static", "exec ./strings"),
        ("tar", "tar -cf - /etc/passwd /usr/bin/tar 2> /dev/null | gzip | gzip -d | cksum"),
    ];
    Ok(commands.map(|(name, command)| (name.to_owned(), command.to_owned())).into())
}
