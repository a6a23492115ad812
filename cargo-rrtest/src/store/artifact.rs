//! What a run of GitHub Actions has uploaded, fetched by GitHub's own program `gh`, which knows who the user is.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::archive;
use super::traces::EXTENSION;
use crate::base::exit::{CliError, Status};
use crate::base::words::{size, visible};

/// What begins the name of a run.
pub(super) const PREFIX: &str = "gh:";

/// How many artifacts a page of the list has, which is the most that GitHub gives, and how many pages are read.
const PER_PAGE: usize = 100;
const MOST_PAGES: usize = 20;

/// What the artifacts are called in which the action uploads several traces. One alone is uploaded as it is, under its own name.
const USUAL: &str = "rrtest-traces";

/// GitHub's own limit is far below that.
const MOST_BYTES: u64 = 8 << 30;

/// A run, and which of its artifacts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    /// `owner/name`.
    repository: &'a str,
    run: &'a str,
    artifact: Option<&'a str>,
}

/// What the interface tells of the artifacts of a run: <https://docs.github.com/rest/actions/artifacts>.
#[derive(Debug, Deserialize)]
struct List {
    artifacts: Vec<Artifact>,
}

#[derive(Debug, Deserialize)]
struct Artifact {
    id: u64,
    name: String,
    #[serde(default)]
    expired: bool,
}

impl<'a> Wanted<'a> {
    /// Of `gh:OWNER/REPOSITORY/RUN[/ARTIFACT]`.
    pub(super) fn parse(text: &'a str) -> Result<Self, CliError> {
        let wrong = || {
            CliError::usage(format!(
                "`{text}` names no run of GitHub Actions\n  it is written gh:OWNER/REPOSITORY/RUN or \
                 gh:OWNER/REPOSITORY/RUN/ARTIFACT, where RUN is the number in the run's address"
            ))
        };
        let rest = text.strip_prefix(PREFIX).ok_or_else(wrong)?;
        let (owner, after) = rest.split_once('/').ok_or_else(wrong)?;
        let (name, after) = after.split_once('/').ok_or_else(wrong)?;
        let (run, artifact) =
            after.split_once('/').map_or((after, None), |(run, artifact)| (run, Some(artifact)));
        let plain = |word: &str| {
            !word.is_empty()
                && !word.starts_with(['-', '.'])
                && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let number = !run.is_empty() && run.chars().all(|c| c.is_ascii_digit());
        if !plain(owner) || !plain(name) || !number || artifact == Some("") {
            return Err(wrong());
        }
        Ok(Self { repository: &rest[..owner.len() + 1 + name.len()], run, artifact })
    }

    /// Fetches what is wanted into a directory, each artifact into one of its own. `part` is a part of the wanted trace's name, if
    /// the user has said one.
    pub(super) fn fetch(&self, part: Option<&str>, into: &Path) -> Result<(), CliError> {
        let mut all = Vec::new();
        for page in 1..=MOST_PAGES {
            let artifacts = self.list(page)?;
            let last = artifacts.len() < PER_PAGE;
            all.extend(artifacts);
            if last {
                break;
            }
        }
        for artifact in self.choose(&all, part)? {
            let dir = into.join(artifact.id.to_string());
            let unwritten = |error| CliError::os(format!("cannot write to {}", dir.display()), &error);
            std::fs::create_dir(&dir).map_err(unwritten)?;
            let raw = dir.join("artifact");
            let mut file = File::create_new(&raw).map_err(unwritten)?;
            gh(&format!("repos/{}/actions/artifacts/{}/zip", self.repository, artifact.id))?
                .read(&mut file)?;
            drop(file);
            let label = format!("the artifact `{}`", visible(&artifact.name));
            unpack_or_name(&raw, &label, &dir, &artifact.name)?;
        }
        Ok(())
    }

    /// A page of the list of the run's artifacts.
    fn list(&self, page: usize) -> Result<Vec<Artifact>, CliError> {
        let Self { repository, run, .. } = self;
        let list =
            gh(&format!("repos/{repository}/actions/runs/{run}/artifacts?per_page={PER_PAGE}&page={page}"))?;
        let mut text = Vec::new();
        list.read(&mut text)?;
        let list: List = serde_json::from_slice(&text).map_err(|error| {
            let message = format!("cannot read what `gh` says of the artifacts of run {run}: {error}");
            CliError::new(Status::Recorder, message)
        })?;
        Ok(list.artifacts)
    }

    /// The artifact that is named; or that which is the wanted trace itself; or all that have traces by their names.
    fn choose<'l>(&self, list: &'l [Artifact], part: Option<&str>) -> Result<Vec<&'l Artifact>, CliError> {
        let fresh = || list.iter().filter(|artifact| !artifact.expired);
        let is_trace = |artifact: &&Artifact| artifact.name.ends_with(&format!(".{EXTENSION}"));
        let chosen: Vec<_> = match (self.artifact, part) {
            (Some(name), _) => fresh().filter(|artifact| artifact.name == name).collect(),
            (None, Some(part)) => {
                let alone: Vec<_> =
                    fresh().filter(is_trace).filter(|artifact| artifact.name.contains(part)).collect();
                let usual = || fresh().filter(|artifact| artifact.name.starts_with(USUAL)).collect();
                if alone.is_empty() { usual() } else { alone }
            }
            (None, None) => {
                fresh().filter(|artifact| is_trace(artifact) || artifact.name.starts_with(USUAL)).collect()
            }
        };
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        let run = format!("run {} of {}", self.run, self.repository);
        let names: Vec<_> = fresh().map(|artifact| format!("\n  {}", visible(&artifact.name))).collect();
        let expired = list.len() - names.len();
        let gone = if expired > 0 { format!(" ({expired} have expired)") } else { String::new() };
        Err(CliError::usage(match (names.is_empty(), self.artifact) {
            (true, _) => format!("{run} has no artifacts{gone}"),
            (false, Some(name)) => format!("{run} has no artifact `{name}`{gone}; it has:{}", names.concat()),
            (false, None) => format!(
                "{run} has no artifact with traces by its name{gone}; add the right one, {PREFIX}{}/{}/ARTIFACT:{}",
                self.repository,
                self.run,
                names.concat()
            ),
        }))
    }
}

