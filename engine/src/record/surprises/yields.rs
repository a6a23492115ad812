//! Tasks that give way: sched_yield(2), and sleeps of no length.
//!
//! The strategy is asked who runs next, and takes it for a sign that the task waits for another in a loop. On a machine with a
//! core for each thread the call returns at once, and a loop that gives way so many times before it goes to sleep goes
//! through all of its rounds while the others stand still. That is the surprise [`Surprise::Yield`]: it strikes a task for a
//! spell of so many calls. Behind a spell the task gives way at least once, and an attempt has only so many such calls in
//! all, so that whoever waits in a loop for another is not kept waiting for long.

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

/// A spell is of fewer calls than this.
const LONGEST: u64 = 257;

/// So many calls of an attempt return at once.
const MOST: u64 = 1024;

/// The spells of an attempt.
#[derive(Debug, Default)]
pub(in crate::record) struct Spells {
    /// What is left of each task's spell, 0 for the call that gives way behind it.
    left: BTreeMap<TaskId, u64>,
    /// Calls that have returned at once.
    spent: u64,
}

impl Surprises {
    /// A task gives way: what comes next.
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
        if !self.dice.have(Surprise::Yield) || self.spells.spent >= MOST {
            return false;
        }
        let left = match self.spells.left.remove(&id) {
            Some(left) => left,
            None if self.strikes(scheduler, Surprise::Yield) => {
                let times = self.dice.amount(Surprise::Yield, 1, LONGEST);
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
