//! The report for people, on standard error, in the manner of cargo and nextest.

use std::io::{self, Write};

use anstyle::Style;
use indicatif::ProgressBar;
use rrtest_engine::record::Time;
use rrtest_engine::schedule::surprise::Struck;

use super::github::command::Guard;
use super::summary;
use crate::attempt::events::{Attempt, Interference, Reporter, RunEvent, Started, Summary};
use crate::attempt::needy;
use crate::attempt::order::Ran;
use crate::base::exit::CliError;
use crate::base::terminal::{BAD, BOLD, CAUTION, DIM, GOOD};
use crate::base::words::{self, relative, shell_word};
use crate::ending::backtrace::Frames;
use crate::ending::describe;
use crate::ending::outcome::Outcome;
use crate::ending::output;
use crate::ending::strikes;

/// How much to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// Failures only.
    Quiet,
    /// Passed attempts too, unless there are many.
    Normal,
    /// Every attempt.
    Verbose,
}

/// Writes the report.
#[derive(Debug)]
pub(crate) struct Display {
    detail: Detail,
    /// Whether each test is run more than once.
    repeats: bool,
    /// To be cleared from the terminal while we write.
    bar: ProgressBar,
    /// Around what tests have written, where the runner of a CI system would take some of it for a command.
    guard: Option<Guard>,
}

impl Display {
    /// Write around this progress bar.
    pub(crate) fn new(detail: Detail, bar: ProgressBar, guard: Option<Guard>) -> Self {
        Self { detail, repeats: false, bar, guard }
    }
}

impl Reporter for Display {
    fn report(&mut self, event: &RunEvent) -> Result<(), CliError> {
        if let RunEvent::Started(started) = event {
            self.repeats = started.attempts.is_none_or(|attempts| attempts > started.tests as u64);
        }
        // All of an event at once, so that what others write does not come in between.
        let mut text = Vec::new();
        let written = write(&mut text, event, self.detail, self.repeats);
        if let Some(guard) = self.guard.as_ref().filter(|_| tells_of_output(event) && !text.is_empty()) {
            guard.enclose(&mut text);
        }
        let written = written.and_then(|()| self.bar.suspend(|| anstream::stderr().lock().write_all(&text)));
        written.map_err(|error| CliError::unwritten("cannot write to standard error", &error))
    }
}

/// Whether what is said of an event may have parts that a test has written.
fn tells_of_output(event: &RunEvent) -> bool {
    match event {
        RunEvent::Attempt(attempt) => attempt.outcome != Outcome::Passed,
        RunEvent::Warning(_) => true,
        RunEvent::Started(_) | RunEvent::Joined(_) | RunEvent::Interference(_) | RunEvent::Summary(_) => {
            false
        }
    }
}

/// Writes what there is to say of an event. `repeats` is whether each test is run more than once.
pub(super) fn write(
    text: &mut impl Write,
    event: &RunEvent,
    detail: Detail,
    repeats: bool,
) -> io::Result<()> {
    let says_passed = detail == Detail::Verbose || (detail == Detail::Normal && !repeats);
    match event {
        RunEvent::Started(_) | RunEvent::Joined(_) | RunEvent::Interference(_) if detail == Detail::Quiet => {
            Ok(())
        }
        RunEvent::Started(started) => write_started(text, started),
        RunEvent::Joined(level) => {
            writeln!(text, "{GOOD}     Joining{GOOD:#} the attempts: --preempt {}", level.name())
        }
        RunEvent::Attempt(attempt) if attempt.outcome == Outcome::Passed && !says_passed => Ok(()),
        RunEvent::Attempt(attempt)
            if attempt.outcome == Outcome::Unsupported && attempt.repeats.is_some() =>
        {
            Ok(())
        }
        RunEvent::Attempt(attempt) => write_attempt(text, attempt, repeats),
        RunEvent::Interference(interference) => write_interference(text, interference),
        RunEvent::Warning(warning) => writeln!(text, "{CAUTION}warning{CAUTION:#}{BOLD}:{BOLD:#} {warning}"),
        RunEvent::Summary(summary) => write_summary(text, summary),
    }
}

