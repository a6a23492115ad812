//! Guided attempts: each goes on from where an earlier one has shown an order of accesses for the first time.
//!
//! Chance alone meets a bug that takes five preemptions at certain places once in some hundred thousand attempts. Most
//! of these preemptions leave a trace before the program fails: an order of two accesses that no attempt has shown
//! before ([`rrtest_engine::record::Orders`]). So an attempt that shows one is a parent of later ones, which do as it
//! did up to some decision, mostly one near the new order, and go on at random from there (Wolff et al., "Greybox
//! Fuzzing for Concurrency Testing", ASPLOS 2024). Parents that have been taken often are taken less.
//!
//! What these attempts have shown also tells how far the schedules of a test have been covered.

use std::collections::{HashMap, HashSet};

use rrtest_engine::record::{Orders, PairOrders};
use rrtest_engine::schedule::Branch;
use rrtest_preload::random::draw;

use crate::attempt::events::Covered;
use crate::attempt::seed::Seed;

/// One in so many attempts has no parent.
const ORPHANS: u64 = 10;

/// So many parents compete each time.
const RIVALS: usize = 3;

/// How far from a new order an attempt leaves its parent's schedule; one in so many does anywhere.
const NEAR: u64 = 3;
const ANYWHERE: u64 = 4;

/// What remains of a parent's weight each time it is taken.
const WEARS: f64 = 0.9;

/// How often an attempt can have left its parents' schedules.
const BRANCHES_MOST: usize = 64;

/// So many attempts in a row that show nothing new, and half of all, mean that there is hardly anything new.
const IN_VAIN_MOST: u64 = 1000;

/// Orders that are remembered, and pairs.
const SEEN_MOST: usize = 1 << 20;

/// What the guided attempts of a build have shown.
#[derive(Debug, Default)]
pub(super) struct Guide {
    seen: HashSet<u64>,
    pairs: HashMap<u64, PairOrders>,
    parents: Vec<Parent>,
    attempts: u64,
    /// Those after the last one that has shown anything new.
    in_vain: u64,
}

/// An attempt that has shown an order for the first time.
#[derive(Debug)]
struct Parent {
    seed: Seed,
    branches: Vec<Branch>,
    decisions: u64,
    /// The decisions by which the new orders came about.
    news: Vec<u64>,
    weight: f64,
}

impl Parent {
    /// Chooses the decision from which an attempt goes another way.
    fn leave(&self, random: &mut u64) -> u64 {
        let anywhere = draw(random) % (self.decisions + 1);
        let new = self.news[(draw(random) % self.news.len().max(1) as u64) as usize];
        let near = (new + draw(random) % (2 * NEAR + 1)).saturating_sub(NEAR).min(self.decisions);
        if draw(random).is_multiple_of(ANYWHERE) { anywhere } else { near }
    }
}

impl Guide {
    /// Returns the next schedule: the seed that it begins with, and where it leaves that. All that is random in it is
    /// the `fresh` seed's.
    pub(super) fn next(&mut self, fresh: Seed) -> (Seed, Vec<Branch>) {
        let mut random = fresh.plan(&[]).seed | 1;
        if self.parents.is_empty() || draw(&mut random).is_multiple_of(ORPHANS) {
            return (fresh, Vec::new());
        }
        let count = self.parents.len() as u64;
        let rivals = std::array::from_fn::<_, RIVALS, _>(|_| (draw(&mut random) % count) as usize);
        let weight = |at: &usize| self.parents[*at].weight;
        let chosen = rivals.into_iter().max_by(|one, other| weight(one).total_cmp(&weight(other)));
        let parent = &mut self.parents[chosen.unwrap_or(0)];
        parent.weight *= WEARS;
        let decision = parent.leave(&mut random);
        let mut branches: Vec<Branch> =
            parent.branches.iter().copied().filter(|branch| branch.decision < decision).collect();
        branches.push(Branch { decision, seed: draw(&mut random) });
        (parent.seed, branches)
    }

