//! What the threads did: the whole run at a glance, and operation by operation before the failure.

use maud::{Markup, html};
use rrtest_engine::Error;
use rrtest_engine::history::{How, Lost, Operation, What};
use rrtest_engine::symbols::origin::interesting;
use rrtest_engine::syscalls;
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::describe::Returned;
use rrtest_preload::layout::AccessKind;

use super::{code, prose};
use crate::base::words::{count, shell_word};
use crate::ending::backtrace::{self, Frames, Row as StackRow};
use crate::picture::lanes::{self, Course, Row, Step, Switch};
use crate::picture::objects::{self, Objects, letter};
use crate::picture::overview::Overview;
use crate::picture::subject::Subject;
use crate::picture::text::{self, plain};

/// So many operations of a step are told in its line; its details tell more.
const CHIPS: usize = 4;
const DETAILS: usize = 12;

/// The call in which threads wait for each other.
const FUTEX: u64 = nix::libc::SYS_futex as u64;

/// So many objects are listed.
const MOST_OBJECTS: usize = 16;

/// What is shown of the course of the run.
pub(super) struct Shown {
    operations: Vec<Operation>,
    objects: Objects,
    rows: Vec<Row>,
    lanes: Vec<TaskId>,
    needed: Vec<usize>,
}

impl Shown {
    /// Looks at the operations, in a replay.
    pub(super) fn of(subject: &Subject<'_, '_>, how: How<'_>) -> Result<Self, Error> {
        let operations = subject.operations(how)?;
        let needed = subject.needed();
        let objects = Objects::of(&operations, &hot(subject));
        let course =
            Course { history: &subject.history, operations: &operations, objects: &objects, needed: &needed };
        let rows = course.rows();
        let mut first = vec![subject.failure.moment.task];
        first.extend(needed.iter().filter_map(|index| Some(subject.history.turns.get(*index)?.task)));
        let lanes = lanes::lanes(&rows, &first);
        Ok(Self { operations, objects, rows, lanes, needed })
    }

