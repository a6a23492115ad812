//! Which attempts are under way, and which of them take long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::attempt::events::{Begun, Slow};

/// An attempt that runs so long is told; and again whenever that has doubled.
const SLOW: Duration = Duration::from_secs(15);

/// The attempts under way, by worker.
#[derive(Debug, Default)]
pub(super) struct Running {
    attempts: BTreeMap<usize, Attempt>,
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
        self.attempts.insert(begun.worker, Attempt { begun, since: now, told_at: SLOW });
    }

    /// A worker's attempt has ended.
    pub(super) fn end(&mut self, worker: usize) {
        self.attempts.remove(&worker);
    }

    /// When the next attempt will have taken long.
    pub(super) fn next_slow(&self) -> Option<Instant> {
        self.attempts.values().filter_map(|attempt| attempt.since.checked_add(attempt.told_at)).min()
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

    #[test]
    fn what_takes_long_is_told_now_and_then() {
        let mut running = Running::default();
        let start = Instant::now();
        let begun = |worker| Begun { worker, test: Arc::new(sample()), number: 3 };
        running.begin(begun(0), start);
        running.begin(begun(1), start + Duration::from_secs(10));
        let at = |seconds| start + Duration::from_secs(seconds);
        let told = |running: &mut Running, seconds| {
            running.slow(at(seconds)).iter().map(|slow| slow.wall.as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(running.next_slow(), Some(at(15)));
        assert_eq!(told(&mut running, 14), [0; 0]);
        assert_eq!(told(&mut running, 15), [15]);
        assert_eq!(told(&mut running, 24), [0; 0]);
        assert_eq!(running.next_slow(), Some(at(25)));
        assert_eq!(told(&mut running, 31), [30, 15]);
        running.end(0);
        assert_eq!(running.all(at(40)).iter().map(|slow| slow.wall.as_secs()).collect::<Vec<_>>(), [30]);
    }
}
