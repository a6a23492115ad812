//! Who waits for whom, the source lines that matter, and the threads' stacks.

use maud::{Markup, html};
use rrtest_engine::Error;
use rrtest_engine::ending::Frame;
use rrtest_engine::failure::Kind;
use rrtest_engine::symbols::origin::{Origin, interesting};

use super::{code, prose};
use crate::base::words::count;
use crate::ending::backtrace::{self, Frames, Row};
use crate::ending::stacks::{self, Placed, Thread};
use crate::ending::waits;
use crate::picture::graph;
use crate::picture::sources::{self, Mark};
use crate::picture::subject::Subject;
use crate::picture::text::plain;

/// The stacks of more threads are not shown.
const MOST_STACKS: usize = 24;

/// Who waits for whom.
pub(super) fn waits(subject: &Subject<'_, '_>) -> Markup {
    let states = subject.states();
    if !matches!(subject.failure.kind, Kind::Deadlock | Kind::Hang) || states.is_empty() {
        return html! {};
    }
    let names: Vec<String> = states.iter().map(|state| waits::quoted(state.task, states)).collect();
    html! {
        section #waits aria-labelledby="h-waits" {
            h2 #h-waits { "Who waits for whom" }
            @if let Some(drawing) = graph::draw(states, &names) { div .scroll tabindex="0" { (drawing) } }
            ul .waits {
                @for (state, name) in states.iter().zip(&names) {
                    li { strong { (prose(name)) } " " (prose(&waits::doing(state, states))) }
                }
            }
        }
    }
}

/// The source lines that matter.
pub(super) fn sources(subject: &Subject<'_, '_>) -> Result<Markup, Error> {
    let marks = marks(subject);
    if marks.is_empty() {
        return Ok(html! {});
    }
    let (excerpts, absent) = sources::excerpts(subject.carried, &marks)?;
    Ok(html! {
        section #sources aria-labelledby="h-sources" {
            h2 #h-sources { "In the source" }
            @for excerpt in &excerpts {
                figure {
                    figcaption { (plain(&subject.file(&excerpt.file))) }
                    div .scroll tabindex="0" { table .source {
                        @for line in &excerpt.lines {
                            tr .marked[!line.marks.is_empty()] .hot[line.is_hot] {
                                td .number { (line.number) }
                                td .text {
                                    pre { (plain(&line.text)) }
                                    @for mark in &line.marks { span .mark { (prose(mark)) } }
                                }
                            }
                        }
                    } }
                }
            }
            @if !absent.is_empty() {
                p .inside {
                    "The trace does not carry these sources, so their text is missing: "
                    @for (index, file) in absent.iter().enumerate() {
                        @if index > 0 { ", " }
                        code { (plain(&subject.file(file))) }
                    }
                    ". " code { "--with-sources all" } " attaches all that the program was compiled from."
                }
            }
        }
    })
}

/// The lines that matter, and why: those of the explanation, that of the panic, and those where threads wait.
fn marks(subject: &Subject<'_, '_>) -> Vec<Mark> {
    let mut marks = Vec::new();
    for window in subject.explanation.iter().flat_map(|explanation| &explanation.windows) {
        let places = [
            (&window.after, format!("{} is preempted after this", window.thread)),
            (&window.before, format!("{} is preempted before this", window.thread)),
            (&window.up_to, format!("{} gets at least through this meanwhile", window.other)),
        ];
        for (place, why) in places {
            let place = place.as_ref();
            marks.extend(place.map(|it| Mark { file: it.file.clone(), line: it.line, why, is_hot: true }));
        }
    }
    if let Some(panic) = subject.panic() {
        let why = "panics here".to_owned();
        marks.push(Mark { file: panic.file, line: panic.line, why, is_hot: false });
    }
    let states = subject.states();
    for thread in &subject.threads {
        let frames: Vec<Frame> = thread.frames.iter().map(|placed| placed.frame.clone()).collect();
        let place = interesting(&frames).and_then(|frame| frame.location.clone());
        let name = subject.quoted(thread.task);
        let why = match subject.failure.kind {
            Kind::Deadlock | Kind::Hang => {
                let state = states.iter().find(|state| state.task == thread.task);
                let doing = state.map_or_else(|| thread.doing.clone(), |state| waits::waiting(state, states));
                format!("{name} {doing}")
            }
            Kind::Signal(_) if thread.task == subject.failure.moment.task => format!("{name} is killed here"),
            _ => continue,
        };
        marks.extend(place.map(|(file, line)| Mark { file, line, why, is_hot: false }));
    }
    // The same file may be named with and without the directory that it is in.
    let named: Vec<String> = marks.iter().map(|mark| mark.file.clone()).collect();
    for mark in &mut marks {
        let shorter = named.iter().filter(|name| std::path::Path::new(&mark.file).ends_with(name));
        mark.file = shorter.min_by_key(|name| name.len()).cloned().unwrap_or_default();
    }
    marks
}

/// The stacks of all threads, that of the failing one open.
pub(super) fn stacks(subject: &Subject<'_, '_>) -> Result<Markup, Error> {
    let missing = stacks::missing(subject.carried, &subject.threads)?;
    let shown = &subject.threads[..subject.threads.len().min(MOST_STACKS)];
    let left_out = subject.threads.len() - shown.len();
    Ok(html! {
        section #stacks aria-labelledby="h-stacks" {
            h2 #h-stacks { "Where the threads are when it fails" }
            @for thread in shown {
                details .stack open[thread.task == subject.failure.moment.task] {
                    summary { strong { (prose(&subject.quoted(thread.task))) } " " (prose(&thread.doing)) }
                    (stack(subject, thread))
                }
            }
            @if left_out > 0 { p .inside { (count(left_out as u64, "more thread")) "; " code { "cargo rrtest backtrace --all" } " shows all." } }
            @if !missing.is_empty() {
                p .inside {
                    "The trace does not carry these files, so that their functions have no names: "
                    @for (index, file) in missing.iter().enumerate() {
                        @if index > 0 { ", " }
                        code { (plain(&file.to_string_lossy())) }
                    }
                }
            }
        }
    })
}

fn stack(subject: &Subject<'_, '_>, thread: &Thread) -> Markup {
    if thread.frames.is_empty() {
        return html! { p { "No stack." } };
    }
    let frames: Vec<Frame> = thread.frames.iter().map(|placed| placed.frame.clone()).collect();
    html! {
        @for line in backtrace::awaits(&thread.awaits) { p { (plain(&line)) } }
        ol .frames {
            @for row in backtrace::rows(&frames, Frames::Own) {
                @match row {
                    Row::Frame(index) => li { (frame(subject, &thread.frames[index])) },
                    Row::Folded(_, words) => li .folded { "… " (plain(&words)) },
                }
            }
        }
    }
}

fn frame(subject: &Subject<'_, '_>, placed: &Placed) -> Markup {
    let is_own = Origin::of(&placed.frame) == Origin::Own;
    let place = placed.frame.location.as_ref().filter(|_| is_own);
    let text = placed.text.as_deref().filter(|text| is_own && !text.trim().is_empty());
    html! {
        span .function.own[is_own] { (plain(&backtrace::short(&placed.frame))) }
        @if let Some((file, line)) = place { " " span .at { (plain(&subject.file(file))) ":" (line) } }
        @if let Some(text) = text { br; (code(text)) }
    }
}
