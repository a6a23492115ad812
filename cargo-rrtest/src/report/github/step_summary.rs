//! The summary of the step, in Markdown: what failed, how often, and the command that reproduces it.

use super::failures::{Failure, Failures};
use super::markdown::{block, code};
use super::runner::Runner;
use crate::attempt::events::Summary;
use crate::base::words::{attempt, binaries, count};
use crate::ending::output::end;
use crate::report::tally::{Counted, Standing, Tally};

/// So many failures are in the table; all that there is room for are told one by one below it.
const MOST_ROWS: usize = 200;

/// How much of a message is shown, and of an explanation, in bytes.
const MOST_TEXT: usize = 8 << 10;

/// So many lines are shown of the end of the output.
const MOST_LINES: usize = 60;

/// What is kept free for the sentence about what there is no room for.
const RESERVE: usize = 256;

/// All of it, in at most `room` bytes.
pub(super) fn markdown(
    summary: &Summary,
    tally: &Tally,
    failures: &Failures,
    runner: &Runner,
    room: usize,
) -> String {
    let all = failures.all();
    let parts = std::iter::once(head(summary, tally))
        .chain((!all.is_empty()).then(|| table(all, tally) + hint(all, runner)))
        .chain(all.iter().map(|failure| details(failure, tally, runner)));
    let mut text = String::new();
    let mut left_out = 0;
    for (index, part) in parts.enumerate() {
        if left_out == 0 && text.len() + part.len() + RESERVE <= room {
            text.push_str(&part);
        } else {
            // The head and the table are no failures.
            left_out += usize::from(index >= 2);
        }
    }
    if left_out > 0 {
        let more = format!(
            "\n{} more there is no room for here: the log of the step has them.\n",
            count(left_out as u64, "failure")
        );
        text.push_str(if text.len() + more.len() <= room { &more } else { "" });
    }
    text
}

fn head(summary: &Summary, tally: &Tally) -> String {
    let attempts = count(summary.attempts, "attempt");
    let tests = if summary.together { binaries(summary.tests) } else { count(summary.tests as u64, "test") };
    let what = match summary.failures {
        0 => format!("{attempts} of {tests}: none failed"),
        failed => format!("{failed} of {attempts} failed, of {tests}"),
    };
    let mut text = format!("## cargo rrtest: {what}\n\n");
    let mut notes = Vec::new();
    notes.extend((summary.errors > 0).then(|| format!("{} of ours", count(summary.errors, "error"))));
    notes.extend(summary.interrupted.then(|| "interrupted".to_owned()));
    let stand = |standing| tally.tests().iter().filter(|counted| counted.standing() == standing).count();
    for (standing, words) in [
        (Standing::NeverEnded, "never ended"),
        (Standing::NeverRan, "never ran: the run ended before"),
        (Standing::Ignored, "ignored"),
    ] {
        let number = stand(standing);
        notes.extend((number > 0).then(|| format!("{} {words}", count(number as u64, "test"))));
    }
    if !notes.is_empty() {
        text.push_str(&format!("{}\n\n", notes.join("; ")));
    }
    text
}

fn table(failures: &[Failure], tally: &Tally) -> String {
    let mut text = "| test | outcome | failed of attempts | at |\n|---|---|---:|---|\n".to_owned();
    for failure in failures.iter().take(MOST_ROWS) {
        let place = failure.place.as_ref().map_or_else(String::new, |place| {
            code(&place.line.map_or_else(|| place.file.clone(), |line| format!("{}:{line}", place.file)))
        });
        let share = tally.of(&failure.test).and_then(share).unwrap_or_default();
        text.push_str(&format!("| {} | {} | {share} | {place} |\n", title(failure), failure.what));
    }
    if failures.len() > MOST_ROWS {
        text.push_str(&format!("\n… and {} more\n", failures.len() - MOST_ROWS));
    }
    text
}

/// What the commands need that replay, if there are any.
fn hint(failures: &[Failure], runner: &Runner) -> &'static str {
    if failures
        .iter()
        .any(|failure| failure.replay_command(runner).is_some_and(|command| command.contains(" gh:")))
    {
        "\nThe commands fetch traces by [`gh`](https://cli.github.com). Without it, download the artifact of this run: \
         `cargo rrtest replay FILE NAME` takes it as it is.\n"
    } else {
        ""
    }
}

/// `2 of 7 (29 %)`; none if there is no attempt.
fn share(counted: &Counted) -> Option<String> {
    let rate = counted.rate()?;
    let percent = if rate > 0.0 && rate < 0.01 { "< 1".to_owned() } else { format!("{:.0}", rate * 100.0) };
    Some(format!("{} of {} ({percent} %)", counted.failed, counted.attempts))
}

fn title(failure: &Failure) -> String {
    code(&format!("{} {}", failure.test.binary, failure.test.title()))
}

/// What is said of one failure. Each part is short, so that there is room for others.
fn details(failure: &Failure, tally: &Tally, runner: &Runner) -> String {
    let mut text = format!("\n### {}\n\n", title(failure));
    let mut facts = vec![failure.what.to_owned()];
    facts.extend(failure.attempt.map(attempt));
    facts.extend(failure.seed.as_ref().map(|seed| format!("seed {}", code(seed))));
    facts.extend(tally.of(&failure.test).and_then(share).map(|share| format!("failed attempts {share}")));
    text.push_str(&format!("{}\n\n", facts.join(", ")));
    if !failure.message.is_empty() {
        text.push_str(&block(beginning(&failure.message), "text"));
    }
    if let Some(explanation) = &failure.explanation {
        text.push_str(&format!("\nWhat led to it:\n\n{}", block(beginning(explanation), "text")));
    }
    if let Some(command) = failure.replay_command(runner) {
        text.push_str(&format!("\nReplay it on any x86-64 Linux:\n\n{}", block(&command, "sh")));
    }
    let lines: Vec<_> = failure.output.lines().collect();
    let lines = &lines[lines.len().saturating_sub(MOST_LINES)..];
    if lines.iter().any(|line| !line.trim().is_empty()) {
        let output = block(end(&lines.join("\n"), MOST_TEXT), "text");
        text.push_str(&format!(
            "\n<details><summary>The end of its output</summary>\n\n{output}\n</details>\n"
        ));
    }
    text
}

/// As much of a text as is shown.
fn beginning(text: &str) -> &str {
    let mut most = text.len().min(MOST_TEXT);
    while !text.is_char_boundary(most) {
        most -= 1;
    }
    &text[..most]
}
