//! Decides when a run counts as hung, by what the program's runs usually take.
//!
//! A fixed time limit must exceed the slowest sound run on the slowest machine, so it is far too long for all others.
//! But runs of a test are many and alike: one that takes fifty times as long as usual is most likely stuck. What counts
//! is the run's own time: the time for which it had a processor, plus the time for which none of its tasks could run.
//! The time that it waited for a processor on a busy machine does not count.
//!
//! A run can fail to progress in three ways, each with a measure of its own:
//!
//! | the run | measure |
//! |---|---|
//! | computes (spins, yields, loops) | processor time |
//! | stands still until the world acts | how long it has stood still, unless the time at which it goes on is known |
//! | wakes now and then, and waits again | sum of both, in which a single wait counts for little |
//!
//! A sound run that once waits long for a known time is none of these.

use std::collections::VecDeque;
use std::time::Duration;

/// A run may take this many times as long as usual: sound runs sometimes take forty times as long.
const TIMES: u32 = 45;

/// Processor time that any run may use. A replay, which must confirm a hang before it is reported, takes as long again.
const COMPUTING: Duration = Duration::from_secs(1);

/// Time that any run may wait. Waits for outside answers vary more, and cost a replay no time.
const WAITING: Duration = Duration::from_secs(3);

/// A single wait counts for at most this fraction of the time that a run may wait.
const WAITS: u32 = 8;

/// When the time for all runs is over, the minimum times are divided by this.
const CLOSING: u32 = 4;

/// Own time that a run may take while none of its program is known to have ended. Always time for a wait that will end.
const UNKNOWN: Duration = Duration::from_secs(60);

/// Number of runs that are remembered.
const RUNS: usize = 64;

/// The own time of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// How long it computed.
    pub computed: Duration,
    /// How long it stood still.
    pub idled: Duration,
}

impl Effort {
    /// Returns the sum of both.
    #[must_use]
    pub fn total(self) -> Duration {
        self.computed + self.idled
    }
}

/// How long those runs of a program took that ended by themselves.
#[derive(Clone, Debug, Default)]
pub struct Usual {
    /// The latest runs.
    recent: VecDeque<Duration>,
    /// What follows from them. It is asked for far more often than there are runs.
    patience: Option<Patience>,
}

impl Usual {
    /// Adds a run that ended by itself.
    pub fn learn(&mut self, effort: Effort) {
        let took = effort.total();
        if self.recent.len() == RUNS {
            self.recent.pop_front();
        }
        self.recent.push_back(took);
        let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        // The third quartile: the slowest runs, though sound, do not count.
        let usual = sorted[(sorted.len() - 1) * 3 / 4];
        let longest = self.patience.map_or(took, |before| before.longest.max(took));
        self.patience = Some(Patience { usual, longest });
    }

    /// Returns how long the next run may take; `None` if no run is known.
    #[must_use]
    pub fn patience(&self) -> Option<Patience> {
        self.patience
    }
}

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// What runs usually take.
    pub usual: Duration,
    /// The longest run that ended by itself.
    pub longest: Duration,
}

impl Patience {
    /// Returns the patience for runs that take `times` as long.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { usual: self.usual.saturating_mul(times), longest: self.longest.saturating_mul(times) }
    }

    /// Returns the limit of a measure, at least `least`.
    fn limit(&self, least: Duration) -> Duration {
        // A run that took this long has ended after all.
        let longest = self.longest.saturating_mul(3) / 2;
        self.usual.saturating_mul(TIMES).max(longest).max(least)
    }
}

/// What a run is measured by: when it counts as hung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nothing: never.
    Never,
    /// Real time: when it runs longer, or would have to.
    Real(Duration),
    /// Its own time: when it takes far longer than the program's runs usually do. If nothing is known about them, when
    /// it takes longer than a minute.
    Usual(Option<Patience>),
}

impl Limit {
    /// Returns the limit after runs that take what `patience` says. A limit of another kind takes no notice.
    #[must_use]
    pub fn after(self, patience: Option<Patience>) -> Self {
        match self {
            Self::Never | Self::Real(_) => self,
            Self::Usual(_) => Self::Usual(patience),
        }
    }

    /// Returns what runs of the program usually take, if that is the measure and known.
    #[must_use]
    pub fn patience(self) -> Option<Patience> {
        match self {
            Self::Never | Self::Real(_) => None,
            Self::Usual(patience) => patience,
        }
    }