    pub(super) fn section(&self, subject: &Subject<'_, '_>) -> Result<Markup, Error> {
        let overview = Overview {
            history: &subject.history,
            needed: &self.needed,
            failed_at: subject.failed_at(),
            lanes: &self.lanes,
        };
        let (drawing, left_out) = overview.draw(|task| prose(&subject.quoted(task)));
        Ok(html! {
            section #course aria-labelledby="h-course" {
                h2 #h-course { "What the threads did" }
                (drawing)
                p .legend {
                    "One thread runs at a time; time goes from left to right. "
                    @if !self.needed.is_empty() { span .key.needed {} " a preemption that the failure needs " }
                    span .key.failed {} " the failure"
                    @if left_out > 0 { " (" (count(left_out as u64, "more thread")) ")" }
                }
                @if self.rows.iter().any(|row| matches!(row, Row::Step(_))) {
                    (self.objects())
                    (self.rows(subject)?)
                } @else {
                    p { "There is nothing to show of single operations: none that threads share was made from code of the program's own." }
                }
            }
        })
    }

    fn objects(&self) -> Markup {
        let all = self.objects.all();
        let any_hot = all.iter().any(|object| object.is_hot);
        html! {
            p .legend {
                "Read it downwards. A line is what a thread does at a line of the source, and opens to tell more. "
                @if !all.is_empty() { "Letters stand for objects that several threads touch:" }
            }
            @if !all.is_empty() {
                ul .objects {
                    @for (index, object) in all.iter().enumerate().take(MOST_OBJECTS) {
                        li {
                            button .chip.hot[object.is_hot] type="button" data-object=(letter(index)) aria-pressed="false"
                                title="Shows where it is touched" { (letter(index)) }
                            " at " code { (format!("{:#x}", object.address)) }
                            ", by " (count(object.tasks.len() as u64, "thread"))
                            @if object.is_hot { ", has a part in the failure" }
                        }
                    }
                    @if all.len() > MOST_OBJECTS { li { "and " (all.len() - MOST_OBJECTS) " more" } }
                }
            }
            @if any_hot {
                p .filter { input #only-hot type="checkbox"; label for="only-hot" { " only what has a part in the failure" } }
            }
        }
    }

    fn rows(&self, subject: &Subject<'_, '_>) -> Result<Markup, Error> {
        let mut items = Vec::new();
        for row in &self.rows {
            items.extend(self.row(subject, row)?);
        }
        let count = self.lanes.len().max(1);
        let lacks_text = self.lacks_text(subject)?;
        Ok(html! {
            @if lacks_text {
                p .inside { "The trace does not carry the sources of some of these lines: their functions stand for their text." }
            }
            div .scroll tabindex="0" role="region" aria-label="What the threads did, operation by operation" {
                ol class=(format!("lanes n{count}")) {
                    li .heads aria-hidden="true" {
                        @for (lane, task) in self.lanes.iter().enumerate() {
                            div class=(format!("head c{lane} l{lane}")) { (prose(&subject.quoted(*task))) }
                        }
                    }
                    @for item in &items { (item) }
                    li .end { span .badge.failed { "the failure" } " " (prose(subject.headline.first().map_or("", String::as_str))) }
                }
            }
        })
    }

    /// Whether there are lines whose text is not known.
    fn lacks_text(&self, subject: &Subject<'_, '_>) -> Result<bool, Error> {
        for row in &self.rows {
            if let Row::Step(Step { operations, .. }) = row
                && let Some(first) = operations.first().map(|index| &self.operations[*index])
                && let Some(place) = interesting(&first.frames).and_then(|frame| frame.location.as_ref())
                && subject.carried.line(place)?.is_none()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn row(&self, subject: &Subject<'_, '_>, row: &Row) -> Result<Option<Markup>, Error> {
        let lane = |task: &TaskId| self.lanes.iter().position(|lane| lane == task);
        Ok(Some(match row {
            Row::Step(step) => {
                let Some(lane) = lane(&step.task) else { return Ok(None) };
                self.step(subject, step, lane)?
            }
            Row::Others(task, number) => {
                let Some(lane) = lane(task) else { return Ok(None) };
                html! {
                    li .others { div class=(format!("cell c{lane} l{lane}")) {
                        span .who { (prose(&subject.quoted(*task))) }
                        "… " (count(*number as u64, "operation")) " of its own"
                    } }
                }
            }
            Row::Switch(switch) => {
                if !switch.is_needed && (lane(&switch.from).is_none() || lane(&switch.to).is_none()) {
                    return Ok(None);
                }
                self.switch(subject, switch)
            }
            Row::LeftOut => html! { li .left-out { "… not shown" } },
        }))
    }

    fn switch(&self, subject: &Subject<'_, '_>, switch: &Switch) -> Markup {
        let (from, to) = (subject.quoted(switch.from), subject.quoted(switch.to));
        let words = match switch.why {
            Lost::Preempted => "is preempted",
            Lost::Waits(number) if number == FUTEX => "waits",
            Lost::Waits(_) => "waits in a system call",
            Lost::Gone => "has ended",
            Lost::Ended | Lost::Unknown => "lets others run",
        };
        html! {
            li .switch.needed[switch.is_needed] {
                @if switch.is_needed { span .badge.needed { "needed" } " " }
                (prose(&from)) " " (words) "; " (prose(&to)) " runs"
            }
        }
    }

    fn step(&self, subject: &Subject<'_, '_>, step: &Step, lane: usize) -> Result<Markup, Error> {
        let Some(first) = step.operations.first().map(|index| &self.operations[*index]) else {
            return Ok(html! {});
        };
        let frame = interesting(&first.frames);
        let place = frame.and_then(|frame| frame.location.as_ref());
        let text = place.map(|place| subject.carried.line(place)).transpose()?.flatten();
        let told: Vec<usize> = self.told(step);
        let letters: Vec<String> = told
            .iter()
            .filter_map(|index| self.objects.touched_by(&self.operations[*index]))
            .map(letter)
            .collect();
        let event = first.moment;
        Ok(html! {
            li .step.hot[step.is_hot] data-objects=(letters.join(" ")) {
                details class=(format!("cell c{lane} l{lane}")) {
                    summary {
                        span .who { (prose(&subject.quoted(step.task))) } " "
                        @if let Some((file, line)) = place { span .at { (plain(short_file(&subject.file(file)))) ":" (line) } " " }
                        @match &text {
                            Some(text) => (code(text)),
                            None => @if let Some(name) = frame.and_then(|frame| frame.function.as_deref()) {
                                span .function { (plain(name)) }
                            }
                        }
                        " "
                        span .chips { @for index in told.iter().take(CHIPS) { (self.chip(&self.operations[*index])) } }
                        @if told.len() > CHIPS { span .more { "+" (told.len() - CHIPS) } }
                    }
                    div .more-of-it {
                        @if let Some(frame) = frame {
                            p { "in " span .function { (plain(&backtrace::short(frame))) }
                                @if let Some((file, line)) = place { ", " span .at { (plain(&subject.file(file))) ":" (line) } } }
                        }
                        ul {
                            @for index in step.operations.iter().take(DETAILS) { li { (self.detail(&self.operations[*index])) } }
                            @if step.operations.len() > DETAILS { li { "and " (step.operations.len() - DETAILS) " more" } }
                        }
                        (callers(subject, first))
                        p .inside { "At tick " (first.tick) ": " code { "cargo rrtest debug --at " (event.0) "." (event.1) " " (plain(&shell_word(&subject.name))) } }
                    }
                }
            }
        })
    }

    /// The operations of a step that its line tells: those on objects, and calls. Of several on the same object that do the
    /// same, the last one.
    fn told(&self, step: &Step) -> Vec<usize> {
        let mut told: Vec<usize> = Vec::new();
        for index in &step.operations {
            let operation = &self.operations[*index];
            let key = |operation: &Operation| {
                let kind = match operation.what {
                    What::Access { kind, .. } => Ok(kind as u64),
                    What::Call { number, .. } => Err(number),
                };
                (kind, self.objects.touched_by(operation))
            };
            let same = |other: &usize| key(&self.operations[*other]) == key(operation);
            match told.iter().position(same) {
                Some(at) => told[at] = *index,
                None => told.push(*index),
            }
        }
        told
    }

    /// What an operation does, in a word or two: `A reads 7`.
    fn chip(&self, operation: &Operation) -> Markup {
        let object = self.objects.touched_by(operation);
        let is_hot = object.is_some_and(|object| self.objects.all()[object].is_hot);
        html! {
            span .chip.hot[is_hot] {
                @if let Some(object) = object { b { (letter(object)) } " " }
                (words(operation))
            }
            " "
        }
    }

    fn detail(&self, operation: &Operation) -> Markup {
        let object = self.objects.touched_by(operation);
        let touched = objects::touch(operation);
        let called = lanes::called(&operation.frames);
        html! {
            (words(operation))
            @if let Some((address, _)) = touched {
                " " @if let Some(object) = object { b { (letter(object)) } " " }
                "at " code { (format!("{address:#x}")) }
            }
            @if let Some(called) = called { ", in " span .function { (plain(&backtrace::short(called))) } }
            @if !operation.is_done && touched.is_some() { " (it has not come to that)" }
        }
    }
}

/// What an operation does, without its object.
fn words(operation: &Operation) -> String {
    match operation.what {
        What::Access { kind, value, .. } => {
            let word = match (kind, value) {
                (AccessKind::AtomicLoad | AccessKind::Load, _) => "reads",
                (AccessKind::AtomicStore | AccessKind::Store, _) => "writes",
                (AccessKind::AtomicUpdate, Some(_)) => "updates to",
                (AccessKind::AtomicUpdate, None) => "updates",
                (AccessKind::Fence, _) => "fence",
            };
            let value = value.filter(|_| kind != AccessKind::Fence);
            value.map_or_else(|| word.to_owned(), |value| format!("{word} {}", text::value(value)))
        }
        What::Call { number, result: None } if number == FUTEX && !operation.is_done => "waits".to_owned(),
        What::Call { number, result } => {
            let result = result.map(|result| format!(" = {}", Returned(result)));
            format!("{}{}", syscalls::name(number), result.unwrap_or_default())
        }
    }
}

/// The user's own functions that led to an operation, beyond the innermost one.
fn callers(subject: &Subject<'_, '_>, operation: &Operation) -> Markup {
    let frames = &operation.frames;
    let rows = backtrace::rows(frames, Frames::Own);
    let own = rows.iter().filter_map(|row| match row {
        StackRow::Frame(index) => frames.get(*index),
        StackRow::Folded(..) => None,
    });
    let is_own = |frame: &&rrtest_engine::ending::Frame| interesting(std::slice::from_ref(*frame)).is_some();
    let own: Vec<_> = own.filter(is_own).skip(1).take(6).collect();
    html! {
        @if !own.is_empty() {
            ul .callers {
                @for frame in own {
                    li {
                        "called by " span .function { (plain(&backtrace::short(frame))) }
                        @if let Some((file, line)) = &frame.location { " " span .at { (plain(&subject.file(file))) ":" (line) } }
                    }
                }
            }
        }
    }
}

/// The last part of a path.
fn short_file(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// The addresses that have a part in the failure: those of the explanation, and those that threads wait for at a
/// deadlock.
fn hot(subject: &Subject<'_, '_>) -> Vec<u64> {
    let number = |text: &String| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let windows = subject.explanation.iter().flat_map(|it| &it.windows);
    let places = windows.flat_map(|window| [&window.after, &window.before, &window.up_to]);
    let mut hot: Vec<u64> = places.flatten().filter_map(|place| number(place.object.as_ref()?)).collect();
    let states = subject.states().iter().filter_map(|state| state.wait.as_ref());
    hot.extend(states.filter(|wait| !wait.by.is_empty()).filter_map(|wait| wait.futex));
    hot
}
