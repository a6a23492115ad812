//! Which attempts are under way, and which of them take long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::attempt::events::{Begun, RunEvent, Slow};

/// An attempt that runs so long is told; and again whenever that has doubled.
const SLOW: Duration = Duration::from_secs(15);

/// The attempts under way, by worker. The workers note them here: to wake somebody for each would slow short ones down.
#[derive(Debug, Default)]
pub(super) struct Running {
    attempts: BTreeMap<usize, Attempt>,
    /// Workers that have begun or ended an attempt since somebody last asked.
    changed: BTreeSet<usize>,
}

#[derive(Debug)]
struct Attempt {
    begun: Begun,
    since: Instant,
    /// When it is to be told that it takes long, as a time since it began.
    told_at: Duration,
}

impl Attempt {
    fn slow(&self, now: Instant) -> Slow {
        Slow {
            test: self.begun.test.clone(),
            number: self.begun.number,
            wall: now.saturating_duration_since(self.since),
        }
    }
}

impl Running {
    /// An attempt begins.
    pub(super) fn begin(&mut self, begun: Begun, now: Instant) {
        self.changed.insert(begun.worker);
        self.attempts.insert(begun.worker, Attempt { begun, since: now, told_at: SLOW });
    }

    /// A worker's attempt has ended.
    pub(super) fn end(&mut self, worker: usize) {
        self.changed.insert(worker);
        self.attempts.remove(&worker);
    }

    /// What workers are at that have begun or ended an attempt since this was last asked.
    pub(super) fn changes(&mut self) -> Vec<RunEvent> {
        let now = |worker| match self.attempts.get(&worker) {
            Some(attempt) => RunEvent::Begun(attempt.begun.clone()),
            None => RunEvent::Left(worker),
        };
        std::mem::take(&mut self.changed).into_iter().map(now).collect()
    }

    /// Those that have taken long by now, each once.
    pub(super) fn slow(&mut self, now: Instant) -> Vec<Slow> {
        let mut slow = Vec::new();
        for attempt in self.attempts.values_mut() {
            let wall = now.saturating_duration_since(attempt.since);
            if wall >= attempt.told_at {
                slow.push(Slow { wall: attempt.told_at, ..attempt.slow(now) });
                while attempt.told_at <= wall {
                    attempt.told_at *= 2;
                }
            }
        }
        slow
    }

    /// All of them, as they are now.
    pub(super) fn all(&self, now: Instant) -> Vec<Slow> {
        self.attempts.values().map(|attempt| attempt.slow(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::discover::test::sample;

    fn begun(worker: usize) -> Begun {
        Begun { worker, test: Arc::new(sample()), number: 3 }
    }

    #[test]
    fn changes_are_told_once_as_they_are_when_somebody_asks() {
        let (mut running, now) = (Running::default(), Instant::now());
        running.begin(begun(0), now);
        running.begin(begun(1), now);
        running.end(1);
        assert!(matches!(
            &running.changes()[..],
            [RunEvent::Begun(Begun { worker: 0, .. }), RunEvent::Left(1)]
        ));
        assert!(running.changes().is_empty());
        running.end(0);
        running.begin(begun(0), now);
        assert!(matches!(&running.changes()[..], [RunEvent::Begun(Begun { worker: 0, .. })]));
    }

    #[test]
    fn what_takes_long_is_told_now_and_then() {
        let mut running = Running::default();
        let start = Instant::now();
        running.begin(begun(0), start);
        running.begin(begun(1), start + Duration::from_secs(10));
        let at = |seconds| start + Duration::from_secs(seconds);
        let told = |running: &mut Running, seconds| {
            running.slow(at(seconds)).iter().map(|slow| slow.wall.as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(told(&mut running, 14), [0; 0]);
        assert_eq!(told(&mut running, 15), [15]);
        assert_eq!(told(&mut running, 24), [0; 0]);
        assert_eq!(told(&mut running, 31), [30, 15]);
        running.end(0);
        assert_eq!(running.all(at(40)).iter().map(|slow| slow.wall.as_secs()).collect::<Vec<_>>(), [30]);
    }
}
