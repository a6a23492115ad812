//! Which strategy an attempt uses: a rotation, so that users need not choose.
//!
//! The first attempt is fair and measures; after it the strategies take turns. A printed seed must suffice to repeat an
//! attempt's decisions. So an attempt's seed contains everything: [`seed`] composes it from a code for the strategy,
//! rough measurements of earlier attempts, and random bits, and [`plan`] takes it apart again:
//!
//! ```text
//! bits 127–124  the strategy's code; if none has it, the other bits choose from the rotation
//! bits 123–118  1 + the base-2 logarithm of the expected ticks, rounded up; 0 if unknown
//! bits 117–113  likewise for the milliseconds that it is expected to wait
//! bits 112–58   likewise for the operations on shared objects of each of the first eleven tasks, 5 bits each
//! bits  57–0    random
//! ```
//!
//! A systematic schedule has nothing random or measured, only its deviations from the first schedule:
//!
//! ```text
//! bits 123–121  how many
//! bit  120      whether sched_yield(2) returns at once
//! bits 111–0    the deviations, 28 bits each: 20 for the number of the decision, 8 for the task
//! ```
//!
//! A guided schedule has its seed, and where it leaves the schedule of that, which is in no seed: what it does depends on
//! what earlier attempts have met.
//!
//! A small number that somebody makes up is a seed too. Seeds are valid for one version of rrtest; a trace is valid
//! longer.

use super::names::StrategyName;
use super::random::Random;
use super::strategy::{Deviation, Plan};
use crate::task::TaskId;

/// The strategies in turn, after the first attempt.
///
/// On the simulated programs of this room's tests and on most fixtures the selectively uniform walk is the best or
/// close to it. With many threads, random priorities of operations are best; if one thread must be late, random
/// priorities of threads are. The selectively uniform walk needs to know how much each thread does: it is not the first
/// one, because nothing has been measured yet for a build that is added later.
pub const ROTATION: [StrategyName; 18] = [
    StrategyName::Pos,
    StrategyName::Surw,
    StrategyName::Surw,
    StrategyName::Pos,
    StrategyName::Surw,
    StrategyName::Pct,
    StrategyName::Pos,
    StrategyName::Walk,
    StrategyName::Surw,
    StrategyName::Pos,
    StrategyName::Pct,
    StrategyName::Pos,
    StrategyName::Surw,
    StrategyName::Pos,
    StrategyName::Starve,
    StrategyName::Surw,
    StrategyName::Pct,
    StrategyName::Pos,
];

const CODE_SHIFT: u32 = 124;
const TICKS_SHIFT: u32 = 118;
const TICKS_MASK: u128 = 0x3f;
const EVENTS_SHIFT: u32 = 58;
const EVENTS_BITS: u32 = 5;
const EVENTS_MASK: u128 = (1 << EVENTS_BITS) - 1;
const EVENTS_TASKS: u32 = 11;
const WAITED_SHIFT: u32 = EVENTS_SHIFT + EVENTS_BITS * EVENTS_TASKS;
const MILLISECOND: u64 = 1_000_000;
const RANDOM_MASK: u128 = (1 << EVENTS_SHIFT) - 1;

const COUNT_SHIFT: u32 = 121;
const COUNT_MASK: u128 = 7;
const AT_ONCE: u128 = 1 << 120;
const DEVIATION_BITS: u32 = 28;
const TASK_BITS: u32 = 8;

/// Most deviations that a systematic schedule can have.
pub const MOST_DEVIATIONS: usize = 4;

impl Deviation {
    /// Whether it fits in a seed.
    #[must_use]
    pub fn fits(self) -> bool {
        self.position >> (DEVIATION_BITS - TASK_BITS) == 0 && self.task.0 >> TASK_BITS == 0
    }

    fn packed(self) -> u128 {
        u128::from(self.position) << TASK_BITS | u128::from(self.task.0)
    }

    fn unpacked(packed: u128) -> Self {
        let packed = (packed & ((1 << DEVIATION_BITS) - 1)) as u32;
        Self { position: packed >> TASK_BITS, task: TaskId(packed & ((1 << TASK_BITS) - 1)) }
    }
}

/// Returns the seed of the systematic schedule with these deviations, of which at most [`MOST_DEVIATIONS`] are used,
/// and all of which must fit. `at_once` says whether sched_yield(2) returns at once in it.
#[must_use]
pub fn systematic(deviations: &[Deviation], at_once: bool) -> u128 {
    let packed = (0..).zip(deviations.iter().take(MOST_DEVIATIONS));
    let deviations = packed.fold((0, 0), |(count, all), (at, deviation)| {
        (count + 1, all | deviation.packed() << (DEVIATION_BITS * at))
    });
    let at_once = if at_once { AT_ONCE } else { 0 };
    StrategyName::Systematic.code() << CODE_SHIFT | deviations.0 << COUNT_SHIFT | at_once | deviations.1
}

