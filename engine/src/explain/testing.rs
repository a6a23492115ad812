//! Labs whose programs are known.

use super::{Lab, Tried};
use crate::schedule::script::{Noted, Script, Spot, Switch, Turn, When};
use crate::task::TaskId;

pub(super) const A: TaskId = TaskId(1);
pub(super) const B: TaskId = TaskId(2);

/// A script that preempts a task before each of these operations.
pub(super) fn script(ticks: &[u64]) -> Script {
    let switch = |ticks: &u64| Switch { at: Spot { task: A, ticks: *ticks }, when: When::Before, to: B };
    Script { switches: ticks.iter().map(switch).collect(), ..Script::default() }
}

/// Fails as a rule says.
pub(super) struct Fake<F> {
    rule: F,
    pub(super) runs: usize,
    pub(super) most: usize,
}

impl<F: FnMut(&Script) -> bool> Fake<F> {
    pub(super) fn that(rule: F) -> Self {
        Self { rule, runs: 0, most: usize::MAX }
    }
}

impl<F: FnMut(&Script) -> bool> Lab for Fake<F> {
    fn run(&mut self, script: &Script) -> Option<Tried> {
        self.runs += 1;
        (self.runs <= self.most).then(|| Tried { same: (self.rule)(script), noted: Noted::default() })
    }
}

/// Two tasks of ten operations each add 1: they load at the fourth, and store at the eighth.
pub(super) struct Adders;

const LENGTH: u64 = 10;
const LOAD: u64 = 4;
const STORE: u64 = 8;

impl Lab for Adders {
    fn run(&mut self, script: &Script) -> Option<Tried> {
        let (mut sum, mut loaded, mut done) = (0, [0; 2], [0_u64; 2]);
        // The operation that each has come to.
        let mut at = [0_u64; 2];
        let index = |task: TaskId| usize::from(task == B);
        let mut turns = vec![Turn { task: A, from: 0, to: 0 }];
        while let Some(turn) = turns.last_mut() {
            let (task, here) = (turn.task, index(turn.task));
            let other = if task == A { B } else { A };
            if at[here] == done[here] {
                at[here] += 1;
                let spot = Spot { task, ticks: at[here] };
                let leaves = at[here] > LENGTH || script.switches.iter().any(|switch| switch.at == spot);
                turn.to = at[here].min(LENGTH);
                if leaves && done[index(other)] < LENGTH {
                    turns.push(Turn { task: other, from: at[index(other)], to: 0 });
                    continue;
                }
                if at[here] > LENGTH {
                    break;
                }
            }
            done[here] = at[here];
            match done[here] {
                LOAD => loaded[here] = sum,
                STORE => sum = loaded[here] + 1,
                _ => {}
            }
        }
        Some(Tried { same: sum != 2, noted: Noted { turns, ..Noted::default() } })
    }
}
