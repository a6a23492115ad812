//! Draws when surprises strike.
//!
//! Each attempt draws which kinds it has and how often, from random streams of their own: switching one off does not
//! change when the others strike.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::random::Random;
use super::surprise::{Struck, Surprise, Surprises};
use crate::task::TaskId;

/// A surprise that has struck, or is to strike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stroke {
    /// Its kind.
    pub kind: Surprise,
    /// The task that it strikes.
    pub task: TaskId,
    /// Which of the task's occasions for this kind, from 1. Reads of clocks count for all tasks together.
    pub occasion: u64,
    /// The numbers drawn for it.
    pub draws: Vec<u64>,
}

/// Strokes that are noted at most.
const MOST_NOTED: usize = 1 << 12;

/// Draws the surprises of an attempt, or takes them from a script.
#[derive(Debug)]
pub struct Injector {
    allowed: Surprises,
    kinds: [Die; Surprise::ALL.len()],
    struck: Struck,
    patience: u32,
    /// How many occasions each task has had.
    occasions: BTreeMap<(Surprise, TaskId), u64>,
    /// Reads of clocks until the next one that is an occasion.
    reads: u64,
    noted: Vec<Stroke>,
    /// Whether the last occasion of a kind was struck, which is when numbers are drawn for it.
    drawing: [bool; Surprise::ALL.len()],
    script: Option<Scripted>,
}

/// What is to strike.
#[derive(Debug)]
struct Scripted {
    strokes: Vec<Stroke>,
    /// What is left of the numbers of the last stroke of each kind.
    draws: [VecDeque<u64>; Surprise::ALL.len()],
}

/// One kind.
#[derive(Debug)]
struct Die {
    random: Random,
    /// It strikes on one in this many occasions; 0 for never.
    period: u64,
}

impl Injector {
    /// Makes streams that no strategy uses.
    const SALT: u64 = 0x7375_7270_7269_7365;

    /// One attempt in this many has any patience, half of those have more than a little, and so on up to the maximum.
    const IMPATIENT: u64 = 128;
    const MOST_PATIENT: u32 = 5;

    /// Draws the kinds of the attempt with this seed. Every other attempt has a given kind.
    #[must_use]
    pub fn new(allowed: Surprises, seed: u64) -> Self {
        let streams: [Random; Surprise::ALL.len()] = Random::streams(seed ^ Self::SALT);
        let mut kinds = Surprise::ALL.into_iter();
        let kinds = streams.map(|mut random| {
            let has = kinds.next().is_some_and(|kind| allowed.has(kind));
            let (drawn, period) = (random.chance(1, 2), 2 << random.below(2));
            Die { random, period: if has && drawn { period } else { 0 } }
        });
        let [mut random] = Random::streams(seed ^ !Self::SALT);
        let mut patience = u32::from(random.chance(1, Self::IMPATIENT));
        while (1..Self::MOST_PATIENT).contains(&patience) && random.chance(1, 2) {
            patience += 1;
        }
        Self {
            allowed,
            kinds,
            struck: Struck::default(),
            patience,
            occasions: BTreeMap::new(),
            reads: 0,
            noted: Vec::new(),
            drawing: Default::default(),
            script: None,
        }
    }

    /// Has these strike, and nothing else. What is not allowed does not.
    #[must_use]
    pub fn scripted(allowed: Surprises, seed: u64, strokes: &[Stroke]) -> Self {
        let strokes = strokes.iter().filter(|stroke| allowed.has(stroke.kind)).cloned().collect();
        Self { script: Some(Scripted { strokes, draws: Default::default() }), ..Self::new(allowed, seed) }
    }

    /// Whether this kind is allowed.
    #[must_use]
    pub fn allow(&self, kind: Surprise) -> bool {
        self.allowed.has(kind)
    }

    /// Whether the attempt has this kind.
    #[must_use]
    pub fn have(&self, kind: Surprise) -> bool {
        match &self.script {
            Some(script) => script.strokes.iter().any(|stroke| stroke.kind == kind),
            None => self.kinds[kind as usize].period > 0,
        }
    }

    /// Whether this kind strikes on an occasion that a task has.
    pub fn strike(&mut self, kind: Surprise, task: TaskId) -> bool {
        let Die { random, period } = &mut self.kinds[kind as usize];
        let strikes = self.script.is_none() && *period > 0 && random.chance(1, *period);
        self.occasion(kind, task, strikes)
    }

    /// Whether this kind strikes that is asked for: it does, unless there is a script without it.
    pub fn strike_as_asked(&mut self, kind: Surprise, task: TaskId) -> bool {
        let strikes = self.script.is_none();
        self.occasion(kind, task, strikes)
    }

