//! The stressors of stress-ng, a Debian package, each with a number of operations that takes about a second at most.
//! `stress_ng.toml` says of each what becomes of it: data that `stress-ng --write` makes and that a slow test checks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::faithful::{Compare, Done, Sandbox, Verdict};

/// Numbers of operations, tried in this order until one is quick.
const OPS: &[u32] = &[100, 10, 1];

/// What takes no longer by itself is quick. Starting and ending alone takes some tenths of a second.
const QUICK: Duration = Duration::from_millis(700);

/// How long a stressor may take by itself.
const NATIVE_LIMIT: Duration = Duration::from_secs(8);

/// How much stressors may write: some write what they can.
const DISK: u64 = 3 << 30;

/// What is expected of a stressor.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Stressor {
    /// How many operations it does.
    pub ops: u32,
    /// What comes of it.
    pub status: Status,
    /// Which call is unsupported, or what is wrong, or why it does not run by itself.
    #[serde(default)]
    pub note: String,
}

/// What comes of a stressor.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It records and replays.
    Ok,
    /// The recorder says what it cannot record.
    Unsupported,
    /// It records and replays, but says itself that it is missing a call: one that the recorder refuses, as a sandbox
    /// does.
    Refused,
    /// Something else: a fault of ours.
    Wrong,
    /// It is not known yet.
    Untried,
    /// It does not run by itself as an ordinary user on the machine that made the table.
    NotHere,
}

/// The table: name to what is expected.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The version of stress-ng.
    pub version: String,
    /// By name.
    pub stressors: BTreeMap<String, Stressor>,
}

impl Table {
    /// The table that is kept.
    ///
    /// # Panics
    /// If it is wrong.
    #[must_use]
    pub fn kept() -> Self {
        toml::from_str(include_str!("stress_ng.toml")).expect("stress_ng.toml")
    }

    /// How many stressors have this status.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.stressors.values().filter(|stressor| stressor.status == status).count()
    }

    /// The text of `stress_ng.toml`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# The stressors of stress-ng, and what comes of recording and replaying each: made by `stress-ng --write`.\n",
        );
        let counted = [
            Status::Ok,
            Status::Unsupported,
            Status::Refused,
            Status::Wrong,
            Status::Untried,
            Status::NotHere,
        ];
        let counts: Vec<_> = counted
            .into_iter()
            .filter(|status| self.count(*status) > 0)
            .map(|status| format!("{} {}", self.count(status), status.name()))
            .collect();
        let _infallible = writeln!(text, "# {}.\n", counts.join(", "));
        let _infallible = writeln!(text, "version = {}\n\n[stressors]", quoted(&self.version));
        for (name, Stressor { ops, status, note }) in &self.stressors {
            let _infallible = write!(text, "{name} = {{ ops = {ops}, status = {}", quoted(status.name()));
            if !note.is_empty() {
                let _infallible = write!(text, ", note = {}", quoted(note));
            }
            text.push_str(" }\n");
        }
        text
    }
}

impl Status {
    /// As in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
            Self::Wrong => "wrong",
            Self::Untried => "untried",
            Self::NotHere => "not-here",
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// stress-ng's version, if it is installed.
#[must_use]
pub fn version() -> Option<String> {
    let output = Command::new("stress-ng").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_once("version ")?.1.split([' ', ',']).next()?;
    Some(version.to_owned())
}

/// The names of all stressors.
///
/// # Errors
/// If stress-ng cannot be run.
pub fn names() -> io::Result<Vec<String>> {
    let output = Command::new("stress-ng").arg("--stressors").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect())
}

/// A place to run stressors in, as an ordinary user.
#[derive(Debug)]
pub struct Stand {
    sandbox: Sandbox,
}

impl Stand {
    /// With this tool, these options of `exec`, and this time for a recording or a replay.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(tool: &Path, way: &[String], limit: Duration) -> io::Result<Self> {
        Ok(Self { sandbox: Sandbox::confined(tool, true, DISK)?.with(way, limit) })
    }

    /// How many operations of a stressor are quick by itself; none are of one that does not run here.
    ///
    /// # Errors
    /// If nothing can be run.
    pub fn measure(&mut self, name: &str) -> io::Result<Stressor> {
        let mut ops = 1;
        for tried in OPS {
            ops = *tried;
            let done = self.native(name, ops)?;
            match done.code {
                Some(0) if done.wall <= QUICK => break,
                Some(0) => {}
                // Fewer operations may come to an end.
                None if ops > 1 => {}
                code => return Ok(Stressor { ops, status: Status::NotHere, note: ending(code) }),
            }
        }
        Ok(Stressor { ops, status: Status::Untried, note: String::new() })
    }

    /// Record and replay a stressor. What it prints has times and process numbers in it: only the exit status is
    /// compared with a run by itself, all of the output with the replay's.
    ///
    /// # Errors
    /// If nothing can be run.
    pub fn try_out(&mut self, name: &str, ops: u32) -> io::Result<Stressor> {
        let native = self.native(name, ops)?;
        if native.code != Some(0) {
            return Ok(Stressor { ops, status: Status::NotHere, note: ending(native.code) });
        }
        let (status, note) = match self.sandbox.try_out("", &words(name, ops), &native, Compare::Status)? {
            Verdict::Faithful(..) => (Status::Ok, String::new()),
            Verdict::Unsupported(what) => (Status::Unsupported, what),
            Verdict::Otherwise(code, stderr) => {
                let failure = failure(&stderr);
                let refused = REFUSALS.iter().any(|refusal| failure.contains(refusal));
                let status = if refused { Status::Refused } else { Status::Wrong };
                (status, format!("exit code {code}: {failure}"))
            }
            Verdict::Wrong(what) => (Status::Wrong, what),
        };
        Ok(Stressor { ops, status, note })
    }

    fn native(&mut self, name: &str, ops: u32) -> io::Result<Done> {
        let limit = std::mem::replace(&mut self.sandbox.limit, NATIVE_LIMIT);
        let done = self.sandbox.native("", &words(name, ops));
        self.sandbox.limit = limit;
        done
    }
}

/// The errors of calls that the recorder refuses, as stress-ng prints them.
const REFUSALS: [&str; 2] = ["errno=1 (", "errno=38 ("];

/// The first failure that stress-ng reports, without its process number.
fn failure(stderr: &str) -> &str {
    let line = stderr.lines().find(|line| line.starts_with("stress-ng: fail:")).unwrap_or_default();
    line.split_once("] ").map_or(line, |(_, what)| what)
}

fn ending(code: Option<i32>) -> String {
    code.map_or("does not end".to_owned(), |code| format!("exit code {code}"))
}

/// The command line of one stressor, which ends by its operations, and by its time where it would do more.
fn words(name: &str, ops: u32) -> Vec<String> {
    let (flag, ops_flag) = (format!("--{name}"), format!("--{name}-ops"));
    let ops = ops.to_string();
    ["stress-ng", "--timeout", "3", "--no-rand-seed", "--temp-path", ".", &flag, "1", &ops_flag, &ops]
        .map(str::to_owned)
        .to_vec()
}