fn write_started(text: &mut impl Write, started: &Started) -> io::Result<()> {
    let binaries = words::binaries(started.binaries);
    let what = match started.together {
        true => format!("the tests of {binaries} together"),
        false => format!("{} in {binaries}", words::count(started.tests as u64, "test")),
    };
    let mut how = vec![format!("{} side by side", started.slots)];
    how.extend(started.until_fail.then(|| "until one fails".to_owned()));
    how.extend(started.time.map(|time| format!("for {}", humantime::format_duration(time))));
    how.push(format!("seed {}", started.seed));
    writeln!(text, "{GOOD}   Recording{GOOD:#} {what}, {}", how.join(", "))
}

fn label(outcome: Outcome) -> (&'static str, Style) {
    match outcome {
        Outcome::Passed => ("PASS", GOOD),
        Outcome::Failed => ("FAIL", BAD),
        Outcome::Crashed => ("CRASH", BAD),
        Outcome::Deadlocked => ("DEADLOCK", BAD),
        Outcome::Hung => ("HUNG", BAD),
        Outcome::Unfinished => ("UNFINISHED", CAUTION),
        Outcome::Unsupported => ("UNSUPPORTED", CAUTION),
        Outcome::Error => ("ERROR", CAUTION),
    }
}

fn write_attempt(text: &mut impl Write, attempt: &Attempt, repeats: bool) -> io::Result<()> {
    let (label, style) = label(attempt.outcome);
    let test = &attempt.test;
    write!(text, "{style}{label:>12}{style:#} {} ", words::seconds(attempt.wall))?;
    write!(text, "{BOLD}{}{BOLD:#} {}", test.binary, test.title())?;
    if repeats {
        write!(text, " {DIM}(attempt {}){DIM:#}", attempt.number)?;
    }
    writeln!(text)?;
    if attempt.outcome == Outcome::Passed {
        return write_trace(text, attempt);
    }
    if let Some(first) = attempt.repeats {
        let trace = if attempt.message.is_none() { "is kept" } else { "cannot be kept either" };
        return writeln!(
            text,
            "             the same failure as in attempt {first}, whose trace {trace} (seed {})",
            attempt.seed
        );
    }
    write_output(text, attempt)?;
    for line in attempt
        .ending
        .iter()
        .flat_map(|ending| describe::ending(ending, Frames::Own))
        .filter(|_| attempt.outcome.is_failure() || attempt.outcome == Outcome::Unfinished)
    {
        writeln!(text, "    {line}")?;
    }
    for line in attempt.explanation.iter().flat_map(|explanation| explanation.lines()) {
        writeln!(text, "    {line}")?;
    }
    for line in attempt.message.iter().flat_map(|message| message.lines()) {
        writeln!(text, "    {style}{line}{style:#}")?;
    }
    writeln!(
        text,
        "     attempt {}, seed {}, strategy {}, preempt {}{}: {}, {}{}",
        attempt.number,
        attempt.seed,
        attempt.strategy.as_str(),
        attempt.level.name(),
        if attempt.time == Time::Virtual { ", time virtual" } else { "" },
        words::count(attempt.stats.ticks, "tick"),
        words::count(attempt.stats.preemptions, "preemption"),
        surprises(attempt.struck),
    )?;
    for (index, line) in attempt.ran.iter().flat_map(Ran::lines).enumerate() {
        let label = if index == 0 { "order" } else { "" };
        writeln!(text, "{label:>12} {line}")?;
    }
    if attempt.passes_together {
        writeln!(text, "             {}", needy::SENTENCE)?;
    }
    if attempt.outcome.is_failure() {
        for sentence in strikes::sentences(&attempt.strikes) {
            writeln!(text, "             {sentence}")?;
        }
        if let Some(advice) = strikes::advice(&attempt.strikes) {
            writeln!(text, "             {DIM}{advice}{DIM:#}")?;
        }
    }
    write_trace(text, attempt)?;
    writeln!(text)
}