    /// Counts an occasion, and a stroke if it `strikes` there, or does so by the script.
    fn occasion(&mut self, kind: Surprise, task: TaskId, strikes: bool) -> bool {
        let task = if kind == Surprise::Slow { TaskId(0) } else { task };
        let occasion = self.occasions.entry((kind, task)).or_default();
        *occasion += 1;
        let occasion = *occasion;
        let strikes = match &mut self.script {
            Some(script) => {
                let is_it = |it: &&Stroke| (it.kind, it.task, it.occasion) == (kind, task, occasion);
                let stroke = script.strokes.iter().find(is_it);
                script.draws[kind as usize] = stroke.iter().flat_map(|it| it.draws.clone()).collect();
                stroke.is_some()
            }
            None => strikes,
        };
        self.struck.count(kind, strikes);
        self.drawing[kind as usize] = strikes && self.noted.len() < MOST_NOTED;
        if self.drawing[kind as usize] {
            self.noted.push(Stroke { kind, task, occasion, draws: Vec::new() });
        }
        strikes
    }

    /// Takes the number that the script has next for a stroke of this kind; `None` if there is no script.
    fn scripted_draw(&mut self, kind: Surprise) -> Option<u64> {
        self.script.as_mut().map(|script| script.draws[kind as usize].pop_front().unwrap_or(0))
    }

    /// Notes a number that was drawn for a stroke of this kind.
    fn drawn(&mut self, kind: Surprise, number: u64) -> u64 {
        if self.drawing[kind as usize]
            && let Some(stroke) = self.noted.iter_mut().rev().find(|stroke| stroke.kind == kind)
        {
            stroke.draws.push(number);
        }
        number
    }

    /// Draws after how many reads of clocks, from this one, the next one is that can be slow, fewer than `end`.
    pub fn reads_until(&mut self, end: u64) -> u64 {
        *self.occasions.entry((Surprise::Slow, TaskId(0))).or_default() += self.reads;
        let next = match self.script {
            Some(_) => 1,
            None => self.random_amount(Surprise::Slow, 1, end),
        };
        self.reads = next - 1;
        next
    }

    /// Whether there is a script.
    #[must_use]
    pub fn is_scripted(&self) -> bool {
        self.script.is_some()
    }

    /// Takes what has struck.
    pub fn take_noted(&mut self) -> Vec<Stroke> {
        std::mem::take(&mut self.noted)
    }

