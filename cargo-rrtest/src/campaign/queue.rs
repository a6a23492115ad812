//! Which attempt is next: that of the test that has had the least, in the build that has had the least.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rrtest_engine::record::CutOff;
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::schedule::explore::{self, Explorer};
use rrtest_engine::schedule::portfolio::Measured;

use super::agenda::Agenda;
use super::ledger::{Ledger, Ticket, Who};
use super::progress::{Build, Progress};
use super::registry::Registry;
use crate::attempt::events::{Attempt, Covered, Explored, NeverEnded};
use crate::attempt::order::Order;
use crate::attempt::record::Job;
use crate::attempt::seed::Seed;
use crate::build::instrument::Level;
use crate::discover::test::Test;
use crate::ending::outcome::Outcome;
use crate::pins::file::Pin;
use crate::pins::find::Pinned;

/// How long a worker waits until it asks again, when all depends on what others are doing.
pub(super) const MOMENT: Duration = Duration::from_millis(1);

/// After so many errors of ours a test is left out: it would only repeat them.
pub(super) const MAX_ERRORS: u32 = 3;

/// Of the time that is left, a test of which no attempt has ended gets so much for one as long as others wait for their first.
const FIRST_SHARE: (u32, u32) = (3, 4);

/// An attempt that is cut off before it has had so much, or as much as another test has taken, has shown nothing of its test, unless
/// that was half of the time of all.
const CHANCE: Duration = Duration::from_secs(1);

/// By how much an attempt that is about to end may exceed the time of a campaign, as one part in so many.
const ABOUT_TO_END: u32 = 50;

/// A pin that is still to be tried.
#[derive(Debug)]
struct WaitingPin {
    /// Its test, by index.
    test: usize,
    pinned: Pinned,
}

/// Which attempt is next. The workers take from it in turn.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) tests: Vec<Progress>,
    /// The next test's index.
    next: usize,
    schedule: Agenda,
    pub(super) seed: Seed,
    /// When the time is over, if it is limited.
    pub(super) deadline: Option<Instant>,
    /// What attempts use.
    pub(super) ledger: Ledger,
    /// The pins that have not been handed out.
    pins: Vec<WaitingPin>,
    /// The tests at whose pins attempts are under way, by index: as often as there are pins.
    trying: Vec<usize>,
    /// The files of the pins for which there was no time, or no test.
    given_up: Vec<Arc<str>>,
}

impl Queue {
    /// All begins now.
    pub(super) fn new(
        tests: Vec<Test>,
        pins: Vec<Pinned>,
        level: Level,
        schedule: Agenda,
        registry: Registry,
    ) -> Self {
        let groups = tests.iter().map(|test| test.rules.serial_group.clone()).collect();
        let ledger = Ledger::new(groups, registry);
        let only = schedule.runs_here() == Some(1);
        let seed = schedule.seed.unwrap_or_else(|| Seed::arbitrary(&schedule.strategies, only));
        let deadline = schedule.time.and_then(|time| Instant::now().checked_add(time));
        let (mut waiting, mut given_up) = (Vec::new(), Vec::new());
        for pinned in pins {
            let pin = &pinned.pin;
            let is_its = |test: &Test| test.binary == pin.binary && test.name.as_ref() == Some(&pin.test);
            match tests.iter().position(is_its) {
                Some(test) => waiting.push(WaitingPin { test, pinned }),
                None => given_up.push(pinned.file),
            }
        }
        let tests = tests.into_iter().map(|test| Progress::new(test, level, schedule.bound)).collect();
        Self { tests, next: 0, schedule, seed, deadline, ledger, pins: waiting, trying: Vec::new(), given_up }
    }

    pub(super) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// When to cut off an attempt at a test that begins now.
    pub(super) fn until(&self, index: usize) -> Option<CutOff> {
        let (deadline, time) = (self.deadline?, self.schedule.time?);
        let others_wait =
            || (0..self.tests.len()).any(|index| self.tests[index].attempts == 0 && self.wants(index));
        Some(match self.tests[index].judged {
            0 => {
                let now = Instant::now();
                let (part, of) = if others_wait() { FIRST_SHARE } else { (1, 1) };
                let at = now + deadline.saturating_duration_since(now) / of * part;
                CutOff { at, told_after: self.chance(time) }
            }
            _ => CutOff { at: deadline + time / ABOUT_TO_END, told_after: Duration::ZERO },
        })
    }

