//! Which part of a run is looked at operation by operation.

use std::ops::RangeInclusive;

use rrtest_engine::history::{History, Lost};
use rrtest_engine::task::TaskId;

/// A run with no more ticks than this is looked at as a whole.
const WHOLE: u64 = 1500;

/// Ticks on each side of a switch.
const BESIDE: u64 = 60;

/// Ticks before the failure.
const LAST: u64 = 240;

/// Ticks at the end of each thread's last turns, and for how many threads.
const OWN: u64 = 30;
const THREADS: usize = 16;

/// Switches that are looked at: the last ones.
const SWITCHES: usize = 12;

/// The ticks to look at, in order and apart, of which `until` is the last one: all of them after start-up, or else those
/// around the `switches`, before the failure, and at the end of each thread.
pub(super) fn choose(history: &History, switches: &[usize], until: u64) -> Vec<RangeInclusive<u64>> {
    let begin = begin(history);
    if until.saturating_sub(begin) <= WHOLE {
        return if until > begin { vec![begin + 1..=until] } else { Vec::new() };
    }
    let around = |tick: u64| tick.saturating_sub(BESIDE)..=tick.saturating_add(BESIDE);
    let mut all = vec![until.saturating_sub(LAST)..=until];
    for &index in switches.iter().rev().take(SWITCHES) {
        let turn = &history.turns[index];
        all.push(around(turn.to.ticks));
        let goes_on = history.turns[index + 1..].iter().find(|other| other.task == turn.task);
        all.extend(goes_on.map(|turn| around(turn.from.ticks)));
    }
    for thread in history.threads.iter().rev().take(THREADS) {
        all.extend(last_of(history, thread.task, until));
    }
    merged(all, begin, until)
}

/// The ticks before the first turn of another task than the first one: the program starts.
pub(super) fn begin(history: &History) -> u64 {
    let first = history.turns.iter().find(|turn| turn.task != TaskId(0));
    first.map_or(0, |turn| turn.from.ticks)
}

/// The last ticks of a task, if there are any.
fn last_of(history: &History, task: TaskId, until: u64) -> Option<RangeInclusive<u64>> {
    let mut turns = history.turns.iter().rev();
    let turn = turns.find(|turn| turn.task == task && turn.to.ticks > turn.from.ticks)?;
    let end = turn.to.ticks.min(until);
    Some(end.saturating_sub(OWN).max(turn.from.ticks)..=end)
}

fn merged(mut all: Vec<RangeInclusive<u64>>, begin: u64, until: u64) -> Vec<RangeInclusive<u64>> {
    all.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u64>> = Vec::new();
    for range in all {
        let (start, end) = ((*range.start()).max(begin + 1), (*range.end()).min(until));
        match merged.last_mut() {
            _ if start > end => {}
            Some(last) if start <= *last.end() + 1 => *last = *last.start()..=end.max(*last.end()),
            _ => merged.push(start..=end),
        }
    }
    merged
}

/// The turns that end by a preemption.
pub(super) fn preempted(history: &History) -> Vec<usize> {
    let turns = history.turns.iter().enumerate();
    turns.filter(|(_, turn)| turn.why == Lost::Preempted).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::testing::{history, turn};

    #[test]
    fn a_short_run_is_looked_at_from_its_first_thread_on() {
        let history = history(vec![turn(0, 0, 50, Lost::Waits(202)), turn(1, 50, 90, Lost::Ended)]);
        assert_eq!(choose(&history, &[], 90), [51..=90]);
        assert_eq!(choose(&history, &[], 50), []);
        assert_eq!(choose(&history, &[], 0), []);
    }

    #[test]
    fn of_a_long_run_the_switches_the_ends_and_the_failure_are_looked_at() {
        let turns = vec![
            turn(0, 0, 100, Lost::Waits(202)),
            turn(1, 100, 5000, Lost::Preempted),
            turn(2, 5000, 7000, Lost::Waits(202)),
            turn(1, 7000, 90_000, Lost::Ended),
        ];
        let history = history(turns);
        assert_eq!(preempted(&history), [1]);
        let chosen = choose(&history, &[1], 90_000);
        assert_eq!(chosen, [4940..=5060, 6940..=7060, 89_760..=90_000]);
        assert!(chosen.iter().map(|range| range.end() - range.start()).sum::<u64>() < WHOLE);
    }
}
