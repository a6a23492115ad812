//! Boots machines: QEMU's emulation in software, with the disk of a stock Debian system.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The programs it takes, and the Debian packages that have them.
const NEEDS: &[(&str, &str)] =
    &[("qemu-system-x86_64", "qemu-system-x86"), ("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs")];

/// Seconds after which a machine is ended.
const PATIENCE: &str = "3000";

/// Place for what a job leaves.
const OUTPUT: u64 = 256 << 20;

/// A processor and a Debian release, with its kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The release.
    pub release: String,
    /// What QEMU calls the processor (`-cpu help`).
    pub processor: String,
}

impl Machine {
    /// One of each.
    #[must_use]
    pub fn new(release: &str, processor: &str) -> Self {
        Self { release: release.to_owned(), processor: processor.to_owned() }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.release, self.processor)
    }
}

impl std::str::FromStr for Machine {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (release, processor) = text.split_once('/').context("a machine is RELEASE/PROCESSOR")?;
        Ok(Self::new(release, processor))
    }
}

/// Why no machine can be booted here.
#[must_use]
pub fn missing() -> Option<String> {
    let lacks = |program: &str| !crate::faithful::is_installed(program);
    let (program, package) = NEEDS.iter().find(|(program, _)| lacks(program))?;
    Some(format!("there is no `{program}`, which is in the Debian package {package}"))
}

/// The disks of machines, in a directory. They are made when they are needed for the first time.
#[derive(Debug)]
pub struct Disks(PathBuf);

impl Disks {
    /// Those in this directory.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self(dir.canonicalize()?))
    }

    fn part(&self, release: &str, part: &str) -> PathBuf {
        self.0.join(format!("{release}.{part}"))
    }

    fn make(&self, release: &str) -> Result<()> {
        if self.part(release, "disk").exists() {
            return Ok(());
        }
        println!("making the disk of {release}");
        let script = super::file("image.sh");
        let made = Command::new("sh").arg(script).arg(release).arg(&self.0).status()?;
        ensure!(made.success(), "the disk of {release} cannot be made");
        Ok(())
    }

    /// Boots a machine, which runs the script `job` of the directory `input`, and puts what that leaves into `output`,
    /// with what the machine wrote to its console. Returns when it has ended.
    ///
    /// # Errors
    /// If it cannot be booted or does not come to an end.
    pub fn run(&self, machine: &Machine, input: &Path, output: &Path) -> Result<()> {
        let release = &machine.release;
        self.make(release)?;
        fs::create_dir_all(output)?;
        let archives = tempfile::tempdir_in(&self.0)?;
        let [into, from] = ["in", "out"].map(|name| archives.path().join(name));
        tar(Command::new("tar").arg("-cf").arg(&into).arg("-C").arg(input).arg("."))?;
        File::create(&from)?.set_len(OUTPUT)?;
        let console = output.join("console");
        let mut qemu = Command::new("timeout");
        qemu.args([PATIENCE, "qemu-system-x86_64", "-accel", "tcg", "-smp", "1", "-m", "1536M", "-cpu"]);
        qemu.arg(&machine.processor);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial"]);
        qemu.arg(format!("file:{}", console.display()));
        qemu.arg("-kernel")
            .arg(self.part(release, "kernel"))
            .arg("-initrd")
            .arg(self.part(release, "initrd"));
        qemu.args([
            "-append",
            "console=ttyS0 quiet panic=-1 no_timer_check root=/dev/vda ro init=/sbin/start",
        ]);
        for (file, more) in
            [(&self.part(release, "disk"), ",snapshot=on"), (&into, ",readonly=on"), (&from, "")]
        {
            qemu.arg("-drive").arg(format!("if=virtio,format=raw,file={}{more}", file.display()));
        }
        qemu.stdin(Stdio::null()).stderr(File::create(output.join("qemu"))?);
        let ended = qemu.status()?;
        ensure!(ended.success(), "{machine} did not come to its end ({ended}): see {}", output.display());
        tar(Command::new("tar").arg("-xf").arg(&from).args(["--strip-components=1", "-C"]).arg(output))
            .with_context(|| format!("{machine} left nothing: see {}", console.display()))
    }
}

fn tar(command: &mut Command) -> Result<()> {
    let done = command.stderr(Stdio::null()).status()?;
    ensure!(done.success(), "{command:?}: {done}");
    Ok(())
}