    /// The tests of which nothing is known.
    pub(super) fn never_ended(&self) -> Vec<NeverEnded> {
        let unknown = self.tests.iter().filter(|progress| progress.judged == 0);
        unknown
            .map(|progress| NeverEnded {
                test: Arc::clone(&progress.builds[0].test),
                attempts: progress.attempts,
            })
            .collect()
    }

    /// Another build of the tests has been made.
    pub(super) fn join(&mut self, tests: Vec<Test>, level: Level) {
        for test in tests {
            let id = test.id();
            let Some(progress) = self.tests.iter_mut().find(|progress| progress.id == id) else { continue };
            progress.builds.push(Build::new(test, level));
        }
    }

    /// The next attempt.
    pub(super) fn take(&mut self) -> Take {
        if self.is_over() {
            return Take::Nothing;
        }
        if let Some(taken) = self.take_pin() {
            return Take::Pin(Box::new(taken));
        }
        let count = self.tests.len();
        let Some((index, ticket)) = self.choose() else {
            let waits = (0..count).any(|index| self.wants(index));
            let is_due = |pin: &WaitingPin| self.build_of(pin).is_some();
            return if waits || self.pins.iter().any(is_due) { Take::Later } else { Take::Nothing };
        };
        self.next = (index + 1) % count;
        let progress = &mut self.tests[index];
        let shares = progress.builds.iter_mut().enumerate();
        let Some((at, build)) = shares.min_by_key(|(_, build)| build.share()) else { return Take::Nothing };
        // Each build has its own turns. One that has joined has none that is fair: the first build has had that.
        let turn = u64::from(build.begun) + u64::from(at > 0);
        let strategies = build.test.strategies(&self.schedule.strategies);
        let strategy = build.strategy(turn, strategies);
        build.begun += 1;
        progress.attempts += 1;
        let number = self.schedule.number(progress.attempts);
        let schedule = progress.explorer.as_mut().and_then(Explorer::take);
        // A single attempt has nothing to teach.
        let measure = schedule.is_none()
            && build.measured == Measured::default()
            && self.schedule.runs_here() != Some(1);
        let seed = match (&schedule, number) {
            (Some(schedule), _) => Seed::systematic(schedule),
            (None, 1) => self.seed,
            (None, _) => self.seed.derive(&progress.id, number, strategy, &build.measured),
        };
        // What is measured is to hold for most others, too.
        let seed = if measure && number > 1 { seed.in_usual_order() } else { seed };
        let (seed, branches) = match strategy {
            StrategyName::Guided => {
                build.guided += 1;
                build.guide.next(seed)
            }
            _ => (seed, Vec::new()),
        };
        let (test, level) = (Arc::clone(&build.test), build.level);
        let patience = progress.patience(at);
        let until = self.until(index);
        let order = Order::of(seed, test.strategies(&self.schedule.strategies), &test);
        let job = Job {
            script: None,
            branches,
            pinned: None,
            watched: false,
            test,
            level,
            number,
            seed,
            order,
            measure,
            patience,
            until,
        };
        Take::Job(Box::new(Taken { at: At { test: index, build: at, schedule }, ticket, job }))
    }

    /// The next pin, of those that go together with what is under way; its attempts have begun.
    fn take_pin(&mut self) -> Option<TakenPin> {
        for number in 0..self.pins.len() {
            let WaitingPin { test, .. } = self.pins[number];
            let Some(build) = self.build_of(&self.pins[number]) else { continue };
            if !self.ledger.is_free(test) {
                continue;
            }
            let Build { test: program, level, .. } = &self.tests[test].builds[build];
            let (program, level) = (Arc::clone(program), *level);
            let Ok(ticket) = self.ledger.begin(Who { index: test, test: Arc::clone(&program), number: 0 })
            else {
                continue;
            };
            let WaitingPin { pinned, .. } = self.pins.remove(number);
            self.trying.push(test);
            let job = Job {
                test: program,
                level,
                number: 0,
                seed: pinned.pin.seed,
                order: Order::Usual,
                script: None,
                branches: Vec::new(),
                pinned: Some(Arc::clone(&pinned.file)),
                measure: false,
                patience: None,
                until: self.until(test),
                watched: false,
            };
            return Some(TakenPin { at: At { test, build, schedule: None }, ticket, pin: pinned.pin, job });
        }
        None
    }

