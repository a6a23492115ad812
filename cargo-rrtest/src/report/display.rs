//! The report for people, on standard error, in the manner of cargo and nextest.

use std::io::{self, Write};

use anstyle::Style;
use indicatif::ProgressBar;
use rrtest_engine::record::Time;
use rrtest_engine::schedule::surprise::Struck;

use super::github::command::Guard;
use super::summary;
use crate::attempt::events::{
    Attempt, Explained, Interference, Kept, Reporter, RunEvent, Slow, Started, Summary, Verified,
};
use crate::attempt::needy;
use crate::attempt::order::Ran;
use crate::attempt::pins::PinCounts;
use crate::base::exit::{CliError, Status};
use crate::base::terminal::{BAD, BOLD, CAUTION, DIM, GOOD};
use crate::base::words::{self, relative, shell_word};
use crate::discover::libtest::Shown;
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

/// What to say, and what not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) detail: Detail,
    /// Whose output is shown.
    pub(super) shown: Shown,
    /// Whether each test is run more than once.
    pub(super) repeats: bool,
}

/// Writes the report.
#[derive(Debug)]
pub(crate) struct Display {
    manner: Manner,
    /// To be cleared from the terminal while we write.
    bar: ProgressBar,
    /// Around what tests have written, where the runner of a CI system would take some of it for a command.
    guard: Option<Guard>,
}

impl Display {
    /// Write around this progress bar.
    pub(crate) fn new(detail: Detail, shown: Shown, bar: ProgressBar, guard: Option<Guard>) -> Self {
        Self { manner: Manner { detail, shown, repeats: false }, bar, guard }
    }
}

impl Reporter for Display {
    fn report(&mut self, event: &RunEvent) -> Result<(), CliError> {
        if let RunEvent::Started(started) = event {
            self.manner.repeats = started.attempts.is_none_or(|attempts| attempts > started.tests as u64);
        }
        // All of an event at once, so that what others write does not come in between.
        let mut text = Vec::new();
        let written = write(&mut text, event, self.manner);
        if text.is_empty() {
            return Ok(());
        }
        if let Some(guard) = self.guard.as_ref().filter(|_| tells_of_output(event)) {
            guard.enclose(&mut text);
        }
        let written = written.and_then(|()| self.bar.suspend(|| anstream::stderr().lock().write_all(&text)));
        written.map_err(|error| CliError::unwritten("cannot write to standard error", &error))
    }
}

/// Whether what is said of an event may have parts that a test or a build has written.
fn tells_of_output(event: &RunEvent) -> bool {
    match event {
        RunEvent::Attempt(attempt) => attempt.outcome != Outcome::Passed,
        // These name what the test has named: files, threads.
        RunEvent::Interference(_) | RunEvent::Explained(_) | RunEvent::Verified(_) => true,
        RunEvent::Warning(_) | RunEvent::NotBuilt(_) => true,
        _ => false,
    }
}

/// Writes what there is to say of an event.
pub(super) fn write(text: &mut impl Write, event: &RunEvent, manner: Manner) -> io::Result<()> {
    let Manner { detail, .. } = manner;
    match event {
        RunEvent::NotBuilt(_) | RunEvent::Begun(_) | RunEvent::Left(_) | RunEvent::Pin(_) => Ok(()),
        RunEvent::Started(_) | RunEvent::Joined(_) | RunEvent::Interference(_) | RunEvent::Slow(_)
            if detail == Detail::Quiet =>
        {
            Ok(())
        }
        RunEvent::Started(started) => write_started(text, started),
        RunEvent::Joined(level) => {
            writeln!(text, "{GOOD}     Joining{GOOD:#} the attempts: --preempt {}", level.name())
        }
        RunEvent::Attempt(attempt) if says(attempt, manner) => write_attempt(text, attempt, manner),
        RunEvent::Attempt(_) => Ok(()),
        RunEvent::Slow(slow) => write_slow(text, slow),
        RunEvent::Interference(interference) => write_interference(text, interference),
        RunEvent::Explained(explained) => write_explained(text, explained),
        RunEvent::Verified(verified) => write_verified(text, verified),
        RunEvent::Warning(warning) => writeln!(text, "{CAUTION}warning{CAUTION:#}{BOLD}:{BOLD:#} {warning}"),
        RunEvent::Summary(summary) if detail == Detail::Quiet && !has_news(summary) => Ok(()),
        RunEvent::Summary(summary) => write_summary(text, summary, detail),
    }
}