/// Measurements of attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Ticks; 0 if unknown.
    pub ticks: u64,
    /// Operations on shared objects, by task number; empty if unknown.
    pub events: Vec<u64>,
    /// For how many ns all tasks have only waited; 0 if unknown.
    pub waited: u64,
}

impl Measured {
    /// Adds operations of a task on shared objects.
    pub fn count(&mut self, task: TaskId, events: u64) {
        let index = task.0 as usize;
        if events > 0 {
            if index >= self.events.len() {
                self.events.resize(index + 1, 0);
            }
            self.events[index] += events;
        }
    }

    /// Merges the measurements of another attempt: each number is the largest seen.
    pub fn learn(&mut self, other: &Self) {
        self.ticks = self.ticks.max(other.ticks);
        self.waited = self.waited.max(other.waited);
        self.events.resize(self.events.len().max(other.events.len()), 0);
        for (mine, other) in self.events.iter_mut().zip(&other.events) {
            *mine = (*mine).max(*other);
        }
    }
}

/// Returns 1 + the logarithm, rounded up and limited to `mask`; 0 for 0.
fn rounded(number: u64, mask: u128) -> u128 {
    match number {
        0 => 0,
        number => (1 + u128::from(number.checked_next_power_of_two().unwrap_or(1 << 63).ilog2())).min(mask),
    }
}

/// Returns the number for which a result of [`rounded`] stands.
fn number(rounded: u128) -> u64 {
    match rounded {
        0 => 0,
        log => 1 << (log - 1),
    }
}

/// Returns the strategy at `turn` (from 0): those in `allowed` in order; if that is empty, the fair one first, and then
/// those of [`ROTATION`].
#[must_use]
pub fn strategy(turn: u64, allowed: &[StrategyName]) -> StrategyName {
    match turn.checked_sub(1) {
        None if allowed.is_empty() => StrategyName::Fair,
        Some(later) if allowed.is_empty() => ROTATION[(later % ROTATION.len() as u64) as usize],
        _ => allowed[(turn % allowed.len() as u64) as usize],
    }
}

/// Returns the seed of attempt number `attempt` (from 0) of a campaign with the seed `campaign`.
#[must_use]
pub fn seed(campaign: u128, attempt: u64, strategy: StrategyName, measured: &Measured) -> u128 {
    if strategy == StrategyName::Systematic {
        return systematic(&[], false);
    }
    let events = (0..).zip(&measured.events).take(EVENTS_TASKS as usize).fold(0, |all, (task, events)| {
        all | rounded(*events, EVENTS_MASK) << (EVENTS_SHIFT + EVENTS_BITS * task)
    });
    // The generator makes sure that campaigns 1 and 2 have nothing in common.
    let [mut campaign_stream] = Random::streams(folded(campaign));
    let [mut attempt_stream] = Random::streams(campaign_stream.any().wrapping_add(attempt));
    strategy.code() << CODE_SHIFT
        | rounded(measured.ticks, TICKS_MASK) << TICKS_SHIFT
        | rounded(measured.waited / MILLISECOND, EVENTS_MASK) << WAITED_SHIFT
        | events
        | u128::from(attempt_stream.any()) & RANDOM_MASK
}

/// Returns the plan for which a seed stands.
///
/// If `allowed` is not empty, the plan uses one of these strategies. A seed that [`seed`] made for an allowed strategy,
/// or any seed of it if `allowed` is empty, always gives the plan of that attempt.
#[must_use]
pub fn plan(seed: u128, allowed: &[StrategyName]) -> Plan {
    let said = StrategyName::ALL.into_iter().find(|strategy| strategy.code() == seed >> CODE_SHIFT);
    let strategy =
        said.filter(|strategy| allowed.is_empty() || allowed.contains(strategy)).unwrap_or_else(|| {
            // These are not the numbers that the strategy itself will draw.
            let [_, _, mut stream] = Random::streams(folded(seed));
            let rotation = if allowed.is_empty() { &ROTATION } else { allowed };
            rotation[stream.index(rotation.len())]
        });
    if strategy == StrategyName::Systematic {
        let count = if said == Some(strategy) { (seed >> COUNT_SHIFT & COUNT_MASK) as usize } else { 0 };
        let deviations = (0..count.min(MOST_DEVIATIONS))
            .map(|at| Deviation::unpacked(seed >> (DEVIATION_BITS * at as u32)))
            .collect();
        let at_once = said == Some(strategy) && seed & AT_ONCE != 0;
        return Plan { deviations, at_once, ..Plan::new(strategy, 0) };
    }
    let events = (0..EVENTS_TASKS).map(|task| seed >> (EVENTS_SHIFT + EVENTS_BITS * task) & EVENTS_MASK);
    let mut events: Vec<u64> = events.map(number).collect();
    // Nothing is known of tasks after the last one that has been seen.
    events.truncate(events.iter().rposition(|events| *events > 0).map_or(0, |last| last + 1));
    let expected_ticks = number(seed >> TICKS_SHIFT & TICKS_MASK);
    let usual_wait = number(seed >> WAITED_SHIFT & EVENTS_MASK).saturating_mul(MILLISECOND);
    Plan { expected_ticks, events, usual_wait, ..Plan::new(strategy, folded(seed)) }
}