fn write_interference(text: &mut impl Write, interference: &Interference) -> io::Result<()> {
    let Interference { test, number, outcome, wall, thing, with, .. } = interference;
    write!(text, "{CAUTION}   DISTURBED{CAUTION:#} {} ", words::seconds(*wall))?;
    write!(text, "{BOLD}{}{BOLD:#} {} {DIM}(attempt {number}){DIM:#}: ", test.binary, test.title())?;
    write!(text, "{} while ", outcome.name())?;
    match with {
        Some((test, number)) => write!(text, "{} (attempt {number})", test.id())?,
        None => write!(text, "another `cargo rrtest`")?,
    }
    writeln!(text, " also used {thing}; it passes alone")
}

/// What has surprised an attempt, if anything has.
fn surprises(struck: Struck) -> String {
    if struck.is_empty() { String::new() } else { format!("; surprises: {struck}") }
}

fn write_output(text: &mut impl Write, attempt: &Attempt) -> io::Result<()> {
    let output = output::both(&attempt.output);
    if output.trim().is_empty() {
        return Ok(());
    }
    writeln!(text, "{DIM}  output ───{DIM:#}")?;
    for line in output.trim_matches('\n').lines() {
        writeln!(text, "    {line}")?;
    }
    writeln!(text, "{DIM}  ──────────{DIM:#}")
}

fn write_trace(text: &mut impl Write, attempt: &Attempt) -> io::Result<()> {
    let Some(kept) = &attempt.trace else { return Ok(()) };
    // Whatever is wrong has been said, unless it has not been found out.
    let verified = match (kept.verified, &attempt.message) {
        (true, _) => "verified",
        (false, Some(_)) => "does not replay",
        (false, None) => "not verified",
    };
    writeln!(text, "       trace {} ({verified})", relative(&kept.path).display())?;
    if kept.verified {
        let name = match kept.path.file_stem().filter(|_| kept.by_name) {
            Some(name) => name.to_string_lossy(),
            None => relative(&kept.path).to_string_lossy(),
        };
        let name = shell_word(&name);
        writeln!(text, "      replay {BOLD}cargo rrtest replay {name}{BOLD:#}")?;
    }
    Ok(())
}

fn write_summary(text: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let style = match summary {
        Summary { failures: 1.., .. } => BAD,
        Summary { never_ended, .. } if !never_ended.is_empty() => BAD,
        Summary { errors: 1.., .. } | Summary { interrupted: true, .. } => CAUTION,
        _ => GOOD,
    };
    write!(text, "{style}     Summary{style:#} {} ", words::seconds(summary.wall))?;
    let attempts = words::count(summary.attempts, "attempt");
    let tests = match summary.together {
        true => words::binaries(summary.tests),
        false => words::count(summary.tests as u64, "test"),
    };
    write!(text, "{attempts} of {tests}: ")?;
    write!(text, "{} passed, {} failed", summary.passed, summary.failures)?;
    if summary.errors > 0 {
        write!(text, ", {}", words::count(summary.errors, "error"))?;
    }
    writeln!(text, "{}", if summary.interrupted { " (interrupted)" } else { "" })?;
    for test in &summary.failed {
        writeln!(text, "{BAD}      failed{BAD:#} {test}")?;
    }
    for never in &summary.never_ended {
        let (what, why) = summary::never_ended(never);
        writeln!(text, "{BAD}{what:>12}{BAD:#} {}: {why}", never.test.id())?;
    }
    for explored in &summary.explored {
        let style = if explored.complete { GOOD } else { CAUTION };
        let fails = summary.failed.contains(&explored.test);
        writeln!(
            text,
            "{style}    Explored{style:#} {}: {}",
            explored.test,
            summary::explored(explored, fails)
        )?;
    }
    Ok(())
}

/// Say where an attempt's trace is, if it was kept.
pub(crate) fn trace(attempt: &Attempt) {
    let mut text = Vec::new();
    // Nothing can be done if standard error is closed.
    let _written = write_trace(&mut text, attempt).and_then(|()| anstream::stderr().lock().write_all(&text));
}

#[cfg(test)]
#[path = "display_tests.rs"]
mod tests;