    /// Returns how long a wait may last that will end, in a run that has taken `real` time, of which `own` is its own;
    /// `None` for any time. Ample for a run that is known to end: [`Conduct`] measures how it gets on.
    #[must_use]
    pub fn left(self, real: Duration, own: Duration) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::Real(limit) => Some(limit.saturating_sub(real)),
            Self::Usual(None) => Some(UNKNOWN.saturating_sub(own)),
            Self::Usual(Some(patience)) => Some(patience.limit(UNKNOWN).saturating_sub(own)),
        }
    }
}

/// What is known about when a blocked run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The run is not blocked, or a known time will let it go on.
    InSight,
    /// The run goes on when the outside world acts.
    Unknown,
}

/// What a run's conduct indicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing unusual.
    Sound,
    /// It has computed for so long that it should be scheduled fairly, to see whether it ends.
    Suspect,
    /// It hangs.
    Hung,
}

/// How one run spends its time.
#[derive(Debug, Default)]
pub struct Conduct {
    patience: Option<Patience>,
    /// How long it has stood still since it last ran.
    still: Duration,
    /// Its earlier waits, as far as they count.
    waited: Duration,
    /// How long it has stood still in total.
    idled: Duration,
}

impl Conduct {
    /// Starts with a run that has just begun. Without patience every run is sound.
    #[must_use]
    pub fn new(patience: Option<Patience>) -> Self {
        Self { patience, ..Self::default() }
    }

    /// Notes that none of its tasks could run for this long.
    pub fn stands_still(&mut self, time: Duration) {
        self.still += time;
        self.idled += time;
    }

    /// Notes that one of its tasks goes on.
    pub fn goes_on(&mut self) {
        if !self.still.is_zero() {
            let most = self.patience.map_or(Duration::MAX, |patience| patience.limit(WAITING) / WAITS);
            self.waited += std::mem::take(&mut self.still).min(most);
        }
    }

    /// Returns how long it has stood still since it last ran.
    #[must_use]
    pub fn still(&self) -> Duration {
        self.still
    }

    /// Returns how long it has stood still in total.
    #[must_use]
    pub fn idled(&self) -> Duration {
        self.idled
    }

    /// Judges the run, given the processor time it has used.
    #[must_use]
    pub fn judge(&self, computed: Duration, due: Due) -> Verdict {
        self.judged(computed, due, 1)
    }

    /// Judges the run when the time for all runs is over, with shorter minimum times: no later look can bring
    /// certainty.
    #[must_use]
    pub fn judge_at_last(&self, computed: Duration, due: Due) -> Verdict {
        self.judged(computed, due, CLOSING)
    }

