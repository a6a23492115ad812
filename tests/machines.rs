//! Traces on other machines: recorded here and replayed there, and the other way round.
//!
//! | file | what |
//! |---|---|
//! | `boot.rs` | machines that QEMU emulates: a processor, a Debian release with its kernel |
//! | `samples.rs` | what is recorded |
//! | `table.rs` | what came of it, as a table |
//! | `image.sh` | makes the disk of a machine |
//! | `start.sh` | the first process of a machine |
//! | `replay.sh`, `record.sh` | what a machine does |
//!
//! Machines have nothing of this project but the static program and the traces.

mod boot;
mod samples;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rrtest_engine::record::Processor;

pub use boot::{Disks, Machine, missing};
pub use samples::{Done, Sample, read, record};
pub use table::{Table, Verdict};

/// A file of this folder.
fn file(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/machines")).join(name)
}

/// One of each release and each processor.
#[must_use]
pub fn some() -> Vec<Machine> {
    let pairs = [
        ("bullseye", "Haswell"),
        ("bookworm", "Nehalem"),
        ("bookworm", "EPYC-Rome"),
        ("trixie", "Skylake-Client"),
        ("sid", "max"),
    ];
    pairs.map(|(release, processor)| Machine::new(release, processor)).into()
}

/// All releases with all processors.
#[must_use]
pub fn all() -> Vec<Machine> {
    let processors = ["Nehalem", "Haswell", "Skylake-Client", "EPYC-Rome", "max"];
    let of_release = |release| processors.map(|processor| Machine::new(release, processor));
    ["bullseye", "bookworm", "trixie", "sid"].into_iter().flat_map(of_release).collect()
}

impl Machine {
    /// The most that a program may have been recorded for. QEMU emulates no AVX-512.
    #[must_use]
    pub fn level(&self) -> Processor {
        if self.processor == "Nehalem" { Processor::V2 } else { Processor::V3 }
    }
}

/// Replays samples here, and tells what came of each.
///
/// # Errors
/// If the program does not start.
pub fn replay_here(program: &Path, samples: &[Sample]) -> Result<Vec<Verdict>> {
    let verdict = |sample: &Sample| {
        let dir = sample.trace.parent().context("a directory")?;
        let here = samples::replay(program, dir, &sample.file())?;
        let level = if std::arch::is_x86_feature_detected!("avx2") { Processor::V3 } else { Processor::V2 };
        Ok(Verdict::of(sample, level, Some(&here)))
    };
    samples.iter().map(verdict).collect()
}

/// Replays samples on a machine with this static program, and tells what came of each.
///
/// # Errors
/// If the machine cannot be booted, or a file not be written.
pub fn replay_there(
    disks: &Disks,
    machine: &Machine,
    program: &Path,
    samples: &[Sample],
    dir: &Path,
) -> Result<Vec<Verdict>> {
    let input = Input::new(dir, program, "replay.sh")?;
    fs::create_dir(input.path("traces"))?;
    for sample in samples {
        fs::copy(&sample.trace, input.path("traces").join(sample.file()))?;
    }
    let output = dir.join(machine.to_string().replace('/', "-"));
    disks.run(machine, &input.0, &output)?;
    let done = |sample: &Sample| Done::read(&output.join(sample.file()));
    Ok(samples.iter().map(|sample| Verdict::of(sample, machine.level(), done(sample).as_ref())).collect())
}

/// Records programs on a machine, replays the traces here, and tells what came of each.
///
/// # Errors
/// If the machine cannot be booted, or a file not be written.
pub fn record_there(disks: &Disks, machine: &Machine, program: &Path, dir: &Path) -> Result<Table> {
    let input = Input::new(dir, program, "record.sh")?;
    let commands = samples::commands(&input.0)?;
    let lines: String = commands.iter().map(|(name, command)| format!("{name} {command}\n")).collect();
    fs::write(input.path("programs"), lines)?;
    let output = dir.join(format!("{}-records", machine.to_string().replace('/', "-")));
    disks.run(machine, &input.0, &output)?;
    let mut verdicts = Vec::new();
    for (name, _) in &commands {
        let file = format!("{name}.rrtrace");
        let recorded = Done::read(&output.join(&file));
        verdicts.push(Verdict::of_replay_here(recorded.as_ref(), &samples::replay(program, &output, &file)?));
    }
    let mut table = Table::new(commands.into_iter().map(|(name, _)| name).collect());
    table.add(format!("recorded on {machine}"), verdicts);
    Ok(table)
}

/// What a machine gets: a directory, deleted when dropped.
struct Input(PathBuf);

impl Input {
    fn new(dir: &Path, program: &Path, job: &str) -> Result<Self> {
        let input = Self(dir.join("input"));
        fs::create_dir_all(&input.0)?;
        fs::copy(program, input.path("cargo-rrtest")).context("the static program")?;
        fs::copy(file(job), input.path("job"))?;
        Ok(input)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // Nothing depends on it.
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// Makes the static program by the command that CONTRIBUTING.md has. Returns its path.
///
/// # Errors
/// If it does not build.
pub fn static_program() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".ci");
    let mut command = std::process::Command::new(root.join("static"));
    crate::tool::clean(&mut command);
    let output = command.stderr(std::process::Stdio::inherit()).output().context("run .ci/static")?;
    ensure!(output.status.success(), "the static program does not build");
    let path = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(path.trim_end()))
}