    /// The index of the build at which a pin can be tried, as soon as there is one.
    fn build_of(&self, pin: &WaitingPin) -> Option<usize> {
        let test = &self.tests[pin.test];
        let build = test.builds.iter().position(|build| build.level == pin.pinned.pin.preempt)?;
        (!test.left_out).then_some(build)
    }

    /// A pin of the test of this index has been tried.
    pub(super) fn tried(&mut self, test: usize) {
        if let Some(at) = self.trying.iter().position(|other| *other == test) {
            self.trying.swap_remove(at);
        }
    }

    /// There was no time to try the pin of this file to the end.
    pub(super) fn give_up(&mut self, file: Arc<str>) {
        self.given_up.push(file);
    }

    /// The files of the pins that were not tried.
    pub(super) fn untried(&self) -> Vec<&str> {
        let waiting = self.pins.iter().map(|pin| &*pin.pinned.file);
        self.given_up.iter().map(|file| &**file).chain(waiting).collect()
    }

    /// The test that is next, of those that go together with what is under way; its attempt has begun.
    fn choose(&mut self) -> Option<(usize, Ticket)> {
        let count = self.tests.len();
        // A test is tried by its pins first.
        let due = self.pins.iter().filter(|pin| self.build_of(pin).is_some()).map(|pin| pin.test);
        let pinned: Vec<usize> = due.chain(self.trying.iter().copied()).collect();
        let is_ready = |index: &usize| {
            let explorer = self.tests[*index].explorer.as_ref();
            self.wants(*index)
                && explorer.is_none_or(Explorer::has_next)
                && self.ledger.is_free(*index)
                && !pinned.contains(index)
        };
        // Of those that have had as much, in turn.
        let in_turn = (0..count).map(|offset| (self.next + offset) % count);
        let mut ready: Vec<_> = in_turn.filter(is_ready).collect();
        let mut others_wait = false;
        while let Some(at) = (0..ready.len()).min_by_key(|at| self.tests[ready[*at]].share()) {
            let index = ready[at];
            let progress = &self.tests[index];
            // What another campaign uses is soon free again, and this may take all the time.
            if others_wait && progress.may_last() {
                return None;
            }
            let who = Who {
                index,
                test: Arc::clone(&progress.builds[0].test),
                number: self.schedule.number(progress.attempts + 1),
            };
            if let Ok(ticket) = self.ledger.begin(who) {
                return Some((index, ticket));
            }
            ready.remove(at);
            others_wait = true;
        }
        None
    }

    /// Whether there will be more attempts of the test of this index.
    pub(super) fn wants(&self, index: usize) -> bool {
        let test = &self.tests[index];
        !test.left_out
            && self.fits(index)
            && self.schedule.runs_here().is_none_or(|runs| test.attempts < runs)
            && test.explorer.as_ref().is_none_or(|explorer| !explorer.is_over())
    }

    /// How far the schedules of each test have been gone through, if that was to be done.
    pub(super) fn explored(&self) -> Vec<Explored> {
        let explored = |progress: &Progress| {
            let explorer = progress.explorer.as_ref()?;
            Some(Explored {
                test: progress.id.clone(),
                bound: self.schedule.bound?,
                schedules: explorer.explored(),
                strayed: explorer.strayed(),
                complete: explorer.is_complete(),
                at_once: explorer.at_once(),
            })
        };
        self.tests.iter().filter_map(explored).collect()
    }

    /// What guided attempts at each test have covered, at the build that shows most.
    pub(super) fn covered(&self) -> Vec<Covered> {
        let covered = |progress: &Progress| {
            let builds = progress.builds.iter().filter_map(|build| build.guide.covered(&progress.id));
            builds.max_by_key(|covered| covered.pairs)
        };
        self.tests.iter().filter_map(covered).collect()
    }

