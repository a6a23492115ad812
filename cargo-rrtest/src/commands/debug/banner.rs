//! What a debugger says first: what failed, where, and what to try.

use std::fmt::Write as _;

use rrtest_engine::carried::Carried;
use rrtest_engine::failure::{Failure, Kind};
use rrtest_engine::symbols::origin::Origin;
use rrtest_engine::task::TaskId;
use rrtest_engine::timeline::Timeline;
use rrtest_engine::trace::Trace;

use super::backtrace;
use crate::base::exit::CliError;
use crate::base::words::visible;
use crate::ending::stacks::Stacks;

/// What a debugger says first.
#[derive(Default)]
pub(super) struct Banner {
    lines: Vec<String>,
    /// The task that fails, and the first frame of the user's own code on its stack.
    pub(super) frame: Option<(TaskId, usize)>,
    tries: Tries,
}

/// Commands to try, and what they do.
pub(super) type Tries = &'static [(&'static str, &'static str)];

/// Commands of gdb to try at a failure of a kind.
fn tries(kind: Kind) -> Tries {
    match kind {
        Kind::Panic | Kind::Exit(_) | Kind::Unsupported => &[
            ("reverse-next", "goes back a line"),
            ("watch -l EXPR", "then reverse-continue: goes back to where that was written"),
            ("when", "tells this moment; `seek MOMENT` comes back to it"),
        ],
        Kind::Signal(_) => &[
            ("backtrace", "shows how the program came here"),
            ("watch -l EXPR", "then reverse-continue: goes back to where that was written"),
            ("reverse-stepi", "undoes an instruction"),
        ],
        Kind::Deadlock | Kind::Hang => &[
            ("thread apply all bt", "shows where each thread waits"),
            ("reverse-finish", "goes back to where this call was made"),
            ("watch -l LOCK", "then reverse-continue: goes back to who took it"),
        ],
    }
}

impl Banner {
    /// That of a failure, at which the timeline stands.
    pub(super) fn of(
        label: &str,
        trace: &Trace,
        carried: &Carried<'_>,
        failure: &Failure,
        timeline: &mut Timeline<'_>,
    ) -> Result<Self, CliError> {
        let fact = |key: &str| trace.info().get(key).and_then(|value| value.as_str()).map(str::to_owned);
        let what = fact("test").map_or_else(|| label.to_owned(), |test| format!("test {test}"));
        let mut words = backtrace::in_words(failure, trace.ending()).into_iter();
        let mut lines = vec![format!("{what}: {}", words.next().unwrap_or_default())];
        lines.extend(words);
        let task = failure.moment.task;
        let state = timeline.session().state();
        let name = state.tasks().find(|(id, _)| *id == task).map_or("", |(_, name)| name);
        lines.push(format!("{task}, thread `{name}`"));
        // Who begins elsewhere may begin before that thread.
        let frame = if state.tasks().any(|(id, _)| id == task) {
            let thread = Stacks::of(carried).thread(timeline.look()?, task)?;
            thread.frames.iter().position(|placed| Origin::of(&placed.frame) == Origin::Own)
        } else {
            None
        };
        Ok(Self { lines, frame: frame.map(|frame| (task, frame)), tries: tries(failure.kind) })
    }

    /// The text, in lines.
    pub(super) fn text(&self) -> String {
        self.text_with(self.tries)
    }

    /// The same, with other commands to try.
    pub(super) fn text_with(&self, tries: Tries) -> String {
        let mut text = String::new();
        for line in &self.lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", visible(line));
        }
        for (command, what) in tries {
            let _ = writeln!(text, "  {command:<20} {what}");
        }
        text
    }
}
