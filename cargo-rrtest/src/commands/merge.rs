//! `merge`: what the machines of a CI matrix found, together.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::options::values::Report;
use crate::base::exit::{CliError, Status};
use crate::base::terminal::{self, BAD, CAUTION, GOOD};
use crate::base::words::{count, visible};

/// What we need of a line that `--message-format json` writes. Other fields and events are not our business.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Attempt {
        binary: String,
        test: Option<String>,
        seed: String,
        outcome: String,
        trace: Option<PathBuf>,
    },
    NotBuilt {
        exit_code: u8,
    },
    Summary {
        #[serde(default)]
        never_ended: Vec<String>,
        #[serde(default)]
        never_ran: Vec<String>,
        exit_code: u8,
    },
    #[serde(other)]
    Other,
}

/// What is known of a test from all runs.
#[derive(Debug, Default, Serialize)]
struct Test {
    attempts: u64,
    failed: u64,
    /// Attempts that failed for reasons of ours.
    errors: u64,
    /// The seed of the first attempt that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    traces: Vec<PathBuf>,
}

/// All runs together.
#[derive(Debug, Default)]
struct Merged {
    runs: usize,
    tests: BTreeMap<String, Test>,
    never_ended: Vec<String>,
    never_ran: Vec<String>,
    /// Those whose tests could not be built.
    not_built: Vec<PathBuf>,
    /// Runs that ended before they had written a summary.
    incomplete: Vec<PathBuf>,
    /// The exit codes of the others.
    exit_codes: Vec<u8>,
}

/// So many tests are named of those that never ran or ended.
const NAMED: usize = 20;

/// Exit codes, the worst first: a failed test is the news, whatever else went wrong.
const WORST: &[Status] = &[
    Status::Failed,
    Status::Recorder,
    Status::Usage,
    Status::Interrupted,
    Status::Unread,
    Status::NeverRan,
    Status::NoTests,
    Status::Success,
];

/// Read the reports, and say what they say together. Ends as the worst of the runs did.
pub(crate) fn run(files: &[PathBuf], report: Report) -> Result<u8, CliError> {
    let mut merged = Merged::default();
    for file in files {
        let text = fs::read_to_string(file)
            .map_err(|error| CliError::usage(format!("cannot read {}: {error}", file.display())))?;
        merged.add(file, &text)?;
    }
    merged.finish();
    let exit_code = merged.exit_code();
    match report {
        Report::Json => terminal::print(&(merged.json(exit_code)? + "\n"))?,
        _ => {
            let mut text = Vec::new();
            let written = merged.write(&mut text).and_then(|()| anstream::stderr().lock().write_all(&text));
            written.map_err(|error| CliError::unwritten("cannot write to standard error", &error))?;
        }
    }
    Ok(exit_code)
}

