//! Tries a pin: its schedule in the program as it is now, and a few around it.

use std::time::{Duration, Instant};

use rrtest_engine::Error;
use rrtest_engine::explain::near::neighbours;
use rrtest_engine::mark::Mark;
use rrtest_engine::schedule::script::Script;

use crate::attempt::record::Made;
use crate::ending::explanation::Place;
use crate::ending::outcome::Outcome;
use crate::explain::mapping::{Mapped, Mapping};
use crate::pins::file::Pin;

/// How far preemptions are moved beyond their windows, in operations.
const REACH: u64 = 2;

/// Attempts at a pin, besides the one that finds its places.
const MOST: usize = 8;

/// Those of them that are made even of a test that takes long.
const SURE: usize = 2;

/// No more than those are made once this has passed.
const PATIENCE: Duration = Duration::from_millis(250);

/// An attempt at a pin, as far as it matters here.
pub(super) trait Try {
    fn outcome(&self) -> Outcome;
    /// What was seen at marks.
    fn marks(&self) -> &[Mark];
}

impl Try for Made {
    fn outcome(&self) -> Outcome {
        self.outcome()
    }

    fn marks(&self) -> &[Mark] {
        self.marks()
    }
}

/// What has come of a pin.
#[derive(Debug)]
pub(super) struct Trial<M> {
    /// Attempts that were made.
    pub(super) attempts: u64,
    /// Places that the program does not come to any more.
    pub(super) gone: Vec<Place>,
    /// The last attempt, and its schedule: the first one that did not pass, if any did not.
    pub(super) last: Option<(Script, M)>,
}

/// Makes attempts by the schedule of a pin, and by those around it, until one does not pass.
///
/// # Errors
/// Those of `record`.
pub(super) fn trial<M: Try>(
    pin: &Pin,
    mut record: impl FnMut(&Script) -> Result<M, Error>,
) -> Result<Trial<M>, Error> {
    let begun = Instant::now();
    let mut trial = Trial { attempts: 0, gone: Vec::new(), last: None };
    let mapping = Mapping::of(&pin.schedule, &pin.windows);
    let mut seen = Vec::new();
    if let Some(scout) = mapping.scout() {
        let made = record(&scout)?;
        seen = made.marks().to_vec();
        if !trial.goes_on(scout, made) {
            return Ok(trial);
        }
    }
    let mapped = mapping.map(&seen);
    for (number, script) in around(&mapped).into_iter().enumerate() {
        if number >= SURE && begun.elapsed() > PATIENCE {
            break;
        }
        let made = record(&script)?;
        if !trial.goes_on(script, made) {
            break;
        }
    }
    trial.gone = mapped.gone;
    Ok(trial)
}

impl<M: Try> Trial<M> {
    /// Notes an attempt. Returns whether it passed.
    fn goes_on(&mut self, script: Script, made: M) -> bool {
        self.attempts += 1;
        let passed = made.outcome() == Outcome::Passed;
        self.last = Some((script, made));
        passed
    }
}

/// The schedules to try, the likeliest first.
fn around(mapped: &Mapped) -> Vec<Script> {
    let Mapped { latest, earliest, within, .. } = mapped;
    let near = [latest, earliest].map(|script| neighbours(script, REACH).collect::<Vec<_>>());
    let all = [latest.clone(), earliest.clone()].into_iter().chain(within.iter().cloned());
    let all = all.chain(near.into_iter().flatten());
    let mut scripts: Vec<Script> = Vec::new();
    for script in all {
        if scripts.len() < MOST && !scripts.contains(&script) {
            scripts.push(script);
        }
    }
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pins::file::sample;

    /// An attempt that ends so, and sees nothing.
    #[derive(Debug)]
    struct Ends(Outcome);

    impl Try for Ends {
        fn outcome(&self) -> Outcome {
            self.0
        }

        fn marks(&self) -> &[Mark] {
            &[]
        }
    }

    fn places(script: &Script) -> Vec<u64> {
        script.switches.iter().map(|switch| switch.at.ticks).collect()
    }

    #[test]
    fn a_handful_of_schedules_around_the_pin_is_tried_until_one_fails() {
        let mut tried = Vec::new();
        let trial_of = trial(&sample(), |script| {
            tried.push((places(script), script.marks.len()));
            Ok(Ends(Outcome::Passed))
        });
        let held = trial_of.expect("a trial");
        assert_eq!(tried[0].0, [0; 0], "the first one looks for the places");
        assert!(tried[0].1 >= 45);
        assert_eq!(tried[1..].iter().map(|it| it.0[0]).collect::<Vec<_>>(), [45, 46, 44, 47, 43]);
        assert_eq!((held.attempts, held.gone.len()), (6, 1), "nothing was seen where the preemption belongs");
        let fails = trial(&sample(), |script| {
            Ok(Ends(if places(script) == [46] { Outcome::Failed } else { Outcome::Passed }))
        });
        let fails = fails.expect("a trial");
        let (script, made) = fails.last.expect("an attempt");
        assert_eq!((places(&script), made.0, fails.attempts), (vec![46], Outcome::Failed, 3));
    }

    #[test]
    fn what_needs_no_preemption_is_tried_as_it_is() {
        let pin = Pin { windows: Vec::new(), schedule: Script::default(), ..sample() };
        let held = trial(&pin, |_| Ok(Ends(Outcome::Passed))).expect("a trial");
        assert_eq!((held.attempts, held.gone.len()), (1, 0));
    }
}