/// Unpacks a file that is a zip file, or takes it for the trace of this name.
fn unpack_or_name(raw: &Path, label: &str, dir: &Path, name: &str) -> Result<(), CliError> {
    let unreadable = |error| CliError::os(format!("cannot read {label}"), &error);
    let mut file = File::open(raw).map_err(unreadable)?;
    if archive::is_zip(&mut file).map_err(unreadable)? {
        return archive::unpack(file, label, dir);
    }
    let stem = Path::new(name).file_stem().unwrap_or_default();
    std::fs::rename(raw, dir.join(stem).with_extension(EXTENSION)).map_err(unreadable)
}

/// A call of GitHub's interface that has begun.
struct Call {
    child: std::process::Child,
    address: String,
}

/// Calls GitHub's interface.
fn gh(address: &str) -> Result<Call, CliError> {
    let mut command = Command::new("gh");
    command.args(["api", address]).env("GH_PROMPT_DISABLED", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => CliError::new(
            Status::Recorder,
            "the program `gh` is needed to fetch what a run of GitHub Actions has uploaded\n  install it from \
             https://cli.github.com, then `gh auth login`; or download the artifact in a browser, and replay the zip file",
        ),
        _ => CliError::os("cannot start the program `gh`", &error),
    })?;
    Ok(Call { child, address: address.to_owned() })
}

impl Call {
    /// Reads the answer to its end.
    fn read(mut self, out: &mut impl io::Write) -> Result<(), CliError> {
        let stderr = self.child.stderr.take();
        let said = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What it says is only to be passed on: whatever can be read of it will do.
            let _read = stderr.map(|stderr| stderr.take(64 << 10).read_to_end(&mut text));
            text
        });
        let stdout = self.child.stdout.take();
        let copied = stdout.map_or(Ok(0), |stdout| io::copy(&mut stdout.take(MOST_BYTES + 1), out));
        let too_much = copied.as_ref().is_ok_and(|length| *length > MOST_BYTES);
        if too_much || copied.is_err() {
            // It waits to be read, which nobody does any more.
            let _gone = self.child.kill();
        }
        let status = self.child.wait().map_err(|error| CliError::os("cannot wait for `gh`", &error))?;
        copied.map_err(|error| CliError::os("cannot keep what `gh` has fetched", &error))?;
        if too_much {
            return Err(CliError::new(
                Status::Recorder,
                format!("{} has more than {}", self.address, size(MOST_BYTES)),
            ));
        }
        if status.success() {
            return Ok(());
        }
        let said = said.join().unwrap_or_default();
        let said = visible(String::from_utf8_lossy(&said).trim()).replace('\n', "\n  ");
        Err(CliError::new(Status::Recorder, format!("`gh api {}` failed\n  {said}", self.address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_in_one_way() {
        let wanted = |text| Wanted::parse(text).map_err(|stop| stop.message.expect("a message"));
        assert_eq!(wanted("gh:o/r.s/42"), Ok(Wanted { repository: "o/r.s", run: "42", artifact: None }));
        assert_eq!(
            wanted("gh:o/r/42/a b/c"),
            Ok(Wanted { repository: "o/r", run: "42", artifact: Some("a b/c") })
        );
        for wrong in
            ["gh:", "gh:o/r", "gh:o/r/", "gh:o/r/x", "gh:o/r/42/", "gh:-o/r/42", "gh:../r/42", "gh:o/r?x/42"]
        {
            assert!(wanted(wrong).expect_err(wrong).contains("gh:OWNER/REPOSITORY/RUN"));
        }
    }

    #[test]
    fn artifacts_are_chosen_by_name() {
        let named = |(id, name): (u64, &&str)| Artifact {
            id,
            name: (*name).to_owned(),
            expired: name.starts_with("old"),
        };
        let list = |names: &[&str]| (0..).zip(names).map(named).collect::<Vec<_>>();
        let chosen = |artifact, part, names: &[&str]| {
            let wanted = Wanted { repository: "o/r", run: "42", artifact };
            let list = list(names);
            let chosen = wanted.choose(&list, part).map_err(|stop| stop.message.expect("a message"));
            chosen.map(|chosen| chosen.iter().map(|artifact| artifact.id).collect::<Vec<_>>())
        };
        let names = ["logs", "rrtest-traces-a", "rrtest-traces-b", "p-it-t-abc.rrtrace", "old"];
        assert_eq!(chosen(None, None, &names), Ok(vec![1, 2, 3]));
        assert_eq!(chosen(None, Some("abc"), &names), Ok(vec![3]));
        assert_eq!(chosen(None, Some("xyz"), &names), Ok(vec![1, 2]));
        assert_eq!(chosen(Some("logs"), None, &names), Ok(vec![0]));
        let why = chosen(Some("old"), None, &names).expect_err("expired");
        assert!(why.contains("1 have expired") && why.contains("rrtest-traces-a"), "{why}");
        assert!(chosen(None, None, &["logs"]).expect_err("none").contains("gh:o/r/42/ARTIFACT:\n  logs"));
        assert!(chosen(None, None, &[]).expect_err("none").contains("has no artifacts"));
    }
}