    /// Whether more has struck than is noted.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.noted.len() >= MOST_NOTED
    }

    /// Returns the attempt's patience with what takes real time, as a power of 2: mostly 0, and each further one half
    /// as often.
    #[must_use]
    pub fn patience(&self) -> u32 {
        self.patience
    }

    /// Draws a number below `bound`; 0 if that is 0.
    pub fn below(&mut self, kind: Surprise, bound: u64) -> u64 {
        let number = match self.scripted_draw(kind) {
            Some(number) => number.min(bound.saturating_sub(1)),
            None => self.kinds[kind as usize].random.below(bound),
        };
        self.drawn(kind, number)
    }

    /// Whether this kind strikes on a rare occasion: if it is allowed, every other time, whether the attempt has it or
    /// not.
    pub fn strike_rather(&mut self, kind: Surprise, task: TaskId) -> bool {
        let strikes =
            self.script.is_none() && self.allow(kind) && self.kinds[kind as usize].random.chance(1, 2);
        self.occasion(kind, task, strikes)
    }

    /// Draws an amount from `least` (not 0) to below `end`, each power of two equally likely. Returns `least` if the
    /// range is empty.
    pub fn amount(&mut self, kind: Surprise, least: u64, end: u64) -> u64 {
        let number = match self.scripted_draw(kind) {
            Some(number) => number.clamp(least, end.saturating_sub(1).max(least)),
            None => self.random_amount(kind, least, end),
        };
        self.drawn(kind, number)
    }

    fn random_amount(&mut self, kind: Surprise, least: u64, end: u64) -> u64 {
        let random = &mut self.kinds[kind as usize].random;
        let powers = u64::from((end.saturating_sub(1) / least.max(1)).checked_ilog2().unwrap_or(0)) + 1;
        let from = least << random.below(powers);
        from + random.below(from.min(end.saturating_sub(from)))
    }

    /// Returns how often each kind has struck.
    #[must_use]
    pub fn struck(&self) -> Struck {
        self.struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(injector: &mut Injector, kind: Surprise) -> Vec<bool> {
        (0..64).map(|_| injector.strike(kind, TaskId(1))).collect()
    }

    #[test]
    fn equal_seeds_surprise_equally_whatever_else_is_allowed() {
        let late: Surprises = [Surprise::Late].into_iter().collect();
        let mut seen = 0;
        for seed in 0..50 {
            let (mut all, mut only) = (Injector::new(Surprises::ALL, seed), Injector::new(late, seed));
            strikes(&mut all, Surprise::Short);
            let struck = strikes(&mut only, Surprise::Late);
            assert_eq!(strikes(&mut all, Surprise::Late), struck);
            assert_eq!(only.struck().iter().count(), usize::from(struck.contains(&true)));
            assert!(!strikes(&mut only, Surprise::Short).contains(&true));
            seen += usize::from(only.have(Surprise::Late));
        }
        assert!((15..35).contains(&seen), "{seen} of 50 attempts");
    }

    #[test]
    fn what_is_not_allowed_never_strikes() {
        for seed in 0..20 {
            let mut injector = Injector::new(Surprises::NONE, seed);
            assert!(Surprise::ALL.iter().all(|kind| !strikes(&mut injector, *kind).contains(&true)));
        }
    }

    /// Lets a kind have occasions for two tasks in turn, and draws for those that it strikes.
    fn play(injector: &mut Injector, kind: Surprise) -> Vec<Option<u64>> {
        let mut play = |number: u32| {
            let strikes = injector.strike(kind, TaskId(number % 2));
            strikes.then(|| injector.amount(kind, 10, 1000) + injector.below(kind, 7))
        };
        (0..64).map(&mut play).collect()
    }

    #[test]
    fn what_has_struck_strikes_again_by_the_script_and_only_what_is_left_in_it() {
        let mut struck = 0;
        for seed in 0..40 {
            let mut first = Injector::new(Surprises::ALL, seed);
            let played = play(&mut first, Surprise::Late);
            let mut strokes = first.take_noted();
            let mut again = Injector::scripted(Surprises::ALL, seed + 1, &strokes);
            assert_eq!(play(&mut again, Surprise::Late), played);
            assert_eq!(again.take_noted(), strokes);
            assert!(!again.have(Surprise::Early) && !again.strike(Surprise::Early, TaskId(0)));
            if strokes.len() > 1 {
                struck += 1;
                // The others strike at the same occasions, with the same numbers.
                let left = strokes.remove(0);
                let mut fewer = Injector::scripted(Surprises::ALL, seed, &strokes);
                let replayed = play(&mut fewer, Surprise::Late);
                let differing: Vec<_> =
                    played.iter().zip(&replayed).filter(|(one, other)| one != other).collect();
                let expected = Some(left.draws.iter().sum());
                assert_eq!(differing, [(&expected, &None)]);
            }
            let mut none = Injector::scripted(Surprises::NONE, seed, &strokes);
            assert!(play(&mut none, Surprise::Late).iter().all(Option::is_none), "it is not allowed");
        }
        assert!(struck > 5, "{struck}");
    }

    #[test]
    fn a_clock_is_slow_at_the_same_read_again() {
        let slow = |injector: &mut Injector| {
            let (mut read, mut at) = (0, Vec::new());
            // Reads that are no occasion are not seen.
            let mut next = 1;
            while read < 500 {
                read += next;
                next = injector.reads_until(17);
                at.extend(injector.strike(Surprise::Slow, TaskId(read as u32)).then_some(read));
            }
            at.retain(|read| *read < 400);
            at
        };
        let mut some = false;
        for seed in 0..20 {
            let mut first = Injector::new(Surprises::ALL, seed);
            let at = slow(&mut first);
            some |= at.len() > 2;
            assert_eq!(slow(&mut Injector::scripted(Surprises::ALL, 0, &first.take_noted())), at);
        }
        assert!(some);
    }

    #[test]
    fn patience_is_rare() {
        let mut counts = [0; 6];
        for seed in 0..64_000 {
            counts[Injector::new(Surprises::ALL, seed).patience() as usize] += 1;
        }
        for (power, expected) in [250, 125, 62, 31, 31].into_iter().enumerate() {
            let count = counts[power + 1];
            assert!((expected / 2..expected * 2).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn amounts_are_of_all_magnitudes_and_within_their_bounds() {
        let mut injector = Injector::new(Surprises::ALL, 1);
        let amounts: Vec<u64> = (0..2000).map(|_| injector.amount(Surprise::Late, 10, 1000)).collect();
        assert!(amounts.iter().all(|amount| (10..1000).contains(amount)));
        for (from, to) in [(10, 20), (20, 40), (40, 80), (80, 160), (160, 320), (320, 640), (640, 1000)] {
            let count = amounts.iter().filter(|amount| (from..to).contains(*amount)).count();
            assert!((200..400).contains(&count), "{count} from {from} to {to}");
        }
        assert_eq!([injector.amount(Surprise::Late, 7, 7), injector.amount(Surprise::Late, 7, 3)], [7, 7]);
    }
}