/// Whether there is anything to say of an attempt that has ended.
fn says(attempt: &Attempt, manner: Manner) -> bool {
    match attempt.outcome {
        Outcome::Passed => match manner.detail {
            Detail::Quiet => false,
            Detail::Normal => !manner.repeats || manner.shown == Shown::OfAll,
            Detail::Verbose => true,
        },
        Outcome::Unsupported => attempt.repeats.is_none(),
        // The summary counts failures that are like an earlier one.
        _ => attempt.repeats.is_none() || attempt.pinned.is_some() || manner.detail == Detail::Verbose,
    }
}

/// Whether a summary says anything but that all tests have passed.
fn has_news(summary: &Summary) -> bool {
    summary.passed != summary.attempts || summary.interrupted || !summary.never_ended.is_empty()
}

fn write_slow(text: &mut impl Write, slow: &Slow) -> io::Result<()> {
    let Slow { test, number, wall } = slow;
    write!(text, "{CAUTION}        SLOW{CAUTION:#} [> {:>6.3}s] ", wall.as_secs_f64())?;
    let attempt = words::attempt(*number);
    writeln!(text, "{BOLD}{}{BOLD:#} {} {DIM}({attempt}){DIM:#}", test.binary, test.title())
}

fn write_started(text: &mut impl Write, started: &Started) -> io::Result<()> {
    let binaries = words::binaries(started.binaries);
    let what = match started.together {
        true => format!("the tests of {binaries} together"),
        false => format!("{} in {binaries}", words::count(started.tests as u64, "test")),
    };
    let mut how = vec![format!("{} side by side", started.slots)];
    how.extend(started.until_fail.then(|| "until one fails".to_owned()));
    how.extend(started.time.map(|time| format!("for {}", words::rounded(time))));
    how.extend(started.shard.map(|shard| format!("shard {shard}")));
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

fn write_attempt(text: &mut impl Write, attempt: &Attempt, manner: Manner) -> io::Result<()> {
    let (label, style) = label(attempt.outcome);
    let test = &attempt.test;
    write!(text, "{style}{label:>12}{style:#} {} ", words::seconds(attempt.wall))?;
    write!(text, "{BOLD}{}{BOLD:#} {}", test.binary, test.title())?;
    if manner.repeats || attempt.pinned.is_some() {
        write!(text, " {DIM}({}){DIM:#}", words::attempt(attempt.number))?;
    }
    writeln!(text)?;
    if attempt.outcome == Outcome::Passed {
        if manner.shown == Shown::OfAll {
            write_output(text, attempt)?;
        }
        return write_trace(text, attempt);
    }
    if let Some(first) = attempt.repeats {
        let trace = if attempt.message.is_none() { "is kept" } else { "cannot be kept either" };
        let first = words::attempt(first);
        writeln!(
            text,
            "             the same failure as in {first}, whose trace {trace} (seed {})",
            attempt.seed
        )?;
        return attempt.pinned.iter().try_for_each(|file| writeln!(text, "      pinned {file}"));
    }
    if manner.shown != Shown::AtOnce {
        write_output(text, attempt)?;
    }
    for line in attempt
        .ending
        .iter()
        .flat_map(|ending| describe::ending(ending, Frames::Own))
        .filter(|_| attempt.outcome.is_failure() || attempt.outcome == Outcome::Unfinished)
    {
        writeln!(text, "    {line}")?;
    }
    for line in attempt.message.iter().flat_map(|message| message.lines()) {
        writeln!(text, "    {style}{line}{style:#}")?;
    }
    let (label, which) = match &attempt.pinned {
        Some(file) => ("pinned", file.to_string()),
        None => ("attempt", attempt.number.to_string()),
    };
    let seed = match &attempt.branches[..] {
        [] => format!("seed {}", attempt.seed),
        _ => "no seed (only its trace repeats it)".to_owned(),
    };
    writeln!(
        text,
        "{label:>12} {which}, {seed}, strategy {}, preempt {}{}: {}, {}{}",
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

fn write_explained(text: &mut impl Write, explained: &Explained) -> io::Result<()> {
    let Explained { test, number, pinned: _, explanation, trace, replaced } = explained;
    write!(text, "{GOOD}   Explained{GOOD:#} {BOLD}{}{BOLD:#} {}", test.binary, test.title())?;
    writeln!(text, " {DIM}({}){DIM:#}", words::attempt(*number))?;
    for line in explanation.lines() {
        writeln!(text, "    {line}")?;
    }
    if *replaced {
        writeln!(text, "       trace {} (of this schedule, verified)", relative(&trace.path).display())?;
        write_replay(text, trace)?;
    }
    writeln!(text)
}

fn write_verified(text: &mut impl Write, verified: &Verified) -> io::Result<()> {
    let Verified { test, before, near, elsewhere, gone } = verified;
    let fails = near.failed + elsewhere.failed > 0;
    let (style, label) = if fails { (BAD, "Fails still") } else { (GOOD, "Verified") };
    writeln!(text, "{style}{label:>12}{style:#} {BOLD}{}{BOLD:#} {}", test.binary, test.title())?;
    writeln!(text, "    before: failed in {before} runs of the schedule that it needs")?;
    write!(text, "    now: in {near} in its neighbourhood")?;
    match elsewhere.runs {
        0 => writeln!(text)?,
        _ => writeln!(text, ", in {elsewhere} elsewhere")?,
    }
    if let Some(rate) = verified.excluded().filter(|_| !fails) {
        writeln!(text, "    elsewhere, a failure rate above {:.2}% is excluded at 95%", rate * 100.0)?;
    }
    for place in gone {
        writeln!(text, "    the old place is gone: {}:{}  {}", place.file, place.line, place.text)?;
    }
    Ok(())
}

fn write_interference(text: &mut impl Write, interference: &Interference) -> io::Result<()> {
    let Interference { test, number, outcome, wall, thing, with, .. } = interference;
    write!(text, "{CAUTION}   DISTURBED{CAUTION:#} {} ", words::seconds(*wall))?;
    let attempt = words::attempt(*number);
    write!(text, "{BOLD}{}{BOLD:#} {} {DIM}({attempt}){DIM:#}: ", test.binary, test.title())?;
    write!(text, "{} while ", outcome.name())?;
    match with {
        Some((test, number)) => write!(text, "{} ({})", test.id(), words::attempt(*number))?,
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
    let (verified, may_replay) = match (kept.verified, &attempt.message) {
        (true, _) => ("verified", true),
        (false, Some(_)) => ("does not replay", false),
        (false, None) => ("not verified: the run ended first", true),
    };
    writeln!(text, "       trace {} ({verified})", relative(&kept.path).display())?;
    if may_replay { write_replay(text, kept) } else { Ok(()) }
}

fn write_replay(text: &mut impl Write, kept: &Kept) -> io::Result<()> {
    let name = match kept.path.file_stem().filter(|_| kept.by_name) {
        Some(name) => name.to_string_lossy(),
        None => relative(&kept.path).to_string_lossy(),
    };
    let name = shell_word(&name);
    writeln!(text, "      replay {BOLD}cargo rrtest replay {name}{BOLD:#}")
}

/// How the pins stand, if there are any.
fn write_pins(text: &mut impl Write, pins: PinCounts) -> io::Result<()> {
    let PinCounts { hold, fail, gone } = pins;
    let verb = |number, one: &str, more: &str| {
        (number > 0).then(|| format!("{number} {}", if number == 1 { one } else { more }))
    };
    let parts = [
        verb(hold, "holds", "hold"),
        verb(fail, "fails", "fail"),
        verb(gone, "says", "say").map(|it| it + " nothing"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let style = if fail > 0 { BAD } else { GOOD };
    match parts.is_empty() {
        true => Ok(()),
        false => writeln!(text, "{style}        Pins{style:#} {}", parts.join(", ")),
    }
}

/// So many tests are named of those that never ran, unless all are asked for.
const NAMED: usize = 20;

fn write_summary(text: &mut impl Write, summary: &Summary, detail: Detail) -> io::Result<()> {
    let hangs: Vec<_> = summary.never_ended.iter().filter(|never| never.attempts > 0).collect();
    let never_ran: Vec<_> = summary.never_ran().collect();
    // Who has said that this is no failure reads of it all the same.
    let starved = if summary.exit_code == Status::NeverRan as u8 { BAD } else { CAUTION };
    let style = match summary {
        Summary { failures: 1.., .. } => BAD,
        _ if !hangs.is_empty() => BAD,
        Summary { errors: 1.., .. } | Summary { interrupted: true, .. } => CAUTION,
        _ if !never_ran.is_empty() => starved,
        _ => GOOD,
    };
    write_pins(text, summary.pins)?;
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
    if !hangs.is_empty() {
        write!(text, ", {} never ended", words::count(hangs.len() as u64, "test"))?;
    }
    if !never_ran.is_empty() {
        write!(text, ", {} never ran", words::count(never_ran.len() as u64, "test"))?;
    }
    writeln!(text, "{}", if summary.interrupted { " (interrupted)" } else { "" })?;
    for test in &summary.failed {
        // Of a single attempt there is no rate.
        let rate = summary.rates.get(test).filter(|rate| rate.attempts > 1);
        let rate = rate.map(|rate| format!(": {}", summary::rate(rate)));
        writeln!(text, "{BAD}      failed{BAD:#} {test}{}", rate.unwrap_or_default())?;
    }
    for never in hangs {
        let (what, why) = summary::never_ended(never);
        writeln!(text, "{BAD}{what:>12}{BAD:#} {}: {why}", never.test.id())?;
    }
    let named = if detail == Detail::Verbose { usize::MAX } else { NAMED };
    for never in never_ran.iter().take(named) {
        let (what, _) = summary::never_ended(never);
        writeln!(text, "{starved}{what:>12}{starved:#} {}", never.test.id())?;
    }
    if never_ran.len() > named {
        let more = never_ran.len() - named;
        writeln!(
            text,
            "             and {more} more, which --verbose, --message-format json and --junit name"
        )?;
    }
    for slow in &summary.running {
        let Slow { test, number, wall } = slow;
        let wall = wall.as_secs_f64();
        writeln!(
            text,
            "{CAUTION}     running{CAUTION:#} {} ({}, for {wall:.3}s)",
            test.id(),
            words::attempt(*number)
        )?;
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
    // What is covered matters where nothing was found.
    let covered = summary.covered.iter().filter(|covered| !summary.failed.contains(&covered.test));
    for covered in covered.take(named) {
        writeln!(text, "{GOOD}     Covered{GOOD:#} {}: {}", covered.test, summary::covered(covered))?;
    }
    if summary.exit_code == Status::NeverRan as u8 {
        writeln!(
            text,
            "{BAD}error{BAD:#}{BOLD}:{BOLD:#} some tests never ran: the time was up before their turn came\n  give them more \
             time, divide them (--partition), or accept that (--never-ran warn)"
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
