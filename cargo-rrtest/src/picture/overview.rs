//! The whole run as bars: who had the core when.

use maud::{Markup, html};
use rrtest_engine::history::{At, History, Turn};
use rrtest_engine::task::TaskId;

/// More threads are not drawn; those that do most are.
const MOST: usize = 24;

/// The width of the drawing, which is stretched to that of the page, and the height of a thread's row.
const WIDTH: u64 = 1000;
const ROW: u64 = 24;

/// What is drawn.
pub(super) struct Overview<'a> {
    pub(super) history: &'a History,
    /// The turns whose ends are preemptions that the failure needs.
    pub(super) needed: &'a [usize],
    pub(super) failed_at: At,
    /// What is drawn in which colour: the tasks that have lanes.
    pub(super) lanes: &'a [TaskId],
}

impl Overview<'_> {
    /// The drawing, and how many threads are left out of it. `name` names a task.
    pub(super) fn draw(&self, name: impl Fn(TaskId) -> Markup) -> (Markup, usize) {
        let (tasks, left_out) = self.tasks();
        let begin = self.begin();
        let scale = Scale { begin, span: self.history.end.line().saturating_sub(begin).max(1) };
        let height = ROW * tasks.len() as u64;
        let needed = self.needed.iter().filter_map(|index| self.history.turns.get(*index));
        let markup = html! {
            div .overview {
                ul .names { @for task in &tasks { li { (name(*task)) } } }
                svg viewBox=(format!("0 0 {WIDTH} {height}")) preserveAspectRatio="none" role="img"
                    height=(height) aria-label="Which thread had the core when, from left to right" {
                    @for (row, task) in tasks.iter().enumerate() {
                        @let top = row as u64 * ROW;
                        line .rail x1="0" x2=(WIDTH) y1=(top + ROW / 2) y2=(top + ROW / 2) {}
                        @for (from, to) in scale.bars(&self.history.turns, *task) {
                            rect class=(self.class(*task)) x=(from) y=(top + 4) width=(to - from) height=(ROW - 8) {}
                        }
                    }
                    @for turn in needed {
                        @let x = scale.x(turn.to);
                        line .needed x1=(x) x2=(x) y1="0" y2=(height) {}
                    }
                    @let x = scale.x(self.failed_at);
                    line .failed x1=(x) x2=(x) y1="0" y2=(height) {}
                }
            }
        };
        (markup, left_out)
    }

    fn class(&self, task: TaskId) -> String {
        match self.lanes.iter().position(|lane| *lane == task) {
            Some(lane) => format!("bar c{lane}"),
            None => "bar".to_owned(),
        }
    }

    /// From where on: what comes before other threads than the first one is the program's start.
    fn begin(&self) -> u64 {
        let first = self.history.turns.iter().find(|turn| turn.task != TaskId(0));
        first.map_or(0, |turn| turn.from.line())
    }

    fn tasks(&self) -> (Vec<TaskId>, usize) {
        let mut tasks: Vec<TaskId> = self.history.threads.iter().map(|thread| thread.task).collect();
        let time = |task: &TaskId| {
            let turns = self.history.turns.iter().filter(|turn| turn.task == *task);
            turns.map(|turn| turn.to.line() - turn.from.line()).sum::<u64>()
        };
        tasks.sort_by_cached_key(|task| (!self.lanes.contains(task), std::cmp::Reverse(time(task))));
        let left_out = tasks.len().saturating_sub(MOST);
        tasks.truncate(MOST);
        tasks.sort_unstable();
        (tasks, left_out)
    }
}

/// Moments on a line.
pub(super) trait OnLine {
    /// The place: ticks and calls, each of which takes as much room.
    fn line(&self) -> u64;
}

impl OnLine for At {
    fn line(&self) -> u64 {
        self.ticks.saturating_add(self.calls)
    }
}

struct Scale {
    begin: u64,
    span: u64,
}

impl Scale {
    fn x(&self, at: At) -> u64 {
        let from = at.line().saturating_sub(self.begin).min(self.span);
        (u128::from(from) * u128::from(WIDTH) / u128::from(self.span)) as u64
    }

    /// The turns of a task as bars of at least one unit; those that touch are one.
    fn bars(&self, turns: &[Turn], task: TaskId) -> Vec<(u64, u64)> {
        let mut bars: Vec<(u64, u64)> = Vec::new();
        for turn in turns.iter().filter(|turn| turn.task == task && turn.to.line() > self.begin) {
            let (from, to) = (self.x(turn.from), self.x(turn.to));
            let to = to.max(from + 2);
            match bars.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => bars.push((from, to)),
            }
        }
        bars
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::testing::{history, turn};
    use rrtest_engine::history::Lost;

    #[test]
    fn the_drawing_is_small_however_many_turns_there_are() {
        let turns = (0..100_000).map(|n| turn(1 + n % 40, u64::from(n), u64::from(n) + 1, Lost::Preempted));
        let history = history(turns.collect());
        let overview = Overview {
            history: &history,
            needed: &[4],
            failed_at: history.end,
            lanes: &[TaskId(7), TaskId(39)],
        };
        let (markup, left_out) = overview.draw(|task| html! { (task) });
        let text = markup.into_string();
        assert_eq!(left_out, 41 - MOST);
        assert!(text.len() < 20_000, "{}", text.len());
        assert!(text.contains("bar c0") && text.contains("bar c1"));
        assert_eq!(text.matches("class=\"needed\"").count(), 1);
    }
}