    /// Learns what an attempt with this schedule has shown. Returns whether any of it is new.
    pub(super) fn learn(&mut self, seed: Seed, branches: &[Branch], shown: &Orders) -> bool {
        let mut news = Vec::new();
        for (order, decision) in &shown.seen {
            if self.seen.len() < SEEN_MOST && self.seen.insert(*order) {
                news.push(*decision);
            }
        }
        let mut is_new = !news.is_empty();
        for (pair, orders) in &shown.pairs {
            if self.pairs.len() >= SEEN_MOST {
                break;
            }
            let now = self.pairs.get(pair).map_or(*orders, |before| before.and(*orders));
            is_new |= self.pairs.insert(*pair, now) != Some(now);
        }
        self.attempts += 1;
        self.in_vain = if is_new { 0 } else { self.in_vain + 1 };
        if !news.is_empty() && branches.len() < BRANCHES_MOST {
            let (branches, decisions) = (branches.to_vec(), shown.decisions);
            self.parents.push(Parent { seed, branches, decisions, news, weight: 1.0 });
        }
        is_new
    }

    /// Whether many attempts in a row have shown nothing new.
    pub(super) fn is_exhausted(&self) -> bool {
        self.in_vain >= IN_VAIN_MOST.max(self.attempts / 2)
    }

    /// Returns what the attempts have covered of the test of this name; nothing if there were none.
    pub(super) fn covered(&self, test: &str) -> Option<Covered> {
        let both = self.pairs.values().filter(|orders| **orders == PairOrders::Both).count();
        (self.attempts > 0).then(|| Covered {
            test: test.to_owned(),
            pairs: self.pairs.len() as u64,
            both_orders: both as u64,
            attempts: self.attempts,
            in_vain: self.in_vain,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(orders: &[u64]) -> Orders {
        let seen = orders.iter().map(|order| (*order, 20)).collect();
        Orders { seen, decisions: 50, ..Orders::default() }
    }

    #[test]
    fn what_is_covered_are_the_pairs_of_all_attempts() {
        use PairOrders::{Both, Larger, Smaller};
        let mut guide = Guide::default();
        assert_eq!(guide.covered("t"), None);
        let mut learn = |pairs: &[(u64, PairOrders)]| {
            let pairs = pairs.iter().copied().collect();
            let is_new = guide.learn(Seed(7), &[], &Orders { pairs, ..Orders::default() });
            (is_new, guide.covered("t").map(|it| (it.both_orders, it.pairs, it.in_vain)))
        };
        assert_eq!(learn(&[(1, Smaller), (2, Both)]), (true, Some((1, 2, 0))));
        assert_eq!(learn(&[(1, Smaller), (2, Larger)]), (false, Some((1, 2, 1))));
        assert_eq!(learn(&[(1, Larger)]), (true, Some((2, 2, 0))));
        for _ in 0..IN_VAIN_MOST {
            assert!(!guide.is_exhausted());
            assert!(!guide.learn(Seed(7), &[], &shown(&[])));
        }
        assert!(guide.is_exhausted());
        let next = (0..100).map(|seed| guide.next(Seed(seed)));
        assert!(
            next.enumerate().all(|(seed, next)| next == (Seed(seed as u128), vec![])),
            "a pair is no parent"
        );
    }

    #[test]
    fn who_shows_something_new_is_gone_on_from() {
        let mut guide = Guide::default();
        assert_eq!(guide.next(Seed(7)), (Seed(7), vec![]), "nobody is");
        assert!(guide.learn(Seed(7), &[], &shown(&[1, 2])));
        assert!(!guide.learn(Seed(8), &[], &shown(&[2])));
        let next: Vec<_> = (100..200).map(|seed| guide.next(Seed(seed))).collect();
        let orphans = next.iter().filter(|(_, branches)| branches.is_empty()).count();
        assert!((1..30).contains(&orphans), "{orphans}");
        for (seed, branches) in next.iter().filter(|(_, branches)| !branches.is_empty()) {
            assert_eq!((*seed, branches.len()), (Seed(7), 1));
            assert!(branches[0].decision <= 50);
        }
        let near = next.iter().filter(|(_, it)| it.iter().any(|branch| (17..=23).contains(&branch.decision)));
        assert!(near.count() > 40);
    }

    #[test]
    fn a_branch_is_left_out_with_what_comes_after_the_next() {
        let mut guide = Guide::default();
        let branches = [10, 20, 30].map(|decision| Branch { decision, seed: decision });
        assert!(guide.learn(Seed(7), &branches, &shown(&[1])));
        for seed in 0..100 {
            let (_, taken) = guide.next(Seed(seed));
            let Some((last, kept)) = taken.split_last() else { continue };
            let expected = branches.iter().filter(|branch| branch.decision < last.decision);
            assert!(kept.iter().eq(expected), "{taken:?}");
        }
    }
}
