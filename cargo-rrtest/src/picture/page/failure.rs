//! What failed, how, what that needs, what was printed, and how to replay it.

use maud::{Markup, html};
use rrtest_engine::failure::Kind;
use rrtest_engine::trace::Source as _;
use serde_json::Value;

use super::{code, command, prose};
use crate::base::words::{counts, shell_word, size};
use crate::ending::describe;
use crate::ending::explanation::{Explanation, Place};
use crate::ending::outcome::Outcome;
use crate::ending::output::{self, Excerpt};
use crate::picture::subject::Subject;
use crate::picture::text::{plain, printed};

/// Bytes of output that are shown of its beginning, and of its end.
const OUTPUT: (usize, usize) = (8 << 10, 24 << 10);

/// Facts of a trace's description that are shown, in this order, with what people call them.
const FACTS: &[(&str, &str)] = &[
    ("package", "package"),
    ("binary", "test binary"),
    ("test", "test"),
    ("failed_tests", "failed tests"),
    ("attempt", "attempt"),
    ("seed", "seed"),
    ("strategy", "strategy"),
    ("preempt", "preemption level"),
    ("surprises", "surprises"),
    ("struck", "what surprises did"),
    ("created", "recorded"),
    ("rustc", "compiler"),
    ("rrtest", "rrtest"),
];

/// What the page is about: the test, or else the program.
pub(super) fn title(subject: &Subject<'_, '_>) -> String {
    format!("{}: {}", name(subject), outcome(subject).name())
}

fn name(subject: &Subject<'_, '_>) -> String {
    let info = subject.trace().info();
    let text = |key: &str| info[key].as_str().map(str::to_owned);
    let program =
        || subject.trace().program().path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    text("test").or_else(|| fact(info, "failed_tests")).unwrap_or_else(program)
}

fn outcome(subject: &Subject<'_, '_>) -> Outcome {
    Outcome::of(subject.trace().ending())
}

pub(super) fn header(subject: &Subject<'_, '_>) -> Markup {
    let info = subject.trace().info();
    let outcome = outcome(subject);
    html! {
        header {
            p .crumb {
                @if let Some(binary) = fact(info, "binary") { (plain(&binary)) }
                span class=(format!("outcome {}", outcome.name())) { (outcome.name()) }
            }
            h1 { (plain(&name(subject))) }
            @if let Some(line) = subject.headline.first() { p .lead { (prose(line)) } }
            @if !subject.trace().verified() {
                p .caution { "This trace did not replay when it was recorded: it may not show what happened." }
            }
        }
    }
}

/// How it fails: the message of a panic, what killed it, or who waits in a circle.
pub(super) fn message(subject: &Subject<'_, '_>) -> Markup {
    let panic = subject.panic();
    let rest = subject.headline.get(1..).unwrap_or_default();
    html! {
        @if let Some(panic) = &panic {
            section #failure aria-labelledby="h-failure" {
                h2 #h-failure { "The failure" }
                p { "Panicked at " code { (plain(&panic.place())) }
                    @if subject.failure.kind == Kind::Panic { ", in thread " (prose(&subject.quoted(subject.failure.moment.task))) }
                    ":" }
                pre .message tabindex="0" { (plain(&panic.message)) }
            }
        } @else if !rest.is_empty() {
            section #failure aria-labelledby="h-failure" {
                h2 #h-failure { "The failure" }
                @for line in rest { p { (prose(line.trim())) } }
            }
        }
    }
}

/// What the failure needs, as experiments have shown.
pub(super) fn needs(subject: &Subject<'_, '_>) -> Markup {
    let Some(explanation) = &subject.explanation else {
        return html! {
            section #needs aria-labelledby="h-needs" {
                h2 #h-needs { "What it needs" }
                p { (unexplained(subject)) }
            }
        };
    };
    html! {
        section #needs aria-labelledby="h-needs" {
            h2 #h-needs { "What it needs" }
            p { "It " (prose(&explanation.headline())) "." }
            @for window in &explanation.windows {
                div .window {
                    p { strong { (prose(&window.thread)) } " is preempted" }
                    dl {
                        @if let Some(after) = &window.after { (place("after", after)) }
                        @if let Some(before) = &window.before { (place("before", before)) }
                    }
                    @match &window.up_to {
                        Some(up_to) => {
                            p { "and " strong { (prose(&window.other)) } " runs meanwhile," }
                            dl { (place("at least through", up_to)) }
                        }
                        None => p { "and " strong { (prose(&window.other)) } " runs meanwhile, until it cannot go on." }
                    }
                }
            }
            @for line in effect(explanation) { p { (prose(line.trim())) } }
        }
    }
}