    fn judged(&self, computed: Duration, due: Due, closing: u32) -> Verdict {
        let Some(patience) = self.patience else { return Verdict::Sound };
        let computing = patience.limit(COMPUTING / closing);
        let waiting = patience.limit(WAITING / closing);
        let stands_still = due == Due::Unknown && self.still >= waiting;
        if computed >= computing || computed + self.waited >= waiting || stands_still {
            Verdict::Hung
        } else if computed >= computing / 2 {
            Verdict::Suspect
        } else {
            Verdict::Sound
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Returns the patience after runs of these lengths, in ms.
    fn after(runs: impl IntoIterator<Item = u32>) -> Option<Patience> {
        let mut usual = Usual::default();
        runs.into_iter().for_each(|ms| usual.learn(Effort { computed: MS * ms, idled: Duration::ZERO }));
        usual.patience()
    }

    /// Returns the first time, in ms, at which a run counts as hung; `None` if not within a minute. `does` gives what
    /// it does each ms.
    fn hangs_at(patience: Option<Patience>, mut does: impl FnMut(u32) -> Does) -> Option<u32> {
        let (mut conduct, mut computed) = (Conduct::new(patience), Duration::ZERO);
        (0..60_000).find(|&now| {
            let mut due = Due::InSight;
            match does(now) {
                Does::Compute => {
                    conduct.goes_on();
                    computed += MS;
                }
                Does::Sleep => conduct.stands_still(MS),
                Does::WaitForTheWorld => {
                    conduct.stands_still(MS);
                    due = Due::Unknown;
                }
            }
            conduct.judge(computed, due) == Verdict::Hung
        })
    }

    enum Does {
        Compute,
        Sleep,
        WaitForTheWorld,
    }
    use Does::{Compute, Sleep, WaitForTheWorld};

    /// Polls every so many ms.
    fn polls(every: u32) -> impl FnMut(u32) -> Does {
        move |now| if now % (every + 1) == 0 { Compute } else { Sleep }
    }

    #[test]
    fn what_usually_takes_less_than_a_tenth_of_a_second_hangs_within_five() {
        for usual in [1, 5, 20, 60, 100] {
            let patience = after([usual; 10]);
            for at in [
                hangs_at(patience, |_| Compute),
                hangs_at(patience, |_| WaitForTheWorld),
                hangs_at(patience, polls(1)),
                hangs_at(patience, polls(100)),
            ] {
                assert!(at.is_some_and(|at| at < 5000), "{usual} ms: {at:?}");
            }
        }
        assert!(hangs_at(after([5; 10]), |_| Compute).is_some_and(|at| at < 1500), "a replay comes on top");
    }

    /// One run in a hundred takes forty times as long. It may have come already, once, often, or first of all.
    #[test]
    fn a_run_that_takes_forty_times_as_long_once_in_a_hundred_is_sound() {
        for usual in [1, 5, 20, 100, 1000] {
            for slow_at in [0, 1, 7, 50, 99] {
                for runs in [1, 2, 10, 99, 250] {
                    let patience =
                        after((0..runs).map(|run| if run % 100 == slow_at { 40 * usual } else { usual }));
                    let slow = 40 * usual;
                    for does in [|_| Compute, |_| WaitForTheWorld, |_| Sleep] {
                        let at = hangs_at(patience, does);
                        assert!(at.is_none_or(|at| at > slow), "{usual} ms, {slow_at} of {runs}: {at:?}");
                    }
                    let at = hangs_at(patience, polls(1));
                    assert!(at.is_none_or(|at| at > slow), "{usual} ms, {slow_at} of {runs}: {at:?}");
                }
            }
        }
    }

    #[test]
    fn slow_runs_do_not_count_as_usual() {
        let patience = after((0..100).map(|run| if run % 50 == 0 { 4000 } else { 100 }));
        assert_eq!(patience.map(|patience| patience.usual), Some(100 * MS));
        assert!(hangs_at(patience, |_| Compute).is_some_and(|at| at > 4000 && at < 10_000));
    }

    #[test]
    fn a_long_wait_for_a_time_is_none() {
        let patience = after([5; 10]);
        assert_eq!(hangs_at(patience, |_| Sleep), None);
        // Wherever it waits after that.
        let does = |now| {
            if now < 10_000 {
                Sleep
            } else if now % 10 == 0 {
                Compute
            } else {
                WaitForTheWorld
            }
        };
        assert!(hangs_at(patience, does).is_some_and(|at| at > 12_000));
    }

    #[test]
    fn nothing_is_judged_by_nothing() {
        assert_eq!(after([]), None);
        assert_eq!(hangs_at(None, |_| Compute), None);
    }

    #[test]
    fn only_a_limit_in_real_time_counts_the_time_of_others() {
        let left = |limit: Limit| limit.left(MS * 70_000, MS * 10_000).map(|left| left.as_millis());
        assert_eq!(left(Limit::Never), None);
        assert_eq!(left(Limit::Real(MS * 72_000)), Some(2000));
        assert_eq!(left(Limit::Real(MS * 60_000)), Some(0));
        assert_eq!(left(Limit::Usual(None)), Some(50_000));
        assert_eq!(left(Limit::Usual(after([5; 10]))), Some(50_000));
        assert_eq!(left(Limit::Usual(after([2000; 10]))), Some(80_000), "45 times as long is usual");
    }

    #[test]
    fn a_limit_that_somebody_has_set_stays() {
        let patience = after([5]);
        assert_eq!(Limit::Usual(None).after(patience).patience(), patience);
        for limit in [Limit::Never, Limit::Real(MS)] {
            assert_eq!((limit.after(patience), limit.after(patience).patience()), (limit, None));
        }
    }

    #[test]
    fn at_last_it_is_judged_by_less_but_not_by_fewer_times() {
        let mut conduct = Conduct::new(after([5; 10]));
        let judge = |conduct: &Conduct, ms| conduct.judge_at_last(MS * ms, Due::InSight);
        assert_eq!(
            [200, 249, 250].map(|ms| judge(&conduct, ms)),
            [Verdict::Suspect, Verdict::Suspect, Verdict::Hung]
        );
        conduct.stands_still(800 * MS);
        assert_eq!(conduct.judge_at_last(MS, Due::Unknown), Verdict::Hung);
        assert_eq!(conduct.judge(MS, Due::Unknown), Verdict::Sound);
        assert_eq!(Conduct::new(after([50; 10])).judge_at_last(2000 * MS, Due::InSight), Verdict::Suspect);
    }
}
