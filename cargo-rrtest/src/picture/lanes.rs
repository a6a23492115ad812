//! Who did what, in order: operations gathered into lines of the source, and the switches between threads.

use rrtest_engine::ending::Frame;
use rrtest_engine::history::{History, Lost, Operation, What};
use rrtest_engine::symbols::origin::interesting;
use rrtest_engine::task::TaskId;

use super::objects::Objects;

/// So many threads have a lane of their own.
pub(super) const LANES: usize = 8;

/// So many rows are shown: those around needed switches, and the last ones.
const ROWS: usize = 240;

/// Rows on each side of a needed switch that are shown in any case.
const BESIDE: usize = 24;

/// A row of the lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// A thread does something at a line of the user's own code.
    Step(Step),
    /// A thread does so many operations that touch nothing shared, or that no line of the user's own leads to.
    Others(TaskId, usize),
    /// Another thread has the core.
    Switch(Switch),
    /// Something is left out: rows, and the operations of what was not looked at.
    LeftOut,
}

/// What a thread does at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Which thread.
    pub(super) task: TaskId,
    /// The operations, by their indices.
    pub(super) operations: Vec<usize>,
    /// Whether it touches what has a part in the failure.
    pub(super) is_hot: bool,
}

/// A thread loses the core, and another one gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Switch {
    pub(super) from: TaskId,
    pub(super) to: TaskId,
    /// Why the first one has lost it.
    pub(super) why: Lost,
    /// Whether the failure needs it.
    pub(super) is_needed: bool,
}

/// What the rows are made from.
pub(super) struct Course<'a> {
    pub(super) history: &'a History,
    pub(super) operations: &'a [Operation],
    pub(super) objects: &'a Objects,
    /// The turns whose ends are preemptions that the failure needs.
    pub(super) needed: &'a [usize],
}

impl Course<'_> {
    /// The rows, in order.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let mut at: Option<(TaskId, usize)> = None;
        for (index, operation) in self.operations.iter().enumerate() {
            let turn = self.turn_of(operation, at.map_or(0, |(_, turn)| turn));
            if let Some((task, last)) = at
                && let Some(switch) = self.switch(task, operation.task, last, turn)
            {
                if index > 0 && self.is_gap(index) {
                    rows.push(Row::LeftOut);
                }
                rows.push(Row::Switch(switch));
            } else if index > 0 && self.is_gap(index) {
                rows.push(Row::LeftOut);
            }
            at = Some((operation.task, turn));
            self.add(&mut rows, index);
        }
        self.shortened(rows)
    }

    /// The turn in which an operation was done, from this one on.
    fn turn_of(&self, operation: &Operation, from: usize) -> usize {
        let turns = &self.history.turns[from.min(self.history.turns.len())..];
        let is_it = |turn: &rrtest_engine::history::Turn| {
            turn.task == operation.task && turn.to.ticks >= operation.tick
        };
        turns.iter().position(is_it).map_or(from, |at| from + at)
    }

    /// The switch between two operations, of which the second may be of the same thread: then others ran meanwhile.
    fn switch(&self, from: TaskId, to: TaskId, last: usize, turn: usize) -> Option<Switch> {
        let is_needed = self.needed.iter().any(|needed| (last..turn).contains(needed));
        let why = self.history.turns.get(last).filter(|_| turn > last).map_or(Lost::Unknown, |turn| turn.why);
        (from != to).then_some(Switch { from, to, why, is_needed })
    }

    /// Whether there were ticks between this operation and the one before that were not looked at.
    fn is_gap(&self, index: usize) -> bool {
        let (before, this) = (&self.operations[index - 1], &self.operations[index]);
        let latest =
            self.operations[..index].iter().rev().take(64).map(|it| it.tick).max().unwrap_or_default();
        this.tick > latest.max(before.tick) + 8
    }

    fn add(&self, rows: &mut Vec<Row>, index: usize) {
        let operation = &self.operations[index];
        let task = operation.task;
        if !self.is_shown(index) {
            match rows.last_mut() {
                Some(Row::Others(of, count)) if *of == task => *count += 1,
                _ => rows.push(Row::Others(task, 1)),
            }
            return;
        }
        let object = self.objects.touched_by(operation);
        let is_hot = object.is_some_and(|object| self.objects.all()[object].is_hot);
        match rows.last_mut() {
            Some(Row::Step(step))
                if step.task == task
                    && step.operations.last().is_some_and(|last| self.is_same_line(*last, index)) =>
            {
                step.operations.push(index);
                step.is_hot |= is_hot;
            }
            _ => rows.push(Row::Step(Step { task, operations: vec![index], is_hot })),
        }
    }

    fn is_shown(&self, index: usize) -> bool {
        let operation = &self.operations[index];
        let is_call = matches!(operation.what, What::Call { .. });
        interesting(&operation.frames).is_some()
            && (is_call || self.objects.touched_by(operation).is_some() || !operation.is_done)
    }

    fn is_same_line(&self, one: usize, other: usize) -> bool {
        let line = |index: usize| {
            let frame = interesting(&self.operations[index].frames)?;
            Some((&frame.function, &frame.location))
        };
        line(one) == line(other)
    }

    /// The rows that are shown of many.
    fn shortened(&self, rows: Vec<Row>) -> Vec<Row> {
        if rows.len() <= ROWS {
            return rows;
        }
        let mut shown = vec![false; rows.len()];
        let needed =
            rows.iter().enumerate().filter(|(_, row)| matches!(row, Row::Switch(it) if it.is_needed));
        let needed: Vec<usize> = needed.map(|(index, _)| index).collect();
        for at in needed.iter().rev().take(ROWS / 4 / BESIDE + 1) {
            shown[at.saturating_sub(BESIDE)..(at + BESIDE).min(rows.len())].fill(true);
        }
        let left = ROWS.saturating_sub(shown.iter().filter(|shown| **shown).count());
        let last: Vec<usize> = (0..rows.len()).rev().filter(|at| !shown[*at]).take(left).collect();
        last.into_iter().for_each(|at| shown[at] = true);
        let mut kept = Vec::new();
        for (row, shown) in rows.into_iter().zip(shown) {
            if shown {
                kept.push(row);
            } else if kept.last() != Some(&Row::LeftOut) {
                kept.push(Row::LeftOut);
            }
        }
        kept
    }
}

