//! Where a preemption must fall for a program to fail.
//!
//! A task is preempted somewhere between two operations of its own, its *window*, and meanwhile another task gets at
//! least through a certain operation. All three are found by moving the switches: away from where they are known to
//! make the program fail, in steps that double, and then halving the difference.

use super::{Lab, Tried};
use crate::schedule::script::{Script, Spot, Switch, Turn, When};
use crate::task::TaskId;

/// Experiments that the search for one edge may take.
const MOST: u32 = 40;

/// Where a preemption must fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The task that is preempted.
    pub task: TaskId,
    /// The number of its last operation that it must have done; `None` if it need not have done any since it last got
    /// the core.
    pub after: Option<u64>,
    /// The number of its operation that it must not have done; `None` if the preemption may come as late as it can.
    pub before: Option<u64>,
    /// The task that runs meanwhile.
    pub other: TaskId,
    /// The number of the operation through which that must get; `None` if it must run until it cannot go on, or if
    /// several tasks must run.
    pub up_to: Option<u64>,
}

/// Finds the window of a script's switch number `at`, which must be a preemption; the script must fail. Returns a
/// script that says the same more simply, in which the task stands at the end of its window.
pub fn window(lab: &mut impl Lab, script: &Script, at: usize) -> Option<(Window, Script)> {
    let mut script = script.clone();
    // What is preempted after an operation is preempted before the next one.
    if script.switches.get(at)?.when == When::After {
        let mut moved = script.clone();
        let switch = &mut moved.switches[at];
        (switch.when, switch.at.ticks) = (When::Before, switch.at.ticks + 1);
        if lab.fails(&moved) {
            script = moved;
        }
    }
    let Switch { at: Spot { task, ticks }, when, to: other } = script.switches[at];
    let tried = lab.run(&script).filter(|tried| tried.same)?;
    let turns = &tried.noted.turns;
    let number = turns.iter().position(|turn| turn.task == task && turn.to == ticks)?;
    let turn = turns[number];
    if when != When::Before {
        let window = Window { task, after: Some(ticks), before: None, other, up_to: None };
        return Some((window, script));
    }
    // It goes on until it next loses the core.
    let later = turns[number + 1..].iter().find(|turn| turn.task == task);
    let last = later.map_or(ticks, |turn| turn.to);
    let moved = |ticks: u64| {
        let mut moved = script.clone();
        moved.switches[at].at.ticks = ticks;
        moved
    };
    let earliest = edge(ticks, turn.from + 1, |ticks| lab.fails(&moved(ticks)));
    let latest = edge(ticks, last, |ticks| lab.fails(&moved(ticks)));
    let up_to = side(lab, &script, at, meanwhile(turns, number)?);
    let window = Window {
        task,
        after: (earliest > turn.from + 1).then(|| earliest - 1),
        before: (latest < last).then_some(latest),
        other,
        up_to,
    };
    Some((window, script))
}

/// Returns the turn that follows, if it is the only one before the task of this one goes on.
fn meanwhile(turns: &[Turn], number: usize) -> Option<Turn> {
    turns.get(number + 1).copied()
}

/// Finds the first operation through which the other task must get in its turn.
fn side(lab: &mut impl Lab, script: &Script, at: usize, turn: Turn) -> Option<u64> {
    let back = script.switches[at].at.task;
    let cut = |ticks: u64| {
        let mut cut = script.clone();
        let spot = Spot { task: turn.task, ticks };
        cut.switches.insert(at + 1, Switch { at: spot, when: When::Before, to: back });
        cut
    };
    // Before its last operation, or right after it.
    let last = turn.to + 1;
    let mut fails = |ticks| lab.run(&cut(ticks)).is_some_and(|tried: Tried| tried.same);
    let known = [turn.to, last].into_iter().find(|ticks| *ticks > turn.from && fails(*ticks))?;
    let least = edge(known, turn.from + 1, fails);
    // It has come to the operation with that number, and not done it.
    least.checked_sub(1).filter(|done| *done > turn.from)
}

/// Returns the number furthest from `known`, up to `end`, for which it `holds` without a gap, as far as halving finds
/// it. It holds for `known`.
fn edge(known: u64, end: u64, mut holds: impl FnMut(u64) -> bool) -> u64 {
    let toward = |from: u64, step: u64| {
        if end < from { from.saturating_sub(step).max(end) } else { from.saturating_add(step).min(end) }
    };
    let (mut good, mut bad, mut step, mut left) = (known, None, 1, MOST);
    while bad.is_none() && good != end && left > 0 {
        let next = toward(good, step);
        if holds(next) {
            good = next
        } else {
            bad = Some(next)
        }
        (step, left) = (step.saturating_mul(2), left - 1);
    }
    while let Some(edge) = bad.filter(|bad| bad.abs_diff(good) > 1 && left > 0) {
        let middle = good.midpoint(edge);
        if holds(middle) {
            good = middle
        } else {
            bad = Some(middle)
        }
        left -= 1;
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::testing::{A, Adders, B, Fake};

    #[test]
    fn edges_are_found_in_both_directions() {
        for (known, end, edge_at) in [(50, 1, 20), (50, 100, 77), (50, 1, 50), (50, 100, 100), (1, 1, 1)] {
            let (low, high) = (edge_at.min(known), edge_at.max(known));
            let mut tried = 0;
            let found = edge(known, end, |it| {
                tried += 1;
                (low..=high).contains(&it)
            });
            assert_eq!(found, edge_at);
            assert!(tried <= 14, "{tried}");
        }
    }

    #[test]
    fn a_lost_update_is_between_load_and_store_while_the_other_one_loads() {
        // Each task makes ten operations, loads at the fourth and stores at the eighth.
        let mut lab = Adders;
        for ticks in 5..=8 {
            let switch = Switch { at: Spot { task: A, ticks }, when: When::Before, to: B };
            let script = Script { switches: vec![switch], ..Script::default() };
            let (window, _) = window(&mut lab, &script, 0).expect("a window");
            assert_eq!(
                window,
                Window { task: A, after: Some(4), before: Some(8), other: B, up_to: Some(4) },
                "from {ticks}"
            );
        }
    }

    #[test]
    fn a_script_that_does_not_fail_has_no_window() {
        let mut lab = Fake::that(|_: &Script| false);
        let switch = Switch { at: Spot { task: A, ticks: 3 }, when: When::Before, to: B };
        assert_eq!(window(&mut lab, &Script { switches: vec![switch], ..Script::default() }, 0), None);
        assert_eq!(window(&mut lab, &Script::default(), 0), None);
    }
}