    /// Whether an attempt that was cut off after so long has had too little time to show anything.
    pub(super) fn had_no_chance(&self, taken: &At, ran: Duration) -> bool {
        let little = self.schedule.time.is_some_and(|time| ran < self.chance(time));
        little && self.tests[taken.test].judged == 0
    }

    /// How much an attempt must have had, of a campaign that takes so long, to have shown something of its test.
    fn chance(&self, time: Duration) -> Duration {
        let longest = self.tests.iter().filter_map(Progress::longest).max();
        CHANCE.max(longest.unwrap_or_default()).min(time / 2)
    }

    /// Whether an attempt at the test of this index that begins now would end in time, if it took what they usually take. What is cut
    /// off leaves things behind, such as files.
    fn fits(&self, index: usize) -> bool {
        let (Some(deadline), Some(time)) = (self.deadline, self.schedule.time) else { return true };
        let usual = self.tests[index].usual();
        usual.is_none_or(|usual| Instant::now() + usual <= deadline + time / ABOUT_TO_END)
    }

    /// An attempt was given up without a verdict: on a busy machine the recorder may have had no time for one. Nobody
    /// knows how much the test has had.
    pub(super) fn give_up_attempt(&mut self, taken: &At) {
        if self.tests[taken.test].judged == 0 {
            self.undo(taken);
        } else {
            self.tests[taken.test].give_back(taken.schedule.as_ref());
        }
    }

    /// An attempt has not been one: its test is where it was before.
    pub(super) fn undo(&mut self, taken: &At) {
        let progress = &mut self.tests[taken.test];
        progress.give_back(taken.schedule.as_ref());
        progress.attempts = progress.attempts.saturating_sub(1);
        let build = &mut progress.builds[taken.build];
        build.begun = build.begun.saturating_sub(1);
    }

    /// Learn from an attempt.
    pub(super) fn learn(&mut self, taken: &At, attempt: &Attempt) {
        let progress = &mut self.tests[taken.test];
        if attempt.outcome == Outcome::Unfinished {
            progress.give_back(taken.schedule.as_ref());
            return;
        }
        progress.judged += 1;
        if attempt.outcome == Outcome::Error {
            progress.give_back(taken.schedule.as_ref());
        } else if let (Some(explorer), Some(schedule)) = (&mut progress.explorer, &taken.schedule) {
            explorer.ended(schedule, &attempt.decided);
        }
        progress.errors += u32::from(attempt.outcome == Outcome::Error);
        progress.left_out |= attempt.outcome == Outcome::Unsupported || progress.errors >= MAX_ERRORS;
        let build = &mut progress.builds[taken.build];
        // What hangs makes more ticks than any other attempt should be expected to.
        if attempt.outcome != Outcome::Hung {
            build.measured.learn(&attempt.measured);
        }
        if attempt.outcome.is_end() {
            build.usual.learn(attempt.effort);
        }
        if attempt.strategy == StrategyName::Guided {
            build.guide.learn(attempt.seed, &attempt.branches, &attempt.orders);
        }
        build.ended += 1;
        build.spent += attempt.wall;
    }
}

/// What a worker is to do.
pub(super) enum Take {
    Job(Box<Taken>),
    Pin(Box<TakenPin>),
    /// Nothing as long as no attempt under way has ended.
    Later,
    /// All has been handed out.
    Nothing,
}

/// An attempt that has been handed out.
pub(super) struct Taken {
    pub(super) at: At,
    pub(super) ticket: Ticket,
    pub(super) job: Job,
}

/// A pin that has been handed out.
pub(super) struct TakenPin {
    pub(super) at: At,
    pub(super) ticket: Ticket,
    pub(super) pin: Pin,
    /// The attempt to make, but for its schedule.
    pub(super) job: Job,
}

/// What an attempt is one of.
pub(super) struct At {
    /// The indices of its test, and of the build of that.
    pub(super) test: usize,
    pub(super) build: usize,
    /// The schedule that it tries, if all are to be gone through.
    pub(super) schedule: Option<explore::Schedule>,
}
