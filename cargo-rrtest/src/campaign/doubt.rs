//! Whether a failure is one: if another attempt had a part in it, it is made again alone before it is called so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::{Disturber, Ticket};
use super::queue::{At, MOMENT, Queue};
use crate::attempt::events::Interference;
use crate::attempt::fork_servers::Base;
use crate::attempt::record::{Job, Made, Setting};
use crate::ending::outcome::Outcome;

/// How long the gate is shut at first, for the attempts of others to end; and how long it is open before it is shut again,
/// for twice as long.
const SHUT: Duration = Duration::from_secs(1);
const OPEN: Duration = Duration::from_secs(1);

/// What it takes to make an attempt.
pub(super) struct Place<'a> {
    pub(super) queue: &'a Mutex<Queue>,
    pub(super) setting: &'a Setting<'a>,
    pub(super) core: usize,
    pub(super) stop: &'a AtomicBool,
}

/// What became of an attempt, and by whom it was disturbed before, if it was.
pub(super) type Settled = (Made, Option<Interference>);

impl Place<'_> {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt has ended. If it may have failed for another one, make it again alone; what came of that counts, if anything did.
    pub(super) fn settle(
        &self,
        made: Made,
        job: Job,
        at: &At,
        ticket: Ticket,
        base: Option<&mut Base>,
    ) -> Settled {
        let in_doubt = {
            let mut queue = self.lock();
            queue.ledger.end(ticket, &made.claims());
            made.outcome().is_failure() && queue.ledger.may_be_disturbed(ticket)
        };
        let settled =
            if in_doubt { self.again_if_disturbed(made, job, at, ticket, base) } else { (made, None) };
        self.lock().ledger.forget(ticket);
        settled
    }

    fn again_if_disturbed(
        &self,
        made: Made,
        job: Job,
        at: &At,
        ticket: Ticket,
        base: Option<&mut Base>,
    ) -> Settled {
        let Some(_alone) = self.alone() else { return (made, None) };
        let claims = made.claims();
        let (disturber, may_have_looked) = {
            let ledger = &mut self.lock().ledger;
            (ledger.disturber(ticket, &claims), ledger.may_have_looked(ticket))
        };
        // If it was disturbed, then by what it only looked at: that has to be seen.
        let watched = disturber.is_none();
        if watched && !may_have_looked {
            return (made, None);
        }
        if self.wait_until(|queue| queue.ledger.registry.lock(Some(&claims)).is_ok()).is_none() {
            return (made, None);
        }
        let until = self.lock().until(at.test);
        let again = self.setting.record(Job { until, watched, ..job }, self.core, base, self.stop);
        self.lock().ledger.registry.unlock(Some(&claims));
        let Ok(again) = again else { return (made, None) };
        let ledger = &mut self.lock().ledger;
        let disturber = disturber.or_else(|| ledger.disturber(ticket, &again.claims()));
        ledger.learn(at.test, &again.claims());
        match (again.outcome(), disturber) {
            (Outcome::Passed, Some(disturber)) => {
                ledger.remember(at.test, &disturber);
                let interference = interference(&made, disturber);
                (again, Some(interference))
            }
            (outcome, _) if outcome.is_failure() => (again, None),
            // Nothing came of it.
            _ => (made, None),
        }
    }

    /// Wait until no other attempt is under way, nor one of another campaign of which that does not know what it uses; and let none
    /// begin. None if the campaign ends before.
    fn alone(&self) -> Option<Alone<'_>> {
        // One after the other.
        self.wait_until(|queue| !std::mem::replace(&mut queue.ledger.alone, true))?;
        let alone = Alone(self.queue);
        self.wait_until(|queue| queue.ledger.is_quiet())?;
        let mut shut = SHUT;
        loop {
            self.wait_until(|queue| queue.ledger.registry.shut_gate())?;
            if self.wait_at_most(shut, |queue| !queue.ledger.registry.others_are_unknown())? {
                return Some(alone);
            }
            // One takes long: the others go on meanwhile. It may even wait for one of theirs.
            self.lock().ledger.registry.open_gate();
            self.wait_at_most(OPEN, |_| false)?;
            shut = shut.saturating_mul(2);
        }
    }

    /// Waits until it is so. None if the campaign ends before.
    fn wait_until(&self, mut is_so: impl FnMut(&mut Queue) -> bool) -> Option<()> {
        self.wait_at_most(Duration::MAX, &mut is_so).map(drop)
    }

    /// Waits until it is so, but not longer than this. Whether it is; none if the campaign ends before.
    fn wait_at_most(&self, longest: Duration, mut is_so: impl FnMut(&mut Queue) -> bool) -> Option<bool> {
        let begun = Instant::now();
        while !self.stop.load(Ordering::SeqCst) {
            let so = is_so(&mut self.lock());
            if so || begun.elapsed() >= longest {
                return Some(so);
            }
            thread::sleep(MOMENT);
        }
        None
    }
}

/// No attempt begins as long as there is this.
struct Alone<'a>(&'a Mutex<Queue>);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let ledger = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).ledger;
        ledger.registry.open_gate();
        ledger.alone = false;
    }
}

fn interference(made: &Made, disturber: Disturber) -> Interference {
    let Disturber { thing, who } = disturber;
    let attempt = &made.attempt;
    Interference {
        test: Arc::clone(&attempt.test),
        number: attempt.number,
        seed: attempt.seed,
        outcome: attempt.outcome,
        wall: attempt.wall,
        thing: thing.to_string(),
        with: who.map(|who| (who.test, who.number)),
    }
}