/// The lines after those about preemptions.
fn effect(explanation: &Explanation) -> Vec<String> {
    let count = explanation.windows.len();
    let told = Explanation { windows: Vec::new(), ..explanation.clone() };
    let mut lines = told.lines();
    lines.remove(0);
    if let Some(last) = lines.last_mut().filter(|line| line.starts_with("fails")) {
        *last = format!("It {last}.");
    }
    if count > 1 {
        lines.insert(0, format!("All {count} preemptions are needed."));
    }
    lines
}

fn unexplained(subject: &Subject<'_, '_>) -> &'static str {
    match subject.failure.kind {
        _ if subject.trace().info().get("explanation").is_some() => {
            "The trace has an explanation that another version of rrtest has written, and that this one cannot read."
        }
        Kind::Deadlock | Kind::Hang => {
            "Which preemptions it needs has not been found out. Below is what each thread did last, and what it waits for."
        }
        _ => "Which preemptions it needs has not been found out. Below is what each thread did last.",
    }
}

fn place(word: &str, place: &Place) -> Markup {
    html! {
        dt { (word) }
        dd {
            span .at { (plain(&place.file)) ":" (place.line) }
            @if !place.text.is_empty() { " " (code(&place.text)) }
            @if let Some(inside) = &place.inside { span .inside { " in " (plain(inside)) } }
        }
    }
}

pub(super) fn output(subject: &Subject<'_, '_>) -> Markup {
    let all = printed(&output::both(&subject.history.output));
    let shown = Excerpt::of(all.trim_end(), OUTPUT.0, OUTPUT.1);
    html! {
        section #output aria-labelledby="h-output" {
            h2 #h-output { "What the program printed" }
            @if shown.head.is_empty() {
                p { "Nothing." }
            } @else {
                pre .output tabindex="0" {
                    (shown.head)
                    @if shown.left_out > 0 {
                        "\n" span .inside { "[" (size(shown.left_out as u64)) " left out: `cargo rrtest replay` shows all]" } "\n"
                    }
                    (shown.tail)
                }
            }
        }
    }
}

pub(super) fn replay(subject: &Subject<'_, '_>) -> Markup {
    let trace = subject.trace();
    let name = shell_word(&subject.name);
    let info = trace.info();
    html! {
        section #replay aria-labelledby="h-replay" {
            h2 #h-replay { "How to replay it" }
            p {
                "On Linux (x86-64), with the trace file " code { (plain(&subject.name)) }
                @if !trace.beside().is_empty() { " and those that it needs beside it" }
                ":"
            }
            (command(&format!("cargo install cargo-rrtest --locked\ncargo rrtest replay {name}")))
            p { "The same in a debugger, at the failure, forwards and backwards:" }
            (command(&format!("cargo rrtest debug {name}")))
            p { "Once it is fixed, whether the schedule still fails:" }
            (command(&format!("cargo rrtest verify {name}")))
            h3 { "The recording" }
            table .facts {
                @for (key, words) in FACTS {
                    @if let Some(fact) = fact(info, key) { tr { th scope="row" { (words) } td { (plain(&fact)) } } }
                }
                tr { th scope="row" { "machine" } td { (plain(&trace.machine().to_string())) } }
                tr { th scope="row" { "counted" } td { (counts(trace.stats())) } }
            }
        }
    }
}

/// A fact of a trace's description as text, if there is any.
fn fact(info: &Value, key: &str) -> Option<String> {
    describe::fact(info, key).filter(|text| !text.is_empty())
}