impl Merged {
    fn add(&mut self, file: &Path, text: &str) -> Result<(), CliError> {
        self.runs += 1;
        let mut ended = false;
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).peekable();
        while let Some((number, line)) = lines.next() {
            let line = match serde_json::from_str(line) {
                Ok(line) => line,
                // A run that was killed may have written half a line.
                Err(error) if error.is_eof() && lines.peek().is_none() => break,
                Err(error) => {
                    return Err(CliError::usage(format!(
                        "{}:{number}: not a line of --message-format json: {error}",
                        file.display()
                    )));
                }
            };
            match line {
                Line::Attempt { binary, test, seed, outcome, trace } => {
                    let id = test.map_or_else(|| binary.clone(), |test| format!("{binary} {test}"));
                    self.tests.entry(id).or_default().count(&outcome, seed, trace);
                }
                Line::NotBuilt { exit_code } => {
                    self.not_built.push(file.to_owned());
                    self.exit_codes.push(exit_code);
                    ended = true;
                }
                Line::Summary { never_ended, never_ran, exit_code } => {
                    self.never_ended.extend(never_ended);
                    self.never_ran.extend(never_ran);
                    self.exit_codes.push(exit_code);
                    ended = true;
                }
                Line::Other => {}
            }
        }
        if !ended {
            self.incomplete.push(file.to_owned());
        }
        Ok(())
    }

    /// A test that has run on one machine has run.
    fn finish(&mut self) {
        for names in [&mut self.never_ended, &mut self.never_ran] {
            names.sort_unstable();
            names.dedup();
            names.retain(|name| self.tests.get(name).is_none_or(|test| test.attempts == 0));
        }
        let Self { never_ended, never_ran, .. } = self;
        never_ran.retain(|name| never_ended.binary_search(name).is_err());
    }

    /// That of the worst run. A run of which there is no end is a failure of ours.
    fn exit_code(&self) -> u8 {
        let incomplete = (!self.incomplete.is_empty()).then_some(Status::Recorder as u8);
        let codes: Vec<u8> = self.exit_codes.iter().copied().chain(incomplete).collect();
        let worst = WORST.iter().map(|status| *status as u8).find(|status| codes.contains(status));
        // A code of a later version of ours is not known to be harmless.
        let unknown = codes.iter().copied().find(|code| !WORST.iter().any(|status| *status as u8 == *code));
        match (worst, unknown) {
            (Some(worst), None) => worst,
            (Some(worst), _) if worst == Status::Failed as u8 => worst,
            (_, Some(unknown)) => unknown,
            (None, None) => Status::Success as u8,
        }
    }

    fn attempts(&self) -> u64 {
        self.tests.values().map(|test| test.attempts).sum()
    }

    fn json(&self, exit_code: u8) -> Result<String, CliError> {
        #[derive(Serialize)]
        struct Line<'a> {
            event: &'static str,
            runs: usize,
            attempts: u64,
            tests: &'a BTreeMap<String, Test>,
            never_ended: &'a [String],
            never_ran: &'a [String],
            not_built: &'a [PathBuf],
            incomplete: &'a [PathBuf],
            exit_code: u8,
        }
        let Self { runs, tests, never_ended, never_ran, not_built, incomplete, .. } = self;
        let attempts = self.attempts();
        let line = Line {
            event: "merged",
            runs: *runs,
            attempts,
            tests,
            never_ended,
            never_ran,
            not_built,
            incomplete,
            exit_code,
        };
        serde_json::to_string(&line).map_err(|error| CliError::os("cannot write the summary", &error.into()))
    }

    fn write(&self, text: &mut impl Write) -> std::io::Result<()> {
        let failed: Vec<_> = self.tests.iter().filter(|(_, test)| test.failed > 0).collect();
        let all_ran = self.never_ended.is_empty() && self.never_ran.is_empty() && self.incomplete.is_empty();
        let style = match (failed.is_empty() && self.never_ended.is_empty(), self.exit_code()) {
            (false, _) => BAD,
            (true, code) if code != 0 || !all_ran => CAUTION,
            (true, _) => GOOD,
        };
        write!(text, "{style}      Merged{style:#} {}: ", count(self.runs as u64, "run"))?;
        let tests = count(self.tests.len() as u64, "test");
        write!(text, "{} of {tests}", count(self.attempts(), "attempt"))?;
        write!(text, ", {} failed", count(failed.len() as u64, "test"))?;
        let named = [("never ended", &self.never_ended), ("never ran", &self.never_ran)];
        for (what, names) in named.iter().filter(|(_, names)| !names.is_empty()) {
            write!(text, ", {} {what}", names.len())?;
        }
        writeln!(text)?;
        for (name, Test { attempts, failed, seed, traces, .. }) in &failed {
            let percent = *failed as f64 * 100.0 / *attempts as f64;
            let name = visible(name);
            writeln!(
                text,
                "{BAD}      failed{BAD:#} {name}: {failed} of {} ({percent:.1}%)",
                count(*attempts, "attempt")
            )?;
            if let Some(seed) = seed {
                writeln!(text, "        seed {}", visible(seed))?;
            }
            for trace in traces {
                writeln!(text, "       trace {}", visible(&trace.display().to_string()))?;
            }
        }
        for (name, test) in self.tests.iter().filter(|(_, test)| test.errors > 0) {
            writeln!(
                text,
                "{CAUTION}       error{CAUTION:#} {}: {} of ours",
                visible(name),
                count(test.errors, "error")
            )?;
        }
        for (what, names) in named {
            for name in names.iter().take(NAMED) {
                writeln!(text, "{BAD}{what:>12}{BAD:#} {}", visible(name))?;
            }
            if names.len() > NAMED {
                writeln!(
                    text,
                    "             and {} more, which --message-format json names",
                    names.len() - NAMED
                )?;
            }
        }
        for file in &self.not_built {
            writeln!(
                text,
                "{BAD}   not built{BAD:#} {}: the tests could not be built, or not in time",
                file.display()
            )?;
        }
        if self.exit_codes.contains(&(Status::Interrupted as u8)) {
            writeln!(text, "{CAUTION} interrupted{CAUTION:#} a run was ended before its time")?;
        }
        for file in &self.incomplete {
            writeln!(
                text,
                "{CAUTION}  incomplete{CAUTION:#} {}: the run ended before its summary",
                file.display()
            )?;
        }
        Ok(())
    }
}