/// The tasks that have lanes: those that are `first`, and then those that do most of what is shown; in the order of their
/// numbers.
pub(super) fn lanes(rows: &[Row], first: &[TaskId]) -> Vec<TaskId> {
    let mut counts: Vec<(TaskId, usize)> = Vec::new();
    for row in rows {
        let (task, count) = match row {
            Row::Step(step) => (step.task, 16),
            Row::Others(task, _) => (*task, 1),
            Row::Switch(_) | Row::LeftOut => continue,
        };
        match counts.iter_mut().find(|(known, _)| *known == task) {
            Some((_, all)) => *all += count,
            None => counts.push((task, count)),
        }
    }
    counts.sort_by_key(|(task, count)| (!first.contains(task), std::cmp::Reverse(*count)));
    let mut lanes: Vec<TaskId> = counts.into_iter().take(LANES).map(|(task, _)| task).collect();
    lanes.sort_unstable();
    lanes
}

/// The function of others' that the user's own code called, in which an operation was done.
pub(super) fn called(frames: &[Frame]) -> Option<&Frame> {
    let own = interesting(frames)?;
    let index = frames.iter().position(|frame| std::ptr::eq(frame, own))?;
    frames.get(index.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::testing::{access, history, turn};
    use rrtest_preload::layout::AccessKind::{AtomicLoad, AtomicStore};

    fn lost_update() -> (History, Vec<Operation>) {
        let turns = vec![
            turn(0, 0, 10, Lost::Waits(202)),
            turn(1, 10, 14, Lost::Preempted),
            turn(2, 14, 20, Lost::Gone),
            turn(1, 20, 30, Lost::Ended),
        ];
        let operations = vec![
            access(1, 12, AtomicLoad, 0x99, 3),
            access(1, 13, AtomicLoad, 0x10, 4),
            access(2, 15, AtomicLoad, 0x10, 4),
            access(2, 16, AtomicStore, 0x10, 5),
            // It was preempted in front of this.
            access(1, 14, AtomicStore, 0x10, 5),
            access(1, 22, AtomicLoad, 0x10, 9),
            access(1, 23, AtomicLoad, 0x10, 9),
        ];
        (history(turns), operations)
    }

    #[test]
    fn rows_are_in_the_order_of_what_was_done() {
        let (history, operations) = lost_update();
        let objects = Objects::of(&operations, &[0x10]);
        let needed = [1];
        let course =
            Course { history: &history, operations: &operations, objects: &objects, needed: &needed };
        let step = |task, operations: &[usize]| {
            Row::Step(Step { task: TaskId(task), operations: operations.to_vec(), is_hot: true })
        };
        let switch = |from, to, why, is_needed| {
            Row::Switch(Switch { from: TaskId(from), to: TaskId(to), why, is_needed })
        };
        assert_eq!(
            course.rows(),
            [
                Row::Others(TaskId(1), 1),
                step(1, &[1]),
                switch(1, 2, Lost::Preempted, true),
                step(2, &[2]),
                step(2, &[3]),
                switch(2, 1, Lost::Gone, false),
                step(1, &[4]),
                step(1, &[5, 6]),
            ]
        );
        assert_eq!(lanes(&course.rows(), &[]), [TaskId(1), TaskId(2)]);
    }

    #[test]
    fn of_many_rows_the_needed_ones_and_the_last_stay() {
        let (mut history, mut operations) = lost_update();
        history.turns[3].to.ticks = 5000;
        operations.extend((0..1000).map(|n| access(1, 24 + n, AtomicStore, 0x10, 10 + n as u32)));
        let objects = Objects::of(&operations, &[]);
        let course = Course { history: &history, operations: &operations, objects: &objects, needed: &[1] };
        let rows = course.rows();
        assert!(rows.len() <= ROWS + 4, "{}", rows.len());
        assert!(rows.iter().any(|row| matches!(row, Row::Switch(Switch { is_needed: true, .. }))));
        assert_eq!(rows.iter().filter(|row| **row == Row::LeftOut).count(), 1);
        assert!(matches!(rows.last(), Some(Row::Step(step)) if step.operations == [operations.len() - 1]));
    }

    #[test]
    fn there_are_no_more_lanes_than_fit() {
        let rows: Vec<Row> = (0..30).map(|task| Row::Others(TaskId(task), 1)).collect();
        assert_eq!(lanes(&rows, &[TaskId(29)]).len(), LANES);
        assert!(lanes(&rows, &[TaskId(29)]).contains(&TaskId(29)));
    }
}