/// Folds a seed to 64 bits, all of which depend on it.
fn folded(seed: u128) -> u64 {
    (seed ^ seed >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn measured(ticks: u64, events: &[u64]) -> Measured {
        Measured { ticks, events: events.to_vec(), waited: 0 }
    }

    #[test]
    fn a_seed_says_all_about_its_attempt() {
        for strategy in StrategyName::ALL.into_iter().filter(|it| *it != StrategyName::Systematic) {
            for (expected, rounded) in [(0, 0), (1, 1), (522, 1024), (1024, 1024), (u64::MAX, 1 << 62)] {
                let seed = seed(7, 3, strategy, &measured(expected, &[0, 5, 1 << 40]));
                let plan = plan(seed, &[]);
                assert_eq!((plan.strategy, plan.expected_ticks), (strategy, rounded));
                assert_eq!(plan.events, [0, 8, 1 << 30]);
                assert_eq!(super::plan(seed, &[strategy]), plan);
                assert_eq!(super::plan(seed, &StrategyName::ALL), plan);
            }
        }
        let many = plan(seed(7, 3, StrategyName::Pct, &measured(1, &[3; 20])), &[]);
        assert_eq!(many.events, [4; 11]);
        assert!(plan(7, &[]).events.is_empty());
        for (waited, usual) in [(0, 0), (999_999, 0), (1_000_000, 1_000_000), (2_100_000_000, 4_096_000_000)]
        {
            let seed = seed(7, 3, StrategyName::Pos, &Measured { waited, ..Measured::default() });
            assert_eq!(plan(seed, &[]).usual_wait, usual);
        }
    }

    #[test]
    fn a_seed_says_where_a_systematic_schedule_deviates() {
        let all = [(0, 1), (5, 255), ((1 << 20) - 1, 0), (7, 7)];
        let all = all.map(|(position, task)| Deviation { position, task: TaskId(task) });
        for count in 0..=MOST_DEVIATIONS {
            for at_once in [false, true] {
                let plan = plan(systematic(&all[..count], at_once), &[]);
                assert_eq!((plan.strategy, &plan.deviations[..]), (StrategyName::Systematic, &all[..count]));
                assert_eq!(plan.at_once, at_once);
            }
        }
        assert!(all.iter().all(|it| it.fits()));
        assert!(!Deviation { position: 1 << 20, ..all[0] }.fits());
        assert!(!Deviation { task: TaskId(256), ..all[0] }.fits());
    }

    #[test]
    fn the_first_turn_is_fair_and_the_others_rotate() {
        assert_eq!(strategy(0, &[]), StrategyName::Fair);
        assert_eq!((1..37).map(|turn| strategy(turn, &[])).collect::<Vec<_>>(), ROTATION.repeat(2));
        let only = [StrategyName::Pct, StrategyName::Fair];
        assert_eq!((0..4).map(|turn| strategy(turn, &only)).collect::<Vec<_>>(), only.repeat(2));
    }

    #[test]
    fn attempts_and_campaigns_differ() {
        let seeds: BTreeSet<u128> = (0..50)
            .flat_map(|campaign| {
                (0..50).map(move |attempt| seed(campaign, attempt, StrategyName::Pos, &Measured::default()))
            })
            .collect();
        assert_eq!(seeds.len(), 2500);
    }

    /// If these change, printed seeds no longer reproduce.
    #[test]
    fn seeds_are_fixed() {
        assert_eq!(
            [
                seed(0, 0, StrategyName::Fair, &Measured::default()),
                seed(1, 3, StrategyName::Pct, &measured(500, &[1, 9]))
            ],
            [0x1000_0000_0000_0000_0148_9e9f_4033_f525, 0x3280_0000_0000_0002_8750_8ac0_a1fd_ac25]
        );
    }

    #[test]
    fn any_number_is_a_seed() {
        for number in (0..40).chain([u128::MAX, 0xdead_beef_dead_beef]) {
            assert!(ROTATION.contains(&plan(number, &[]).strategy));
            assert_eq!(plan(number, &[StrategyName::Fair]).strategy, StrategyName::Fair);
        }
        let drawn: BTreeSet<_> = (0..40).map(|number| plan(number, &[]).strategy.as_str()).collect();
        assert!(drawn.len() >= 4);
    }

    #[test]
    fn what_was_measured_is_the_most_that_was_seen() {
        let mut known = measured(10, &[1, 5]);
        known.learn(&measured(7, &[2, 0, 3]));
        assert_eq!(known, measured(10, &[2, 5, 3]));
        known.count(TaskId(4), 2);
        known.count(TaskId(9), 0);
        assert_eq!(known.events, [2, 5, 3, 0, 2]);
    }
}