impl Test {
    fn count(&mut self, outcome: &str, seed: String, trace: Option<PathBuf>) {
        match outcome {
            // It had no end.
            "unfinished" => return self.traces.extend(trace),
            "failed" | "crashed" | "deadlocked" | "hung" => {
                self.failed += 1;
                self.seed.get_or_insert(seed);
            }
            "passed" => {}
            _ => self.errors += 1,
        }
        self.attempts += 1;
        self.traces.extend(trace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: &str = r#"{"event":"attempt","package":"p","binary":"p::it","test":"t","attempt":3,"seed":"0xabc","outcome":"passed","trace":null}"#;

    fn failed(test: &str) -> String {
        ATTEMPT
            .replace(r#""t""#, &format!("{test:?}"))
            .replace("passed", "failed")
            .replace("null", r#""/traces/x.rrtrace""#)
    }

    fn summary(rest: &str, exit_code: u8) -> String {
        format!(
            r#"{{"event":"summary","attempts":1,"tests":1,"failed":[]{rest},"exit_code":{exit_code},"wall_ms":9.0}}"#
        )
    }

    fn merged(files: &[String]) -> Result<Merged, CliError> {
        let mut merged = Merged::default();
        (0..)
            .zip(files)
            .try_for_each(|(number, text)| merged.add(Path::new(&format!("{number}.json")), text))?;
        merged.finish();
        Ok(merged)
    }

    #[test]
    fn rates_are_over_all_runs() {
        let files = [
            [ATTEMPT, ATTEMPT, &summary(r#","never_ran":["p::it u","p::it v"]"#, 5)].join("\n"),
            [&failed("t"), ATTEMPT, r#"{"event":"interference"}"#, &summary("", 101)].join("\n"),
            [&failed("u"), r#"{"event":"atte"#].join("\n"),
            r#"{"event":"not_built","reason":"failed","message":"no","exit_code":101}"#.to_owned(),
        ];
        let merged = merged(&files).expect("reports");
        let mut text = Vec::new();
        merged.write(&mut text).expect("memory");
        let text = anstream::adapter::strip_str(std::str::from_utf8(&text).expect("text")).to_string();
        insta::assert_snapshot!(format!("{text}\n{}", merged.json(merged.exit_code()).expect("json")));
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst_run() {
        let code = |codes: &[u8]| {
            let files: Vec<_> = codes.iter().map(|code| summary("", *code)).collect();
            merged(&files).expect("reports").exit_code()
        };
        assert_eq!(
            (code(&[0, 0]), code(&[0, 5, 4]), code(&[5, 101, 70]), code(&[0, 70, 5])),
            (0, 5, 101, 70)
        );
        assert_eq!((code(&[0, 99]), code(&[101, 99])), (99, 101));
        assert_eq!(merged(&[String::new()]).expect("a report").exit_code(), 70, "it has no end");
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let stop = merged(&["hello\n".to_owned() + ATTEMPT]).expect_err("no report");
        assert!(stop.message.expect("a message").starts_with("0.json:1: not a line of"));
    }
}
