//! Tasks that yield: by sched_yield(2), or by sleeps of length zero.
//!
//! The strategy is asked who runs next, and assumes that the task waits for another one in a loop. On a machine with a
//! core for each thread the call returns at once, and a loop that yields a number of times before it sleeps goes
//! through all its rounds while the other threads stand still. That is the surprise [`Surprise::Yield`]: it strikes a
//! task for a spell of several calls. After a spell the task really yields at least once, and an attempt has a limited
//! number of such calls in total, so that a task that waits for another in a loop is not delayed for long.

use std::collections::BTreeMap;

use super::Surprises;
use super::strikes::Note;
use crate::record::in_process::call_sites::CallSites;
use crate::record::scheduler::Scheduler;
use crate::record::step::Next;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::schedule::surprise::Surprise;
use crate::schedule::{Operation, Why};
use crate::strike::Doing;
use crate::task::TaskId;

/// A spell has fewer calls than this.
const LONGEST: u64 = 257;

/// Calls of an attempt that return at once, at most.
const MOST: u64 = 1024;

/// The spells of an attempt.
#[derive(Debug, Default)]
pub(in crate::record) struct Spells {
    /// What is left of each task's spell; 0 for the call after it, which yields.
    left: BTreeMap<TaskId, u64>,
    /// Calls that have returned at once.
    spent: u64,
}

impl Surprises {
    /// Handles a yield. Returns what comes next.
    pub(in crate::record) fn gives_way(
        &mut self,
        tasks: &Tasks,
        scheduler: &Scheduler,
        call_sites: &CallSites,
        id: TaskId,
        call: &Call,
    ) -> Next {
        if self.keeps_core(tasks, scheduler, call_sites, id, call) {
            return Next::Continue;
        }
        Next::Decide(Why::Yielded, Some(Operation::Syscall(libc::SYS_sched_yield as u64)))
    }

    fn keeps_core(
        &mut self,
        tasks: &Tasks,
        scheduler: &Scheduler,
        call_sites: &CallSites,
        id: TaskId,
        call: &Call,
    ) -> bool {
        if !self.injector.have(Surprise::Yield) || self.spells.spent >= MOST {
            return false;
        }
        let left = match self.spells.left.remove(&id) {
            Some(left) => left,
            None if self.strikes(scheduler, Surprise::Yield, id) => {
                let times = self.injector.amount(Surprise::Yield, 1, LONGEST);
                if self.notes_strikes() {
                    let place = Some(call_sites.place(tasks, id, &call.registers));
                    self.note_strike(Note {
                        times,
                        place,
                        ..Note::new(Surprise::Yield, id, Doing::GivesWay)
                    });
                }
                times
            }
            None => 0,
        };
        let Some(left) = left.checked_sub(1) else { return false };
        self.spells.left.insert(id, left);
        self.spells.spent += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::options::Options;
    use crate::record::testing::{call, options, tasks};
    use crate::schedule::surprise::Surprises as Kinds;

    const A: TaskId = TaskId(0);

    /// Whether each of so many yields keeps the core, in an attempt whose kinds are drawn from `seed`.
    fn kept(kinds: Kinds, seed: u64, calls: usize) -> Vec<bool> {
        let (tasks, call) = (tasks(1), call(libc::SYS_sched_yield, [0; 6]));
        let mut options = Options { surprises: kinds, ..options() };
        options.plan.seed = seed;
        let (scheduler, sites) = (Scheduler::new(&options.plan), CallSites::default());
        let mut surprises = Surprises::new(&options);
        let mut yields = || surprises.gives_way(&tasks, &scheduler, &sites, A, &call);
        (0..calls).map(|_| matches!(yields(), Next::Continue)).collect()
    }

    #[test]
    fn a_yield_gives_way_unless_surprised() {
        assert!(!kept(Kinds::NONE, 0, 1000).contains(&true));
    }

    #[test]
    fn spells_are_limited_each_and_in_total_and_a_real_yield_follows_each() {
        let all: Vec<_> = (0..20).map(|seed| kept(Kinds::ALL, seed, 20_000)).collect();
        assert!(all.iter().any(|kept| !kept.contains(&true)), "not every attempt has this kind");
        assert!(all.iter().any(|kept| kept.contains(&true)));
        for kept in all {
            assert!(kept.iter().filter(|kept| **kept).count() as u64 <= MOST);
            let longest = kept.split(|kept| !kept).map(<[bool]>::len).max();
            assert!(longest.is_some_and(|longest| (longest as u64) < LONGEST));
        }
    }
}
